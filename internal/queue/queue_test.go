package queue_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests stops PostgreSQL before goroutines are counted.
type tests struct{ *testing.M }

// Run runs the tests.
func (t tests) Run() int { return postgres.Run(t.M) }

// postgres is the PostgreSQL of this test binary.
var postgres pgtest.Shared

// table is a run table in memory.
type table struct {
	mu    sync.Mutex
	rows  map[int64]*row
	reads int // of the backlog
	most  int // ids that one reading gave
	fail  int // readings that will fail
}

type row struct {
	ended  bool
	wakeAt time.Time
	waitOn string
}

func newTable(n int) *table {
	b := &table{rows: map[int64]*row{}}
	for id := range n {
		b.rows[int64(id+1)] = &row{}
	}
	return b
}

func (b *table) set(id int64, r row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[id] = &r
}

func (b *table) list(limit int, want func(int64, *row) bool, before func(x, y int64) int) ([]int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if b.fail > 0 {
		b.fail--
		return nil, errors.New("the table cannot be read")
	}
	var ids []int64
	for id, r := range b.rows {
		if !r.ended && want(id, r) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, before)
	ids = ids[:min(len(ids), limit)]
	b.most = max(b.most, len(ids))
	return ids, nil
}

func (b *table) Ready(_ context.Context, after int64, limit int) ([]int64, error) {
	return b.list(limit, func(id int64, r *row) bool { return id > after && r.wakeAt.IsZero() && r.waitOn == "" }, cmp.Compare[int64])
}

func (b *table) Due(_ context.Context, now time.Time, limit int) ([]int64, error) {
	return b.list(limit, func(_ int64, r *row) bool { return r.waitOn == "" && !r.wakeAt.IsZero() && !r.wakeAt.After(now) },
		func(x, y int64) int { return cmp.Or(b.rows[x].wakeAt.Compare(b.rows[y].wakeAt), cmp.Compare(x, y)) })
}

func (b *table) Parked(_ context.Context, on string, limit int) ([]int64, error) {
	return b.list(limit, func(_ int64, r *row) bool { return r.waitOn == on }, cmp.Compare[int64])
}

func (b *table) NextWake(_ context.Context, after time.Time) (next time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if !r.ended && r.waitOn == "" && r.wakeAt.After(after) && (next.IsZero() || r.wakeAt.Before(next)) {
			next = r.wakeAt
		}
	}
	return next, nil
}

func (b *table) WaitCounts(context.Context) (map[string]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[string]int{}
	for _, r := range b.rows {
		if !r.ended && r.waitOn != "" {
			counts[r.waitOn]++
		}
	}
	return counts, nil
}

// gate is a connection with some free places.
type gate struct {
	mu   sync.Mutex
	free int
}

func (g *gate) Free(string) int { g.mu.Lock(); defer g.mu.Unlock(); return g.free }

// take takes a place, if there is one.
func (g *gate) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free == 0 {
		return false
	}
	g.free--
	return true
}

func (g *gate) set(n int) { g.mu.Lock(); defer g.mu.Unlock(); g.free = n }

// bench is a queue over a table; work ends runs unless told otherwise.
type bench struct {
	*queue.Queue
	table *table
	gate  *gate

	mu     sync.Mutex
	worked []int64
	depth  int // the most that were ready at once
	work   func(n *bench, id int64) (parkedOn string)
}

func start(t *testing.T, b *table, workers int, work func(*bench, int64) string) *bench {
	return startBy(t, time.Now, b, workers, work)
}

// startBy is start with a clock.
func startBy(t *testing.T, clock func() time.Time, b *table, workers int, work func(*bench, int64) string) *bench {
	n := &bench{table: b, gate: &gate{}, work: work}
	n.Queue = queue.New(queue.Options{
		Clock: clock, Backlog: b, Gates: n.gate, Workers: workers, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Work: func(_ context.Context, id int64) string {
			ready, _ := n.Depth()
			n.mu.Lock()
			n.worked = append(n.worked, id)
			n.depth = max(n.depth, ready)
			n.mu.Unlock()
			if n.work != nil {
				return n.work(n, id)
			}
			b.set(id, row{ended: true})
			return ""
		},
	})
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

func (n *bench) done() []int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.worked)
}

