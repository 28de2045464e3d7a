package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

const indexStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color:#1f2430;background:#fff}` +
	`dt{font-family:ui-monospace,monospace;margin-top:.6rem}dd{margin:0}a{color:#0b57d0}@media(prefers-color-scheme:dark){body{color:#e6e8ee;background:#14161c}a{color:#8ab4f8}}`

const indexPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Funnel</title><style>` + indexStyle + `</style></head>
<body><main><h1>Funnel</h1>
<p>This is a Funnel server. Alerts come in by webhook; what is known about them goes onto a ticket.</p>
<dl>
<dt><a href="/healthz">/healthz</a></dt><dd>Is it alive?</dd>
<dt><a href="/readyz">/readyz</a></dt><dd>Can it accept events? Names what is wrong.</dd>
<dt><a href="/status">/status</a></dt><dd>Connections, queue, what needs attention. Needs the token, except on the same machine.</dd>
<dt><a href="/metrics">/metrics</a></dt><dd>Figures for Prometheus. Needs the token, except on the same machine.</dd>
<dt><a href="/docs">/docs</a></dt><dd>The API, to read and to try.</dd>
<dt><a href="/openapi.json">/openapi.json</a></dt><dd>Every address, described in OpenAPI 3.1.</dd>
<dt>/api/v1/runs, events, deliveries, playbooks, integrations</dt><dd>The API: <code>curl -H "Authorization: Bearer $FUNNEL_TOKEN" …/api/v1/runs</code></dd>
<dt>POST /api/v1/actions/{id}</dt><dd>Performs one action; /docs shows each with its input and an example to try.</dd>
<dt>POST /hooks/{source}</dt><dd>Where outside systems deliver.</dd>
</dl></main></body></html>
`

// addIndex adds the page at the root.
func (s *server) addIndex() {
	sum := sha256.Sum256([]byte(indexStyle))
	policy := fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", base64.StdEncoding.EncodeToString(sum[:]))
	s.plain(huma.Operation{
		OperationID: "index", Method: http.MethodGet, Path: "/", Tags: []string{"health"}, Summary: "What this is and where its addresses are",
		Responses: map[string]*huma.Response{"200": {Description: "A page", Content: map[string]*huma.MediaType{"text/html": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}, open,
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", policy)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte(indexPage))
		})
}

// addSpec adds the description of all routes, itself included.
func (s *server) addSpec() {
	const mediaType = "application/openapi+json"
	s.plain(huma.Operation{
		OperationID: "openapi", Method: http.MethodGet, Path: "/openapi.json", Tags: []string{"health"}, Summary: "This description",
		Responses: map[string]*huma.Response{"200": {Description: "OpenAPI 3.1", Content: map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: huma.TypeObject}}}}},
	}, open,
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(s.spec())
		})
	oapi := s.api.OpenAPI()
	delete(oapi.Components.Schemas.Map(), "huma.ErrorModel") // every error is our Problem
	// Not before somebody asks: it would take a third of the start.
	s.spec = sync.OnceValue(func() []byte {
		spec, err := json.MarshalIndent(oapi, "", "  ")
		if err != nil {
			panic("httpapi: describing the routes: " + err.Error()) // a fault of the program
		}
		return append(spec, '\n')
	})
}
