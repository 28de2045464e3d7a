package engine_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

var inAnHour = func() *funnel.Error {
	return &funnel.Error{Code: funnel.Throttled, Message: "come back in an hour", RetryAt: time.Now().Add(time.Hour), Narrow: true}
}

// Law 1: a wait ends the goroutine, so no playbook can swallow it.
func TestWaitCannotBeSwallowed(t *testing.T) {
	look := func(w *world, r *funnel.Run) {
		defer func() { _ = recover() }()
		_, _ = funnel.Step(r, "look", w.kit.lookUp, named{"x"})
	}
	for name, playbook := range map[string]func(*world) func(*funnel.Run, alert) error{
		"in a row": func(w *world) func(*funnel.Run, alert) error {
			return func(r *funnel.Run, _ alert) error {
				look(w, r)
				_, err := funnel.Step(r, "put", w.kit.put, named{"after"})
				return err
			}
		},
		"in a branch": func(w *world) func(*funnel.Run, alert) error {
			return func(r *funnel.Run, _ alert) error {
				_ = funnel.Parallel(r, "both",
					funnel.Branch{Name: "a", Do: func(r *funnel.Run) error { look(w, r); return nil }},
					funnel.Branch{Name: "b", Do: func(r *funnel.Run) error { return nil }})
				_, err := funnel.Step(r, "put", w.kit.put, named{"after"})
				return err
			}
		},
		"in a goroutine of its own": func(w *world) func(*funnel.Run, alert) error {
			return func(r *funnel.Run, _ alert) error {
				done := make(chan bool)
				ok := false
				go func() {
					defer close(done)
					look(w, r)
					ok = true
				}()
				<-done
				if ok {
					_, err := funnel.Step(r, "put", w.kit.put, named{"after"})
					return err
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.desk.next("look_up", fault{err: inAnHour()})
				w.on("p", playbook(w))
				run := w.start().one("a")
				after(time.Minute)
				w.is(run, record.Waiting)
				w.did("put", 0)
				after(time.Hour)
				w.is(run, record.Succeeded)
				w.did("look_up", 1)
				w.did("put", 1)
			})
		})
	}
}

// Law 2: a step answers from its journal bytes, in the first pass too; so does
// its failure.
func TestOutcomeComesFromTheJournal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		cause := errors.New("a cause that no journal keeps")
		w.desk.next("ring", fault{err: &funnel.Error{Code: funnel.Invalid, Message: "no such number", RetryAt: time.Now().Add(time.Hour), Err: cause}})
		var values, failures []string
		w.on("p", func(r *funnel.Run, _ alert) error {
			out, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"})
			if err != nil {
				return err
			}
			values = append(values, out.Value+out.Hidden)
			_, err = funnel.Step(r, "ring", w.kit.ring, named{"x"})
			var e *funnel.Error
			if !errors.As(err, &e) || errors.Is(err, cause) || !e.RetryAt.IsZero() {
				t.Errorf("the failure is %#v in pass %d, want what the journal keeps", err, len(values))
			}
			failures = append(failures, err.Error())
			funnel.Sleep(r, "nap", time.Minute)
			return nil
		})
		run := w.start().one("a")
		after(time.Hour)
		w.is(run, record.Succeeded)
		if !slices.Equal(values, []string{"about x", "about x"}) {
			t.Errorf("the passes saw %q", values)
		}
		if len(failures) != 2 || failures[0] != failures[1] {
			t.Errorf("the passes saw the failures %q", failures)
		}
		w.did("look_up", 1)
	})
}

// Law 3: a path is used once, and Each names items by key.
func TestPathsAreUnique(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", func(r *funnel.Run, _ alert) error {
			defer func() { _ = recover() }()
			_, _ = funnel.Step(r, "put", w.kit.put, named{"1"})
			_, _ = funnel.Step(r, "put", w.kit.put, named{"2"})
			_, _ = funnel.Step(r, "other", w.kit.put, named{"3"})
			return nil
		})
		run := w.start().one("a")
		after(time.Minute)
		if r := w.is(run, record.Failed); !strings.Contains(r.Why, "two steps have the path put") {
			t.Errorf("the run failed because: %s", r.Why)
		}
		w.did("put", 1)
	})
}

func TestEachGoesByKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		items := []string{"x", "y", "z"}
		var last map[string]string
		w.on("p", func(r *funnel.Run, _ alert) error {
			last = map[string]string{}
			err := funnel.Each(r, "all", items, func(s string) string { return s }, func(r *funnel.Run, s string) error {
				out, err := funnel.Step(r, "look", w.kit.lookUp, named{s})
				last[s] = out.Value
				return err
			})
			items = []string{"z", "y", "x"} // in another order next time
			funnel.Sleep(r, "nap", time.Minute)
			return err
		})
		run := w.start().one("a")
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("look_up", 3)
		for _, s := range items {
			if last[s] != "about "+s {
				t.Errorf("item %s has the outcome %q", s, last[s])
			}
		}
	})
}

