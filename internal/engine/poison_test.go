package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

// An action that panics, does not end or fails in a way that it does not explain
// has few tries, whether it may have changed something or not. A person's retry
// gives it new ones.
func TestFaultsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		f    fault
		most int // tries
	}{
		"panic":       {fault{panic: true}, 3},
		"deaf":        {fault{deaf: true}, 3},
		"unexplained": {fault{err: context.DeadlineExceeded}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				defer close(w.desk.wake)
				w.desk.ever("open_ticket", c.f)
				w.desk.ever("look_up", c.f)
				w.on("read", func(r *funnel.Run, _ alert) error {
					_, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"})
					return err
				})
				w.on("write", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
				w.start()
				runs := w.alert("a", "a")
				after(24 * time.Hour)
				for i, op := range []string{"look_up", "open_ticket"} {
					r := w.is(runs[i], record.Failed)
					if n := w.desk.tried(op); r.Code != string(funnel.Internal) || n != c.most {
						t.Errorf("%s was tried %d times, want %d; then: %s %s", op, n, c.most, r.Code, r.Why)
					}
				}
				w.desk.ever("open_ticket", fault{})
				if err := w.engine.Retry(runs[1]); err != nil {
					t.Fatal(err)
				}
				after(24 * time.Hour)
				w.is(runs[1], record.Succeeded)
				w.did("open_ticket", 1)
			})
		})
	}
}

// A look-up of an unsure effect that panics has few tries too.
func TestFindThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("open_ticket", fault{lost: true})
		w.desk.ever("find", fault{panic: true})
		w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
		run := w.start().one("a")
		after(24 * time.Hour)
		r := w.is(run, record.Failed)
		if w.desk.finds != 3 || !strings.Contains(r.Why, "panicked") {
			t.Errorf("it was looked up %d times, want 3; then: %s", w.desk.finds, r.Why)
		}
		w.did("open_ticket", 1)
	})
}

// A playbook that does nothing any more is left alone, and its worker is free. If
// it moves after all, it comes no further than its next step.
func TestPlaybookThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.workers = 1
		stuck := make(chan struct{})
		free := sync.OnceFunc(func() { close(stuck) })
		defer free()
		w.on("p", func(r *funnel.Run, a alert) error {
			if _, err := funnel.Step(r, "look", w.kit.lookUp, named{a.Name}); err != nil {
				return err
			}
			if a.Name == "hangs" {
				<-stuck
			}
			_, err := funnel.Step(r, "again", w.kit.lookUp, named{a.Name})
			return err
		})
		w.start()
		hangs, other := w.one("hangs"), w.one("other")
		after(50 * time.Second)
		w.is(hangs, record.Running)
		after(30 * time.Second)
		if r := w.is(hangs, record.Failed); !strings.Contains(r.Why, "hangs") {
			t.Errorf("it failed because %s", r.Why)
		}
		w.is(other, record.Succeeded)
		free()
		after(time.Minute)
		w.is(hangs, record.Failed)
		w.did("look_up", 3)
	})
}

// slots keeps which runs are under way, and with how many others.
type slots struct {
	mu     sync.Mutex
	now    []int64
	beside map[int64]int
	alone  []int64
}

func (s *slots) BeginAlone(run int64, most time.Duration) func() {
	s.mu.Lock()
	if most == 5*time.Second {
		s.alone = append(s.alone, run)
	}
	s.mu.Unlock()
	return s.Begin(run)
}

func (s *slots) Begin(run int64) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = append(s.now, run)
	for _, r := range s.now {
		s.beside[r] = max(s.beside[r], len(s.now)-1)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now = slices.DeleteFunc(s.now, func(r int64) bool { return r == run })
	}
}

// lonely keeps of which suspects it was noted that they are worked on, before they were.
type lonely struct {
	engine.Journal
	seen  *slots
	alone *[]int64
}

func (n lonely) Alone(run int64) error {
	n.seen.mu.Lock()
	defer n.seen.mu.Unlock()
	if len(n.seen.now) == 0 {
		*n.alone = append(*n.alone, run)
	}
	return n.Journal.Alone(run)
}

