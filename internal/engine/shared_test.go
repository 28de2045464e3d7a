package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

// asking is a playbook that asks about the alert's print.
func asking(w *world) func(*funnel.Run, alert) error {
	return func(r *funnel.Run, e alert) error {
		_, err := funnel.Step(r, "know", w.kit.know, named{e.Print})
		return err
	}
}

// curious is a world in which four may ask in a minute, and that starts.
func curious(t *testing.T) *world {
	w := newWorld(t)
	w.limits = funnel.Limits{Concurrency: 4, Rate: 4, Per: time.Minute, Cache: 24 * time.Hour, CacheUnknown: time.Hour}
	w.on("p", asking(w))
	return w.start()
}

// A storm asks once about each thing, never faster than allowed, and everybody
// gets the answer. Meanwhile the runs say what they wait for.
func TestStormAsksOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := curious(t)
		var runs []int64
		for i := range 60 {
			runs = append(runs, w.alert(fmt.Sprint("a", i), fmt.Sprint("thing", i%6))...)
		}
		after(10 * time.Second)
		// Which four things are asked first is the workers' chance.
		known, askers := map[int]int{}, map[int]int{}
		for i, run := range runs {
			switch r := w.run(run); {
			case r.State == record.Succeeded:
				known[i%6]++
			case r.WaitOn == record.WaitConnection("desk"):
				if askers[i%6]++; !strings.Contains(r.Why, "the rate of 4 calls per minute is used up") {
					t.Errorf("run %d, which asks for all, waits because: %s", run, r.Why)
				}
			default:
				if w.is(run, record.Waiting); !strings.HasPrefix(r.WaitOn, "answer:desk/") || r.Why != "desk: another run asks the same, and its answer is for all" {
					t.Errorf("run %d waits on %q because: %s", run, r.WaitOn, r.Why)
				}
			}
		}
		if len(known) != 4 || len(askers) != 2 {
			t.Errorf("by thing, %v runs got an answer and %v wait for their turn to ask; want 4 things and 2 others", known, askers)
		}
		for thing, n := range known {
			if n != 10 || askers[thing] > 0 {
				t.Errorf("of the runs about thing %d, whose answer is known, %d of 10 got it", thing, n)
			}
		}
		for thing, n := range askers {
			if n != 1 {
				t.Errorf("%d runs want to ask about thing %d, want one", n, thing)
			}
		}
		after(time.Minute)
		asked := map[int]int{}
		for i, run := range runs {
			w.is(run, record.Succeeded)
			s := w.step(run, "know")
			if s.AskedAt.IsZero() {
				asked[i%6]++
			}
			if !strings.Contains(string(s.Outcome), fmt.Sprint("about thing", i%6)) {
				t.Errorf("run %d got %s, asked by another at %v", run, s.Outcome, s.AskedAt)
			}
		}
		for thing := range 6 {
			if asked[thing] != 1 {
				t.Errorf("%d runs asked about thing %d themselves, want one", asked[thing], thing)
			}
		}
		did := w.desk.did("know")
		w.did("know", 6)
		if gap := did[4].at.Sub(did[0].at); gap < time.Minute || gap > time.Minute+5*time.Second {
			t.Errorf("the fifth question came %v after the first", gap)
		}
	})
}

// An answer is used for as long as the limits say, one that says nothing for a
// shorter time; the key, not the spelling, says what was asked.
func TestAnswersAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := curious(t)
		ask := func(print string, want int) {
			t.Helper()
			run := w.alert(fmt.Sprint(time.Now().UnixNano(), print), print)[0]
			after(time.Second)
			w.is(run, record.Succeeded)
			w.did("know", want)
		}
		ask("jdoe", 1)
		ask("JDoe", 1)
		ask("nobody", 2)
		after(50 * time.Minute)
		ask("nobody", 2)
		after(15 * time.Minute)
		ask("nobody", 3)
		ask("jdoe", 3)
		after(22 * time.Hour)
		w.stop()
		w.start()
		ask("jdoe", 3) // it outlives a restart
		after(time.Hour)
		ask("jdoe", 4)
	})
}

