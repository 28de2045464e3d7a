package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// telling makes a playbook write a note on its ticket about how it does.
func telling(w *world) funnel.PlaybookOption {
	return funnel.Tells(w.kit.addNote, func(e alert, s funnel.Status) (note, bool) {
		return note{Ticket: fmt.Sprintf("%s: %s at %s (%s), %v", e.Name, s.State, s.Step, s.System, s.Revision), Text: s.Why}, true
	})
}

// heldUp is a playbook that is held up for some time in short waits, each with
// the same reason.
func heldUp(w *world, waits int) func(*funnel.Run, alert) error {
	at := time.Now()
	for range waits {
		at = at.Add(20 * time.Second)
		w.desk.next("ring", fault{err: &funnel.Error{Code: funnel.Throttled, Message: "not now", RetryAt: at, Narrow: true}})
	}
	return func(r *funnel.Run, _ alert) error { return ringStep(w, r) }
}

// A run that waits over two minutes says so once, and not before.
func TestTellsAfterTwoMinutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", heldUp(w, 15), telling(w))
		run := w.start().one("a")
		after(119 * time.Second)
		w.did("add_note", 0)
		after(30 * time.Second)
		notes := w.desk.names("add_note")
		if len(notes) != 1 || notes[0] != "a: waiting at ring (desk), 1" {
			t.Fatalf("after two minutes it told %q", notes)
		}
		after(2 * time.Minute)
		w.did("add_note", 1) // the reason is the same
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("add_note", 1)
	})
}

func TestTellsNothingOfShortWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", heldUp(w, 5), telling(w))
		run := w.start().one("a")
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("add_note", 0)
	})
}

// A wait that is known to be long is told at once, a new reason again.
func TestTellsKnownLongWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("ring", fault{err: &funnel.Error{Code: funnel.Throttled, Message: "one reason", RetryAt: time.Now().Add(time.Hour), Narrow: true}},
			fault{err: &funnel.Error{Code: funnel.Throttled, Message: "another", RetryAt: time.Now().Add(2 * time.Hour), Narrow: true}},
			fault{err: &funnel.Error{Code: funnel.Throttled, Message: "another", RetryAt: time.Now().Add(3 * time.Hour), Narrow: true}})
		w.on("p", func(r *funnel.Run, _ alert) error { return ringStep(w, r) }, telling(w))
		run := w.start().one("a")
		after(time.Second)
		w.did("add_note", 1)
		after(4 * time.Hour)
		w.is(run, record.Succeeded)
		w.did("add_note", 2)
	})
}

// Parked runs tell, each after its own two minutes, past any number of runs
// that have nowhere to tell it, and over a restart.
func TestTellsOfParkedRuns(t *testing.T) {
	for name, restart := range map[string]bool{"running on": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.workers = 4
				w.desk.ever("ring", fault{err: unavailable()})
				ring := func(r *funnel.Run, e alert, mine bool) error {
					if !mine {
						return nil
					}
					_, err := funnel.Step(r, "ring", w.kit.ring, named{e.Name})
					return err
				}
				silent := func(e alert) bool { return strings.HasPrefix(e.Name, "silent") }
				w.on("silent", func(r *funnel.Run, e alert) error { return ring(r, e, silent(e)) })
				w.on("telling", func(r *funnel.Run, e alert) error { return ring(r, e, !silent(e)) },
					funnel.Tells(w.kit.put, func(e alert, s funnel.Status) (named, bool) { return named{e.Name}, true }))
				w.start()
				for i := range 250 {
					w.one(fmt.Sprint("silent", i))
				}
				after(time.Minute)
				for _, name := range []string{"x", "y"} {
					w.one(name)
					after(time.Minute)
				}
				if restart {
					w.stop()
					w.start()
				}
				after(10 * time.Minute)
				tells := w.runs(record.Tell, "telling")
				if len(tells) != 2 {
					t.Fatalf("%d runs tell of their waiting, want 2", len(tells))
				}
			})
		})
	}
}

// An outage is told once, however often it is found out that it lasts.
func TestTellsOnceOfAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.ever("ring", fault{err: unavailable()})
		w.on("p", func(r *funnel.Run, _ alert) error { return ringStep(w, r) }, telling(w))
		run := w.start().one("a")
		after(5 * time.Hour)
		w.is(run, record.Waiting)
		if tells := w.runs(record.Tell, "p"); len(tells) != 1 {
			t.Errorf("it was told %d times", len(tells))
		}
	})
}

// A failure is told, and why.
func TestTellsOfFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("ring", fault{err: invalid()})
		w.on("p", func(r *funnel.Run, _ alert) error { return ringStep(w, r) }, telling(w))
		w.start().one("a")
		after(time.Hour)
		notes := w.desk.names("add_note")
		if len(notes) != 1 || notes[0] != "a: failed at ring (), 1" {
			t.Errorf("it told %q", notes)
		}
	})
}

// What is not true any more when its turn comes is not told.
func TestTellsNothingStale(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.workers = 1
		gate := make(chan struct{})
		w.on("p", func(r *funnel.Run, e alert) error {
			if e.Name == "busy" {
				_, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"})
				return err
			}
			return ringStep(w, r)
		}, telling(w))
		w.desk.next("ring", fault{gate: gate, err: &funnel.Error{Code: funnel.Throttled, Message: "later", RetryAt: time.Now().Add(time.Hour), Narrow: true}})
		w.desk.next("look_up", fault{gate: gate})
		run := w.start().one("a")
		w.one("busy") // keeps the worker from telling
		after(time.Second)
		gate <- struct{}{}
		after(time.Second)
		w.is(run, record.Waiting)
		if err := w.engine.Cancel(run); err != nil {
			t.Fatal(err)
		}
		gate <- struct{}{}
		after(time.Hour)
		w.did("add_note", 0)
	})
}
