package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// A replay runs the playbook again with effects of its own, and its claim still
// finds the ticket that is open.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", fourSteps(w))
		first := w.start().one("a")
		after(time.Second)
		event := w.is(first, record.Succeeded).EventID
		runs, err := w.engine.Replay(t.Context(), event, "")
		if err != nil || len(runs) != 1 {
			t.Fatalf("%v, %v", runs, err)
		}
		after(time.Second)
		w.is(runs[0], record.Succeeded)
		w.did("open_ticket", 1)
		w.did("add_note", 2)
		if a, b := w.step(first, "note"), w.step(runs[0], "note"); a.EffectKey == b.EffectKey {
			t.Errorf("both notes have the key %s", a.EffectKey)
		}
	})
}

func TestReplayRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", fourSteps(w))
		run := w.start().one("a")
		called, err := w.call("look_up", "", "a")
		if err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		own := slices.MaxFunc(w.allEvents(), func(a, b record.Event) int { return int(a.CauseEvent - b.CauseEvent) })
		for _, c := range []struct {
			event    int64
			playbook string
			want     string
		}{
			{w.run(run).EventID, "q", "not enabled"},
			{w.run(called).EventID, "", "call"},
			{own.ID, "", "no enabled playbook"},
		} {
			_, err := w.engine.Replay(t.Context(), c.event, c.playbook)
			var e *funnel.Error
			if !errors.As(err, &e) || e.Code != funnel.Conflict || !strings.Contains(e.Error(), c.want) {
				t.Errorf("event %d, playbook %q: %v", c.event, c.playbook, err)
			}
		}
		if _, err := w.engine.Replay(t.Context(), 999, ""); !errors.Is(err, record.ErrNotFound) {
			t.Errorf("no event: %v", err)
		}
	})
}

func (w *world) allEvents() []record.Event {
	w.t.Helper()
	list, err := w.store.Events(w.t.Context(), store.EventFilter{Page: store.Page{Limit: 100}})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}
