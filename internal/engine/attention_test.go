package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

func invalid() *funnel.Error { return funnel.Errorf(funnel.Invalid, "the desk refuses") }

// Retry goes on from the failed step, with fresh attempts.
func TestRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", fourSteps(w))
		w.desk.next("add_note", fault{err: invalid()}, fault{err: invalid()})
		run := w.start().one("a")
		after(time.Second)
		if r := w.is(run, record.Failed); r.Step != "note" || r.Code != string(funnel.Invalid) || !strings.Contains(r.Why, "refuses") {
			t.Errorf("it failed at %q: %s (%s)", r.Step, r.Why, r.Code)
		}
		for _, state := range []record.State{record.Failed, record.Succeeded} {
			if err := w.engine.Retry(run); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			w.is(run, state)
		}
		for _, op := range []string{"look_up", "open_ticket", "add_note", "put"} {
			w.did(op, 1)
		}
		if err := w.engine.Retry(run); !errors.Is(err, record.ErrState) {
			t.Errorf("retrying a succeeded run: %v", err)
		}
		if err := w.engine.Retry(999); !errors.Is(err, record.ErrNotFound) {
			t.Errorf("retrying no run: %v", err)
		}
	})
}

// Two branches that failed are both retried.
func TestRetryOfBranches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("put", fault{err: invalid()})
		w.desk.next("ring", fault{err: invalid()})
		w.on("p", func(r *funnel.Run, _ alert) error {
			return funnel.Parallel(r, "both",
				funnel.Branch{Name: "a", Do: func(r *funnel.Run) error { return putStep(w, r) }},
				funnel.Branch{Name: "b", Do: func(r *funnel.Run) error { return ringStep(w, r) }})
		})
		run := w.start().one("a")
		after(time.Second)
		w.is(run, record.Failed)
		if err := w.engine.Retry(run); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.is(run, record.Succeeded)
	})
}

// A skipped step has a zero outcome, and the playbook can tell.
func TestSkip(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		state record.State
	}{
		"failed":  {fault{err: invalid()}, record.Failed},
		"waiting": {fault{err: inAnHour()}, record.Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				if c.state == record.Waiting {
					c.fault.err = inAnHour()
				}
				w.desk.next("look_up", c.fault)
				skipped := false
				w.on("p", func(r *funnel.Run, _ alert) error {
					out, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"})
					if err != nil {
						return err
					}
					skipped = r.Skipped("look") && out == answer{}
					return putStep(w, r)
				})
				run := w.start().one("a")
				after(time.Second)
				w.is(run, c.state)
				if err := w.engine.Skip(run, "nonsense"); !errors.Is(err, record.ErrState) {
					t.Errorf("skipping no step: %v", err)
				}
				if err := w.engine.Skip(run, "look"); err != nil {
					t.Fatal(err)
				}
				after(time.Second)
				w.is(run, record.Succeeded)
				if !skipped {
					t.Error("the playbook did not learn that the step was skipped")
				}
				w.did("look_up", 0)
				w.did("put", 1)
			})
		})
	}
}

func TestSkipOfSleep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", func(r *funnel.Run, _ alert) error {
			funnel.Sleep(r, "nap", time.Hour)
			return putStep(w, r)
		})
		run := w.start().one("a")
		after(time.Second)
		if err := w.engine.Skip(run, "nap"); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		w.is(run, record.Succeeded)
	})
}

// Cancel ends a waiting run at once, and an active one before its next step.
func TestCancel(t *testing.T) {
	t.Run("waiting", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.desk.next("look_up", fault{err: inAnHour()})
			w.on("p", fourSteps(w))
			run := w.start().one("a")
			after(time.Second)
			if err := w.engine.Cancel(run); err != nil {
				t.Fatal(err)
			}
			after(2 * time.Hour)
			w.is(run, record.Cancelled)
			w.did("open_ticket", 0)
			if err := w.engine.Cancel(run); !errors.Is(err, record.ErrState) {
				t.Errorf("cancelling it twice: %v", err)
			}
		})
	})
	t.Run("active", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			gate := make(chan struct{})
			w.desk.next("look_up", fault{gate: gate})
			w.on("p", fourSteps(w))
			run := w.start().one("a")
			after(time.Second)
			if err := w.engine.Retry(run); !errors.Is(err, engine.ErrBusy) {
				t.Errorf("retrying an active run: %v", err)
			}
			if err := w.engine.Cancel(run); err != nil {
				t.Fatal(err)
			}
			close(gate)
			after(time.Hour)
			w.is(run, record.Cancelled)
			w.did("look_up", 1)
			w.did("open_ticket", 0)
		})
	})
	t.Run("active and about to wait", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			gate := make(chan struct{})
			w.desk.next("look_up", fault{gate: gate, err: inAnHour()})
			w.on("p", fourSteps(w))
			run := w.start().one("a")
			after(time.Second)
			if err := w.engine.Cancel(run); err != nil {
				t.Fatal(err)
			}
			close(gate)
			after(time.Second)
			w.is(run, record.Cancelled)
		})
	})
}

// notifying makes the world's notify target the desk.
func (w *world) notifying() {
	w.options = func(o *engine.Options) {
		o.Notify = &engine.Notifier{Action: w.kit.put.Spec(), Input: func(a engine.Attention) ([]byte, error) {
			return []byte(fmt.Sprintf(`{"Name":"%s at %s: %s"}`, a.Playbook, a.Step, a.Code)), nil
		}}
	}
}

// The notify target hears of every failure once, whether or not the playbook
// tells on a ticket.
func TestNotify(t *testing.T) {
	for name, options := range map[string]func(*world) []funnel.PlaybookOption{
		"plain":     func(*world) []funnel.PlaybookOption { return nil },
		"with tell": func(w *world) []funnel.PlaybookOption { return []funnel.PlaybookOption{telling(w)} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.notifying()
				w.desk.next("ring", fault{err: invalid()}, fault{err: invalid()})
				w.on("p", func(r *funnel.Run, _ alert) error { return ringStep(w, r) }, options(w)...)
				run := w.start().one("a")
				after(time.Hour)
				want := []string{"p at ring: invalid"}
				if got := w.desk.names("put"); !slices.Equal(got, want) {
					t.Fatalf("the target heard %q, want %q", got, want)
				}
				w.crash()
				w.start()
				if err := w.engine.Retry(run); err != nil {
					t.Fatal(err)
				}
				after(time.Hour)
				want = append(want, want[0])
				if got := w.desk.names("put"); !slices.Equal(got, want) {
					t.Fatalf("after the second failure the target heard %q, want %q", got, want)
				}
				if err := w.engine.Retry(run); err != nil {
					t.Fatal(err)
				}
				after(time.Hour)
				w.is(run, record.Succeeded)
				w.did("put", 2)
			})
		})
	}
}

// A notify target that is down does not make notifications of notifications.
func TestNotifyFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.notifying()
		w.desk.next("ring", fault{err: invalid()})
		w.desk.ever("put", fault{err: invalid()})
		w.on("p", func(r *funnel.Run, _ alert) error { return ringStep(w, r) })
		w.start().one("a")
		after(24 * time.Hour)
		if n := w.runs(record.Notify, "p"); len(n) != 1 || n[0].State != record.Failed {
			t.Errorf("the notifications are %+v", n)
		}
	})
}
