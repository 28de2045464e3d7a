package intake_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// of returns a trigger for deliveries that name it among their kinds.
func of(kind string, options ...funnel.TriggerOption) *funnel.TriggerSpec {
	return funnel.NewTrigger("test."+kind, "A "+kind+".", func(r funnel.Request) ([]funnel.Arrival[map[string]any], error) {
		var v struct {
			Kinds, Key, Actor string
		}
		if err := json.Unmarshal(r.Body, &v); err != nil {
			return nil, funnel.Errorf(funnel.Invalid, "reading a %s: it has the wrong shape", kind)
		}
		if !strings.Contains(v.Kinds, kind) {
			return nil, funnel.Ignored("it is no " + kind)
		}
		return []funnel.Arrival[map[string]any]{{Key: v.Key, Scope: kind, Actor: v.Actor, Event: map[string]any{"kind": kind}}}, nil
	}, options...).Spec()
}

// severalDesk has a source with two triggers; the second's events are caused by
// our own doings too.
func severalDesk(t *testing.T) *desk {
	d := newDesk(t)
	d.in = intake.New(intake.Options{
		Inbox: d.store, Log: slog.New(slog.DiscardHandler), Match: func(trigger string) []string { return []string{"on_" + trigger[len("test."):]} }, Wake: func(...int64) {},
		Sources: []intake.Source{{
			Name: "none", Triggers: []*funnel.TriggerSpec{of("apple", funnel.FreeKeys), of("pear", funnel.NeedsAccount)}, Connection: "c", Auth: intake.None(), MaxBody: 64 << 10,
			Account: func() string { return d.account },
		}},
	})
	return d
}

// A source with several triggers gives each delivery to those that take it.
func TestSeveralTriggers(t *testing.T) {
	t.Parallel()
	d := severalDesk(t)
	for _, tt := range []struct {
		body     string
		verdict  record.Verdict
		triggers string // of the events so far, newest first
	}{
		{`{"kinds":"apple","key":"1"}`, record.Accepted, "test.apple"},
		{`{"kinds":"pear","key":"1"}`, record.Accepted, "test.pear test.apple"},
		{`{"kinds":"pear","key":"1"}`, record.Duplicate, "test.pear test.apple"},
		{`{"kinds":"apple pear","key":"2"}`, record.Accepted, "test.pear test.apple test.pear test.apple"},
		{`{"kinds":"plum","key":"3"}`, record.Ignored, "test.pear test.apple test.pear test.apple"},
	} {
		got := d.takes(request("none", tt.body))
		events, err := d.store.Events(context.Background(), store.EventFilter{Page: store.Page{Limit: 100}})
		if err != nil {
			t.Fatal(err)
		}
		var triggers []string
		for _, e := range events {
			triggers = append(triggers, e.Trigger)
		}
		if got.Verdict != tt.verdict || strings.Join(triggers, " ") != tt.triggers {
			t.Errorf("%s: %+v, events %q, want %s and %q", tt.body, got, triggers, tt.verdict, tt.triggers)
		}
		if tt.verdict == record.Ignored && got.Reason != "it is no apple; it is no pear" {
			t.Errorf("the reason is %q", got.Reason)
		}
	}
	runs, err := d.store.Runs(context.Background(), store.RunFilter{Page: store.Page{Limit: 100}})
	if err != nil || len(runs) != 4 || runs[0].Playbook != "on_pear" || runs[1].Playbook != "on_apple" {
		t.Errorf("runs %+v (%v)", runs, err)
	}
	// One decoder that cannot have names in two cases is enough to refuse them.
	d.refuses(request("none", `{"kinds":"apple","row":{"user":1,"USER":2}}`), http.StatusBadRequest)
	d.refuses(request("none", `{"kinds":["apple"]}`), http.StatusUnprocessableEntity)
}

// What our own doings cause too waits until we know who we are.
func TestNeedsAccount(t *testing.T) {
	t.Parallel()
	d := severalDesk(t)
	d.account = ""
	d.takes(request("none", `{"kinds":"apple","key":"1"}`))
	d.takes(request("none", `{"kinds":"plum","key":"1"}`))
	d.refuses(request("none", `{"kinds":"pear","key":"1","actor":"funnel"}`), http.StatusServiceUnavailable)
	d.account = "funnel"
	got := d.takes(request("none", `{"kinds":"pear","key":"1","actor":"funnel"}`))
	if got.Verdict != record.Accepted || got.Runs != 0 {
		t.Errorf("our own doing: %+v", got)
	}
	if got := d.takes(request("none", `{"kinds":"pear","key":"2","actor":"jdoe"}`)); got.Runs != 1 {
		t.Errorf("somebody else's doing: %+v", got)
	}
}
