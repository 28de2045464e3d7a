package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// both is what every queue can do.
type both interface {
	Add(runs ...int64)
	Added(runs ...int64)
	Schedule(at time.Time)
	Freed(connection string)
	Start(ctx context.Context) error
	Stop()
}

// site is a queue over a real store. The test decides what becomes of a run that is
// worked on.
type site struct {
	*testing.T
	store *store.Store
	make  func(workers int, work func(run int64, lease *record.Lease) record.Worked) both
	gate  *gate
	queue both

	mu     sync.Mutex
	worked []int64 // in the order in which they were begun
	now    int     // worked on at the moment
	most   int     // at once
	change chan struct{}
}

// The two sites.
func embedded(t *testing.T) *site {
	s, err := store.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	c := &site{T: t, store: s, gate: &gate{}, change: make(chan struct{}, 1)}
	c.make = func(workers int, work func(int64, *record.Lease) record.Worked) both {
		return queue.New(queue.Options{
			Backlog: s, Gates: c.gate, Workers: workers, Log: slog.New(slog.DiscardHandler),
			Work: func(_ context.Context, run int64) string { return work(run, nil).Parked },
		})
	}
	return c
}

func shared(t *testing.T) *site {
	enqueue, err := queue.Enqueuer()
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenPostgres(t.Context(), store.Postgres{URL: postgres.Database(t), Enqueue: enqueue, Migrate: queue.Migrate, Unsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &site{T: t, store: s, gate: &gate{}, change: make(chan struct{}, 1)}
	nodes := 0
	c.make = func(workers int, work func(int64, *record.Lease) record.Worked) both {
		nodes++
		q, err := queue.NewRiver(queue.RiverOptions{
			Cluster: s, Pool: s.Pool(), Node: record.Node{ID: fmt.Sprintf("node%d", nodes), Name: "n", StartedAt: time.Now()}, Lease: 15 * time.Second,
			Gates: c.gate, Workers: workers, Log: slog.New(slog.DiscardHandler),
			Work: func(_ context.Context, run int64, l *record.Lease) record.Worked { return work(run, l) },
		})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	return c
}

// TestQueuesConform checks what the engine may expect of a queue, whichever it is.
func TestQueuesConform(t *testing.T) {
	for name, check := range map[string]func(*site){
		"each once": checkEachOnce, "oldest first": checkOldestFirst, "what was there": checkBacklog, "due": checkDue, "due without a word": checkDueAtStart,
		"parked": checkParked, "woken meanwhile": checkWokenMeanwhile, "released": checkReleased, "ended": checkEnded, "stop": checkStop,
	} {
		for kind, open := range map[string]func(*testing.T) *site{"embedded": embedded, "river": shared} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := open(t)
				t.Cleanup(func() {
					if s.queue != nil {
						s.queue.Stop()
					}
					if err := s.store.Close(); err != nil {
						t.Error(err)
					}
				})
				check(s)
			})
		}
	}
}

// start starts a queue whose runs become what work says.
func (s *site) start(workers int, work func(run int64, lease *record.Lease) record.Worked) {
	s.Helper()
	s.queue = s.make(workers, func(run int64, lease *record.Lease) record.Worked {
		s.mu.Lock()
		s.worked = append(s.worked, run)
		s.now++
		s.most = max(s.most, s.now)
		s.mu.Unlock()
		s.tell()
		defer func() {
			s.mu.Lock()
			s.now--
			s.mu.Unlock()
		}()
		return work(run, lease)
	})
	if err := s.queue.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func (s *site) tell() {
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// accept makes n runs. Whoever works on them is told.
func (s *site) accept(n int) (runs []int64) {
	s.Helper()
	for i := range n {
		e := record.Event{Source: "s", Trigger: "t", Key: fmt.Sprintf("%s %d", time.Now(), i), ReceivedAt: time.Now(), Data: []byte("{}"), Disposition: record.Matched}
		_, _, made, err := s.store.Accept(record.Delivery{Source: "s", ReceivedAt: time.Now()}, record.NewEvent{Event: e, Playbooks: []string{"p"}})
		if err != nil {
			s.Fatal(err)
		}
		runs = append(runs, made...)
		if s.queue != nil {
			s.queue.Added(made...)
		}
	}
	return runs
}

// put changes a run, as its worker or as somebody else.
func (s *site) put(id int64, lease *record.Lease, change func(*record.Run), release ...string) {
	s.Helper()
	run, err := s.store.Run(context.Background(), id)
	if err != nil {
		s.Error(err)
		return
	}
	change(&run)
	c := record.Change{Run: &run, Release: release}
	if lease != nil {
		c.RunID, c.Fence = id, lease.Fence
	}
	done, err := s.store.Commit(c)
	if err != nil {
		s.Error(err)
	}
	if s.queue != nil {
		s.queue.Added(done.Runnable...)
	}
}

// end is the work of a run that has nothing to do.
func (s *site) end(run int64, lease *record.Lease) record.Worked {
	s.put(run, lease, func(r *record.Run) { r.State = record.Succeeded })
	return record.Worked{}
}

// await returns what was worked on when it is so many, or fails.
func (s *site) await(n int) []int64 {
	s.Helper()
	end := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		worked := slices.Clone(s.worked)
		s.mu.Unlock()
		if len(worked) >= n {
			return worked
		}
		select {
		case <-s.change:
		case <-end:
			s.Fatalf("%v were worked on, want %d", worked, n)
		}
	}
}

// nothing fails if somebody works on a run for a while.
func (s *site) nothing(d time.Duration, why string) {
	s.Helper()
	s.mu.Lock()
	before := len(s.worked)
	s.mu.Unlock()
	time.Sleep(d) // what must not happen has no end to wait for
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.worked) != before {
		s.Errorf("%v were worked on, although %s", s.worked[before:], why)
	}
}

