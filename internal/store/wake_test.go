package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// jobs is a queue that is a table, as a real one is: what is in it was committed.
type jobs struct {
	*store.Store
	t *testing.T
}

func openWithJobs(t *testing.T) jobs {
	t.Helper()
	s, err := store.OpenPostgres(t.Context(), store.Postgres{
		URL: postgres.Database(t), Unsafe: true,
		Enqueue: func(ctx context.Context, tx pgx.Tx, list []record.Job) error {
			for _, j := range list {
				if _, err := tx.Exec(ctx, "INSERT INTO job (run, generation) VALUES ($1, $2)", j.Run, j.Generation); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Pool().Exec(t.Context(), "CREATE TABLE job (run BIGINT, generation BIGINT)"); err != nil {
		t.Fatal(err)
	}
	return jobs{Store: s, t: t}
}

// take takes a job out of the table; false: there is none.
func (j jobs) take() (job record.Job, ok bool) {
	j.t.Helper()
	rows, err := j.Pool().Query(j.t.Context(), "DELETE FROM job WHERE ctid IN (SELECT ctid FROM job LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING run, generation")
	if err != nil {
		j.t.Error(err)
		return job, false
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record.Job])
	if err != nil {
		j.t.Error(err)
	}
	if len(list) == 0 {
		return job, false
	}
	return list[0], true
}

func (j jobs) count() (n int) {
	j.t.Helper()
	if err := j.Pool().QueryRow(j.t.Context(), "SELECT COUNT(*) FROM job").Scan(&n); err != nil {
		j.t.Error(err)
	}
	return n
}

// accept makes a run.
func (j jobs) accept(key string) int64 {
	j.t.Helper()
	_, _, runs, err := j.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, newEvent(key, "p"))
	if err != nil {
		j.t.Fatal(err)
	}
	return runs[0]
}

// TestOneJobForOneRun: a run whose job is on its way gets no other, however often
// it is woken; when it has been taken, the next wake makes one.
func TestOneJobForOneRun(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	run := j.accept("k")
	for range 50 {
		if err := j.Wake(run, run); err != nil {
			t.Fatal(err)
		}
	}
	if n := j.count(); n != 1 {
		t.Fatalf("woken 100 times, the run has %d jobs", n)
	}
	job, _ := j.take()
	fence, ok, err := j.Begin(job, "n", time.Hour)
	if err != nil || !ok {
		t.Fatalf("the job is not good: %v %v", ok, err)
	}
	if err := j.Wake(run); err != nil {
		t.Fatal(err)
	}
	if n := j.count(); n != 0 {
		t.Errorf("woken while it is worked on, the run has %d jobs, want none before the end", n)
	}
	if err := j.End(run, fence, false); err != nil {
		t.Fatal(err)
	}
	if n := j.count(); n != 1 {
		t.Errorf("after the end there are %d jobs, want one, for it was woken", n)
	}
}

// TestNoWakeIsMissed: whatever happened before a run was woken is seen by who
// works on it afterwards, whether it had a job, was just being begun or just ended.
func TestNoWakeIsMissed(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	run := j.accept("k")
	const wakes, wakers = 300, 3
	var happened, seen, worked atomic.Int64
	var writers, workers sync.WaitGroup
	over := make(chan struct{})
	for range wakers {
		writers.Go(func() {
			for range wakes {
				happened.Add(1)
				if err := j.Wake(run); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		workers.Go(func() {
			for {
				last := false
				select {
				case <-over: // looked at before the table is
					last = true
				default:
				}
				job, ok := j.take()
				if !ok && last {
					return
				}
				if !ok {
					continue
				}
				fence, ok, err := j.Begin(job, "n", time.Hour)
				if err != nil {
					t.Error(err)
				}
				if !ok {
					continue
				}
				now := happened.Load()
				for was := seen.Load(); was < now && !seen.CompareAndSwap(was, now); was = seen.Load() {
				}
				worked.Add(1)
				if err := j.End(run, fence, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(over) // a worker ends when there is no job left
	workers.Wait()
	if seen.Load() != wakes*wakers || j.count() != 0 {
		t.Errorf("after %d wakes and %d times of work the last one saw %d; %d jobs are left", wakes*wakers, worked.Load(), seen.Load(), j.count())
	}
}

// TestLostJobs: a job that was taken and not begun, or is gone from the queue's
// table, is made again; one that is on its way is not.
func TestLostJobs(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	j.accept("k")
	if n, err := j.WakeForgotten(time.Now().Add(-time.Hour), 10); n != 0 || err != nil {
		t.Errorf("a job that is on its way is made again: %d %v", n, err)
	}
	first, _ := j.take()
	if n, err := j.WakeLost([]record.Job{first}); n != 1 || err != nil || j.count() != 1 {
		t.Errorf("a job that was taken: %d made anew (%v), %d there, want 1", n, err, j.count())
	}
	second, _ := j.take()
	if n, err := j.WakeForgotten(time.Now().Add(time.Hour), 10); n != 1 || err != nil || j.count() != 1 {
		t.Errorf("a job that is gone: %d made anew (%v), %d there, want 1", n, err, j.count())
	}
	for _, old := range []record.Job{first, second} {
		if _, ok, _ := j.Begin(old, "n", time.Hour); ok {
			t.Errorf("%v is good still", old)
		}
	}
	last, _ := j.take()
	if _, ok, err := j.Begin(last, "n", time.Hour); !ok || err != nil {
		t.Errorf("the new one is not good: %v", err)
	}
	if n, err := j.WakeLost([]record.Job{last}); n != 0 || err != nil {
		t.Errorf("a job that was begun is made again: %d %v", n, err)
	}
	if n, err := j.WakeForgotten(time.Now().Add(time.Hour), 10); n != 0 || err != nil {
		t.Errorf("a job that was begun is made again: %d %v", n, err)
	}
}

// TestEndedRunWithJob: a job of a run that has ended is used up, so that a person
// can have the run go on.
func TestEndedRunWithJob(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	run := j.accept("k")
	r, err := j.Run(t.Context(), run)
	r.State = record.Failed
	if err == nil {
		_, err = j.Commit(record.Change{Run: &r})
	}
	if err != nil {
		t.Fatal(err)
	}
	job, _ := j.take()
	if _, ok, err := j.Begin(job, "n", time.Hour); ok || err != nil {
		t.Errorf("a run that has failed is worked on: %v %v", ok, err)
	}
	if err := j.Retry(run, at(2)); err != nil {
		t.Fatal(err)
	}
	if n := j.count(); n != 1 {
		t.Errorf("a person has the run go on, and it has %d jobs, want 1", n)
	}
}

// TestParkedAreCalledOnce: a parked run with a job is not called again, and nobody
// is in its place until it is worked on.
func TestParkedAreCalledOnce(t *testing.T) {
	t.Parallel()
	j := openWithJobs(t)
	var runs []int64
	for _, key := range []string{"a", "b", "c"} {
		id := j.accept(key)
		runs = append(runs, id)
		job, _ := j.take()
		fence, _, err := j.Begin(job, "n", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		r, err := j.Run(t.Context(), id)
		r.State, r.WaitOn = record.Waiting, record.WaitConnection("c")
		if err == nil {
			_, err = j.Commit(record.Change{Run: &r, RunID: id, Fence: fence})
		}
		if err == nil {
			err = j.End(id, fence, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	called := func(want int) {
		t.Helper()
		if n, err := j.WakeParked(record.WaitConnection("c"), 2); err != nil || n != want {
			t.Errorf("%d were called (%v), want %d", n, err, want)
		}
	}
	called(2)
	called(0)
	job, _ := j.take()
	if job.Run != runs[0] {
		t.Errorf("run %d is called first, want the oldest, %d", job.Run, runs[0])
	}
	if _, ok, err := j.Begin(job, "n", time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	called(1)
	called(0)
}
