package queue_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
func (g *gate) set(n int)       { g.mu.Lock(); defer g.mu.Unlock(); g.free = n }

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
	n := &bench{table: b, gate: &gate{}, work: work}
	n.Queue = queue.New(queue.Options{
		Backlog: b, Gates: n.gate, Workers: workers, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
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

// A run that falls due while it is still held is worked again.
func TestDueWhileHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(1)
		first := true
		n := start(t, b, 1, func(n *bench, id int64) string {
			if first {
				first = false
				b.set(id, row{wakeAt: time.Now().Add(time.Second)}) // its wait is in the table …
				n.Schedule(time.Now().Add(time.Second))
				time.Sleep(5 * time.Second) // … and it is not let go yet
				return ""
			}
			b.set(id, row{ended: true})
			return ""
		})
		after(time.Minute)
		if got := n.done(); !slices.Equal(got, []int64{1, 1}) {
			t.Errorf("worked %v", got)
		}
	})
}

// A run that is woken while it is worked on is worked again, once.
func TestWokenWhileWorked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(1)
		gate := make(chan struct{})
		n := start(t, b, 2, func(*bench, int64) string { <-gate; return "" })
		synctest.Wait()
		n.Add(1)
		n.Add(1, 1)
		gate <- struct{}{}
		after(time.Second)
		gate <- struct{}{}
		after(time.Second)
		if got := n.done(); !slices.Equal(got, []int64{1, 1}) {
			t.Errorf("worked %v", got)
		}
	})
}

// It is the same for a run that was woken by its time before the backlog has
// been read up to it.
func TestWokenWhileWorkedAheadOfTheBacklog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(2000)
		b.rows[900] = &row{wakeAt: time.Now().Add(-time.Hour)}
		times, before := 0, 0
		start(t, b, 1, func(n *bench, id int64) string {
			b.set(id, row{ended: true})
			if id == 900 {
				if times++; times == 1 {
					before = len(n.done())
					n.Add(900)                            // what it will wait for has happened …
					b.set(900, row{waitOn: "serial:c/x"}) // … before that is in the table
				}
			}
			return ""
		})
		after(time.Second)
		if times != 2 || before > 500 {
			t.Errorf("it was worked %d times, at first after %d others", times, before)
		}
	})
}

// Parked runs are woken oldest first, and no more than there are places.
func TestParkedRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(0)
		for id := int64(1); id <= 40; id++ {
			b.rows[id] = &row{waitOn: record.WaitConnection("c")}
		}
		gate := make(chan struct{})
		n := start(t, b, 10, func(n *bench, id int64) string {
			<-gate
			b.set(id, row{ended: true})
			return ""
		})
		after(time.Hour)
		if got := n.done(); len(got) != 0 {
			t.Fatalf("worked %v while there was no place", got)
		}
		n.gate.set(3)
		var wg sync.WaitGroup
		for range 5 { // told several times of the same three places
			wg.Go(func() { n.Freed("c") })
		}
		wg.Wait()
		n.Freed("other")
		after(time.Second)
		got := n.done()
		slices.Sort(got)
		if len(got) < 3 || !slices.Equal(got[:3], []int64{1, 2, 3}) {
			t.Fatalf("woke %v for three places", got)
		}
		close(gate)
		after(time.Second)
		got = n.done()
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), upTo(40)) { // who ends makes place for the next
			t.Errorf("%d of 40 were woken in the end", len(slices.Compact(got)))
		}
	})
}

// While nobody has got to the places, no more are woken than there are.
func TestNeverMoreThanPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(2) // keep both workers busy
		for id := int64(11); id <= 40; id++ {
			b.rows[id] = &row{waitOn: record.WaitConnection("c")}
		}
		gate := make(chan struct{})
		n := start(t, b, 2, func(n *bench, id int64) string { <-gate; b.set(id, row{ended: true}); return "" })
		synctest.Wait()
		n.gate.set(3)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { n.Freed("c") })
		}
		wg.Wait()
		if ready, _ := n.Depth(); ready != 3 {
			t.Errorf("%d were woken for three places", ready)
		}
		close(gate)
		after(time.Second)
	})
}

// The place becomes free between the run's being turned away and its being in
// the table: nobody else will wake it.
func TestFreedBeforeParked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(1)
		first := true
		n := start(t, b, 1, func(n *bench, id int64) string {
			if first {
				first = false
				n.gate.set(1)
				n.Freed("c") // too early
				b.set(id, row{waitOn: record.WaitConnection("c")})
				return "c"
			}
			b.set(id, row{ended: true})
			return ""
		})
		after(time.Second)
		if got := n.done(); !slices.Equal(got, []int64{1, 1}) {
			t.Errorf("worked %v", got)
		}
	})
}

// A woken run that does not use its place makes room for the next.
func TestUnusedPlaceIsPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(0)
		for id := int64(1); id <= 5; id++ {
			b.rows[id] = &row{waitOn: record.WaitConnection("c")}
		}
		n := start(t, b, 1, nil)
		n.gate.set(1)
		n.Freed("c")
		after(time.Second)
		if got := n.done(); !slices.Equal(got, upTo(5)) {
			t.Errorf("worked %v", got)
		}
	})
}

// Stop waits for what is under way and begins nothing.
func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(10)
		gate := make(chan struct{})
		n := start(t, b, 2, func(n *bench, id int64) string { <-gate; b.set(id, row{ended: true}); return "" })
		synctest.Wait()
		stopped := make(chan struct{})
		go func() { n.Stop(); close(stopped) }()
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("Stop did not wait")
		default:
		}
		n.Add(5)
		n.Schedule(time.Now().Add(time.Second))
		n.Freed("c")
		close(gate)
		<-stopped
		after(time.Minute)
		if got := n.done(); len(got) != 2 {
			t.Errorf("worked %v", got)
		}
	})
}

func TestWorkersEndWithTheContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		q := queue.New(queue.Options{Backlog: newTable(0), Gates: &gate{}, Workers: 4, Work: func(context.Context, int64) string { return "" }})
		if err := q.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cancel() // a worker that stays fails the bubble
	})
}

func TestIdleDoesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(3)
		b.rows[3] = &row{waitOn: record.WaitConnection("c")}
		start(t, b, 4, nil)
		after(time.Second)
		reads := b.reads
		after(24 * time.Hour)
		if b.reads != reads {
			t.Errorf("it read the table %d times in an idle day", b.reads-reads)
		}
	})
}

// A table that cannot be read for a while holds nothing up for ever.
func TestUnreadableTable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newTable(100)
		b.rows[50] = &row{wakeAt: time.Now().Add(time.Hour)}
		b.fail = 4
		n := start(t, b, 2, nil)
		after(time.Minute)
		if got := n.done(); len(got) != 99 {
			t.Errorf("%d of 99 runs were worked after a minute", len(got))
		}
		b.mu.Lock()
		b.fail = 3
		b.mu.Unlock()
		after(2 * time.Hour)
		got := n.done()
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), upTo(100)) {
			t.Errorf("%d of 100 runs were worked", len(slices.Compact(got)))
		}
	})
}