// A failure is for those who waited for the answer, and kept for nobody.
func TestFailuresAreNotKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := curious(t)
		gate := make(chan struct{})
		w.desk.next("know", fault{gate: gate, err: funnel.Errorf(funnel.Invalid, "there is no such thing")})
		var runs []int64
		for i := range 5 {
			runs = append(runs, w.alert(fmt.Sprint("a", i), "thing")...)
		}
		after(time.Second)
		gate <- struct{}{}
		after(time.Second)
		for _, run := range runs {
			if r := w.is(run, record.Failed); r.Code != string(funnel.Invalid) || !strings.Contains(r.Why, "no such thing") {
				t.Errorf("run %d failed with %s: %s", run, r.Code, r.Why)
			}
		}
		w.did("know", 0) // one call was made, and it was refused
		late := w.alert("late", "thing")[0]
		after(time.Second)
		w.is(late, record.Succeeded)
		for _, run := range runs {
			if err := w.engine.Retry(run); err != nil {
				t.Error(err)
			}
		}
		after(time.Second)
		for _, run := range runs {
			w.is(run, record.Succeeded)
		}
		w.did("know", 1)
	})
}

// Attempts are those of the run that asks: the others do not multiply them.
func TestAttemptsAreSharedToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := curious(t)
		w.desk.ever("know", fault{err: &funnel.Error{Code: funnel.Throttled, Message: "too many", RetryAt: time.Now().Add(time.Hour), Narrow: true}})
		for i := range 5 {
			w.alert(fmt.Sprint("a", i), "thing")
		}
		after(30 * time.Minute)
		w.desk.ever("know", fault{})
		after(29 * time.Minute)
		w.did("know", 0)
		after(2 * time.Minute)
		w.did("know", 1)
		for _, r := range w.runs(record.Playbook, "p") {
			w.is(r.ID, record.Succeeded)
		}
	})
}

// When who asks is gone, the next one asks in its place, and nobody asks twice.
func TestAskerLeaves(t *testing.T) {
	for name, gone := range map[string]func(*world, int64){
		"cancelled":              func(w *world, run int64) { _ = w.engine.Cancel(run) },
		"skipped":                func(w *world, run int64) { _ = w.engine.Skip(run, "know") },
		"restart":                func(w *world, _ int64) { w.stop(); w.start() },
		"crash":                  func(w *world, _ int64) { w.crash(); w.start() },
		"crash after cancelling": func(w *world, run int64) { _, _ = w.store.Cancel(run, time.Now()); w.crash(); w.start() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := curious(t)
				for i := range 4 { // the rate is used up
					w.alert(fmt.Sprint("first", i), fmt.Sprint("other", i))
				}
				after(time.Second)
				var runs []int64
				for i := range 6 {
					runs = append(runs, w.alert(fmt.Sprint("a", i), "thing")...)
					after(time.Millisecond)
				}
				gone(w, runs[0])
				after(2 * time.Minute)
				w.did("know", 5)
				for _, run := range runs[1:] {
					w.is(run, record.Succeeded)
				}
				if s := w.step(runs[1], "know"); name == "cancelled" && !s.AskedAt.IsZero() {
					t.Error("not the oldest of those who waited has asked")
				}
			})
		})
	}
}

// A crash while the question is under way asks it once more, for everybody.
func TestCrashWhileAsking(t *testing.T) {
	for name, lost := range map[string]bool{"before it is answered": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := curious(t)
				crashed := make(chan struct{})
				w.desk.next("know", fault{lost: lost, crash: func() { w.cancel(); close(crashed) }})
				var runs []int64
				for i := range 6 {
					runs = append(runs, w.alert(fmt.Sprint("a", i), "thing")...)
				}
				<-crashed
				w.crash()
				w.start()
				after(2 * time.Minute)
				want := 1
				if lost {
					want = 2
				}
				w.did("know", want)
				for _, run := range runs {
					w.is(run, record.Succeeded)
				}
			})
		})
	}
}

