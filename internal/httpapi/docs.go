package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed swaggerui/index.html swaggerui/start.js swaggerui/swagger-ui-bundle.js.gz swaggerui/swagger-ui.css.gz
var swaggerUI embed.FS

// docsPolicy lets the page load what this server serves and ask this server.
// Swagger UI's style sheet holds its icons as data.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// addDocs adds Swagger UI: a page on which the API can be read and tried.
func (s *server) addDocs() {
	files := map[string]http.HandlerFunc{
		"start.js":             embedded("start.js", "text/javascript; charset=utf-8"),
		"swagger-ui-bundle.js": embedded("swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"),
		"swagger-ui.css":       embedded("swagger-ui.css.gz", "text/css; charset=utf-8"),
	}
	text := func(mediaTypes ...string) map[string]*huma.Response {
		content := map[string]*huma.MediaType{}
		for _, m := range mediaTypes {
			content[m] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		}
		return map[string]*huma.Response{"200": {Description: "A file", Content: content}, "304": {Description: "The caller has it already"}}
	}
	s.plain(huma.Operation{
		OperationID: "docs", Method: http.MethodGet, Path: "/docs", Tags: []string{"docs"}, Summary: "This page: the API, to read and to try",
		Responses: text("text/html"),
	}, open, embedded("index.html", "text/html; charset=utf-8"))
	s.plain(huma.Operation{
		OperationID: "docs-file", Method: http.MethodGet, Path: "/docs/{file}", Tags: []string{"docs"}, Summary: "What the page is made of",
		Parameters: []*huma.Param{{Name: "file", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}, Description: "A file that the page names"}},
		Responses:  text("text/javascript", "text/css"), Errors: []int{http.StatusNotFound},
	}, open, func(w http.ResponseWriter, r *http.Request) {
		file, ok := files[r.PathValue("file")]
		if !ok {
			problem(http.StatusNotFound, "the page at /docs has no such file").write(w)
			return
		}
		file(w, r)
	})
}

// embedded serves a file of the program itself. What is kept compressed goes
// out like that to those who can read it, which are all browsers.
func embedded(file, mediaType string) http.HandlerFunc {
	body, err := swaggerUI.ReadFile("swaggerui/" + file)
	if err != nil {
		panic("httpapi: reading an embedded file: " + err.Error()) // a fault of the program
	}
	compressed := path.Ext(file) == ".gz"
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", docsPolicy)
		h.Set("Cache-Control", "no-cache") // kept, and asked for again by its tag
		h.Set("ETag", tag)
		h.Set("Vary", "Accept-Encoding")
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", mediaType)
		if !compressed || strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			if compressed {
				h.Set("Content-Encoding", "gzip")
			}
			h.Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
			return
		}
		plain, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			panic("httpapi: reading an embedded file: " + err.Error()) // a fault of the program
		}
		_, _ = io.Copy(w, plain) // of an embedded file only the caller's going away can stop it
	}
}
