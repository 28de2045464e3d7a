package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

func unavailable() *funnel.Error { return funnel.Errorf(funnel.Unavailable, "the desk is closed") }

// Throttled: the time is obeyed exactly, and no attempt is used up.
func TestThrottled(t *testing.T) {
	for name, narrow := range map[string]bool{"this call": true, "the connection": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				at := time.Now().Add(17*time.Minute + 3*time.Second)
				for range 7 { // more than there are attempts
					w.desk.next("put", fault{err: &funnel.Error{Code: funnel.Throttled, Message: "too many calls", RetryAt: at, Narrow: narrow}})
					at = at.Add(time.Minute)
				}
				last := at.Add(-time.Minute)
				w.on("p", func(r *funnel.Run, _ alert) error { return putStep(w, r) })
				run := w.start().one("a")
				after(time.Minute)
				if r := w.is(run, record.Waiting); !strings.Contains(r.Why, "too many calls") {
					t.Errorf("it waits because: %s", r.Why)
				}
				after(2 * time.Hour)
				w.is(run, record.Succeeded)
				if p := w.desk.did("put")[0]; p.at.Before(last) || p.at.After(last.Add(time.Millisecond)) {
					t.Errorf("it was called at %v, want %v", p.at, last)
				}
				if s := w.step(run, "put"); s.Attempts != 0 {
					t.Errorf("%d attempts were used up", s.Attempts)
				}
			})
		})
	}
}

// A run that is woken too early does not call before the time.
func TestThrottledAndWokenEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("look_up", fault{err: inAnHour()})
		w.on("p", func(r *funnel.Run, _ alert) error {
			return funnel.Parallel(r, "both",
				funnel.Branch{Name: "a", Do: func(r *funnel.Run) error {
					_, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"})
					return err
				}},
				funnel.Branch{Name: "b", Do: func(r *funnel.Run) error {
					for _, name := range []string{"one", "two", "three"} {
						funnel.Sleep(r, name, time.Minute)
					}
					return nil
				}})
		})
		began := time.Now()
		run := w.start().one("a")
		after(2 * time.Hour)
		w.is(run, record.Succeeded)
		if p := w.desk.did("look_up")[0]; p.at.Sub(began) < time.Hour || p.at.Sub(began) > time.Hour+time.Second {
			t.Errorf("it was called after %v", p.at.Sub(began))
		}
	})
}

// A time that has passed, or none, does not make the engine call in a loop.
func TestThrottledWithoutATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("put", fault{err: &funnel.Error{Code: funnel.Throttled, Message: "later", Narrow: true}},
			fault{err: &funnel.Error{Code: funnel.Throttled, Message: "later", RetryAt: time.Now().Add(-time.Hour), Narrow: true}})
		w.on("p", func(r *funnel.Run, _ alert) error { return putStep(w, r) })
		began := time.Now()
		run := w.start().one("a")
		after(time.Hour)
		w.is(run, record.Succeeded)
		if waited := w.desk.did("put")[0].at.Sub(began); waited < 6*time.Second {
			t.Errorf("two calls without a time were %v apart in all", waited)
		}
	})
}

// Unavailable uses up attempts, with the backoff between them.
func TestUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.options = func(o *engine.Options) { o.Attempts = 2 }
		w.desk.ever("put", fault{err: unavailable()})
		w.on("p", func(r *funnel.Run, _ alert) error { return putStep(w, r) })
		began := time.Now()
		run := w.start().one("a")
		after(time.Hour)
		r := w.is(run, record.Failed)
		if r.Code != string(funnel.Unavailable) || r.Step != "put" {
			t.Errorf("it failed with code %s at step %q", r.Code, r.Step)
		}
		if took := r.FinishedAt.Sub(began); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("two attempts took %v, want the backoff of 1 s", took)
		}
		if s := w.step(run, "put"); s.Attempts != 2 {
			t.Errorf("%d attempts were used up", s.Attempts)
		}
	})
}

// A connection that is down parks its runs without using up attempts, says so,
// and wakes the oldest first.
func TestBreakerParks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits.Concurrency = 1
		w.workers = 1
		w.desk.ever("look_up", fault{err: unavailable()})
		w.on("p", func(r *funnel.Run, e alert) error {
			_, err := funnel.Step(r, "look", w.kit.lookUp, named{e.Name})
			return err
		})
		w.start()
		var runs []int64
		names := []string{"a", "b", "c", "d", "e", "f"}
		for _, name := range names {
			runs = append(runs, w.one(name))
		}
		after(10 * time.Minute)
		for _, run := range runs {
			r := w.is(run, record.Waiting)
			if r.WaitOn != record.WaitConnection("desk") || !strings.Contains(r.Why, "desk: ") || !strings.Contains(r.Why, "closed") {
				t.Errorf("run %d waits on %q because: %s", run, r.WaitOn, r.Why)
			}
			if s := w.step(run, "look"); s.Attempts > 1 { // before the breaker opened
				t.Errorf("run %d has used %d attempts", run, s.Attempts)
			}
		}
		w.desk.ever("look_up", fault{})
		after(time.Minute)
		for _, run := range runs {
			w.is(run, record.Succeeded)
		}
		if got := w.desk.names("look_up"); !slices.Equal(got, names) {
			t.Errorf("they were woken in the order %v", got)
		}
	})
}

// Runs that are parked when the server stops are woken after it started.
func TestParkedOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.ever("put", fault{err: unavailable()})
		w.on("p", func(r *funnel.Run, _ alert) error { return putStep(w, r) })
		w.start()
		var runs []int64
		for _, name := range []string{"a", "b", "c", "d"} {
			runs = append(runs, w.one(name))
		}
		after(10 * time.Minute)
		w.stop()
		w.desk.ever("put", fault{})
		w.start()
		after(time.Minute)
		for _, run := range runs {
			w.is(run, record.Succeeded)
		}
	})
}

// Branches that wait for different things go on each in its time.
func TestBranchesWaitEach(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("open_ticket", fault{lost: true})
		w.desk.next("add_note", fault{lost: true})
		w.desk.next("put", fault{err: inAnHour()})
		step := func(name string, do func(*world, *funnel.Run) error) funnel.Branch {
			return funnel.Branch{Name: name, Do: func(r *funnel.Run) error { return do(w, r) }}
		}
		w.on("p", func(r *funnel.Run, _ alert) error {
			return funnel.Parallel(r, "all", step("a", openStep), step("b", putStep), step("c", func(w *world, r *funnel.Run) error {
				_, err := funnel.Step(r, "note", w.kit.addNote, note{"1", "text"})
				return err
			}))
		})
		began := time.Now()
		run := w.start().one("a")
		after(10 * time.Second)
		for _, path := range []string{"all/a/open", "all/c/note"} {
			if s := w.step(run, path); s.State != record.Succeeded || s.FinishedAt.Sub(began) > 6*time.Second {
				t.Errorf("after 10 s, step %s is %s", path, s.State)
			}
		}
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("open_ticket", 1)
		w.did("add_note", 1)
		w.did("put", 1)
	})
}
