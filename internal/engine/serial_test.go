package engine_test

import (
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

func noting(w *world, on string) func(*funnel.Run, alert) error {
	return func(r *funnel.Run, e alert) error {
		_, err := funnel.Step(r, "note", w.kit.addNote, note{on, e.Name})
		return err
	}
}

// Steps on one thing take turns, across runs and within one.
func TestSerialTakesTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", noting(w, "one"))
		gate := make(chan struct{})
		w.desk.ever("add_note", fault{gate: gate})
		w.start()
		var runs []int64
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			runs = append(runs, w.one(name))
		}
		after(time.Second)
		for range runs { // one at a time
			gate <- struct{}{}
			after(time.Second)
		}
		for _, run := range runs {
			w.is(run, record.Succeeded)
		}
		w.did("add_note", len(runs))
		if w.desk.crowd != 1 {
			t.Errorf("%d were writing at once", w.desk.crowd)
		}
	})
}

func TestSerialWithinARun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", func(r *funnel.Run, e alert) error {
			branch := func(name string) funnel.Branch {
				return funnel.Branch{Name: name, Do: func(r *funnel.Run) error { return noting(w, "one")(r, e) }}
			}
			return funnel.Parallel(r, "both", branch("a"), branch("b"))
		})
		gate := make(chan struct{})
		w.desk.ever("add_note", fault{gate: gate})
		run := w.start().one("a")
		after(time.Second)
		gate <- struct{}{}
		after(time.Minute)
		gate <- struct{}{}
		after(time.Minute)
		w.is(run, record.Succeeded)
		if w.desk.crowd != 1 {
			t.Errorf("%d were writing at once", w.desk.crowd)
		}
	})
}

// None writes while another's outcome is unsure; other things are free.
func TestSerialWaitsForTheUnsure(t *testing.T) {
	for name, restart := range map[string]bool{"running on": false, "after a crash": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.on("p", func(r *funnel.Run, e alert) error { return noting(w, e.Print)(r, e) })
				w.desk.lag = time.Minute
				w.desk.next("add_note", fault{lost: true})
				w.start()
				first := w.alert("a", "one")[0]
				after(time.Second)
				second := w.alert("b", "one")[0]
				after(time.Second)
				if restart {
					w.crash()
					w.start()
				}
				other := w.alert("c", "another")[0]
				after(2 * time.Second)
				w.is(other, record.Succeeded)
				if r := w.is(second, record.Waiting); r.WaitOn != record.WaitSerial("desk", "one") {
					t.Errorf("the second waits on %q", r.WaitOn)
				}
				after(time.Minute)
				w.is(first, record.Waiting)
				w.did("add_note", 2)
				after(2 * time.Minute) // found at 120 s
				w.is(first, record.Succeeded)
				w.is(second, record.Succeeded)
				w.did("add_note", 3)
			})
		})
	}
}

// A run that ends otherwise frees its turn; so does a crash in between.
func TestSerialIsFreed(t *testing.T) {
	for name, end := range map[string]func(w *world, first int64){
		"cancelled": func(w *world, first int64) { _ = w.engine.Cancel(first) },
		"cancelled after a crash": func(w *world, first int64) {
			w.crash()
			w.start()
			after(time.Second)
			_ = w.engine.Cancel(first)
		},
		"cancelled just before a crash": func(w *world, first int64) {
			if _, err := w.store.Cancel(first, time.Now()); err != nil {
				w.t.Error(err)
			}
			w.crash()
			w.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.on("p", noting(w, "one"))
				w.desk.lag = 24 * time.Hour
				w.desk.next("add_note", fault{lost: true})
				first := w.start().one("a")
				after(time.Second)
				second := w.one("b")
				after(time.Second)
				w.is(second, record.Waiting)
				end(w, first)
				after(time.Minute)
				w.is(first, record.Cancelled)
				w.is(second, record.Succeeded)
			})
		})
	}
}
