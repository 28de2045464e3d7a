package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// An event tells everything that became of it.
func TestEventDetail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	h.caused = []record.Event{{ID: 18, Source: "jira", Trigger: "jira.issue_created", ReceivedAt: noon, CauseEvent: 17, CauseRun: 42, Disposition: record.Matched}}
	h.steps = append(h.steps,
		record.Step{RunID: 42, Path: "say", Action: "echo.say_text", Connection: "echo", State: record.Succeeded, Outcome: []byte(`{"text":"hi"}`)},
		record.Step{RunID: 42, Path: "failed", Action: "echo.say_text", State: record.Failed},
	)
	h.runs = h.runs[2:]
	var e EventDetail
	h.get(t, "/api/v1/events/17", &e)
	if !slices.Equal(e.Playbooks, []string{"open_ticket"}) || len(e.Runs) != 1 || len(e.Caused) != 1 || e.Caused[0].ID != "18" || len(e.Deliveries) != 1 || e.Deliveries[0].ID != "99" {
		t.Errorf("%+v", e)
	}
	if len(e.Made) != 1 || e.Made[0].Step != "say" || e.Made[0].Run != "42" || string(e.Made[0].Outcome) != `{"text":"hi"}` {
		t.Errorf("made %+v, want what succeeded and changed something", e.Made)
	}
	if h.deliveryFilter.Event != 17 || h.eventFilter.CauseEvent != 17 {
		t.Errorf("the store is asked for %+v and %+v", h.deliveryFilter, h.eventFilter)
	}
	var d DeliveryDetail
	h.get(t, "/api/v1/deliveries/99", &d)
	if d.ID != "99" || d.For == nil || d.For.ID != "17" {
		t.Errorf("%+v", d)
	}
	h.arrived = []record.Delivery{{ID: 100, Source: "splunk", Verdict: record.Ignored, Reason: "not for it"}}
	d = DeliveryDetail{}
	h.get(t, "/api/v1/deliveries/100", &d)
	if d.For != nil || d.Reason != "not for it" {
		t.Errorf("%+v", d)
	}
	wantProblem(t, h.ask(request("GET", "/api/v1/deliveries/7", "")), http.StatusNotFound)
}

func TestEventFilters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	var events Events
	h.get(t, "/api/v1/events?source=s&trigger=t.x&disposition=unmatched&since=2026-11-23T10:00:00Z&until=2026-11-23T12:00:00%2B01:00&before=9&limit=5", &events)
	want := store.EventFilter{Source: "s", Trigger: "t.x", Disposition: record.Unmatched, Page: store.Page{Before: 9, Limit: 6}}
	got := h.eventFilter
	if !got.Since.Equal(noon.Add(-2*time.Hour)) || !got.Until.Equal(noon.Add(-time.Hour)) {
		t.Errorf("asked for %v to %v", got.Since, got.Until)
	}
	got.Since, got.Until = time.Time{}, time.Time{}
	if got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	var deliveries Deliveries
	h.get(t, "/api/v1/deliveries?source=s&verdict=refused&event=17&since=2026-11-23T12:00:00Z", &deliveries)
	if f := h.deliveryFilter; f.Source != "s" || f.Verdict != record.Refused || f.Event != 17 || !f.Since.Equal(noon) || !f.Until.IsZero() {
		t.Errorf("asked for %+v", f)
	}
	for _, bad := range []string{
		"/api/v1/events?since=" + canary, "/api/v1/deliveries?verdict=" + canary, "/api/v1/deliveries?event=-1",
		"/api/v1/deliveries?since=2026-11-23T00:00:00+01:00", "/api/v1/deliveries?since=2026-11-23T12:00:00Z&until=2026-11-23T12:00:00Z", "/api/v1/events?since=2026-11-24T00:00:00Z&until=2026-11-23T00:00:00Z",
		"/api/v1/deliveries?limit=0", "/api/v1/deliveries?limit=-1", "/api/v1/deliveries?limit=201", "/api/v1/deliveries?limit=1e2", "/api/v1/deliveries?limit=5%20",
		"/api/v1/deliveries?before=0", "/api/v1/deliveries?before=01", "/api/v1/deliveries?before=-5", "/api/v1/deliveries?before=1.5", "/api/v1/deliveries?before=%00", "/api/v1/deliveries?before=9223372036854775808",
		"/api/v1/deliveries?before=" + strings.Repeat("9", 5000), "/api/v1/deliveries?source=" + strings.Repeat("s", 65), "/api/v1/events?trigger=" + strings.Repeat("t", 101),
		"/api/v1/deliveries?since=0001-01-01", "/api/v1/deliveries?since=99999-01-01T00:00:00Z", "/api/v1/deliveries?event=" + canary,
	} {
		p := wantProblem(t, h.ask(request("GET", bad, "")), http.StatusUnprocessableEntity)
		if len(p.Faults) != 1 || !strings.HasPrefix(p.Faults[0].Location, "query.") || strings.Contains(p.Faults[0].Message, "2006-01-02") {
			t.Errorf("%.100s: %+v", bad, p)
		}
	}
	// Odd but valid: the largest cursor, and instants that no row can have.
	for _, odd := range []string{"/api/v1/deliveries?before=9223372036854775807", "/api/v1/deliveries?since=9999-12-31T23:59:59Z", "/api/v1/events?until=0001-01-02T00:00:00Z", "/api/v1/deliveries?verdict=&limit=", "/api/v1/deliveries?source=%27%20OR%201%3D1--"} {
		if w := h.ask(request("GET", odd, "")); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", odd, w.Code, w.Body)
		}
	}
}

func TestReplayEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	for query, want := range map[string]string{"": "replay 17 ", "?playbook=open_ticket": "replay 17 open_ticket"} {
		h.done = nil
		w := h.ask(request("POST", "/api/v1/events/17/replay"+query, ""))
		var out Replayed
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusAccepted || len(out.Runs) != 1 || !slices.Equal(h.done, []string{want}) {
			t.Errorf("%q: %d %s, done %q", query, w.Code, w.Body, h.done)
		}
	}
	wantProblem(t, h.ask(request("POST", "/api/v1/events/17/replay", `{"playbook":"x"}`)), http.StatusUnprocessableEntity)
	h.control = funnel.Errorf(funnel.Conflict, "no enabled playbook runs on it")
	if p := wantProblem(t, h.ask(request("POST", "/api/v1/events/17/replay", `{}`)), http.StatusConflict); p.Detail != h.control.Error() {
		t.Errorf("%+v", p)
	}
	h.control = record.ErrNotFound
	wantProblem(t, h.ask(request("POST", "/api/v1/events/17/replay", `{}`)), http.StatusNotFound)
}
