// Shows this server's own description. Nothing is loaded from elsewhere, and the
// token that a person enters is forgotten with the page.
"use strict";
window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    docExpansion: "list",
    persistAuthorization: false,
    queryConfigEnabled: false, // a link cannot make the page show another description
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  });
});