func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, fn)
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func upTo(n int) (ids []int64) {
	for id := range n {
		ids = append(ids, int64(id+1))
	}
	return ids
}

func TestBacklogIsWorkedOnceInOrder(t *testing.T) {
	for _, workers := range []int{1, 8} {
		bubbles(t, workers, func(t *testing.T) {
			b := newTable(10_000)
			n := start(t, b, workers, nil)
			after(time.Second)
			got := n.done()
			if workers > 1 { // side by side they may overtake one another a little
				slices.Sort(got)
			}
			if !slices.Equal(got, upTo(10_000)) {
				t.Errorf("%d runs were worked, or not in order", len(got))
			}
			if n.depth > 32*workers || b.most > 32*workers {
				t.Errorf("%d were ready at once, one reading gave %d, want at most %d", n.depth, b.most, 32*workers)
			}
		})
	}
}

func bubbles(t *testing.T, workers int, fn func(t *testing.T)) {
	t.Run(map[int]string{1: "one worker", 8: "eight"}[workers], func(t *testing.T) { bubble(t, fn) })
}

// New runs that come while the window is full are not lost. One that is read from
// the table before it is added may be looked at twice: it has ended by then.
func TestNewRunsWhileBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(1000)
		n := start(t, b, 2, nil)
		for id := int64(1001); id <= 3000; id++ {
			b.set(id, row{})
			n.Add(id)
		}
		after(time.Second)
		got := n.done()
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), upTo(3000)) {
			t.Errorf("%d runs were worked", len(got))
		}
	})
}

func TestDueRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(0)
		began := time.Now()
		for id := int64(1); id <= 500; id++ { // the later ones are due earlier
			b.rows[id] = &row{wakeAt: began.Add(time.Duration(501-id) * time.Minute)}
		}
		var at []time.Duration
		n := start(t, b, 1, func(_ *bench, id int64) string {
			at = append(at, time.Since(began))
			b.set(id, row{ended: true})
			return ""
		})
		after(501 * time.Minute)
		got := n.done()
		slices.Reverse(got)
		if !slices.Equal(got, upTo(500)) {
			t.Fatalf("%d runs were worked, or not in the order of their times", len(got))
		}
		for i, d := range at {
			if want := time.Duration(i+1) * time.Minute; d != want {
				t.Fatalf("a run due after %v was worked after %v", want, d)
			}
		}
		if b.reads > 1010 { // about one reading of what is due for each time
			t.Errorf("the table was read %d times", b.reads)
		}
	})
}

// TestClockIsPutRight: a run that is due is worked on soon after a clock that was years
// late was put right, as after the start of a machine whose own clock has no battery.
func TestClockIsPutRight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var wrong atomic.Int64
		wrong.Store(int64(5 * 365 * 24 * time.Hour))
		b := newTable(0)
		b.rows[1] = &row{wakeAt: time.Now().Add(time.Second)}
		n := startBy(t, func() time.Time { return time.Now().Add(-time.Duration(wrong.Load())) }, b, 1, nil)
		after(10 * time.Minute)
		if got := n.done(); len(got) > 0 {
			t.Errorf("run %v was worked on before its time", got)
		}
		wrong.Store(0)
		after(time.Minute)
		if got := n.done(); !slices.Equal(got, []int64{1}) {
			t.Errorf("%v were worked on a minute after the clock was put right", got)
		}
	})
}

// More runs fall due at one time than the window holds, while all workers are
// held up by runs that were due before.
func TestManyDueAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(0)
		soon := time.Now().Add(time.Minute)
		for id := int64(1); id <= 300; id++ {
			b.rows[id] = &row{wakeAt: soon}
		}
		n := start(t, b, 2, func(n *bench, id int64) string {
			time.Sleep(30 * time.Millisecond)
			b.set(id, row{ended: true})
			return ""
		})
		after(time.Hour)
		got := n.done()
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), upTo(300)) {
			t.Errorf("%d of 300 runs were worked", len(slices.Compact(got)))
		}
	})
}
