// Package engine runs playbooks step by step. A playbook function is replayed
// from the top; finished steps answer from the journal, and effects go through a
// ledger that knows planned, sent, confirmed and uncertain, so that a crash at
// any point neither loses nor repeats one.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/record"
)

// Journal is where the engine keeps what it must not forget. Every method that
// writes returns after the fsync.
type Journal interface {
	Load(ctx context.Context, run int64) (record.Loaded, error)
	Run(ctx context.Context, id int64) (record.Run, error)
	Effect(ctx context.Context, key string) (record.Effect, error)
	Unsure(ctx context.Context) ([]record.Effect, error)
	Untold(ctx context.Context, since time.Time, limit int) ([]record.Run, error)
	WaitCounts(ctx context.Context) (map[string]int, error)
	Commit(record.Change) (record.Committed, error)
	Answer(ctx context.Context, connection, lookup string) (record.Answer, error)
	Claim(record.ClaimRequest) (record.Claimed, error)
	Call(record.Event, record.Run) (run record.Run, duplicate bool, err error)
	Event(ctx context.Context, id int64) (record.Event, error)
	Replay(event int64, playbooks []string, now time.Time) ([]int64, error)
	Retry(run int64, now time.Time) error
	Skip(run int64, path string, now time.Time) error
	Alone(run int64) error
	Survived(run int64) error
	Cancel(run int64, now time.Time) ([]int64, error)
}

// Queue is told which runs can be worked on and when.
type Queue interface {
	// Add has runs worked on.
	Add(runs ...int64)
	// Added makes runs known that a transaction of the journal lets go on. A queue
	// in the same database knows of them.
	Added(runs ...int64)
	// Schedule tells when the next run is due.
	Schedule(at time.Time)
}

// Shared decides between the nodes that work on the same database.
type Shared interface {
	// TakeTurn lets the step do what only one may do at a time, unless another
	// does. A step that has waited since the instant hears how the turn ended that
	// it waited for, if that was a failure.
	TakeTurn(name string, run int64, path string, since time.Time) (record.Turn, error)
}

// Gate admits actions on a connection; upstream.Governor is one. Enter returns a
// *upstream.Blocked when the caller should come back instead of waiting.
type Gate interface {
	Enter(ctx context.Context) (leave func(error), err error)
}

// Connection is a configured integration, ready to be used.
type Connection struct {
	Name        string
	Integration string
	Client      any
	Gate        Gate
	Timeout     time.Duration // of one attempt of an action
	Limits      funnel.Limits // of these, the engine keeps to the ages of shared answers
	// Options tells one setting of the connection from another, without secrets:
	// what was answered under another is not shared.
	Options string
}