// Law 4: a step that is another one than the journal says stops the run before
// any effect.
func TestChangedPlaybookStops(t *testing.T) {
	for name, second := range map[string]func(*world, *funnel.Run) error{
		"input": func(w *world, r *funnel.Run) error {
			_, err := funnel.Step(r, "first", w.kit.lookUp, named{"other"})
			return err
		},
		"action": func(w *world, r *funnel.Run) error {
			_, err := funnel.Step(r, "first", w.kit.put, named{"x"})
			return err
		},
		"kind": func(w *world, r *funnel.Run) error {
			funnel.Sleep(r, "first", time.Minute)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				var pass atomic.Int32
				w.on("p", func(r *funnel.Run, _ alert) error {
					if pass.Add(1) == 1 {
						if _, err := funnel.Step(r, "first", w.kit.lookUp, named{"x"}); err != nil {
							return err
						}
					} else {
						_ = second(w, r)
					}
					funnel.Sleep(r, "nap", time.Minute)
					_, err := funnel.Step(r, "put", w.kit.put, named{"after"})
					return err
				})
				run := w.start().one("a")
				after(time.Hour)
				if r := w.is(run, record.Failed); !strings.Contains(r.Why, "playbook changed") {
					t.Errorf("the run failed because: %s", r.Why)
				}
				w.did("put", 0)
			})
		})
	}
}

// Law 5: a large outcome survives a replay, and a restart.
func TestLargeOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.big = 300 << 10
		var sizes []int
		w.on("p", func(r *funnel.Run, _ alert) error {
			out, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"})
			sizes = append(sizes, len(out.Value))
			funnel.Sleep(r, "nap", time.Minute)
			return err
		})
		run := w.start().one("a")
		after(time.Second)
		w.crash()
		w.start()
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("look_up", 1)
		if len(sizes) < 2 || slices.Min(sizes) != 300<<10 || slices.Max(sizes) != 300<<10 {
			t.Errorf("the passes saw %v bytes", sizes)
		}
	})
}

// Law 6: the named connection, else the event's, else the only one.
func TestConnectionIsChosen(t *testing.T) {
	for name, c := range map[string]struct {
		desks  []string
		event  string
		via    []funnel.StepOption
		want   string
		reason string
	}{
		"the only one":           {desks: []string{"east"}, want: "east"},
		"the event's":            {desks: []string{"east", "west"}, event: "west", want: "west"},
		"named":                  {desks: []string{"east", "west"}, event: "west", via: []funnel.StepOption{funnel.Via("east")}, want: "east"},
		"ambiguous":              {desks: []string{"east", "west"}, reason: "east or west"},
		"named and absent":       {desks: []string{"east"}, via: []funnel.StepOption{funnel.Via("west")}, reason: "not configured"},
		"none":                   {reason: "none is configured"},
		"the event's is foreign": {desks: []string{"east"}, event: "mail", want: "east"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.desks = map[string]*desk{}
				for _, d := range c.desks {
					w.desks[d] = newDesk()
				}
				w.on("p", func(r *funnel.Run, _ alert) error {
					_, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"}, c.via...)
					return err
				})
				w.start()
				_, _, runs, err := w.store.Accept(record.Delivery{}, record.NewEvent{
					Event: record.Event{Key: "k", Trigger: "desk.alert", Connection: c.event, Data: []byte(`{}`)}, Playbooks: []string{"p"},
				})
				if err != nil {
					t.Fatal(err)
				}
				w.queue.Add(runs...)
				after(time.Second)
				if c.reason != "" {
					if r := w.is(runs[0], record.Failed); !strings.Contains(r.Why, c.reason) || r.Code != string(funnel.Invalid) {
						t.Errorf("the run failed because: %s (%s)", r.Why, r.Code)
					}
					return
				}
				w.is(runs[0], record.Succeeded)
				for name, d := range w.desks {
					if n := len(d.did("look_up")); (n == 1) != (name == c.want) {
						t.Errorf("%s was asked %d times, want all at %s", name, n, c.want)
					}
				}
			})
		})
	}
}

// A recorded value, and a recorded failure, are the same in every replay.
func TestRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		n := 0
		var seen []int
		failed := 0
		w.on("p", func(r *funnel.Run, _ alert) error {
			v, err := funnel.Record(r, "count", func() (int, error) { n++; return n, nil })
			if err != nil {
				return err
			}
			seen = append(seen, v)
			if _, err := funnel.Record(r, "fails", func() (int, error) {
				if n++; n == 2 {
					return 0, errors.New("at first")
				}
				return n, nil
			}); err != nil {
				failed++
			}
			funnel.Sleep(r, "nap", time.Minute)
			return r.Context().Err()
		})
		run := w.start().one("a")
		after(time.Hour)
		w.is(run, record.Succeeded)
		if !slices.Equal(seen, []int{1, 1}) || failed != 2 {
			t.Errorf("the passes saw %v and %d failures", seen, failed)
		}
	})
}
