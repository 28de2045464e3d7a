package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

func (w *world) call(action, key, name string) (int64, error) {
	w.t.Helper()
	spec, in := w.kit.addNote.Spec(), any(note{Ticket: "1", Text: name})
	if action == "look_up" {
		spec, in = w.kit.lookUp.Spec(), named{Name: name}
	}
	input, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.engine.Call(engine.Call{Action: spec, Input: input, By: "admin", Key: key})
}

// A call is a run of one step with what holds for every step: retries, waits,
// the ledger.
func TestCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("add_note", fault{lost: true})
		w.start()
		run, err := w.call("add_note", "", "a")
		if err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		r := w.is(run, record.Succeeded)
		if r.Kind != record.Call || r.Playbook != "desk.add_note" {
			t.Errorf("the run is %s of %s", r.Kind, r.Playbook)
		}
		w.did("add_note", 1)
		if s := w.step(run, engine.CallStep); s.State != record.Succeeded || s.Action != "desk.add_note" || s.Connection != "desk" || s.EffectKey == "" {
			t.Errorf("the step: %+v", s)
		}
		e, err := w.store.Event(t.Context(), r.EventID)
		if err != nil || e.Source != engine.CallSource || e.Trigger != engine.CallTrigger || !strings.Contains(string(e.Data), `"by":"admin"`) {
			t.Errorf("the event: %+v, %v", e, err)
		}
	})
}

// Calls of one key are one; of none, each is its own.
func TestCallKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t).start()
		ids := map[int64]bool{}
		for _, key := range []string{"k", "k", "", ""} {
			run, err := w.call("add_note", key, "a")
			if err != nil {
				t.Fatal(err)
			}
			ids[run] = true
		}
		after(time.Second)
		if len(ids) != 3 {
			t.Errorf("%d runs, want 3", len(ids))
		}
		w.did("add_note", 3)
		for _, other := range [][2]string{{"add_note", "b"}, {"look_up", "a"}} {
			if _, err := w.call(other[0], "k", other[1]); !errors.Is(err, engine.ErrKeyReused) {
				t.Errorf("the key for %v: %v", other, err)
			}
		}
		w.did("look_up", 0)
	})
}

// A call survives a crash at the worst moment, and its effect is made once.
func TestCallSurvivesACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		gate := make(chan struct{})
		w.desk.next("add_note", fault{gate: gate})
		w.start()
		run, err := w.call("add_note", "k", "a")
		if err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.crash()
		close(gate)
		w.start()
		after(time.Hour)
		w.is(run, record.Succeeded)
		if n := len(w.desk.did("add_note")); n != 1 {
			t.Errorf("the note was added %d times", n)
		}
		again, err := w.call("add_note", "k", "a")
		if err != nil || again != run {
			t.Errorf("repeated: run %d, %v", again, err)
		}
	})
}

// A call that fails for good is a failed run; nobody is notified, for who called
// reads the answer.
func TestCallThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.notifying()
		w.desk.ever("look_up", fault{err: invalid()})
		w.start()
		run, err := w.call("look_up", "", "a")
		if err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if r := w.is(run, record.Failed); r.Code != string(funnel.Invalid) || !strings.Contains(r.Why, "refuses") {
			t.Errorf("%s: %s", r.Code, r.Why)
		}
		if n := len(w.runs(record.Notify, "desk.look_up")); n != 0 {
			t.Errorf("%d notifications", n)
		}
	})
}

func TestCallWithoutConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t).start()
		_, err := w.engine.Call(engine.Call{Action: w.kit.lookUp.Spec(), Connection: "attic", Input: []byte(`{}`)})
		var e *funnel.Error
		if !errors.As(err, &e) || e.Code != funnel.Invalid || !strings.Contains(e.Error(), "attic") {
			t.Errorf("%v", err)
		}
	})
}
