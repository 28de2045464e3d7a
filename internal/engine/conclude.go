package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/record"
)

func encode(v any) ([]byte, error) { return json.Marshal(v) }

// conclude writes how the replay ended. It returns the connection that the run
// was parked on.
func (x *exec) conclude() (parkedOn string) {
	now := x.e.o.Clock()
	run := x.run
	run.UpdatedAt = now
	switch {
	case x.hung:
		x.e.o.Log.Error("a playbook hangs and is left alone: its goroutine stays until the server is restarted", "run", run.ID, "playbook", run.Playbook)
		return x.end(run, funnel.Errorf(funnel.Internal, "playbook %s did nothing for %s outside of a step: it hangs", run.Playbook, x.e.o.Patience))
	case x.isCancelled() && (!x.returned || x.err != nil):
		return "" // letGo cancels it
	case x.panicked != nil:
		x.e.o.Log.Error("a panic in a playbook", "run", run.ID, "playbook", run.Playbook, "panic", fmt.Sprint(x.panicked), "stack", string(x.stack))
		return x.end(run, funnel.Errorf(funnel.Internal, "playbook %s panicked; the log has the stack", run.Playbook))
	case x.aborted != nil:
		return x.end(run, x.aborted)
	case x.dropped:
		return ""
	case len(x.waits) > 0: // even if the playbook returned: it may have called a step in a goroutine of its own
		return x.wait(run)
	case x.returned:
		return x.end(run, x.err)
	}
	return x.end(run, funnel.Errorf(funnel.Internal, "playbook %s ended its goroutine", run.Playbook))
}

// end finishes the run.
func (x *exec) end(run record.Run, err error) string {
	now := run.UpdatedAt
	run.FinishedAt, run.WaitOn, run.WakeAt, run.WaitSince, run.Why, run.Code, run.Step = now, "", time.Time{}, time.Time{}, "", "", ""
	run.State = record.Succeeded
	c := record.Change{Run: &run}
	if err != nil {
		run.State, run.Why, run.Code = record.Failed, err.Error(), string(funnel.CodeOf(err))
		run.Step = strings.Join(failedSteps(err), "\n")
		x.attend(&run, &c)
		x.e.o.Log.Warn("a run needs attention", "run", run.ID, "playbook", run.Playbook, "step", run.Step, "code", run.Code, "why", run.Why)
	}
	x.e.o.Metrics.Run(run.Playbook, string(run.State), now.Sub(run.CreatedAt))
	faultpoint.Hit("engine.end.before")
	if _, err := x.commit(c); err != nil {
		x.failed("ending a run", err)
	}
	faultpoint.Hit("engine.end.after")
	x.e.freeSerial(run.ID)
	x.e.leaveFlights(run.ID)
	return ""
}

// failedSteps returns the paths of the steps whose failures are in the error.
func failedSteps(err error) []string {
	var paths []string
	var walk func(error)
	walk = func(err error) {
		if s, ok := err.(*stepError); ok {
			paths = append(paths, s.path)
			return
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	return paths
}

// wait suspends the run until the first of its waits can be over.
func (x *exec) wait(run record.Run) (parkedOn string) {
	now := run.UpdatedAt
	w := x.waits[0]
	c := record.Change{Run: &run}
	for _, other := range x.waits {
		c.Steps = append(c.Steps, other.steps...)
	}
	if len(x.waits) > 1 { // branches wait for different things: look again at the first that is known
		w = merge(x.waits, now)
	}
	effects := x.effectsOf()
	old := run
	if x.progress || run.WaitSince.IsZero() {
		run.WaitSince = now
	}
	run.State, run.WaitOn, run.WakeAt, run.Step, run.Why, run.Code = record.Waiting, w.on, w.at, w.step, w.why, ""
	parked, onConnection := strings.CutPrefix(w.on, record.WaitConnection(""))
	if w.on != "" {
		run.WakeAt = time.Time{} // what it waits for wakes it
	}
	if !x.e.tells(run) {
		run.ToldWhy = run.Why // there is nowhere to tell it
	}
	x.tell(&run, w, &c)
	same := old.State == run.State && old.WaitOn == run.WaitOn && old.WakeAt.Equal(run.WakeAt) && old.Why == run.Why && old.ToldWhy == run.ToldWhy
	if !(same || w.recorded) || len(c.Steps) > 0 || len(effects) > 0 || len(c.Companions) > 0 {
		if err := x.writeWait(c, effects); err != nil {
			x.failed("suspending a run", err)
			return ""
		}
	}
	if !run.WakeAt.IsZero() {
		x.e.o.Queue.Schedule(run.WakeAt)
	}
	if run.ToldWhy != run.Why {
		x.e.armTeller(run.WaitSince.Add(x.e.live().TellAfter))
	}
	if onConnection {
		return parked
	}
	return ""
}

func (x *exec) effectsOf() []*record.Effect {
	var list []*record.Effect
	for _, w := range x.waits {
		if w.effect != nil {
			list = append(list, w.effect)
		}
	}
	return list
}

// writeWait commits the wait. Several branches may wait with an effect each.
func (x *exec) writeWait(c record.Change, effects []*record.Effect) error {
	faultpoint.Hit("engine.park.before")
	proven := false // evidence came in between: the run can go on
	for i, f := range effects {
		if i == len(effects)-1 {
			c.Effect = f
			break
		}
		done, err := x.commit(record.Change{Effect: f})
		if err != nil {
			return err
		}
		proven = proven || done.Conflict
	}
	if proven {
		c.Run.WakeAt, c.Run.WaitOn = time.Time{}, ""
	}
	done, err := x.commit(c)
	faultpoint.Hit("engine.park.after")
	if err == nil && (proven || done.Conflict) {
		x.e.o.Queue.Add(x.run.ID)
	}
	return err
}

// merge turns several waits into one look at the earliest known time. For what
// has none, it looks every few seconds.
func merge(waits []wait, now time.Time) wait {
	m := wait{step: waits[0].step}
	var why []string
	for _, w := range waits {
		at := w.at
		if poll := now.Add(5 * time.Second); at.IsZero() || w.on != "" && at.After(poll) {
			at = poll
		}
		if m.at.IsZero() || at.Before(m.at) {
			m.at = at
		}
		why = append(why, w.why)
	}
	m.why = strings.Join(why, "; ")
	return m
}

// later has the run worked on again after a fault of the store.
func (e *Engine) later(run int64) {
	time.AfterFunc(5*time.Second, func() { e.o.Queue.Add(run) })
}
