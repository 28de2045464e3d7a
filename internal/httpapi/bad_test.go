package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
)

func header(r *http.Request, pairs ...string) *http.Request {
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			r.Header.Del(pairs[i])
		}
	}
	return r
}

// Whatever is wrong with a request, the answer is a problem that echoes nothing
// of it, and nothing happens.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	hosted := func(r *http.Request, host string) *http.Request { r.Host = host; return r }
	skip := func(body string) *http.Request { return request("POST", "/api/v1/runs/44/skip", body) }
	for name, c := range map[string]struct {
		r    *http.Request
		want int
		say  string // in the body
	}{
		"no such address":            {request("GET", "/"+canary, ""), 404, ""},
		"no such address of the API": {request("GET", "/api/v1/"+canary, ""), 404, ""},
		"slash at the end":           {request("GET", "/api/v1/runs/", ""), 404, ""},
		"two slashes":                {request("GET", "//api/v1/runs", ""), 404, ""},
		"dots":                       {request("GET", "/api/v1/"+canary+"/../runs", ""), 404, ""},
		"dots of a hook":             {request("POST", "/hooks/"+canary+"/../splunk", "{}"), 404, ""},
		"escaped slash":              {request("GET", "/api%2fv1/runs", ""), 404, ""},
		"hook too deep":              {request("POST", "/hooks/splunk/"+canary+"/more", "{}"), 404, ""},
		"hook without a source":      {request("POST", "/hooks/", "{}"), 404, ""},
		"method of a run":            {request("DELETE", "/api/v1/runs/44", ""), 405, ""},
		"method of a hook":           {request("GET", "/hooks/splunk/"+canary, ""), 405, ""},
		"PUT of a hook":              {request("PUT", "/hooks/splunk", canary), 405, ""},
		"TRACE":                      {header(request("TRACE", "/healthz", ""), "X-A", canary), 405, ""},
		"made-up method":             {request(canary, "/healthz", ""), 405, ""},
		"retry by GET":               {request("GET", "/api/v1/runs/43/retry", ""), 405, ""},

		"another host":         {hosted(request("GET", "/healthz", ""), canary+".test"), 421, "public_url"},
		"another host's API":   {hosted(request("GET", "/api/v1/runs", ""), "evil.test:8080"), 421, ""},
		"another host's hook":  {hosted(request("POST", "/hooks/splunk", "{}"), "evil.test"), 421, ""},
		"no host":              {hosted(request("GET", "/healthz", ""), ""), 421, ""},
		"localhost in front":   {hosted(request("GET", "/healthz", ""), "localhost.evil.test"), 421, ""},
		"another address":      {hosted(request("GET", "/healthz", ""), "203.0.113.9"), 421, ""},
		"host with a userinfo": {hosted(request("GET", "/healthz", ""), "localhost@evil.test"), 421, ""},

		"no token":             {header(request("GET", "/api/v1/runs", ""), "Authorization", ""), 401, "Authorization"},
		"wrong token":          {header(request("GET", "/api/v1/runs/44", ""), "Authorization", "Bearer "+canary), 401, ""},
		"wrong token, POST":    {header(request("POST", "/api/v1/runs/43/retry", ""), "Authorization", "Bearer "+canary), 401, ""},
		"no token for status":  {header(request("GET", "/status", ""), "Authorization", ""), 401, ""},
		"no token for metrics": {header(request("GET", "/metrics", ""), "Authorization", ""), 401, ""},
		"forwarded loopback":   {header(request("GET", "/status", ""), "Authorization", "", "X-Forwarded-For", "127.0.0.1", "Forwarded", "for=127.0.0.1"), 401, ""},

		"another site's page":     {header(request("POST", "/api/v1/runs/43/retry", ""), "Sec-Fetch-Site", "cross-site"), 403, ""},
		"another site's origin":   {header(request("POST", "/api/v1/runs/43/retry", ""), "Origin", "https://"+canary+".test"), 403, ""},
		"another site's old page": {header(request("POST", "/api/v1/runs/43/cancel", ""), "Origin", "null"), 403, ""},

		"no such run":               {request("GET", "/api/v1/runs/4711", ""), 404, ""},
		"retry of no such run":      {request("POST", "/api/v1/runs/4711/retry", ""), 404, ""},
		"no such event":             {request("GET", "/api/v1/events/4711", ""), 404, ""},
		"id a word":                 {request("GET", "/api/v1/runs/"+canary, ""), 422, "path.id"},
		"id zero":                   {request("GET", "/api/v1/runs/0", ""), 422, ""},
		"id negative":               {request("GET", "/api/v1/runs/-1", ""), 422, ""},
		"id too large":              {request("GET", "/api/v1/runs/9999999999999999999", ""), 404, ""},
		"id with more behind":       {request("GET", "/api/v1/runs/44;"+canary, ""), 422, ""},
		"limit too large":           {request("GET", "/api/v1/runs?limit=201", ""), 422, "query.limit"},
		"limit zero":                {request("GET", "/api/v1/events?limit=0", ""), 422, "query.limit"},
		"limit a word":              {request("GET", "/api/v1/deliveries?limit="+canary, ""), 422, "query.limit"},
		"limit huge":                {request("GET", "/api/v1/deliveries?limit=99999999999999999999", ""), 422, ""},
		"before a word":             {request("GET", "/api/v1/runs?before="+canary, ""), 422, "query.before"},
		"before too large":          {request("GET", "/api/v1/runs?before=9999999999999999999", ""), 422, "query.before"},
		"event too large":           {request("GET", "/api/v1/runs?event=9999999999999999999", ""), 422, "query.event"},
		"state unknown":             {request("GET", "/api/v1/runs?state="+canary, ""), 422, "query.state"},
		"disposition unknown":       {request("GET", "/api/v1/events?disposition="+canary, ""), 422, ""},
		"playbook too long":         {request("GET", "/api/v1/runs?playbook="+strings.Repeat(canary, 10), ""), 422, ""},
		"parameter unknown":         {request("GET", "/api/v1/runs?"+canary+"=1", ""), 422, `"query"`},
		"parameter in another case": {request("GET", "/api/v1/runs?State=failed", ""), 422, ""},
		"parameter twice":           {request("GET", "/api/v1/runs?state=failed&state="+canary, ""), 400, "more than once"},
		"query with a semicolon":    {request("GET", "/api/v1/runs?state=failed;before="+canary, ""), 400, "query"},
		"query badly escaped":       {request("GET", "/api/v1/runs?state=%zz"+canary, ""), 400, ""},

		"skip without a body":      {skip(""), 415, ""},
		"skip with an empty body":  {header(skip(""), "Content-Type", "application/json"), 400, ""},
		"skip without a step":      {skip(`{}`), 422, "step"},
		"step empty":               {skip(`{"step":""}`), 422, "body.step"},
		"step a number":            {skip(`{"step":7}`), 422, `"/step"`},
		"step null":                {skip(`{"step":null}`), 422, ""},
		"step too long":            {skip(`{"step":"` + strings.Repeat(canary, 200) + `"}`), 422, ""},
		"step unknown":             {skip(`{"step":"` + canary + `"}`), 404, "body.step"},
		"key in another case":      {skip(`{"Step":"report"}`), 422, ""},
		"key twice":                {skip(`{"step":"report","step":"` + canary + `"}`), 400, ""},
		"key twice in two cases":   {skip(`{"step":"report","STEP":"` + canary + `"}`), 400, ""},
		"server's own field":       {skip(`{"step":"report","state":"` + canary + `"}`), 422, "/state"},
		"not JSON":                 {skip(canary), 400, ""},
		"cut short":                {skip(`{"step":"` + canary), 400, ""},
		"more behind":              {skip(`{"step":"report"} "` + canary + `"`), 400, ""},
		"a list":                   {skip(`[{"step":"report"}]`), 422, ""},
		"bad UTF-8":                {skip("{\"step\":\"" + canary + "\xff\"}"), 400, ""},
		"deep":                     {skip(strings.Repeat("[", 10_000)), 422, ""},
		"large":                    {skip(`{"step":"` + strings.Repeat(canary, 20_000) + `"}`), 413, ""},
		"text":                     {header(skip(`{"step":"report"}`), "Content-Type", "text/plain"), 415, ""},
		"a form":                   {header(skip(`{"step":"report"}`), "Content-Type", "application/x-www-form-urlencoded"), 415, ""},
		"a suffix":                 {header(skip(`{"step":"report"}`), "Content-Type", "application/"+canary+"+json"), 415, ""},
		"another charset":          {header(skip(`{"step":"report"}`), "Content-Type", "application/json; charset="+canary), 415, ""},
		"no media type":            {header(skip(`{"step":"report"}`), "Content-Type", ""), 415, ""},
		"compressed":               {header(skip(`{"step":"report"}`), "Content-Encoding", "gzip"), 415, ""},
		"retry with a form":        {header(request("POST", "/api/v1/runs/43/retry", "a=b"), "Content-Type", "application/x-www-form-urlencoded"), 415, ""},
		"retry with a field":       {request("POST", "/api/v1/runs/43/retry", `{"state":"`+canary+`"}`), 422, ""},
		"cancel with a large body": {request("POST", "/api/v1/runs/43/cancel", `{"a":"`+strings.Repeat(canary, 20_000)+`"}`), 413, ""},
		"body breaks off": {func() *http.Request {
			r := skip("x")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"step":`), brokenReader{}))
			return r
		}(), 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.fill()
			w := h.ask(c.r)
			wantProblem(t, w, c.want)
			if !strings.Contains(w.Body.String(), c.say) {
				t.Errorf("the problem does not say %q: %s", c.say, w.Body)
			}
			if len(h.done) > 0 || len(h.received) > 0 {
				t.Errorf("something happened: %v %v", h.done, h.received)
			}
			switch c.want {
			case 401:
				if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") || h.denied != 1 {
					t.Errorf("WWW-Authenticate %q, %d denials counted; want Bearer and 1", w.Header().Get("WWW-Authenticate"), h.denied)
				}
			case 405:
				if w.Header().Get("Allow") == "" {
					t.Error("no Allow header (RFC 9110 section 15.5.6)")
				}
			}
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTooManyFailures(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.limited = 1500 * time.Millisecond
	w := h.ask(header(request("GET", "/api/v1/runs", ""), "Authorization", "Bearer "+canary))
	wantProblem(t, w, http.StatusTooManyRequests)
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want 2", got)
	}
	if w := h.ask(request("GET", "/api/v1/runs", "")); w.Code != http.StatusOK {
		t.Errorf("a right token is refused for others' failures: %d", w.Code)
	}
}

// What goes wrong inside is told by an id only.
func TestFaultsTellNothing(t *testing.T) {
	t.Parallel()
	secret := "/var/lib/funnel: SELECT * FROM run; " + canary
	for name, harm := range map[string]func(*house){
		"an error":           func(h *house) { h.fail = errors.New(secret) },
		"a panic":            func(h *house) { h.panic = secret },
		"a panic of errors":  func(h *house) { h.panic = errors.New(secret) },
		"a nil map's panic":  func(h *house) { h.panic = &net.OpError{Op: canary, Err: errors.New(secret)} },
		"an error of intake": func(h *house) { h.refuse = errors.New(secret) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.fill()
			harm(h)
			targets := []*http.Request{request("POST", "/hooks/splunk", "{}")}
			if h.refuse == nil {
				targets = []*http.Request{
					request("GET", "/api/v1/runs", ""), request("GET", "/api/v1/runs/44", ""), request("GET", "/api/v1/events", ""), request("GET", "/api/v1/deliveries", ""),
					request("GET", "/status", ""), request("POST", "/api/v1/runs/43/retry", ""),
				}
			}
			for _, r := range targets {
				h.log.Reset()
				p := wantProblem(t, h.ask(r), http.StatusInternalServerError)
				if p.ID == "" || !strings.Contains(h.log.String(), p.ID) || !strings.Contains(h.log.String(), canary) {
					t.Errorf("%s: the log does not tell what happened under the id %q: %s", r.URL.Path, p.ID, &h.log)
				}
			}
		})
	}
}

func TestControlErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"state":    {record.ErrState, 409},
		"busy":     {engine.ErrBusy, 409},
		"gone":     {record.ErrNotFound, 404},
		"deadline": {context.DeadlineExceeded, 408},
		"other":    {errors.New(canary), 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.fill()
			h.control = c.err
			for _, r := range []*http.Request{
				request("POST", "/api/v1/runs/42/retry", ""), request("POST", "/api/v1/runs/42/cancel", ""), request("POST", "/api/v1/runs/44/skip", `{"step":"report"}`),
			} {
				wantProblem(t, h.ask(r), c.want)
			}
		})
	}
}

// A panic after an answer has begun drops the connection, so that nobody takes
// half of it for the whole; so does http.ErrAbortHandler.
func TestPanicAfterBegin(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"after a byte":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{")); panic(canary) },
		"after a status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(canary) },
		"deliberate":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"caller has gone": func(_ http.ResponseWriter, r *http.Request) { panic(canary) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			r := request("GET", "/healthz", "")
			if name == "caller has gone" {
				ctx, cancel := context.WithCancel(r.Context())
				cancel()
				r = r.WithContext(ctx)
			}
			defer func() {
				if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // the very value
					t.Errorf("recovered %v, want http.ErrAbortHandler", v)
				}
			}()
			h.fence(handler).ServeHTTP(httptest.NewRecorder(), r)
			t.Error("the handler returned")
		})
	}
}

func TestWriterUnwraps(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	server := httptest.NewServer(h.fence(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Now().Add(time.Minute)), c.Flush()); err != nil {
			t.Errorf("deadlines do not reach the connection: %v", err)
		}
	})))
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// Refusals of the intake keep what they say about the body's place.
func TestRefusal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.refuse = &intake.Refusal{Status: 422, Title: "Body not acceptable", Detail: "a string is expected here", Pointer: "/result/user", Line: 3, Column: 9}
	p := wantProblem(t, h.ask(request("POST", "/hooks/splunk", `{"a":"`+canary+`"}`)), 422)
	if len(p.Faults) != 1 || p.Faults[0] != (Fault{Location: "body", Message: "a string is expected here", Pointer: "/result/user", Line: 3, Column: 9}) {
		t.Errorf("faults %+v", p.Faults)
	}
	h.refuse = &intake.Refusal{Status: 503, Title: "Busy", Detail: "send it again", RetryAfter: 10 * time.Second}
	w := h.ask(request("POST", "/hooks/splunk", `{}`))
	if p := wantProblem(t, w, 503); p.Faults != nil || w.Header().Get("Retry-After") != "10" {
		t.Errorf("faults %v, Retry-After %q; want none and 10", p.Faults, w.Header().Get("Retry-After"))
	}
}

// Whatever stands in path, query, header and body of any route, no answer has it.
func TestNoEchoAnywhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	values := url.Values{}
	for _, name := range []string{"state", "playbook", "event", "before", "limit", "source", "disposition", "x"} {
		values.Set(name, canary)
	}
	for pattern := range h.routes {
		method, path, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
		for _, p := range []string{
			path, strings.NewReplacer("{id}", canary, "{source}", canary, "{key}", canary).Replace(path), strings.NewReplacer("{id}", "44", "{source}", "s", "{key}", "k").Replace(path),
		} {
			for _, query := range []string{"", values.Encode(), "playbook=" + canary, "source=" + canary, canary} {
				for _, body := range []string{"", canary, `{"step":"` + canary + `"}`, `"` + canary + `"`} {
					for _, m := range []string{method, "PATCH"} {
						r := request(m, strings.NewReplacer("{", "%7B", "}", "%7D").Replace(p)+"?"+query, body)
						r.Header.Set("X-Canary", canary)
						r.Header.Set("User-Agent", canary)
						r.Header.Set("Accept", canary)
						r.Header.Set("X-Request-Id", canary)
						noEcho(t, h.ask(r))
						r.Header.Set("Authorization", "Bearer "+canary)
						noEcho(t, h.ask(r))
					}
				}
			}
		}
	}
}