func (s *site) want(what string, got, want []int64) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Each run is worked on once, by as many as there are workers.
func checkEachOnce(s *site) {
	s.start(4, func(run int64, lease *record.Lease) record.Worked {
		time.Sleep(time.Millisecond)
		return s.end(run, lease)
	})
	runs := s.accept(200)
	s.await(200)
	s.nothing(100*time.Millisecond, "all are done")
	worked := slices.Sorted(slices.Values(s.worked))
	s.want("worked on", worked, runs)
	if s.most > 4 || s.most < 2 {
		s.Errorf("%d were worked on at once by 4 workers", s.most)
	}
}

// What waits longest comes first.
func checkOldestFirst(s *site) {
	runs := s.accept(30)
	s.start(1, s.end)
	s.want("in order", s.await(30), runs)
}

// What was there before the start is worked on, whatever state it was left in.
func checkBacklog(s *site) {
	runs := s.accept(4)
	s.put(runs[1], nil, func(r *record.Run) { r.State = record.Running })
	s.put(runs[2], nil, func(r *record.Run) { r.State, r.WakeAt = record.Waiting, time.Now().Add(-time.Hour) })
	s.start(2, s.end)
	s.want("worked on", slices.Sorted(slices.Values(s.await(4))), runs)
}

// A run that waits for a time is worked on then and not before.
func checkDue(s *site) {
	var due time.Time
	first := true
	early := make(chan time.Duration, 2)
	s.start(1, func(run int64, lease *record.Lease) record.Worked {
		if !first {
			early <- time.Until(due)
			return s.end(run, lease)
		}
		first, due = false, time.Now().Add(400*time.Millisecond)
		s.put(run, lease, func(r *record.Run) { r.State, r.WakeAt = record.Waiting, due })
		s.queue.Schedule(due)
		return record.Worked{}
	})
	s.accept(1)
	s.await(2)
	if e := <-early; e > 0 {
		s.Errorf("it was worked on %v before its time", e)
	}
	s.nothing(100*time.Millisecond, "it is done")
}

