package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// exec is one replay of a run; it is the playbook's funnel.Runtime.
type exec struct {
	e     *Engine
	ctx   context.Context
	lease *record.Lease // nil: this process is the only one
	event record.Event
	cause *record.Event

	settings map[string][]byte // the same for the whole replay, whatever is reloaded meanwhile

	mu        sync.Mutex // parallel branches share what follows
	run       record.Run
	steps     map[string]*record.Step
	effects   map[string]*record.Effect
	waits     []wait
	aborted   error
	cancelled bool
	dropped   bool                // the replay ends without a trace: the journal says where to go on
	stopped   bool                // it was dropped because the server stops or is in doubt about its lease
	turns     map[string][]string // by path: what the step alone may do, with a shared database
	progress  bool                // a step has finished in this replay

	inside int       // steps under way
	since  time.Time // when the latest one ended, or the replay began
	hung   bool      // the playbook does nothing, and is left alone

	ending
}

// ending is how the playbook function ended.
type ending struct {
	returned bool
	err      error
	panicked any
	stack    []byte
}

// wait is why a branch of the run cannot go on.
type wait struct {
	on       string    // a record.Wait… name; empty: only the time
	at       time.Time // zero: nobody knows
	why      string
	step     string
	steps    []*record.Step // entries to journal with the wait
	effect   *record.Effect
	recorded bool // the wait is in the table already
}

func (x *exec) load(l record.Loaded) {
	x.run, x.event, x.cause = l.Run, l.Event, l.Cause
	x.steps, x.effects = map[string]*record.Step{}, map[string]*record.Effect{}
	for _, s := range l.Steps {
		x.steps[s.Path] = &s
	}
	for _, f := range l.Effects {
		x.effects[f.Key] = &f
	}
}

// replay calls the playbook in a goroutine of its own, which a wait ends by
// runtime.Goexit: no playbook can swallow that.
//
// A playbook that does nothing for too long is left alone: its goroutine cannot be
// ended, and comes no further than its next step.
func (x *exec) replay(body func(*funnel.Run) error) {
	done := make(chan ending, 1)
	x.since = time.Now()
	go func() {
		var end ending
		defer func() {
			if v := recover(); v != nil {
				end.panicked, end.stack = v, debug.Stack()
			}
			done <- end
		}()
		end.err = body(funnel.NewRun(x))
		end.returned = true
	}()
	look := time.NewTicker(x.e.o.Patience / 4)
	defer look.Stop()
	for {
		select {
		case x.ending = <-done:
			return
		case <-look.C:
			if x.hangs() {
				return
			}
		}
	}
}

// Context returns the context of the replay.
func (x *exec) Context() context.Context { return x.ctx }

// Info describes the run.
func (x *exec) Info() funnel.RunInfo {
	return funnel.RunInfo{
		ID: strconv.FormatInt(x.run.ID, 10), EventID: strconv.FormatInt(x.event.ID, 10), Playbook: x.run.Playbook,
		Source: x.event.Source, ReceivedAt: x.event.ReceivedAt,
	}
}

// Settings returns the playbook's configured settings.
func (x *exec) Settings() []byte { return x.settings[x.run.Playbook] }

// Skipped reports whether a person skipped the step.
func (x *exec) Skipped(path string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.steps[path]
	return s != nil && s.State == record.Skipped
}

// Abort fails the run.
func (x *exec) Abort(err error) {
	x.mu.Lock()
	if x.aborted == nil {
		x.aborted = err
	}
	x.mu.Unlock()
	runtime.Goexit()
}

func (x *exec) cancel() {
	x.mu.Lock()
	x.cancelled = true
	x.mu.Unlock()
}

func (x *exec) isCancelled() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cancelled
}

// suspend ends the goroutine until the wait is over.
func (x *exec) suspend(w wait) {
	x.mu.Lock()
	x.waits = append(x.waits, w)
	x.mu.Unlock()
	runtime.Goexit()
}

// drop ends the replay as if it had not been: the journal says where to go on.
func (x *exec) drop() {
	x.mu.Lock()
	x.dropped = true
	x.mu.Unlock()
	runtime.Goexit()
}