// Runs at whose work a process ended are worked on with nothing beside them, and
// cleared if the process lives. Those that ended it too often are left to a person.
func TestSuspectsAreAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		seen := &slots{beside: map[int64]int{}}
		var alone []int64
		w.options = func(o *engine.Options) { o.Underway, o.Journal = seen, lonely{o.Journal, seen, &alone} }
		open := make(chan struct{})
		w.desk.ever("look_up", fault{gate: open})
		w.on("p", func(r *funnel.Run, a alert) error {
			_, err := funnel.Step(r, "look", w.kit.lookUp, named{a.Name})
			return err
		})
		w.start()
		var runs []int64
		for i := range 12 {
			runs = append(runs, w.one(string(rune('a'+i))))
		}
		after(time.Second)
		if len(seen.now) != w.workers {
			t.Fatalf("%v are under way, want %d", seen.now, w.workers)
		}
		suspects := slices.Clone(seen.now)
		w.crash()
		close(open)
		w.desk.ever("look_up", fault{})
		w.reopen()
		w.died(suspects, true)
		w.died(suspects[:2], true) // the second death, of both alone
		w.died(suspects[:1], true) // and the third
		seen.beside, seen.now = map[int64]int{}, nil
		w.start()
		after(time.Minute)
		for _, run := range runs {
			if run == suspects[0] {
				r := w.is(run, record.Failed)
				if !strings.Contains(r.Why, "2 of them crashes") {
					t.Errorf("the one that crashed the server failed because %s", r.Why)
				}
				continue
			}
			r := w.is(run, record.Succeeded)
			if suspect := slices.Contains(suspects, run); suspect && seen.beside[run] > 0 {
				t.Errorf("suspect %d was worked on with %d others", run, seen.beside[run])
			}
			if r.Deaths+r.Crashes != 0 {
				t.Errorf("run %d is still suspected: %+v", run, r)
			}
		}
		slices.Sort(alone)
		slices.Sort(seen.alone)
		if all := slices.Sorted(slices.Values(suspects)); !slices.Equal(alone, all) || !slices.Equal(seen.alone, all) {
			t.Errorf("it is noted of %v and %v that they are worked on alone, want %v", alone, seen.alone, all)
		}
		if err := w.engine.Retry(suspects[0]); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.is(suspects[0], record.Succeeded)
	})
}

// The others do not wait for ever for a suspect that takes its time.
func TestSuspectThatTakesLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		open := make(chan struct{})
		w.desk.ever("look_up", fault{gate: open})
		w.on("p", func(r *funnel.Run, a alert) error {
			if a.Name == "other" {
				return nil
			}
			_, err := funnel.Step(r, "look", w.kit.lookUp, named{a.Name})
			return err
		})
		w.start()
		slow := w.one("slow")
		after(time.Second)
		w.crash()
		w.reopen()
		w.died([]int64{slow}, true)
		w.start()
		after(time.Second)
		other := w.one("other")
		after(3 * time.Second)
		w.is(other, record.Queued)
		after(2 * time.Second)
		w.is(other, record.Succeeded)
		close(open)
		after(time.Second)
		w.is(slow, record.Succeeded)
	})
}

// lookingUp returns a world that works, whose runs look something up; nothing is found
// before it is opened.
func lookingUp(t *testing.T) (w *world, open func()) {
	w = newWorld(t)
	gate := make(chan struct{})
	w.desk.ever("look_up", fault{gate: gate})
	w.on("p", func(r *funnel.Run, a alert) error {
		_, err := funnel.Step(r, "look", w.kit.lookUp, named{a.Name})
		return err
	})
	w.start()
	return w, func() {
		close(gate)
		w.desk.ever("look_up", fault{})
	}
}

// A run that has died without a trace while it was alone is not tried at once: first
// it is seen whether the process lives without it.
func TestSilentSuspectsWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, open := lookingUp(t)
		once, twice, other := w.one("once"), w.one("twice"), w.one("other")
		after(time.Second)
		w.crash()
		open()
		w.reopen()
		w.died([]int64{once, twice}, false)
		w.died([]int64{twice}, false)
		w.start()
		after(4900 * time.Millisecond)
		w.is(once, record.Succeeded)
		w.is(other, record.Succeeded)
		w.is(twice, record.Queued)
		after(200 * time.Millisecond)
		w.is(twice, record.Succeeded)
	})
}

// Deaths without a trace count too: three in the same step, the last two alone, of
// which one may be a crash. In company it takes more of them, for then it may have
// been another.
func TestSilentDeaths(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, open := lookingUp(t)
		two, three, five, six, mixed := w.one("two"), w.one("three"), w.one("five"), w.one("six"), w.one("mixed")
		after(time.Second)
		w.crash()
		open()
		w.reopen()
		w.died([]int64{two, three, five, six, mixed}, false)
		w.died([]int64{two}, false)
		w.died([]int64{three}, false)
		w.died([]int64{three}, false)
		for range 4 {
			w.died([]int64{five, six}, false)
		}
		w.died([]int64{six, two}, false)
		w.died([]int64{mixed}, true)
		w.died([]int64{mixed}, false)
		w.start()
		after(time.Minute)
		w.is(two, record.Succeeded)
		w.is(five, record.Succeeded)
		for run, why := range map[int64]string{three: "3 times in a row while it worked on this run, the last 2 times on nothing else and in the same step", six: "6 times in a row", mixed: "2 times while it worked on this run and nothing else, 1 of them crashes"} {
			if r := w.is(run, record.Failed); !strings.Contains(r.Why, why) {
				t.Errorf("it failed because %s, want: %s", r.Why, why)
			}
		}
	})
}
