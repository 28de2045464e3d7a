package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/record"
)

// FuzzOpenAPIRequests sends requests of any shape. Whatever a client sends is
// its own fault: no answer is 5xx, each has a media type, is well formed, bounded
// in what it repeats of the request, and of a status that the description has.
func FuzzOpenAPIRequests(f *testing.F) {
	registry := funnel.NewRegistry().Add(all.Integrations()...)
	var house *house
	setup := func(t *testing.T) {
		house = newHouse(t, func(o *Options) { o.Registry = registry })
		house.fill()
		house.called = record.Run{ID: 42, Kind: record.Call, Playbook: "jira.get_issue", State: record.Succeeded}
	}
	for _, a := range registry.Actions() {
		if example, ok := a.ExampleInput(); ok {
			f.Add("POST", "/api/v1/actions/"+a.ID, "wait=0", "application/json", string(example), "")
		}
	}
	for _, target := range []string{"/", "/healthz", "/readyz", "/status", "/metrics", "/docs", "/docs/start.js", "/openapi.json", "/api/v1/runs", "/api/v1/events", "/api/v1/deliveries", "/api/v1/playbooks", "/api/v1/integrations"} {
		f.Add("GET", target, "limit=5&before=9&since=2026-11-23T00:00:00Z&verdict=refused", "", "", "")
	}
	f.Add("GET", "/api/v1/runs/44", "", "", "", "")
	f.Add("GET", "/api/v1/events/17", "", "", "", "")
	f.Add("GET", "/api/v1/deliveries/99", "", "", "", "")
	f.Add("POST", "/api/v1/events/17/replay", "playbook=open_ticket", "application/json", "{}", "")
	f.Add("POST", "/api/v1/runs/43/retry", "", "application/json", "{}", "")
	f.Add("POST", "/api/v1/runs/44/skip", "", "application/json", `{"step":"report"}`, "")
	f.Add("POST", "/hooks/splunk/secret", "", "application/json", `{"sid":"1"}`, "")
	f.Add("POST", "/api/v1/actions/jira.get_issue", "wait=0&connection=jira", "application/json; charset=utf-8", `{"issue":"SIRT-1","issue":"\ud800"}`, "key")
	f.Fuzz(func(t *testing.T, method, path, query, mediaType, body, key string) {
		if house == nil {
			setup(t)
		}
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		if method == "" || len(path) == 0 || path[0] != '/' || strings.ContainsAny(method, " \r\n\t") || strings.Contains(query, "wait=") && !strings.Contains(query, "wait=0") {
			return // net/http lets none of the first in; waiting is tested elsewhere
		}
		r.Host, r.RemoteAddr = "funnel.example.com", "192.0.2.7:1"
		r.Header.Set("Authorization", "Bearer "+goodToken)
		if mediaType != "" {
			r.Header.Set("Content-Type", mediaType)
		}
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		house.handler.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code < 200 {
			t.Fatalf("%s %q?%q with %q: %d %s\n%s", method, path, query, body, w.Code, w.Body, &house.log)
		}
		got := w.Header().Get("Content-Type")
		if w.Body.Len() > 0 && got == "" {
			t.Errorf("%s %q: no media type", method, path)
		}
		if strings.Contains(got, "json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q: the body is not JSON: %.300s", method, path, w.Body)
		}
		if w.Code >= 400 {
			var p Problem
			if got != problemType || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != w.Code || p.Detail == "" {
				t.Errorf("%s %q: %d is no problem: %s %.300s", method, path, w.Code, got, w.Body)
			}
		}
		if r.Pattern == "" || w.Code < 300 {
			return
		}
		verb, route, _ := strings.Cut(strings.TrimSuffix(r.Pattern, "{$}"), " ")
		item := house.api.OpenAPI().Paths[route]
		if item == nil || verb != http.MethodGet && verb != http.MethodPost {
			t.Fatalf("%s is not in the description", r.Pattern)
		}
		op := item.Get
		if verb == http.MethodPost {
			op = item.Post
		}
		if !slices.Contains([]int{404, 405, 421, 403}, w.Code) && op.Responses[http.StatusText(w.Code)] == nil && op.Responses["default"] == nil {
			t.Errorf("%s: status %d is not described", r.Pattern, w.Code)
		}
	})
}
