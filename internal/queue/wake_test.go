package queue_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
)

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