// A queue that starts finds what is due, and what will be.
func checkDueAtStart(s *site) {
	runs := s.accept(2)
	due := time.Now().Add(time.Second)
	for _, run := range runs {
		s.put(run, nil, func(r *record.Run) { r.State, r.WakeAt = record.Waiting, due })
	}
	s.start(1, func(run int64, lease *record.Lease) record.Worked {
		// The job of a run that waits may come before its time: the engine looks.
		if r, err := s.store.Run(context.Background(), run); err != nil || r.WakeAt.After(time.Now()) {
			return record.Worked{}
		}
		return s.end(run, lease)
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, run := range runs {
			if r, err := s.store.Run(context.Background(), run); err != nil || r.State.Live() {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("%d of 2 runs are still waiting", left)
		}
	}
}

// Runs that wait for a connection are woken when it takes callers, the oldest first
// and no more than it takes.
func checkParked(s *site) {
	runs := s.accept(10)
	for _, run := range runs {
		s.put(run, nil, func(r *record.Run) { r.State, r.WaitOn = record.Waiting, record.WaitConnection("c") })
	}
	var begun []int64
	hold := make(chan struct{})
	free := sync.OnceFunc(func() { close(hold) })
	s.Cleanup(free)
	s.start(8, func(run int64, lease *record.Lease) record.Worked {
		if r, err := s.store.Run(context.Background(), run); err != nil || s.gate.take() == false {
			return record.Worked{Parked: "c"} // it stays as it is
		} else if r.WaitOn == "" {
			s.Errorf("run %d waits for nothing", run)
		}
		s.mu.Lock()
		begun = append(begun, run)
		s.mu.Unlock()
		s.tell()
		<-hold
		return s.end(run, lease)
	})
	if s.store.Pool() != nil {
		s.await(len(runs)) // the jobs of their acceptance
		s.idle()
	}
	s.gate.set(3)
	s.queue.Freed("c")
	s.until(&begun, 3)
	time.Sleep(300 * time.Millisecond) // what must not happen has no end to wait for
	s.mu.Lock()
	if n := len(begun); n != 3 {
		s.Errorf("%d were begun for three places", n)
	}
	s.mu.Unlock()
	free()
	for n := 4; n <= 10; n++ {
		s.gate.set(1)
		s.queue.Freed("c")
		s.until(&begun, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, run := range begun { // those that are woken in their order may overtake each other
		if early := slices.Index(runs, run) - i; early > 3 {
			s.Errorf("they were begun in the order %v", begun)
		}
	}
}

// idle returns when nobody works on a run.
func (s *site) idle() {
	s.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		now := s.now
		s.mu.Unlock()
		if now == 0 {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("%d are still worked on", now)
		}
	}
}

// until returns when the list, which mu guards, has so many.
func (s *site) until(list *[]int64, n int) {
	s.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		have := len(*list)
		s.mu.Unlock()
		if have >= n {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("%d were begun, want %d", have, n)
		}
	}
}

// A run that is woken while it is worked on is worked on once more.
func checkWokenMeanwhile(s *site) {
	hold := make(chan struct{})
	free := sync.OnceFunc(func() { close(hold) })
	s.Cleanup(free)
	s.start(2, func(run int64, lease *record.Lease) record.Worked {
		<-hold
		s.put(run, lease, func(r *record.Run) { r.State, r.WaitOn = record.Waiting, record.WaitTicket("c", "s", "f") })
		return record.Worked{}
	})
	run := s.accept(1)[0]
	s.await(1)
	for range 3 {
		s.queue.Add(run)
	}
	hold <- struct{}{}
	s.await(2)
	hold <- struct{}{}
	s.nothing(200*time.Millisecond, "it was woken before it was last begun")
}

// A run that waits for another is worked on when the other lets it go on.
func checkReleased(s *site) {
	on := record.WaitTicket("c", "s", "f") // a turn would have to be somebody's
	waits := s.accept(1)[0]
	s.put(waits, nil, func(r *record.Run) { r.State, r.WaitOn = record.Waiting, on })
	// Of a run that was accepted, a job may be on its way.
	s.start(2, func(run int64, lease *record.Lease) record.Worked {
		r, err := s.store.Run(context.Background(), run)
		if err != nil || r.WaitOn != "" {
			return record.Worked{}
		}
		return s.end(run, lease)
	})
	other := s.accept(1)[0]
	for end := time.Now().Add(30 * time.Second); s.live(other) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if !s.live(waits) {
		s.Fatal("it did not wait")
	}
	s.put(other, nil, func(*record.Run) {}, on)
	for end := time.Now().Add(30 * time.Second); s.live(waits); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.Fatal("it still waits")
		}
	}
}

func (s *site) live(run int64) bool {
	s.Helper()
	r, err := s.store.Run(context.Background(), run)
	if err != nil {
		s.Fatal(err)
	}
	return r.State.Live()
}

// Nobody works on what has ended.
func checkEnded(s *site) {
	runs := s.accept(3)
	if _, err := s.store.Cancel(runs[1], time.Now()); err != nil {
		s.Fatal(err)
	}
	s.start(1, s.end)
	s.await(2)
	s.nothing(100*time.Millisecond, "the third was cancelled")
	s.want("worked on", s.worked, []int64{runs[0], runs[2]})
}

// Stop waits for what is under way and begins nothing; what is left is for the next.
func checkStop(s *site) {
	hold := make(chan struct{})
	free := sync.OnceFunc(func() { close(hold) })
	s.Cleanup(free)
	s.start(2, func(run int64, lease *record.Lease) record.Worked { <-hold; return s.end(run, lease) })
	runs := s.accept(6)
	s.await(2)
	stopped := make(chan struct{})
	go func() { s.queue.Stop(); close(stopped) }()
	select {
	case <-stopped:
		s.Error("it stopped while runs were worked on")
	case <-time.After(100 * time.Millisecond):
	}
	free()
	<-stopped
	s.want("worked on", slices.Sorted(slices.Values(s.worked)), runs[:2])
	s.worked = nil
	s.start(2, s.end)
	s.want("worked on by the next", slices.Sorted(slices.Values(s.await(4))), runs[2:])
}