// mayGoOn ends the goroutine when the run was cancelled or the server stops.
func (x *exec) mayGoOn() {
	x.e.mu.Lock()
	draining := x.e.draining
	x.e.mu.Unlock()
	if draining || x.isCancelled() || x.ctx.Err() != nil {
		x.stop()
	}
}

// stop ends the replay because the server stops or the lease does: whoever works
// on the run next goes on.
func (x *exec) stop() {
	x.mu.Lock()
	x.stopped = true
	x.mu.Unlock()
	x.drop()
}

// unfinished reports whether the run has to be worked on again by somebody.
func (x *exec) unfinished() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dropped && (x.stopped || x.ctx.Err() != nil)
}

// least is how much of a lease must be left for a request that changes something
// to be sent.
const least = time.Second

// mayBegin ends the replay unless enough of the lease is left: after it, another
// node may do the same.
func (x *exec) mayBegin() {
	if x.ctx.Err() != nil || x.lease != nil && time.Until(x.lease.Until()) < least {
		x.stop()
	}
}

// commit writes a change under the lease.
func (x *exec) commit(c record.Change) (record.Committed, error) {
	if x.lease != nil {
		c.RunID, c.Fence = x.run.ID, x.lease.Fence
	}
	return x.e.commit(c)
}

// failed reacts to a change that could not be written: the run goes on later,
// unless it is not ours any more.
func (x *exec) failed(what string, err error) {
	if errors.Is(err, record.ErrFenced) {
		x.e.o.Metrics.LeaseLost()
		x.e.o.Log.Warn("a run is not ours any more: another node has it, or it was cancelled", "run", x.run.ID)
		return
	}
	x.e.o.Log.Error(what, "run", x.run.ID, "error", err)
	x.later()
}

// later has the run worked on again after a fault.
func (x *exec) later() {
	if x.lease == nil {
		x.e.later(x.run.ID)
		return
	}
	x.mu.Lock() // whoever ends the lease makes the next job
	x.stopped, x.dropped = true, true
	x.mu.Unlock()
}

// Step performs the call as the step of the path, or answers from the journal.
func (x *exec) Step(path string, call funnel.Call) ([]byte, error) {
	defer x.step()()
	spec := call.Action
	s, entered := x.enter(path, spec.ID, call.Input)
	if entered {
		switch s.State {
		case record.Succeeded:
			return s.Outcome, nil
		case record.Skipped:
			return nil, nil
		case record.Failed:
			return nil, failureOf(s)
		}
	}
	x.mayGoOn()
	name := call.Connection
	if s.EffectKey != "" {
		name = s.Connection // an effect that may have been made is settled where it was made
	}
	conn, err := x.connection(spec, name)
	if err != nil {
		return nil, x.fail(s, nil, err)
	}
	s.Connection = conn.Name
	if spec.Effect == funnel.Reads {
		return x.lookUp(s, spec, conn, call.Anew)
	}
	return x.effect(s, spec, conn)
}

// enter returns the journal entry of the path, or a new one. An entry for
// another action or input means that the playbook is not the one that wrote it.
func (x *exec) enter(path, action string, input []byte) (s *record.Step, entered bool) {
	sum := sha256.Sum256(input)
	hash := hex.EncodeToString(sum[:16])
	x.mu.Lock()
	s = x.steps[path]
	if s != nil {
		x.mu.Unlock()
		if s.Action != action || s.InputHash != hash {
			x.Abort(funnel.Errorf(funnel.Conflict, "playbook changed: step %s was %s with other input when it was journalled; cancel the run, or put the playbook back and retry", path, s.Action))
		}
		return s, true
	}
	s = &record.Step{RunID: x.run.ID, Path: path, Seq: len(x.steps) + 1, Action: action, InputHash: hash, Input: input, State: record.Queued, StartedAt: x.e.o.Clock()}
	x.steps[path] = s
	x.mu.Unlock()
	return s, false
}

// connection returns the named connection, else the event's, else the only one
// of the action's integration.
func (x *exec) connection(spec *funnel.ActionSpec, name string) (*Connection, error) {
	if name == "" && x.event.Connection != "" {
		if c := x.e.live().Connections[x.event.Connection]; c != nil && c.Integration == spec.Integration() {
			return c, nil
		}
	}
	return x.e.connection(spec, name)
}

