package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the answer is not %s (rewrite it with -update if it should be so):\n%s", path, got)
	}
}

func TestRunGolden(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	w := h.ask(request("GET", "/api/v1/runs/44", ""))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "run.json", pretty.Bytes())
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for target, policy := range map[string]string{
		"/healthz": "default-src 'none'; frame-ancestors 'none'; sandbox", "/api/v1/runs": "default-src 'none'; frame-ancestors 'none'; sandbox",
		"/nowhere": "default-src 'none'; frame-ancestors 'none'; sandbox", "/": "style-src 'sha256-",
	} {
		got := h.ask(request("GET", target, "")).Header()
		if got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Cache-Control") != "no-store" || got.Get("Referrer-Policy") != "no-referrer" ||
			!strings.Contains(got.Get("Content-Security-Policy"), policy) || strings.Contains(got.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: headers %v", target, got)
		}
		if len(got.Values("Link")) > 0 {
			t.Errorf("%s: a link that Huma made: %v", target, got)
		}
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		result   intake.Result
		status   int
		location string
		body     string
	}{
		"accepted":            {intake.Result{Verdict: record.Accepted, EventID: 17, Runs: 2}, 202, "/api/v1/events/17", `{"event":"/api/v1/events/17","id":"17","verdict":"accepted","runs":2}`},
		"accepted, unmatched": {intake.Result{Verdict: record.Accepted, EventID: 17}, 202, "/api/v1/events/17", `{"event":"/api/v1/events/17","id":"17","verdict":"accepted","runs":0}`},
		"duplicate":           {intake.Result{Verdict: record.Duplicate, EventID: 3}, 200, "", `{"event":"/api/v1/events/3","id":"3","verdict":"duplicate"}`},
		"evidence":            {intake.Result{Verdict: record.Evidence}, 200, "", `{"verdict":"evidence"}`},
		"ignored":             {intake.Result{Verdict: record.Ignored, Reason: "a comment was edited"}, 200, "", `{"verdict":"ignored","reason":"a comment was edited"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.result = c.result
			r := request("POST", "/hooks/splunk/s3cret%2F%20x", `{"sid":"1"}`)
			r.Header.Del("Authorization") // the source authenticates, not the API
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			w := h.ask(r)
			if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.body || w.Header().Get("Location") != c.location || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			got := h.received[0]
			if got.Source != "splunk" || got.Key != "s3cret/ x" || h.bodies[0] != `{"sid":"1"}` || got.ContentLength != 11 || got.Remote.String() != "192.0.2.7" || got.Loopback {
				t.Errorf("the intake got %+v %q", got, h.bodies[0])
			}
			if strings.Contains(h.log.String(), "s3cret") {
				t.Error("the secret in the path is in the log")
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remote string
		proxy  bool
		want   bool
	}{
		"IPv4": {"127.0.0.1:99", false, true}, "IPv6": {"[::1]:99", false, true}, "IPv4 in IPv6": {"[::ffff:127.0.0.1]:99", false, true},
		"elsewhere": {"192.0.2.1:99", false, false}, "no address": {"@", false, false}, "behind a proxy": {"127.0.0.1:99", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(o *Options) { o.BehindProxy = c.proxy })
			r := request("POST", "/hooks/splunk", "{}")
			r.RemoteAddr = c.remote
			h.ask(r)
			if h.received[0].Loopback != c.want {
				t.Errorf("the intake is told loopback = %v, want %v", h.received[0].Loopback, c.want)
			}
			for _, target := range []string{"/status", "/metrics"} {
				r := header(request("GET", target, ""), "Authorization", "")
				r.RemoteAddr = c.remote
				if got := h.ask(r).Code == http.StatusOK; got != c.want {
					t.Errorf("%s open: %v, want %v", target, got, c.want)
				}
			}
			r = header(request("GET", "/api/v1/runs", ""), "Authorization", "")
			r.RemoteAddr = c.remote
			if w := h.ask(r); w.Code != http.StatusUnauthorized {
				t.Errorf("the API without a token: %d", w.Code)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "funnel.example.com", "funnel.example.com:443", "listen.example.com"} {
		r := request("GET", "/healthz", "")
		r.Host = host
		if w := h.ask(r); w.Code != http.StatusOK {
			t.Errorf("host %s: %d", host, w.Code)
		}
	}
	r := request("GET", "/healthz", "")
	r.Host = "10.1.2.3:8080"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8080})))
	if w := h.ask(r); w.Code != http.StatusOK {
		t.Errorf("the address that the connection came in on: %d", w.Code)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	var page Runs
	h.get(t, "/api/v1/runs?limit=2&state=failed&playbook=open_ticket&event=17&before=100", &page)
	if len(page.Runs) != 2 || page.Next != "43" || page.Runs[1].Step != "a" || !slices.Equal(page.Runs[1].Steps, []string{"a", "b"}) {
		t.Errorf("runs %+v, next %q; want two and 43", page.Runs, page.Next)
	}
	if f := h.filter; f.State != record.Failed || f.Playbook != "open_ticket" || f.Event != 17 || f.Before != 100 || f.Limit != 3 {
		t.Errorf("the store is asked for %+v", f)
	}
	page = Runs{}
	h.get(t, "/api/v1/runs", &page)
	if len(page.Runs) != 3 || page.Next != "" || h.filter.Limit != 51 {
		t.Errorf("%d runs, next %q, limit %d; want 3, none, 51", len(page.Runs), page.Next, h.filter.Limit)
	}
	var events Events
	h.get(t, "/api/v1/events", &events)
	var deliveries Deliveries
	h.get(t, "/api/v1/deliveries?source=splunk", &deliveries)
	if len(events.Events) != 1 || events.Events[0].ID != "17" || len(deliveries.Deliveries) != 1 || deliveries.Deliveries[0].Event != "17" {
		t.Errorf("events %+v, deliveries %+v", events, deliveries)
	}
	var event EventDetail
	h.get(t, "/api/v1/events/17", &event)
	if len(event.Runs) != 3 || string(event.Data) != `{"sid":"1"}` {
		t.Errorf("event %+v", event)
	}
	h.runs, h.events, h.arrived = nil, nil, nil
	for _, target := range []string{"runs", "events", "deliveries"} {
		if w := h.ask(request("GET", "/api/v1/"+target, "")); strings.TrimSpace(w.Body.String()) != `{"`+target+`":[]}` {
			t.Errorf("no %s: %s, want an empty list", target, w.Body)
		}
	}
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for target, want := range map[string]string{
		"/api/v1/playbooks":    `{"playbooks":[{"name":"answer","summary":"Answers.","trigger":"echo.heard","saves_seconds":90}]}`,
		"/api/v1/integrations": `{"integrations":[{"name":"echo","summary":"Echoes.","actions":[{"id":"echo.say_text","summary":"Say a text.","effect":"writes","settled_by":"upsert"},{"id":"echo.block_host","summary":"Block a host.","effect":"contains","settled_by":"no_evidence"},{"id":"echo.hear_again","summary":"Hear a text again.","effect":"reads"}],"triggers":[{"id":"echo.heard","summary":"Somebody said something."}]}]}`,
	} {
		if w := h.ask(request("GET", target, "")); strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	for _, r := range []*http.Request{
		request("POST", "/api/v1/runs/43/retry", ""), request("POST", "/api/v1/runs/43/retry", "{}"), request("POST", "/api/v1/runs/44/skip", `{"step":"report"}`),
		header(request("POST", "/api/v1/runs/44/cancel", ""), "Origin", "https://funnel.example.com"),
	} {
		w := h.ask(r)
		var run RunView
		if err := json.Unmarshal(w.Body.Bytes(), &run); w.Code != http.StatusOK || err != nil || run.ID == "" {
			t.Errorf("%s: %d %s", r.URL.Path, w.Code, w.Body)
		}
	}
	if want := []string{"retry 43", "retry 43", "skip 44 report", "cancel 44"}; !slices.Equal(h.done, want) {
		t.Errorf("done %q, want %q", h.done, want)
	}
	if !strings.Contains(h.log.String(), "who=admin") {
		t.Errorf("the log does not say who it was: %s", &h.log)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	nobody := func(target string) *httptest.ResponseRecorder {
		return h.ask(header(request("GET", target, ""), "Authorization", ""))
	}
	if w := nobody("/healthz"); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"status":"ok"}` {
		t.Errorf("healthz: %d %s", w.Code, w.Body)
	}
	if w := nobody("/readyz"); w.Code != 200 {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	h.wrong = []string{"the disk is full", "the database does not answer"}
	w := nobody("/readyz")
	if p := wantProblem(t, w, 503); p.Detail != "not ready: the disk is full; the database does not answer" || w.Header().Get("Retry-After") == "" {
		t.Errorf("readyz: %s", w.Body)
	}
	w = h.ask(request("GET", "/status", ""))
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "status.json", pretty.Bytes())
	h.Metrics.Denied("api")
	if w := h.ask(request("GET", "/metrics", "")); !strings.Contains(w.Body.String(), `funnel_denied_total{what="api"} 1`) {
		t.Errorf("metrics: %d %s", w.Code, w.Body)
	}
	if w := nobody("/"); w.Code != 200 || !strings.Contains(w.Body.String(), "/openapi.json") {
		t.Errorf("index: %d", w.Code)
	}
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// The description lists exactly the routes that there are, each answers, and it
// is good OpenAPI.
func TestSpecIsTheMux(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	w := h.ask(header(request("GET", "/openapi.json", ""), "Authorization", ""))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	var described []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described = append(described, strings.TrimSuffix(method+" "+path, "{$}"))
			if op.Summary == "" || op.OperationID == "" || op.Responses.Default() == nil {
				t.Errorf("%s %s has no summary, id or problem", method, path)
			}
			r := request(method, placeholder.ReplaceAllString(path, "44"), "")
			if got := h.ask(r).Code; got == 405 || got >= 500 {
				t.Errorf("%s %s: %d", method, path, got)
			}
			r.Header.Del("Authorization")
			if guarded := op.Security != nil && len((*op.Security)[0]) > 0; (h.ask(r).Code == http.StatusUnauthorized) != guarded {
				t.Errorf("%s %s: described as guarded: %v, but it is not so", method, path, guarded)
			}
		}
	}
	var routes []string
	for pattern := range h.routes {
		routes = append(routes, strings.TrimSuffix(pattern, "{$}"))
	}
	slices.Sort(routes)
	slices.Sort(described)
	if !slices.Equal(routes, described) {
		t.Errorf("routes    %q\ndescribed %q", routes, described)
	}
	for name := range doc.Components.Schemas {
		if !strings.HasPrefix(name, "httpapi.") {
			t.Errorf("schema %s is not qualified by its package", name)
		}
	}
	for _, foreign := range []string{"huma", "$schema", "additionalProp1", "example.com/errors", "https://"} {
		if strings.Contains(w.Body.String(), foreign) {
			t.Errorf("the description holds %q", foreign)
		}
	}
	// Nothing answers but what is listed.
	for _, path := range []string{"/docs/", "/docs/index.html", "/openapi", "/openapi.yaml", "/openapi-3.0.json", "/schemas/RunView.json", "/debug/pprof/", "/api", "/api/v1", "/favicon.ico"} {
		if got := h.ask(request("GET", path, "")).Code; got != http.StatusNotFound {
			t.Errorf("GET %s: %d, want 404", path, got)
		}
	}
	if n := len(slices.Collect(maps.Keys(h.routes))); n < 18 {
		t.Errorf("only %d routes", n)
	}
}
