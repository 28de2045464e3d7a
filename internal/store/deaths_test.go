package store_test

import (
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// checkDeaths: deaths are counted, crashes only of who was alone; who survived or
// is retried is clean.
func checkDeaths(f *fixture) {
	a, b, over := f.run("a"), f.run("b"), f.run("over")
	f.put(over, func(r *record.Run) { r.State = record.Succeeded })
	counts := func(id int64) string { r := f.get(id); return words(r.Deaths, r.Crashes) }
	n, err := f.db.Died("", []int64{a.ID, b.ID, over.ID, 999}, 0, true)
	f.must(err)
	f.want("of the four, there go on", n, 2)
	f.want("the first death, in company", counts(a.ID), "1 0")
	f.want("an ended run", counts(over.ID), "0 0")
	_, err = f.db.Died("", []int64{a.ID}, a.ID, false)
	f.must(err)
	f.want("a death without a trace", counts(a.ID), "2 0")
	_, err = f.db.Died("", []int64{a.ID}, a.ID, true)
	f.must(err)
	f.want("a crash alone", counts(a.ID), "3 1")
	f.must(f.db.Survived(b.ID))
	f.want("who survived", counts(b.ID), "0 0")
	f.put(f.get(a.ID), func(r *record.Run) { r.State = record.Failed })
	f.want("who failed", counts(a.ID), "3 1")
	f.must(f.db.Retry(a.ID, at(2)))
	f.want("who is retried", counts(a.ID), "0 0")
}

// checkSilent: deaths without a trace count against a run that was alone and has come
// no further since the one before.
func checkSilent(f *fixture) {
	a, b := f.run("a"), f.run("b")
	steps := 0
	step := func(state record.State, finished time.Time) {
		f.commit(record.Change{Run: &a, Steps: []*record.Step{{RunID: a.ID, Path: words("step", steps), Action: "x.y", State: state, StartedAt: at(0), FinishedAt: finished}}})
	}
	died := func(what string, crashed bool, want int, alone int64) {
		f.Helper()
		_, err := f.db.Died("", []int64{a.ID, b.ID}, alone, crashed)
		f.must(err)
		f.want(what, f.get(a.ID).Silent, want)
	}
	step(record.Succeeded, at(0))
	died("the first", false, 0, a.ID)
	died("the second, in the same step", false, 1, a.ID)
	died("in company", false, 1, 0)
	died("beside one that was alone", false, 1, b.ID)
	died("a crash", true, 1, a.ID)
	steps++
	step(record.Running, time.Time{})
	died("in a step that had begun", false, 2, a.ID)
	step(record.Succeeded, at(1))
	died("in the step after it", false, 0, a.ID)
	died("again in that", false, 1, a.ID)
	f.must(f.db.Survived(a.ID))
	f.want("who survived", f.get(a.ID).Silent, 0)
	died("the first after that", false, 0, a.ID)
	died("the second after that", false, 1, a.ID)
	f.put(f.get(a.ID), func(r *record.Run) { r.State = record.Failed })
	f.must(f.db.Retry(a.ID, at(2)))
	f.want("who is retried", f.get(a.ID).Silent, 0)
}

// TestDeathOfANode: a node that comes back gives its runs to the others at once,
// and what was taken over from it before is not counted twice.
func TestDeathOfANode(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	kept, taken := j.accept("kept"), j.accept("taken")
	begin := func(run, generation int64, node string, lease time.Duration) {
		t.Helper()
		if _, ok, err := j.Begin(record.Job{Run: run, Generation: generation}, node, lease); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	is := func(run int64, deaths, crashes int) {
		t.Helper()
		if r, err := j.Run(t.Context(), run); err != nil || r.Deaths != deaths || r.Crashes != crashes {
			t.Errorf("run %d has %d deaths and %d crashes (%v), want %d and %d", run, r.Deaths, r.Crashes, err, deaths, crashes)
		}
	}
	begin(kept, 1, "dead", time.Hour)
	begin(taken, 1, "dead", time.Microsecond)
	if n, err := j.TakeOver(10); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	is(taken, 1, 0)
	begin(taken, 2, "other", time.Hour)
	for j.count() > 0 {
		j.take()
	}
	if n, err := j.Died("dead", []int64{kept, taken}, 0, true); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	is(kept, 1, 0)
	is(taken, 1, 0)
	if job, _ := j.take(); job.Run != kept || j.count() != 0 {
		t.Errorf("there is a job for run %d, and %d others: want one for the run that nobody works on", job.Run, j.count())
	}
	if n, _ := j.TakeOver(10); n != 0 {
		t.Errorf("%d runs are taken over again", n)
	}
	// The other node crashes of it too, and so does the first with the one that it
	// begins again.
	if _, err := j.Died("other", []int64{taken}, taken, true); err != nil {
		t.Fatal(err)
	}
	is(taken, 2, 1)
	begin(kept, 2, "dead", time.Microsecond)
	if err := j.Alone(kept); err != nil {
		t.Fatal(err)
	}
	if n, err := j.TakeOver(10); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := j.Died("dead", []int64{kept}, kept, true); err != nil {
		t.Fatal(err)
	}
	is(kept, 2, 1)
}

// TestSuspectsThatWaited: of the suspects that a dead node held, only the one that it
// had come to has died again.
func TestSuspectsThatWaited(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	waits, worked := j.accept("waits"), j.accept("worked")
	die := func(generation int64, alone int64, deaths ...int) {
		t.Helper()
		for _, run := range []int64{waits, worked} {
			if _, ok, err := j.Begin(record.Job{Run: run, Generation: generation}, "dead", time.Microsecond); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if alone != 0 {
			if err := j.Alone(alone); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := j.TakeOver(10); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		for i, run := range []int64{waits, worked} {
			if r, err := j.Run(t.Context(), run); err != nil || r.Deaths != deaths[i] {
				t.Errorf("after death %d, run %d has died %d times (%v), want %d", generation, run, r.Deaths, err, deaths[i])
			}
		}
	}
	die(1, 0, 1, 1)
	die(2, worked, 1, 2)
	die(3, 0, 1, 2)
	die(4, worked, 1, 3)
	if err := j.Survived(worked); err != nil {
		t.Fatal(err)
	}
	die(5, 0, 1, 1)
}
