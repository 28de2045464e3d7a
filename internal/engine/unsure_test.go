package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

// A lost answer is looked up at growing distances, never repeated meanwhile.
func TestLostAnswerIsFound(t *testing.T) {
	for _, c := range []struct{ lag, found time.Duration }{
		{0, 5 * time.Second}, {20 * time.Second, 30 * time.Second}, {31 * time.Second, 120 * time.Second}, {599 * time.Second, 600 * time.Second},
	} {
		t.Run(fmt.Sprint(c.lag), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.desk.lag = c.lag
				w.desk.next("open_ticket", fault{lost: true})
				w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
				began := time.Now()
				run := w.start().one("a")
				after(c.found - time.Second)
				w.is(run, record.Waiting)
				if s := w.step(run, "open"); s.State != record.Uncertain {
					t.Errorf("the step is %s meanwhile", s.State)
				}
				after(2 * time.Second)
				r := w.is(run, record.Succeeded)
				if took := r.FinishedAt.Sub(began); took < c.found || took > c.found+100*time.Millisecond {
					t.Errorf("it was found after %v, want %v", took, c.found)
				}
				w.did("open_ticket", 1)
			})
		})
	}
}

// The same when the server hangs, panics or does it later.
func TestUnsureInEveryWay(t *testing.T) {
	for name, f := range map[string]fault{
		"hang":  {hang: true},
		"panic": {panic: true},
		"late":  {late: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.desk.next("open_ticket", f)
				w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
				run := w.start().one("a")
				after(time.Hour)
				w.is(run, record.Succeeded)
				w.did("open_ticket", 1)
			})
		})
	}
}

// What is proven absent is made again, once.
func TestAbsentAndProven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("open_ticket", fault{err: errLost})
		w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
		began := time.Now()
		run := w.start().one("a")
		after(599 * time.Second)
		w.did("open_ticket", 0)
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("open_ticket", 1)
		p := w.desk.did("open_ticket")[0]
		if p.attempt != 2 || p.unproven || p.at.Sub(began) < 600*time.Second || p.at.Sub(began) > 601*time.Second {
			t.Errorf("it was made again so: %+v, %v after sending", p, p.at.Sub(began))
		}
	})
}

// What cannot be proven is held back, and then made with a note, or left to a
// person if it is dangerous.
func TestAbsentAndUnproven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.fresh = false
		w.desk.next("open_ticket", fault{err: errLost})
		w.desk.next("lock", fault{err: errLost})
		w.on("opens", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
		w.on("locks", func(r *funnel.Run, _ alert) error { return lockStep(w, r) })
		began := time.Now()
		runs := w.start().alert("a", "a")
		after(29*time.Minute + 59*time.Second)
		w.is(runs[0], record.Waiting)
		w.is(runs[1], record.Waiting)
		after(time.Hour)
		w.is(runs[0], record.Succeeded)
		w.did("open_ticket", 1)
		if p := w.desk.did("open_ticket")[0]; !p.unproven || p.at.Sub(began) < 30*time.Minute || p.at.Sub(began) > 33*time.Minute {
			t.Errorf("it was made so: %+v, %v after sending", p, p.at.Sub(began))
		}
		if r := w.is(runs[1], record.Failed); r.Code != string(funnel.Uncertain) || r.Step != "lock" {
			t.Errorf("the dangerous one failed with code %s at step %s", r.Code, r.Step)
		}
		w.did("lock", 0)
		if err := w.engine.Retry(runs[1]); err != nil { // a person has checked
			t.Fatal(err)
		}
		after(time.Minute)
		w.is(runs[1], record.Succeeded)
		w.did("lock", 1)
	})
}

func TestNoEvidenceIsNeverRepeatedByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("ring", fault{lost: true})
		w.on("p", func(r *funnel.Run, _ alert) error { return ringStep(w, r) })
		run := w.start().one("a")
		after(time.Second)
		w.is(run, record.Failed) // a person hears of it at once
		w.crash()
		w.start()
		after(24 * time.Hour)
		w.is(run, record.Failed)
		w.did("ring", 1)
		if err := w.engine.Retry(run); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.is(run, record.Succeeded)
		w.did("ring", 2)
	})
}

func TestUpsertIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("put", fault{lost: true})
		w.on("p", func(r *funnel.Run, _ alert) error { return putStep(w, r) })
		run := w.start().one("a")
		after(2 * time.Second) // the backoff, and nothing is looked up
		w.is(run, record.Succeeded)
		w.did("put", 2)
	})
}

// Without look-ups duplicates appear: the tests above show something.
func TestWithoutLookUpsThereAreDuplicates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.options = func(o *engine.Options) { o.Lookups = nil }
		w.desk.next("open_ticket", fault{lost: true})
		w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
		run := w.start().one("a")
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("open_ticket", 2)
	})
}

// A look-up that fails settles nothing: neither by itself, nor when a person
// lets the run go on after mending what was wrong.
func TestFailedLookUpSettlesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		code funnel.Code
		need bool // a person
	}{
		"throttled": {code: funnel.Throttled}, "refused": {code: funnel.NotFound, need: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.desk.next("open_ticket", fault{lost: true})
				w.desk.ever("find", fault{err: &funnel.Error{Code: c.code, Message: "no search today", RetryAt: time.Now().Add(20 * time.Minute), Narrow: true}})
				w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
				run := w.start().one("a")
				after(19 * time.Minute)
				w.did("open_ticket", 1)
				w.desk.ever("find", fault{})
				if c.need {
					if r := w.is(run, record.Failed); r.Code != string(c.code) {
						t.Errorf("the run failed with code %s", r.Code)
					}
					if err := w.engine.Retry(run); err != nil {
						t.Fatal(err)
					}
				}
				after(time.Hour)
				w.is(run, record.Succeeded)
				w.did("open_ticket", 1)
			})
		})
	}
}