// A journal that fails in the moment of the answer has it asked again, once.
func TestAnswerThatCannotBeKept(t *testing.T) {
	for n := range int32(8) {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.limits = funnel.Limits{Concurrency: 4, Cache: time.Hour}
				w.options = func(o *engine.Options) { o.Journal = &flaky{Journal: o.Journal, fails: n + 1} }
				w.on("p", asking(w))
				w.start()
				for i := range 4 {
					w.alert(fmt.Sprint("a", i), "thing")
				}
				after(time.Minute)
				for _, r := range w.runs(record.Playbook, "p") {
					w.is(r.ID, record.Succeeded)
				}
				if n := len(w.desk.did("know")); n < 1 || n > 2 {
					t.Errorf("it was asked %d times", n)
				}
			})
		})
	}
}

// Who asks anew gets no answer that is older than the call; a storm of such calls
// asks once all the same.
func TestAskAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := curious(t)
		w.alert("a", "thing")
		after(time.Minute)
		call := func(anew bool) int64 {
			run, err := w.engine.Call(engine.Call{Action: w.kit.know.Spec(), Input: []byte(`{"Name":"thing"}`), Anew: anew, By: "jdoe"})
			if err != nil {
				t.Fatal(err)
			}
			return run
		}
		old := call(false)
		after(time.Second)
		w.did("know", 1)
		if s := w.step(old, "call"); s.AskedAt.IsZero() || s.StartedAt.Sub(s.AskedAt) < time.Minute {
			t.Errorf("the old answer was asked for at %v", s.AskedAt)
		}
		gate := make(chan struct{})
		w.desk.next("know", fault{gate: gate})
		var runs []int64
		for range 5 {
			runs = append(runs, call(true))
		}
		after(time.Second)
		gate <- struct{}{}
		after(time.Second)
		w.did("know", 2)
		for _, run := range runs {
			w.is(run, record.Succeeded)
			if !strings.Contains(string(w.step(run, "call").Outcome), "answer 2") {
				t.Errorf("run %d got %s", run, w.step(run, "call").Outcome)
			}
		}
	})
}

// Without an age, an answer is for those only who waited for it.
func TestNothingIsKeptWithoutAnAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits = funnel.Limits{Concurrency: 4, Cache: -1, CacheUnknown: -1}
		w.on("p", asking(w))
		gate := make(chan struct{})
		w.desk.next("know", fault{gate: gate})
		w.start()
		for i := range 5 {
			w.alert(fmt.Sprint("a", i), "thing")
		}
		after(time.Second)
		gate <- struct{}{}
		after(time.Second)
		w.did("know", 1)
		w.alert("late", "thing")
		after(time.Second)
		w.did("know", 2)
	})
}

// An answer that is too large to keep costs each run a call of its own.
func TestLargeAnswersAreNotKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits = funnel.Limits{Concurrency: 4, Cache: time.Hour}
		w.on("p", asking(w))
		w.desk.big = 100 << 10
		w.start()
		for i := range 5 {
			w.alert(fmt.Sprint("a", i), "thing")
		}
		after(time.Minute)
		w.did("know", 5)
		for _, r := range w.runs(record.Playbook, "p") {
			w.is(r.ID, record.Succeeded)
		}
	})
}

// Branches of one run that ask the same share the answer too.
func TestBranchesAskOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits = funnel.Limits{Concurrency: 4, Rate: 1, Per: time.Minute, Cache: time.Hour}
		branch := func(name string) funnel.Branch {
			return funnel.Branch{Name: name, Do: func(r *funnel.Run) error {
				_, err := funnel.Step(r, "know", w.kit.know, named{"thing"})
				return err
			}}
		}
		w.on("p", func(r *funnel.Run, _ alert) error {
			return funnel.Parallel(r, "all", branch("a"), branch("b"), branch("c"))
		})
		w.on("q", asking(w))
		w.start()
		run := w.alert("x", "other")
		after(10 * time.Second)
		w.did("know", 2-1) // "thing" or "other" came first and used up the rate
		after(3 * time.Minute)
		for _, run := range run {
			w.is(run, record.Succeeded)
		}
		names := w.desk.names("know")
		if slices.Sort(names); !slices.Equal(names, []string{"other", "thing"}) {
			t.Errorf("it was asked about %v", names)
		}
	})
}

// What was asked of a connection with other options is not an answer of this one.
func TestAnswersAreOfOneSetting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := curious(t)
		w.alert("a", "thing")
		after(time.Second)
		w.stop()
		w.options = func(o *engine.Options) { o.Connections["desk"].Options = "other" }
		w.start()
		w.alert("b", "thing")
		after(time.Second)
		w.did("know", 2)
	})
}

