package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/schema"
)

const (
	maxBody  = 64 << 10        // of our own API's requests, in bytes
	patience = 5 * time.Second // of one request that reads
)

// newAPI returns Huma with what it would do by itself switched off: links from
// the Host header, pages that load from elsewhere, lazily written documents.
func newAPI(s *server) huma.API {
	return humago.New(mux{s}, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Funnel", Version: s.Version, Description: "Alerts come in, tickets with what is known about them come out.",
				License: &huma.License{Name: "Apache License 2.0", Identifier: "Apache-2.0"},
			},
			Tags:    tags(s.Registry),
			Servers: []*huma.Server{{URL: "/", Description: "This server"}},
			Components: &huma.Components{
				Schemas:         describeTypes(huma.NewMapRegistry("#/components/schemas/", schemaName)),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "The admin token of the first start."}},
			},
			OnAddOperation: []huma.AddOpFunc{s.describeErrors},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{s.sanitize},
	})
}

// tags are the parts of the API in the order in which /docs shows them: what came
// in and became of it, what can be done, and the rest.
func tags(r *funnel.Registry) []*huma.Tag {
	list := []*huma.Tag{
		{Name: "events", Description: "What outside systems told us, and everything that became of it"},
		{Name: "deliveries", Description: "Every webhook that authenticated, and what became of it"},
		{Name: "runs", Description: "Playbooks at work: their steps, why they wait or failed, and a person's decisions"},
	}
	for _, in := range r.Integrations() {
		if len(in.Actions) > 0 {
			list = append(list, &huma.Tag{Name: in.Name, Description: strings.TrimSuffix(in.Summary, ".")})
		}
	}
	return append(list,
		&huma.Tag{Name: "catalog", Description: "What this server can do"},
		&huma.Tag{Name: "hooks", Description: "Where outside systems deliver"},
		&huma.Tag{Name: "health", Description: "How the server does"},
		&huma.Tag{Name: "docs", Description: "This description"},
	)
}

// mux is where Huma puts its routes: all of them are guarded.
type mux struct{ s *server }

func (m mux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.s.route(pattern, guarded, handler)
}

func (m mux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.s.mux.ServeHTTP(w, r) }

func (s *server) route(pattern string, who access, handler http.HandlerFunc) {
	s.routes[pattern] = who
	s.mux.HandleFunc(pattern, handler)
}

// plain adds a route that Huma does not serve, with its description.
func (s *server) plain(op huma.Operation, who access, handler http.HandlerFunc) {
	switch who {
	case guarded:
		op.Security = tokenSecurity()
	case local:
		op.Security = append(tokenSecurity(), map[string][]string{})
	case open:
		op.Security = []map[string][]string{{}} // nothing is needed
	}
	pattern := op.Method + " " + op.Path
	if op.Path == "/" {
		pattern += "{$}"
	}
	s.route(pattern, who, handler)
	s.api.OpenAPI().AddOperation(&op)
}

// add adds a route that Huma serves. What the handler returns as an error
// becomes a problem here, before Huma could show it.
func add[I, O any](s *server, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	op.Security = tokenSecurity()
	op.Middlewares = append(huma.Middlewares{s.plainQuery}, op.Middlewares...)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		within, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		out, err := handler(within, in)
		if err != nil {
			return nil, s.explain(ctx, "answering "+op.OperationID, err)
		}
		return out, nil
	})
}

func tokenSecurity() []map[string][]string { return []map[string][]string{{"token": {}}} }

// plainQuery refuses queries that parsers read differently: what cannot be
// parsed, and a parameter that is sent twice.
func (s *server) plainQuery(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		problem(http.StatusBadRequest, "the query cannot be read", Fault{Location: "query", Message: "it is not of the form a=1&b=2, percent-encoded"}).write(w)
		return
	}
	for _, values := range query {
		if len(values) > 1 {
			problem(http.StatusBadRequest, "the query is ambiguous", Fault{Location: "query", Message: "a parameter is sent more than once"}).write(w)
			return
		}
	}
	next(ctx)
}

// strictly lets only bodies through that are a B and nothing else: Huma takes
// keys in any case, the last of duplicates, and any media type. An empty body is
// let through if the operation has none.
func strictly[B any]() func(huma.Context, func(huma.Context)) {
	decoder := schema.NewDecoder[B](schema.Limits{Bytes: maxBody, Depth: 8, Nodes: 1000}, false)
	empty := reflect.TypeFor[B]() == reflect.TypeFor[Nothing]()
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			unread(err).write(w)
			return
		}
		if empty && len(raw) == 0 && r.Header.Get("Content-Encoding") == "" && r.Header.Get("Content-Type") == "" {
			next(ctx)
			return
		}
		if err := schema.MediaType(r.Header); err != nil {
			malformed(err).write(w)
			return
		}
		if empty && len(raw) == 0 {
			next(ctx)
			return
		}
		if _, err := decoder.Decode(raw); err != nil {
			malformed(err).write(w)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		next(ctx)
	}
}

// Nothing is the body of a request that needs none.
type Nothing struct{}

// schemaName qualifies a type's name with its package: two packages may each
// have an Input.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if t.Name() == "" || t.PkgPath() == "" {
		return name
	}
	return t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:] + "." + name
}

// describeErrors says of every operation that its errors are problems.
func (s *server) describeErrors(oapi *huma.OpenAPI, op *huma.Operation) {
	body := map[string]*huma.MediaType{problemType: {Schema: oapi.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")}}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{Description: "A problem (RFC 9457)", Content: body}
	if len(op.Security) > 0 && op.Security[0]["token"] != nil && !slices.Contains(op.Errors, http.StatusUnauthorized) {
		op.Errors = append(op.Errors, http.StatusUnauthorized)
	}
	op.Errors = append(op.Errors, http.StatusMisdirectedRequest)
	for _, status := range op.Errors {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: body}
	}
}