// Options set the engine up.
type Options struct {
	Journal     Journal
	Queue       Queue
	Shared      Shared // nil: this process is the only one
	Registry    *funnel.Registry
	Connections map[string]*Connection
	// Match returns the playbooks that run for a trigger's events.
	Match func(trigger string) []string
	// Settings are the playbooks' configured settings as JSON.
	Settings map[string][]byte
	// RecallUntil is until when what is new to the ledger may have been made before, by
	// a life of which the database was restored and knows nothing. Zero: never.
	RecallUntil time.Time
	// Lookups are the distances from sending at which an unsure effect is looked
	// up. None: it is made again at once, which makes duplicates.
	Lookups []time.Duration
	// Quiet is how long an absence that cannot be proven holds an effect back.
	Quiet time.Duration
	// TellAfter is how long a run waits before it says so on the ticket.
	TellAfter time.Duration
	// Attempts is how many tries a step has.
	Attempts int
	// Backoff returns the wait before the next try, after n that count.
	Backoff func(n int) time.Duration
	Notify  *Notifier // nil: nobody
	// Underway is told which runs are being worked on, in case the process ends. Nil:
	// that is not kept.
	Underway Underway
	// Patience is how long a playbook may do nothing that the engine knows of. Zero:
	// a minute.
	Patience time.Duration
	// Mask takes secrets out of what an action returns, should the outside system
	// have sent them back. Nil: nothing is looked for.
	Mask    func([]byte) []byte
	RunURL  func(run int64) string
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Notifier says how the notify target hears of a run that needs attention.
type Notifier struct {
	Action     *funnel.ActionSpec
	Connection string
	Input      func(Attention) ([]byte, error)
}

// Attention describes a run that gave up.
type Attention struct {
	Run      int64
	Event    int64
	Playbook string
	Step     string
	Code     string
	Why      string
	URL      string
}

// maxDepth is how long a chain of own events may be.
const maxDepth = 3

// Engine works on runs.
type Engine struct {
	o       Options // as it was made; what Reload can change is asked of live
	current atomic.Pointer[Options]
	serial  serialLocks
	flights flights
	company company // of those who work on a run

	began time.Time // when it was started

	mu       sync.Mutex
	active   map[int64]*exec
	draining bool
	teller   *time.Timer
	tellAt   time.Time
	told     time.Time // when runs were last made to tell
}

// New returns an engine.
func New(o Options) *Engine {
	if o.Backoff == nil {
		o.Backoff = Backoff
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	e := &Engine{o: o, active: map[int64]*exec{}, serial: newSerialLocks(), flights: newFlights()}
	e.current.Store(&o)
	return e
}

// Start restores what the ledger says is under way: which runs hold a thing that
// only one may work on. Who waited for a turn or for another's answer asks again,
// for the other may have ended in the moment in which the process did.
func (e *Engine) Start(ctx context.Context) error {
	e.began = time.Now()
	unsure, err := e.o.Journal.Unsure(ctx)
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	if e.o.Shared != nil { // the turns are in the database, and others may have them
		e.armTeller(e.o.Clock().Add(e.live().TellAfter))
		return nil
	}
	for _, effect := range unsure {
		if effect.Serial != "" {
			e.serial.take(effect.Serial, turn{run: effect.RunID, path: effect.Path})
		}
	}
	counts, err := e.o.Journal.WaitCounts(ctx)
	if err != nil {
		return fmt.Errorf("reading what runs wait for: %w", err)
	}
	var turns []string
	for on := range counts {
		if strings.HasPrefix(on, serialPrefix) || strings.HasPrefix(on, answerPrefix) {
			turns = append(turns, on)
		}
	}
	if len(turns) > 0 {
		if _, err := e.commit(record.Change{Release: turns}); err != nil {
			return err
		}
	}
	e.armTeller(e.o.Clock().Add(e.live().TellAfter))
	return nil
}

// Drain lets runs end at their next step: nothing new is begun. It does not wait.
func (e *Engine) Drain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = true
	if e.teller != nil {
		e.teller.Stop()
	}
}

// Work replays the run until it ends or has to wait. The lease is nil when this
// process is the only one.
func (e *Engine) Work(ctx context.Context, run int64, lease *record.Lease) (w record.Worked) {
	x := &exec{e: e, ctx: ctx, lease: lease, settings: e.live().Settings}
	if !e.hold(run, x) { // before reading, so that nobody changes the run in between
		return record.Worked{Again: true}
	}
	defer e.letGo(run, x)
	loaded, ok, again := e.loadToWork(ctx, run, lease)
	if !ok {
		return record.Worked{Again: again}
	}
	together := e.inCompany
	if loaded.Run.Deaths > 0 {
		together = e.suspected
	}
	late := loaded.Run.Silent > 0 && e.awaitCalm(ctx)
	together(loaded.Run, func(waited bool) {
		if waited || late { // it may have changed meanwhile
			if loaded, ok, w.Again = e.loadToWork(ctx, run, lease); !ok {
				return
			}
		}
		x.load(loaded)
		x.replay(e.body(loaded))
		w.Parked = x.conclude()
		w.Again = x.unfinished()
	})
	return w
}

// loadToWork loads a run; ok is false if there is nothing to do now. again: somebody
// has to look once more.
func (e *Engine) loadToWork(ctx context.Context, run int64, lease *record.Lease) (loaded record.Loaded, ok, again bool) {
	loaded, err := e.o.Journal.Load(ctx, run)
	switch {
	case err == nil:
		return loaded, loaded.Run.State.Live() && (!loaded.Run.WakeAt.After(e.o.Clock()) || e.tellDue(loaded.Run)), false
	case ctx.Err() != nil:
		return loaded, false, true
	case errors.Is(err, record.ErrNotFound):
		return loaded, false, false
	}
	e.o.Log.Error("loading a run", "run", run, "error", err)
	if lease == nil {
		e.later(run)
	}
	return loaded, false, lease != nil
}

// hold makes x the only one who works on the run, unless somebody does already or
// the server stops.
func (e *Engine) hold(run int64, x *exec) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining || e.active[run] != nil {
		return false
	}
	e.active[run] = x
	return true
}