// A run that fails elsewhere while it asks leaves the question to who waits.
func TestAskerFailsElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits = funnel.Limits{Concurrency: 4, Rate: 1, Per: 10 * time.Minute, Cache: time.Hour}
		w.on("p", func(r *funnel.Run, e alert) error {
			if e.Name != "bad" {
				return asking(w)(r, e)
			}
			return funnel.Parallel(r, "both", funnel.Branch{Name: "ask", Do: func(r *funnel.Run) error { return asking(w)(r, e) }},
				funnel.Branch{Name: "fall", Do: func(r *funnel.Run) error {
					funnel.Sleep(r, "a_while", time.Minute)
					panic("over")
				}})
		})
		w.start()
		w.alert("first", "other")
		after(time.Second)
		bad := w.one("bad")
		after(time.Second)
		var runs []int64
		for _, name := range []string{"x", "y", "z"} {
			runs = append(runs, w.alert(name, "bad")...)
		}
		after(30 * time.Second)
		w.is(runs[0], record.Waiting)
		after(time.Minute)
		w.is(bad, record.Failed)
		after(10 * time.Minute)
		for _, run := range runs {
			w.is(run, record.Succeeded)
		}
		w.did("know", 2)
	})
}

// watched is a journal that tells of the answers that are read and kept.
type watched struct {
	engine.Journal
	read func(record.Answer, error) // after it was read
	kept func(record.Change)        // before it is kept
}

func (j watched) Answer(ctx context.Context, connection, lookup string) (record.Answer, error) {
	a, err := j.Journal.Answer(ctx, connection, lookup)
	if j.read != nil {
		j.read(a, err)
	}
	return a, err
}

func (j watched) Commit(c record.Change) (record.Committed, error) {
	if c.Answer != nil && j.kept != nil {
		j.kept(c)
	}
	return j.Journal.Commit(c)
}

// An answer that comes in between reading and asking is not asked for again.
func TestAnswerComesInBetween(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits = funnel.Limits{Concurrency: 4, Cache: time.Hour}
		asked := make(chan struct{})
		var armed atomic.Bool
		w.options = func(o *engine.Options) {
			o.Journal = watched{Journal: o.Journal, read: func(record.Answer, error) {
				if armed.CompareAndSwap(true, false) { // the second run's first look, which found nothing
					<-asked
				}
			}}
		}
		gate := make(chan struct{})
		w.desk.next("know", fault{gate: gate})
		w.on("p", asking(w))
		w.start()
		first := w.alert("a", "thing")[0]
		after(time.Second)
		armed.Store(true)
		second := w.alert("b", "thing")[0]
		after(time.Second)
		gate <- struct{}{}
		after(time.Second)
		w.is(first, record.Succeeded)
		close(asked)
		after(time.Second)
		w.is(second, record.Succeeded)
		w.did("know", 1)
	})
}

// Those who wait for an answer are let go on by the transaction that keeps it.
func TestAnswerReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.limits = funnel.Limits{Concurrency: 4, Cache: time.Hour, CacheUnknown: time.Minute}
		var kept []record.Change
		w.options = func(o *engine.Options) {
			o.Journal = watched{Journal: o.Journal, kept: func(c record.Change) { kept = append(kept, c) }}
		}
		w.on("p", asking(w))
		w.start()
		w.alert("a", "thing")
		after(time.Second)
		w.alert("b", "nobody")
		after(time.Second)
		if len(kept) != 2 {
			t.Fatalf("%d answers were kept", len(kept))
		}
		for i, c := range kept {
			if want := []string{record.WaitAnswer("desk", c.Answer.Lookup)}; !slices.Equal(c.Release, want) || len(c.Steps) != 1 || c.Steps[0].State != record.Succeeded {
				t.Errorf("the answer is kept with %+v", c)
			}
			// Who waits has some minutes to read it.
			if age := c.Answer.ExpiresAt.Sub(c.Answer.AskedAt); age != []time.Duration{time.Hour, 10 * time.Minute}[i] || c.Answer.Found != (i == 0) {
				t.Errorf("answer %d expires after %v", i, age)
			}
		}
	})
}
