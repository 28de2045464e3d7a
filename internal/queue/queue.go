// Package queue decides when which run is worked on. This one is embedded: it
// lives in memory, holds a bounded window of the runnable runs and is rebuilt
// from the run table at start, so it needs no storage of its own.
package queue

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/record"
)

// Backlog reads the run table.
type Backlog interface {
	Ready(ctx context.Context, after int64, limit int) ([]int64, error)
	Due(ctx context.Context, now time.Time, limit int) ([]int64, error)
	NextWake(ctx context.Context, after time.Time) (time.Time, error)
	Parked(ctx context.Context, waitOn string, limit int) ([]int64, error)
	WaitCounts(ctx context.Context) (map[string]int, error)
}

// Gates tells how many more callers a connection would take now.
type Gates interface{ Free(connection string) int }

// Options set the queue up.
type Options struct {
	Backlog Backlog
	Gates   Gates
	// Work works on a run. If it parked the run, it returns the connection.
	Work    func(ctx context.Context, run int64) (parkedOn string)
	Workers int // runs at the same time
	Window  int // runnable ids in memory at the most; 0: 32 per worker
	Log     *slog.Logger
	Clock   func() time.Time
}

// Queue hands runs to workers.
type Queue struct {
	o Options

	mu       sync.Mutex
	ready    []int64
	held     map[int64]holding // the runs in memory
	cursor   int64             // Ready has been read up to here
	behind   bool              // the table may hold ready runs that the window does not
	timer    *time.Timer
	timerAt  time.Time
	woken    map[int64]string // the connection that a run in memory was woken for
	parked   map[string]int   // for connections that runs may be parked on: how many parkings so far
	stopping bool

	work chan struct{} // a token for each change that a worker could care about
	wg   sync.WaitGroup
}

// holding is what the queue does with a run that it holds.
type holding int

const (
	isReady holding = iota + 1
	isWorked
	isWorkedAndWoken // will be looked at again
)

// New returns a queue; Start begins the work.
func New(o Options) *Queue {
	if o.Window == 0 {
		o.Window = 32 * o.Workers
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Queue{o: o, held: map[int64]holding{}, woken: map[int64]string{}, parked: map[string]int{}, behind: true, work: make(chan struct{}, o.Workers)}
}

// Start reads the backlog and starts the workers. They end when ctx does or
// Stop is called.
func (q *Queue) Start(ctx context.Context) error {
	counts, err := q.o.Backlog.WaitCounts(ctx)
	if err != nil {
		return fmt.Errorf("reading what runs wait for: %w", err)
	}
	for on := range counts {
		if connection, ok := strings.CutPrefix(on, record.WaitConnection("")); ok {
			q.parked[connection] = 1
		}
	}
	parked := slices.Sorted(maps.Keys(q.parked)) // before the workers, who change it
	for range q.o.Workers {
		q.wg.Add(1)
		go q.worker(ctx)
	}
	q.wakeDue(ctx)
	for _, name := range parked {
		q.Freed(name)
	}
	q.nudge(q.o.Workers)
	return nil
}

// Stop takes no new run and returns when the ones under way have ended.
func (q *Queue) Stop() {
	q.mu.Lock()
	if !q.stopping {
		q.stopping = true
		close(q.work)
	}
	if q.timer != nil {
		q.timer.Stop()
	}
	q.mu.Unlock()
	q.wg.Wait()
}

func (q *Queue) worker(ctx context.Context) {
	defer q.wg.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-q.work:
			if !ok {
				return
			}
		}
		for {
			run, ok := q.take(ctx)
			if !ok {
				break
			}
			faultpoint.Hit("queue.take.after")
			parkedOn := q.o.Work(ctx, run)
			faultpoint.Hit("queue.release.before")
			q.release(run, parkedOn)
		}
	}
}

// take returns the next run, reading more of the backlog when the window is
// empty.
func (q *Queue) take(ctx context.Context) (int64, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.stopping || ctx.Err() != nil {
			return 0, false
		}
		if len(q.ready) > 0 {
			run := q.ready[0]
			q.ready = q.ready[1:]
			q.held[run] = isWorked
			return run, true
		}
		if !q.behind {
			return 0, false
		}
		ids, err := q.o.Backlog.Ready(ctx, q.cursor, q.o.Window)
		if err != nil {
			if ctx.Err() == nil {
				q.o.Log.Error("reading the backlog", "error", err)
				time.AfterFunc(time.Second, func() { q.nudge(1) })
			}
			return 0, false
		}
		q.behind = len(ids) == q.o.Window
		for _, id := range ids {
			q.cursor = max(q.cursor, id)
			q.push(id)
		}
		q.nudgeLocked(len(q.ready) - 1)
	}
}

