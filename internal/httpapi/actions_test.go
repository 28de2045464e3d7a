package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

const sayText = "/api/v1/actions/echo.say_text"

func succeeded(h *house) {
	h.called = record.Run{ID: 42, Kind: record.Call, Playbook: "echo.say_text", State: record.Succeeded, CreatedAt: noon, UpdatedAt: noon, FinishedAt: noon}
	h.steps = []record.Step{{RunID: 42, Path: engine.CallStep, Action: "echo.say_text", State: record.Succeeded, Outcome: []byte(`{"text":"hello"}`)}}
}

func TestCallReturnsTheOutcome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	succeeded(h)
	r := request("POST", sayText+"?connection=echo-1&wait=5", `{"text": "hello"}`)
	r.Header.Set("Idempotency-Key", "mine")
	w := h.ask(r)
	if w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"text":"hello"}` || w.Header().Get("Location") != "/api/v1/runs/42" {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
	if len(h.calls) != 1 {
		t.Fatalf("%d calls", len(h.calls))
	}
	c := h.calls[0]
	if c.Action.ID != "echo.say_text" || c.Connection != "echo-1" || c.Key != "mine" || c.By != "admin" || string(c.Input) != `{"text":"hello"}` {
		t.Errorf("called %+v with %s", c, c.Input)
	}
}

// What has not ended when the wait is over, or when the server stops, is 202.
func TestCallThatIsNotDoneYet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query    string
		draining bool
	}{"at once": {"?wait=0", false}, "after the wait": {"?wait=1", false}, "the server stops": {"?wait=60", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.draining = c.draining
			h.called = record.Run{ID: 42, Kind: record.Call, Playbook: "echo.say_text", State: record.Waiting, WaitOn: "connection:jira", Why: "jira is down", CreatedAt: noon, UpdatedAt: noon}
			w := h.ask(request("POST", sayText+c.query, `{"text":"hello"}`))
			var v RunView
			if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != http.StatusAccepted || v.ID != "42" || v.State != record.Waiting || v.Kind != record.Call {
				t.Errorf("%d %s: %v", w.Code, w.Body, err)
			}
		})
	}
}

func TestCallThatFailed(t *testing.T) {
	t.Parallel()
	for code, status := range map[funnel.Code]int{
		funnel.Invalid: 422, funnel.NotFound: 404, funnel.Conflict: 409, funnel.Unauthorized: 502, funnel.Throttled: 502,
		funnel.Unavailable: 502, funnel.Uncertain: 502, funnel.Internal: 500,
	} {
		h := newHouse(t)
		h.called = record.Run{ID: 42, Kind: record.Call, State: record.Failed, Code: string(code), Why: "it did not work"}
		p := wantProblem(t, h.ask(request("POST", sayText, `{"text":"hello"}`)), status)
		if p.Code != string(code) || p.Run != "/api/v1/runs/42" || p.Detail != "it did not work" {
			t.Errorf("%s: %+v", code, p)
		}
	}
	h := newHouse(t)
	h.called = record.Run{ID: 42, Kind: record.Call, State: record.Cancelled}
	wantProblem(t, h.ask(request("POST", sayText, `{"text":"hello"}`)), http.StatusConflict)
}

func TestCallRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, body string
		header     http.Header
		status     int
		at         string // of the first fault, "" for none
	}{
		"unknown action":      {"/api/v1/actions/echo.sing_song", `{}`, nil, 404, ""},
		"not JSON":            {sayText, canary, nil, 400, "body"},
		"unknown field":       {sayText, `{"text":"a","more":1}`, nil, 422, "body"},
		"another case":        {sayText, `{"Text":"a"}`, nil, 422, "body"},
		"twice":               {sayText, `{"text":"a","text":"b"}`, nil, 400, "body"},
		"missing":             {sayText, `{}`, nil, 422, "body.text"},
		"too long":            {sayText, `{"text":"` + canary + strings.Repeat("a", 20) + `"}`, nil, 422, "body.text"},
		"wrong type":          {sayText, `{"text":["` + canary + `"]}`, nil, 422, "body"},
		"null":                {sayText, `null`, nil, 422, "body"},
		"too large":           {sayText, `{"text":"` + strings.Repeat("a", maxInput) + `"}`, nil, 413, ""},
		"unknown parameter":   {sayText + "?" + canary + "=1", `{"text":"a"}`, nil, 422, "query"},
		"parameter twice":     {sayText + "?wait=1&wait=2", `{"text":"a"}`, nil, 400, "query"},
		"wait without number": {sayText + "?wait=" + canary, `{"text":"a"}`, nil, 422, "query.wait"},
		"wait too long":       {sayText + "?wait=61", `{"text":"a"}`, nil, 422, "query.wait"},
		"two keys":            {sayText, `{"text":"a"}`, http.Header{"Idempotency-Key": {"a", "b"}}, 400, "header.Idempotency-Key"},
		"empty key":           {sayText, `{"text":"a"}`, http.Header{"Idempotency-Key": {""}}, 400, "header.Idempotency-Key"},
		"media type":          {sayText, `{"text":"a"}`, http.Header{"Content-Type": {"text/plain"}}, 415, "header.Content-Type"},
		"no approval":         {"/api/v1/actions/echo.block_host", `{"host":"a"}`, nil, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			succeeded(h)
			r := request("POST", c.path, c.body)
			for k, v := range c.header {
				r.Header[k] = v
			}
			p := wantProblem(t, h.ask(r), c.status)
			at := ""
			if len(p.Faults) > 0 {
				at = p.Faults[0].Location
			}
			if at != c.at {
				t.Errorf("fault at %q, want %q: %+v", at, c.at, p)
			}
			if len(h.calls) != 0 {
				t.Error("the action was called")
			}
		})
	}
}

func TestCallWithoutToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := request("POST", sayText, `{"text":"a"}`)
	r.Header.Del("Authorization")
	wantProblem(t, h.ask(r), http.StatusUnauthorized)
	if len(h.calls) != 0 {
		t.Error("the action was called")
	}
}

func TestCallThatTheEngineRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		at     string
	}{
		{engine.ErrKeyReused, 422, "header.Idempotency-Key"},
		{funnel.Errorf(funnel.Invalid, "echo.say_text needs a connection"), 422, "query.connection"},
		{errors.New("the disk " + canary), 500, ""},
	} {
		h := newHouse(t)
		h.uncalled = c.err
		p := wantProblem(t, h.ask(request("POST", sayText, `{"text":"a"}`)), c.status)
		if c.at != "" && (len(p.Faults) != 1 || p.Faults[0].Location != c.at) {
			t.Errorf("%v: %+v", c.err, p)
		}
	}
}