// letGo ends the work on a run. A cancellation that came too late for the replay
// is done now.
func (e *Engine) letGo(run int64, x *exec) {
	e.mu.Lock()
	delete(e.active, run)
	e.mu.Unlock()
	if !x.isCancelled() {
		return
	}
	if err := e.cancelNow(run); err != nil && !errors.Is(err, record.ErrState) {
		e.o.Log.Error("cancelling a run", "run", run, "error", err)
	}
}

// body returns what the run does.
func (e *Engine) body(l record.Loaded) func(*funnel.Run) error {
	if err := poisonous(l.Run); err != nil {
		return func(*funnel.Run) error { return err }
	}
	switch l.Run.Kind {
	case record.Tell, record.Notify:
		return func(r *funnel.Run) error { return e.companion(r, l) }
	case record.Call:
		return func(r *funnel.Run) error { return e.call(r, l.Run) }
	}
	p, ok := e.o.Registry.Playbook(l.Run.Playbook)
	if !ok {
		return func(*funnel.Run) error {
			return funnel.Errorf(funnel.Invalid, "playbook %s does not exist any more: restore it, or cancel the run", l.Run.Playbook)
		}
	}
	return func(r *funnel.Run) error { return p.Run(r, l.Event.Data) }
}

// commit writes a change and makes known what it lets go on.
func (e *Engine) commit(c record.Change) (record.Committed, error) {
	faultpoint.Hit("engine.commit.before")
	done, err := e.o.Journal.Commit(c)
	faultpoint.Hit("engine.commit.after")
	if err != nil {
		return done, fmt.Errorf("journalling: %w", err)
	}
	e.o.Queue.Added(done.Runnable...)
	return done, nil
}

// ErrBusy says that a run is being worked on.
var ErrBusy = record.ErrBusy

// Retry lets a failed run go on from the step that failed it.
func (e *Engine) Retry(run int64) error {
	return e.control(run, func() error { return e.o.Journal.Retry(run, e.o.Clock()) })
}

// Skip gives the step an empty outcome and lets the run go on.
func (e *Engine) Skip(run int64, path string) error {
	return e.control(run, func() error {
		err := e.o.Journal.Skip(run, path, e.o.Clock())
		if err == nil {
			e.leaveFlights(run) // the step may be one that others wait for
		}
		return err
	})
}

func (e *Engine) control(run int64, change func() error) error {
	x := &exec{e: e}
	if !e.hold(run, x) {
		return ErrBusy
	}
	err := change()
	e.letGo(run, x)
	e.o.Queue.Add(run) // after an error too: it may have been its turn just now
	return err
}

// Cancel ends a run. One that is being worked on ends before its next step.
func (e *Engine) Cancel(run int64) error {
	e.mu.Lock()
	x := e.active[run]
	if x != nil {
		x.cancel()
	}
	e.mu.Unlock()
	if x != nil {
		return nil
	}
	return e.cancelNow(run)
}

func (e *Engine) cancelNow(run int64) error {
	woken, err := e.o.Journal.Cancel(run, e.o.Clock())
	if err != nil {
		return err
	}
	e.o.Queue.Added(woken...)
	e.freeSerial(run)
	e.leaveFlights(run)
	return nil
}
