package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// A companion is a run that accompanies another: it says on the ticket that its
// parent waits or failed, or tells the notify target. Being a run, it has a
// journal, retries and the ledger like any other.

// tellDue reports whether the waiting run should say so now.
func (e *Engine) tellDue(r record.Run) bool {
	return r.Kind == record.Playbook && r.State == record.Waiting && r.ToldWhy != r.Why && !e.o.Clock().Before(r.WaitSince.Add(e.live().TellAfter))
}

// tells reports whether the run can say on a ticket how it does.
func (e *Engine) tells(r record.Run) bool {
	if r.Kind != record.Playbook {
		return false
	}
	p, ok := e.o.Registry.Playbook(r.Playbook)
	return ok && p.Teller() != nil
}

// tell adds a companion to the change if the wait is or will be a long one.
func (x *exec) tell(run *record.Run, w wait, c *record.Change) {
	long := !w.at.IsZero() && w.at.Sub(run.UpdatedAt) > x.e.live().TellAfter
	if run.Kind != record.Playbook || run.ToldWhy == run.Why || !long && !x.e.tellDue(*run) {
		return
	}
	status := funnel.Status{State: "waiting", Step: w.step, Why: w.why, Until: w.at}
	if s := x.steps[w.step]; s != nil {
		status.System = s.Connection
	}
	x.addTell(run, status, c)
}

func (x *exec) addTell(run *record.Run, status funnel.Status, c *record.Change) {
	if !x.e.tells(*run) {
		return
	}
	p, _ := x.e.o.Registry.Playbook(run.Playbook)
	run.Told++
	run.ToldWhy = run.Why
	status.RunURL, status.Revision = x.e.live().RunURL(run.ID), run.Told
	input, wanted, err := p.Teller().Input(x.event.Data, status)
	if err != nil {
		x.e.o.Log.Error("making what a run tells", "run", run.ID, "error", err)
		return
	}
	if wanted {
		c.Companions = append(c.Companions, &record.Run{EventID: run.EventID, Kind: record.Tell, Parent: run.ID, Playbook: run.Playbook, State: record.Queued, Replay: run.Replay, Told: run.Told, CreatedAt: run.UpdatedAt, Input: input})
	}
}

// attend makes a failed run heard of: on the ticket and by the notify target.
func (x *exec) attend(run *record.Run, c *record.Change) {
	if run.Kind == record.Playbook {
		x.addTell(run, funnel.Status{State: "failed", Step: run.Step, Why: run.Why}, c)
	}
	if x.e.live().Notify == nil || run.Kind == record.Notify || run.Kind == record.Call { // who called looks at the answer
		return
	}
	input, err := x.e.live().Notify.Input(Attention{Run: run.ID, Event: run.EventID, Playbook: run.Playbook, Step: run.Step, Code: run.Code, Why: run.Why, URL: x.e.live().RunURL(run.ID)})
	if err != nil {
		x.e.o.Log.Error("making a notification", "run", run.ID, "error", err)
		return
	}
	c.Companions = append(c.Companions, &record.Run{EventID: run.EventID, Kind: record.Notify, Parent: run.ID, Playbook: run.Playbook, State: record.Queued, Replay: run.Replay, Told: run.Told, CreatedAt: run.UpdatedAt, Input: input})
}

// companion is what a companion does: one step.
func (e *Engine) companion(r *funnel.Run, l record.Loaded) error {
	if l.Run.Kind == record.Notify {
		if e.live().Notify == nil {
			return nil
		}
		return companionStep(r, "notify", e.live().Notify.Action, e.live().Notify.Connection, l.Run.Input)
	}
	p, ok := e.o.Registry.Playbook(l.Run.Playbook)
	if !ok || p.Teller() == nil {
		return nil
	}
	if len(l.Steps) == 0 { // not begun: is it still true?
		parent, err := e.o.Journal.Run(r.Context(), l.Run.Parent)
		if err != nil {
			return fmt.Errorf("reading the run that this one is about: %w", err)
		}
		if parent.Told != l.Run.Told || parent.State != record.Waiting && parent.State != record.Failed {
			return nil
		}
	}
	return companionStep(r, "tell", p.Teller().Action, "", l.Run.Input)
}

func companionStep(r *funnel.Run, name string, action *funnel.ActionSpec, connection string, input []byte) error {
	_, err := funnel.StepRaw(r, name, funnel.Call{Action: action, Connection: connection, Input: json.RawMessage(input)})
	return err
}

// armTeller makes the engine look at the time for runs that wait too long
// without having said so. There is one timer.
func (e *Engine) armTeller(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining || !e.tellAt.IsZero() && !at.Before(e.tellAt) { // tellWaiting arms it anew
		return
	}
	if e.teller != nil {
		e.teller.Stop()
	}
	e.tellAt = at
	e.teller = time.AfterFunc(max(at.Sub(e.o.Clock()), 10*time.Millisecond), e.tellWaiting)
}

// tellWaiting has runs that wait too long worked on: they find that they still
// wait, and say so in the transaction in which they wait on.
func (e *Engine) tellWaiting() {
	const limit = 200
	e.mu.Lock()
	e.tellAt = time.Time{}
	draining := e.draining
	if wait := e.told.Add(tellRest).Sub(e.o.Clock()); wait > 0 && !draining {
		e.mu.Unlock()
		e.armTeller(e.o.Clock().Add(wait))
		return
	}
	e.mu.Unlock()
	if draining {
		return
	}
	now := e.o.Clock()
	runs, err := e.o.Journal.Untold(context.Background(), now, limit)
	if err != nil {
		e.o.Log.Error("reading runs that wait", "error", err)
		e.armTeller(now.Add(e.live().TellAfter))
		return
	}
	var told []int64
	next := now.Add(tellPause) // for the next ones, when these have told
	for _, r := range runs {   // the longest waiting first
		if due := r.WaitSince.Add(e.live().TellAfter); due.After(now) {
			next = due
			break
		}
		told = append(told, r.ID)
	}
	if len(told) > 0 {
		e.mu.Lock()
		e.told = now
		e.mu.Unlock()
		e.o.Queue.Add(told...)
	}
	if len(runs) > 0 {
		e.armTeller(next)
	}
}

// tellRest is how long the engine rests at least after it had runs tell: those that
// have not come to it yet would be found again.
const tellRest = time.Second

// tellPause is how long those who tell have before the next ones are looked at.
const tellPause = 10 * time.Second
