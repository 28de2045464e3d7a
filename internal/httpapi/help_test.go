package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/internal/upstream"
)

// What the application joins fits.
var (
	_ Intake  = (*intake.Intake)(nil)
	_ Reader  = (*store.Store)(nil)
	_ Control = (*engine.Engine)(nil)
	_ Tokens  = (*auth.Tokens)(nil)
	_ Caller  = (*engine.Engine)(nil)
)

const (
	goodToken = "fnl_good"
	canary    = "cAnArY7"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// house is a server on fakes that note what reached them.
type house struct {
	*server
	handler http.Handler
	log     bytes.Buffer

	mu       sync.Mutex
	received []intake.Request
	bodies   []string
	done     []string // what was done to runs
	denied   int

	result  intake.Result
	refuse  error
	runs    []record.Run
	events  []record.Event
	steps   []record.Step
	arrived []record.Delivery
	filter  store.RunFilter
	caused  []record.Event

	eventFilter    store.EventFilter
	deliveryFilter store.DeliveryFilter

	fail    error // of every read
	panic   any   // of every read
	control error
	wrong   []string
	health  Status
	limited time.Duration

	calls    []engine.Call
	called   record.Run // what a call's run becomes
	uncalled error
	draining bool
}

func newHouse(t *testing.T, change ...func(*Options)) *house {
	t.Helper()
	h := &house{result: intake.Result{Verdict: record.Accepted, EventID: 17, Runs: 2}}
	o := Options{
		Intake: h, Reader: h, Control: h, Caller: h, Tokens: h, Registry: registry(), Metrics: metrics.New(),
		Status: func(context.Context) Status { return h.health }, Ready: func(context.Context) []string { return h.wrong },
		Version: "1.2.3", PublicURL: "https://funnel.example.com", AllowedHosts: []string{"listen.example.com:8080"},
		Clock: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(&h.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	h.server = build(o)
	h.handler = h.server.handler()
	return h
}

type echoClient struct{}

type echoInput struct {
	Text string `json:"text" example:"hello" maxLength:"20"`
}

type echoBlock struct {
	Host string `json:"host" example:"WS-0142"`
}

func (echoClient) Block(context.Context, echoBlock) (echoBlock, error) { return echoBlock{}, nil }

func (echoClient) Say(context.Context, echoInput) (echoInput, error) { return echoInput{}, nil }

func registry() *funnel.Registry {
	say := funnel.NewAction("echo.say_text", "Say a text.", funnel.Writes, echoClient.Say, funnel.Upsert)
	block := funnel.NewAction("echo.block_host", "Block a host.", funnel.Contains, echoClient.Block, funnel.NoEvidence)
	hear := funnel.NewAction("echo.hear_again", "Hear a text again.", funnel.Reads, echoClient.Say,
		funnel.Cached(func(in echoInput) string { return in.Text }, func(echoInput) bool { return true }))
	heard := funnel.NewTrigger("echo.heard", "Somebody said something.", func(funnel.Request) ([]funnel.Arrival[echoInput], error) { return nil, nil })
	connect := funnel.Connect(func(context.Context, funnel.Env, struct{}) (echoClient, error) { return echoClient{}, nil })
	return funnel.NewRegistry().
		Add(funnel.Integration{Name: "echo", Summary: "Echoes.", Connect: connect, Actions: []funnel.AnyAction{say, block, hear}, Triggers: []funnel.AnyTrigger{heard}}).
		AddPlaybooks(funnel.NewPlaybook("answer", "Answers.", heard, func(*funnel.Run, echoInput) error { return nil }, funnel.Saves(90*time.Second)))
}

func (h *house) Repeated(string) bool { return false }

func (h *house) Receive(_ context.Context, r intake.Request) (intake.Result, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return intake.Result{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.received, h.bodies = append(h.received, r), append(h.bodies, string(body))
	return h.result, h.refuse
}

func (h *house) check() error {
	if h.panic != nil {
		panic(h.panic)
	}
	return h.fail
}

func (h *house) Run(_ context.Context, id int64) (record.Run, error) {
	for _, r := range h.runs {
		if r.ID == id {
			return r, h.check()
		}
	}
	if err := h.check(); err != nil {
		return record.Run{}, err
	}
	return record.Run{}, record.ErrNotFound
}

func (h *house) Runs(_ context.Context, f store.RunFilter) ([]record.Run, error) {
	h.mu.Lock()
	h.filter = f
	h.mu.Unlock()
	return h.runs[:min(len(h.runs), f.Limit)], h.check()
}

func (h *house) Steps(context.Context, int64) ([]record.Step, error) { return h.steps, h.check() }

func (h *house) Event(_ context.Context, id int64) (record.Event, error) {
	for _, e := range h.events {
		if e.ID == id {
			return e, h.check()
		}
	}
	return record.Event{}, record.ErrNotFound
}

func (h *house) Events(_ context.Context, f store.EventFilter) ([]record.Event, error) {
	h.mu.Lock()
	h.eventFilter = f
	h.mu.Unlock()
	if f.CauseEvent != 0 {
		return h.caused, h.check()
	}
	return h.events[:min(len(h.events), f.Limit)], h.check()
}

func (h *house) Deliveries(_ context.Context, f store.DeliveryFilter) ([]record.Delivery, error) {
	h.mu.Lock()
	h.deliveryFilter = f
	h.mu.Unlock()
	return h.arrived[:min(len(h.arrived), f.Limit)], h.check()
}

func (h *house) Delivery(_ context.Context, id int64) (record.Delivery, error) {
	for _, d := range h.arrived {
		if d.ID == id {
			return d, h.check()
		}
	}
	return record.Delivery{}, record.ErrNotFound
}

func (h *house) Summarize(context.Context) (store.Summary, error) {
	return store.Summary{
		Runs:   map[record.State]int{record.Queued: 3, record.Waiting: 2, record.Failed: 1},
		Events: map[record.Disposition]int{record.Unmatched: 4}, OldestWaiting: noon.Add(-time.Hour).UnixMicro(),
	}, h.check()
}

func (h *house) WaitCounts(context.Context) (map[string]int, error) {
	return map[string]int{"connection:jira": 2, "answer:virustotal/aa": 3, "answer:virustotal/bb": 1, "answer:virustotal2/aa": 5}, h.check()
}

func (h *house) do(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.control == nil {
		h.done = append(h.done, what)
	}
	return h.control
}

func (h *house) Retry(run int64) error             { return h.do("retry " + formatID(run)) }
func (h *house) Skip(run int64, path string) error { return h.do("skip " + formatID(run) + " " + path) }
func (h *house) Cancel(run int64) error            { return h.do("cancel " + formatID(run)) }

func (h *house) Call(c engine.Call) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.uncalled != nil {
		return 0, h.uncalled
	}
	h.calls = append(h.calls, c)
	h.runs = append(h.runs, h.called)
	return h.called.ID, nil
}

func (h *house) Draining() bool { return h.draining }

func (h *house) Replay(_ context.Context, event int64, playbook string) ([]int64, error) {
	if err := h.do("replay " + formatID(event) + " " + playbook); err != nil {
		return nil, err
	}
	return []int64{h.runs[0].ID}, nil
}

func (h *house) Verify(header http.Header) (auth.Principal, bool) {
	return auth.Principal{Name: "admin", Role: "admin"}, header.Get("Authorization") == "Bearer "+goodToken
}

func (h *house) Deny(netip.Addr) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denied++
	return h.limited
}

// request is a request from another machine with a good token and a good host.
func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost:8080", "192.0.2.7:4711"
	r.Header.Set("Authorization", "Bearer "+goodToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	return r
}

func (h *house) ask(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

func (h *house) get(t *testing.T, target string, into any) {
	t.Helper()
	w := h.ask(request("GET", target, ""))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
}

// wantProblem checks that the answer is a problem of the status, in full form,
// and echoes nothing.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int) Problem {
	t.Helper()
	var p Problem
	if w.Code != status {
		t.Fatalf("status %d %s, want %d", w.Code, w.Body, status)
	}
	if got := w.Header().Get("Content-Type"); got != problemType {
		t.Errorf("Content-Type %q, want %s", got, problemType)
	}
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("the body is no problem: %v: %s", err, w.Body)
	}
	if p.Status != status || p.Title == "" || p.Detail == "" {
		t.Errorf("the problem is not complete: %s", w.Body)
	}
	noEcho(t, w)
	return p
}

func noEcho(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if strings.Contains(w.Body.String(), canary) {
		t.Errorf("the answer echoes the request: %s", w.Body)
	}
	for name, values := range w.Header() {
		if strings.Contains(strings.Join(values, ","), canary) {
			t.Errorf("the header %s echoes the request", name)
		}
	}
}

// fill puts a failed, a waiting and a succeeded run into the house.
func (h *house) fill() {
	h.health = Status{StartedAt: noon.Add(-time.Minute), Config: ConfigStatus{LoadedAt: noon.Add(-time.Minute), Error: "funnel.yaml:3:9: unknown key", ErrorAt: noon, NeedsRestart: []string{"server"}}, Connections: []Connection{
		{State: upstream.State{Connection: "jira", Breaker: "closed", LastSuccess: noon}},
		{State: upstream.State{Connection: "virustotal", Breaker: "closed", Blocked: "the daily quota is used up", BlockedUntil: noon.Add(12 * time.Hour), QuotaLimit: 500, LastError: "asked to wait", LastErrorAt: noon}},
	}}
	h.events = []record.Event{{ID: 17, Source: "splunk", Trigger: "splunk.alert", ReceivedAt: noon.Add(-5 * time.Minute), Key: "splunk:1", Data: []byte(`{"sid":"1"}`), Disposition: record.Matched}}
	h.runs = []record.Run{
		{ID: 44, EventID: 17, Kind: record.Playbook, Playbook: "enrich_file", State: record.Waiting, CreatedAt: noon.Add(-4 * time.Minute), UpdatedAt: noon.Add(-3 * time.Minute), WaitOn: record.WaitConnection("virustotal"), WaitSince: noon.Add(-3 * time.Minute), Step: "report", Why: "connection virustotal takes no calls"},
		{ID: 43, EventID: 17, Kind: record.Playbook, Playbook: "open_ticket", State: record.Failed, CreatedAt: noon.Add(-4 * time.Minute), UpdatedAt: noon, FinishedAt: noon, Step: "a\nb", Code: "unauthorized", Why: "the credential is refused"},
		{ID: 42, EventID: 17, Kind: record.Playbook, Playbook: "open_ticket", State: record.Succeeded, CreatedAt: noon.Add(-4 * time.Minute), UpdatedAt: noon, FinishedAt: noon},
	}
	h.steps = []record.Step{
		{RunID: 44, Path: "settings", Seq: 1, Action: "record", State: record.Succeeded, Outcome: []byte(`{"labels":["soc"]}`), StartedAt: noon.Add(-4 * time.Minute), FinishedAt: noon.Add(-4*time.Minute + 1500*time.Millisecond)},
		{RunID: 44, Path: "report", Seq: 2, Action: "virustotal.file_report", Connection: "virustotal", State: record.Waiting, Input: []byte(`{"hash":"d41d8cd98f00b204e9800998ecf8427e"}`), Error: "the daily quota is used up", Code: "throttled", Attempts: 1, StartedAt: noon.Add(-3 * time.Minute)},
	}
	h.arrived = []record.Delivery{{ID: 99, Source: "splunk", ReceivedAt: noon, Verdict: record.Accepted, EventID: 17, Bytes: 2048}}
}