// release ends the work on a run. A parked run may have been freed before it was
// in the table, and a woken one may not have used the place that it was woken
// for, so their connections are looked at once more.
func (q *Queue) release(run int64, parkedOn string) {
	q.mu.Lock()
	again := q.held[run] == isWorkedAndWoken
	delete(q.held, run)
	wokenFor := q.woken[run]
	delete(q.woken, run)
	if again {
		q.push(run)
	}
	if parkedOn != "" {
		q.parked[parkedOn]++
	}
	q.mu.Unlock()
	if parkedOn != "" {
		q.Freed(parkedOn)
	}
	if wokenFor != "" && wokenFor != parkedOn {
		q.Freed(wokenFor)
	}
}

// push adds a run unless it is in memory already; one that is being worked on
// will be looked at again.
func (q *Queue) push(run int64) {
	switch q.held[run] {
	case isWorked:
		q.held[run] = isWorkedAndWoken
	case 0:
		q.held[run] = isReady
		q.ready = append(q.ready, run)
	}
}

// Add makes runs known that can be worked on: new ones and woken ones.
func (q *Queue) Add(runs ...int64) {
	if len(runs) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, run := range runs {
		if q.held[run] == 0 && run > q.cursor && (q.behind || len(q.ready) >= q.o.Window) {
			q.behind = true // new and the window is full: it will be read in its turn
			continue
		}
		q.cursor = max(q.cursor, run)
		q.push(run)
	}
	q.nudgeLocked(len(runs))
}

// Added is Add: nobody else knows of them.
func (q *Queue) Added(runs ...int64) { q.Add(runs...) }

func (q *Queue) nudge(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nudgeLocked(n)
}

func (q *Queue) nudgeLocked(n int) {
	if q.stopping {
		return
	}
	for range min(n, q.o.Workers) {
		select {
		case q.work <- struct{}{}:
		default:
			return
		}
	}
}

// longestSleep bounds the timer: it does not know that the clock was put right, or that
// the machine was asleep.
const longestSleep = time.Minute

// Schedule makes the queue look for due runs at the time. There is one timer,
// whatever the number of waiting runs.
func (q *Queue) Schedule(at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopping || (!q.timerAt.IsZero() && !at.Before(q.timerAt)) {
		return
	}
	if q.timer != nil {
		q.timer.Stop()
	}
	q.timerAt = at
	q.timer = time.AfterFunc(min(at.Sub(q.o.Clock()), longestSleep), func() { q.wakeDue(context.Background()) })
}

// wakeDue adds the runs whose time has come and sets the timer for the next.
func (q *Queue) wakeDue(ctx context.Context) {
	q.mu.Lock()
	if q.stopping {
		q.mu.Unlock()
		return
	}
	q.timerAt = time.Time{}
	room := max(q.o.Window-len(q.ready), 1)
	held := len(q.held)
	q.mu.Unlock()

	now := q.o.Clock()
	ids, err := q.o.Backlog.Due(ctx, now, room+held)
	if err != nil {
		q.o.Log.Error("reading due runs", "error", err)
		q.Schedule(now.Add(time.Second))
		return
	}
	q.mu.Lock()
	added, left := 0, len(ids) == room+held
	for _, id := range ids {
		switch {
		case q.held[id] != 0:
			q.push(id)
		case added < room:
			q.push(id)
			added++
		default:
			left = true
		}
	}
	q.nudgeLocked(added)
	q.mu.Unlock()

	if left {
		q.Schedule(now.Add(20 * time.Millisecond)) // more are due than the window holds
		return
	}
	next, err := q.o.Backlog.NextWake(ctx, now)
	switch {
	case err != nil:
		q.o.Log.Error("reading the next wake-up", "error", err)
		q.Schedule(now.Add(time.Second))
	case !next.IsZero():
		q.Schedule(next)
	}
}

// Freed wakes the oldest runs parked on the connection, as many as it takes.
// Nothing is written: a woken run stays parked in the table until it gets on.
func (q *Queue) Freed(connection string) {
	q.mu.Lock()
	seen := q.parked[connection]
	if q.stopping || seen == 0 {
		q.mu.Unlock()
		return
	}
	q.mu.Unlock()
	free := q.o.Gates.Free(connection)
	if free <= 0 {
		return
	}
	ids, err := q.o.Backlog.Parked(context.Background(), record.WaitConnection(connection), 4*free+q.o.Workers)
	if err != nil {
		q.o.Log.Error("reading parked runs", "connection", connection, "error", err)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(ids) == 0 {
		if q.parked[connection] == seen {
			delete(q.parked, connection)
		}
		return
	}
	for id, name := range q.woken {
		if name == connection && q.held[id] == isReady {
			free-- // woken before and on its way
		}
	}
	for _, id := range ids {
		if free <= 0 {
			break
		}
		if q.held[id] == 0 {
			q.push(id)
			q.woken[id] = connection
			free--
		}
	}
	q.nudgeLocked(len(ids))
}

// Depth returns how many runs are in the window and how many are being worked on.
func (q *Queue) Depth() (ready, working int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready), len(q.held) - len(q.ready)
}