// connection returns the named connection, else the only one of the action's
// integration.
func (e *Engine) connection(spec *funnel.ActionSpec, name string) (*Connection, error) {
	integration := spec.Integration()
	if name != "" {
		c := e.live().Connections[name]
		if c == nil || c.Integration != integration {
			return nil, funnel.Errorf(funnel.Invalid, "%s needs connection %s of integration %s, which is not configured", spec.ID, name, integration)
		}
		return c, nil
	}
	var only *Connection
	for _, name := range slices.Sorted(maps.Keys(e.live().Connections)) {
		c := e.live().Connections[name]
		if c.Integration != integration {
			continue
		}
		if only != nil {
			return nil, funnel.Errorf(funnel.Invalid, "%s could use connection %s or %s: name one", spec.ID, only.Name, c.Name)
		}
		only = c
	}
	if only == nil {
		return nil, funnel.Errorf(funnel.Invalid, "%s needs a connection of integration %s, and none is configured: add one under connections", spec.ID, integration)
	}
	return only, nil
}

// Record journals a local value.
func (x *exec) Record(path string, fn func() ([]byte, error)) ([]byte, error) {
	s, entered := x.enter(path, "record", nil)
	if entered {
		switch s.State {
		case record.Succeeded, record.Skipped:
			return s.Outcome, nil
		case record.Failed:
			return nil, failureOf(s)
		}
	}
	x.mayGoOn()
	value, err := fn()
	if err != nil {
		return nil, x.fail(s, nil, err)
	}
	x.succeed(s, record.Change{}, value)
	return value, nil
}

// Sleep waits durably.
func (x *exec) Sleep(path string, d time.Duration) {
	s, entered := x.enter(path, "sleep", []byte(d.String()))
	if entered && (s.State == record.Succeeded || s.State == record.Skipped) {
		return
	}
	x.mayGoOn()
	now := x.e.o.Clock()
	if s.State == record.Queued {
		s.State, s.NextAt = record.Waiting, now.Add(d)
	}
	if now.Before(s.NextAt) {
		x.suspend(wait{at: s.NextAt, why: "the playbook sleeps", step: path, steps: []*record.Step{s}})
	}
	x.succeed(s, record.Change{}, nil)
}

// succeed journals the step's outcome, together with what else the change says.
func (x *exec) succeed(s *record.Step, c record.Change, outcome []byte) {
	s.State, s.Outcome, s.FinishedAt, s.Code, s.Error, s.NextAt = record.Succeeded, outcome, x.e.o.Clock(), "", "", time.Time{}
	x.gotOn()
	x.journal(s, c)
	x.e.o.Metrics.Step(s.Action, "succeeded", s.FinishedAt.Sub(s.StartedAt))
}

// gotOn notes that a step has finished: the run's wait starts anew.
func (x *exec) gotOn() {
	x.mu.Lock()
	x.progress = true
	x.mu.Unlock()
}

// journal commits the step's entry. The run's row says that it is worked on; if
// the change is a conflict, it says what it said before.
func (x *exec) journal(s *record.Step, c record.Change) record.Committed {
	c.Steps = append(c.Steps, s)
	x.mu.Lock()
	before := x.run
	if x.run.State != record.Running || x.run.WaitOn != "" || !x.run.WakeAt.IsZero() || x.run.Why != "" {
		x.run.State, x.run.WaitOn, x.run.WakeAt, x.run.Why = record.Running, "", time.Time{}, ""
		x.run.UpdatedAt = x.e.o.Clock()
		run := x.run
		c.Run = &run
	}
	x.mu.Unlock()
	x.endTurns(s, &c)
	done, err := x.commit(c)
	if err != nil {
		x.broken(err)
	}
	if done.Conflict && c.Run != nil {
		x.mu.Lock()
		x.run = before
		x.mu.Unlock()
	}
	return done
}

// broken ends the replay because the journal cannot be written: what is not in
// it has not happened, and the run goes on when it can be.
func (x *exec) broken(err error) {
	x.failed("a run stops because its journal cannot be written", err)
	x.drop()
}

func (x *exec) String() string { return fmt.Sprintf("run %d (%s)", x.run.ID, x.run.Playbook) }
