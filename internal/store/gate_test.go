package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

func openShared(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.OpenPostgres(t.Context(), store.Postgres{URL: url, Unsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestTokensAreForAllNodes: what several nodes take together keeps to the bounds.
func TestTokensAreForAllNodes(t *testing.T) {
	t.Parallel()
	url := postgres.Database(t)
	nodes := []*store.Store{openShared(t, url), openShared(t, url)}
	take := func(q record.TokenRequest) (granted []int64) {
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				token, err := nodes[i%2].TakeToken(q)
				if err != nil {
					t.Error(err)
				}
				if token.Granted {
					mu.Lock()
					granted = append(granted, token.ID)
					mu.Unlock()
				} else if token.Why == "" || !token.Until.After(time.Time{}) {
					t.Errorf("refused without a reason or an end: %+v", token)
				}
			})
		}
		all.Wait()
		return granted
	}
	for name, c := range map[string]struct {
		q    record.TokenRequest
		want int
	}{
		"rate":        {record.TokenRequest{Rate: 4, Per: time.Hour}, 4},
		"daily":       {record.TokenRequest{Daily: 5}, 5},
		"concurrency": {record.TokenRequest{Concurrency: 6}, 6},
		"none":        {record.TokenRequest{}, 40},
	} {
		c.q.Connection, c.q.Longest = name, time.Minute
		granted := take(c.q)
		if len(granted) != c.want {
			t.Errorf("%s: %d calls were let start, want %d", name, len(granted), c.want)
		}
		for _, id := range granted {
			if err := nodes[0].GiveToken(record.Ended{Connection: name, ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		after := len(take(c.q)) // ended calls count for the rate and the day, not for the places
		if want := map[string]int{"concurrency": 6, "none": 40}[name]; after != want {
			t.Errorf("%s: %d more calls were let start, want %d", name, after, want)
		}
	}
}

// TestPauseIsForAllNodes: what one node was asked to wait, all do.
func TestPauseIsForAllNodes(t *testing.T) {
	t.Parallel()
	url := postgres.Database(t)
	one, other := openShared(t, url), openShared(t, url)
	q := record.TokenRequest{Connection: "c", Longest: time.Minute}
	token, err := one.TakeToken(q)
	if err != nil || !token.Granted {
		t.Fatal(token, err)
	}
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	if err := one.GiveToken(record.Ended{Connection: "c", ID: token.ID, PausedUntil: until, PausedWhy: "asked"}); err != nil {
		t.Fatal(err)
	}
	token, err = other.TakeToken(q)
	if err != nil || token.Granted || !token.Until.Equal(until) || token.Why != "asked" {
		t.Errorf("got %+v (%v), want a pause until %v", token, err, until)
	}
}

// TestOneWinsTheLease: of many who begin the same job, one may, and what is
// written under a lease that has passed on is refused.
func TestOneWinsTheLease(t *testing.T) {
	t.Parallel()
	url := postgres.Database(t)
	nodes := []*store.Store{openShared(t, url), openShared(t, url)}
	_, _, runs, err := nodes[0].Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, newEvent("k", "p"))
	if err != nil {
		t.Fatal(err)
	}
	run := runs[0]
	var mu sync.Mutex
	var all sync.WaitGroup
	won, fence := 0, int64(0)
	for i := range 200 {
		all.Go(func() {
			f, ok, err := nodes[i%2].Begin(record.Job{Run: run, Generation: 1}, "n", time.Hour)
			if err != nil {
				t.Error(err)
			}
			if ok {
				mu.Lock()
				won, fence = won+1, f
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Fatalf("%d of 200 may work on the run, want 1", won)
	}
	if _, ok, _ := nodes[0].Begin(record.Job{Run: run, Generation: 0}, "n", time.Hour); ok {
		t.Error("an outdated job may work on the run")
	}
	if err := nodes[0].Retry(run, at(1)); err != record.ErrBusy {
		t.Errorf("a person may retry a run that is worked on: %v", err)
	}
	if err := nodes[0].End(run, fence, true); err != nil {
		t.Fatal(err)
	}
	next, ok, err := nodes[1].Begin(record.Job{Run: run, Generation: 2}, "m", time.Hour)
	if err != nil || !ok {
		t.Fatalf("the interrupted run has no next job: %v %v", ok, err)
	}
	late := record.Change{RunID: run, Fence: fence, Steps: []*record.Step{step(run, "late", 1)}}
	if _, err := nodes[0].Commit(late); err != record.ErrFenced {
		t.Errorf("a late write is answered %v, want that it is refused", err)
	}
	late.Fence = next
	late.Steps[0].Path = "in time"
	if _, err := nodes[1].Commit(late); err != nil {
		t.Error(err)
	}
	steps, err := nodes[0].Steps(t.Context(), run)
	if err != nil || len(steps) != 1 || steps[0].Path != "in time" {
		t.Errorf("the journal holds %v (%v), want the write of the one who has the run", steps, err)
	}
}

// TestTakeOver: the runs of a node that is not heard of pass to others, once.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	s := openShared(t, postgres.Database(t))
	_, _, runs, err := s.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, newEvent("k", "p"))
	if err != nil {
		t.Fatal(err)
	}
	fence, ok, err := s.Begin(record.Job{Run: runs[0], Generation: 1}, "dead", time.Microsecond)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	n, err := s.TakeOver(10)
	if err != nil || n != 1 {
		t.Fatalf("%d runs are taken over (%v), want 1", n, err)
	}
	if n, _ := s.TakeOver(10); n != 0 {
		t.Errorf("the run is taken over again")
	}
	lost, err := s.Beat(record.Node{ID: "dead", Name: "dead"}, time.Hour, map[int64]int64{runs[0]: fence})
	if err != nil || len(lost) != 1 {
		t.Errorf("the node that comes back hears of %v (%v), want that the run is not its own", lost, err)
	}
	if _, ok, err := s.Begin(record.Job{Run: runs[0], Generation: 2}, "other", time.Hour); !ok || err != nil {
		t.Errorf("nobody can go on: %v %v", ok, err)
	}
}

// TestNoTurnIsMissed: who parks at the moment in which the one it waits for ends
// is not left behind.
func TestNoTurnIsMissed(t *testing.T) {
	t.Parallel()
	url := postgres.Database(t)
	one, other := openShared(t, url), openShared(t, url)
	name := record.WaitSerial("c", "x")
	for i := range 150 {
		var ids []int64
		for _, k := range []string{"a", "b"} {
			_, _, runs, err := one.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, newEvent(words(k, i), "p"))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, runs[0])
		}
		holder, waiter := ids[0], ids[1]
		if turn, err := one.TakeTurn(name, holder, "p", at(0)); err != nil || !turn.Mine {
			t.Fatal(turn, err)
		}
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := one.Commit(record.Change{RunID: holder, Free: []string{name}, Release: []string{name}}); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			r, err := other.Run(t.Context(), waiter)
			if err == nil {
				r.State, r.WaitOn = record.Waiting, name
				_, err = other.Commit(record.Change{Run: &r})
			}
			if err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		r, err := one.Run(t.Context(), waiter)
		if err != nil || r.WaitOn != "" {
			t.Fatalf("round %d: the run waits for %q (%v) after the turn ended", i, r.WaitOn, err)
		}
	}
}
