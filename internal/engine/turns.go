package engine

import (
	"fmt"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// With a shared database, what only one step may do at a time is decided there: a
// turn is taken before, and ends in the transaction that journals how the step
// ended, which also lets those go on who wait for it.

// fence is the lease's, 0 without one.
func (x *exec) fence() int64 {
	if x.lease == nil {
		return 0
	}
	return x.lease.Fence
}

// takeSerial takes the turn to work on a thing that only one may work on, unless
// another run has it.
func (x *exec) takeSerial(name, path string) (holder int64, ok bool) {
	if x.e.o.Shared == nil {
		return x.e.serial.take(name, turn{run: x.run.ID, path: path})
	}
	t := x.claimTurn(name, path)
	return t.Holder, t.Mine
}

// claimTurn takes a turn in the database. It ends with the step.
func (x *exec) claimTurn(name, path string) record.Turn {
	x.mu.Lock()
	run, waited := x.run, x.run.State == record.Waiting && !x.progress
	x.mu.Unlock()
	since := x.e.o.Clock()
	if waited {
		since = run.WaitSince
	}
	t, err := x.e.o.Shared.TakeTurn(name, run.ID, path, since)
	if err != nil {
		x.broken(fmt.Errorf("taking a turn: %w", err))
	}
	if t.Mine {
		x.mu.Lock()
		if x.turns == nil {
			x.turns = map[string][]string{}
		}
		x.turns[path] = append(x.turns[path], name)
		x.mu.Unlock()
	}
	return t
}

// endTurns adds the end of the step's turns to the change that journals how it
// ended.
func (x *exec) endTurns(s *record.Step, c *record.Change) {
	if x.e.o.Shared == nil || s.State != record.Succeeded && s.State != record.Failed {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range x.turns[s.Path] {
		c.Free, c.Release = append(c.Free, name), append(c.Release, name)
	}
	c.RunID = x.run.ID
	if s.State == record.Failed {
		c.FreeCode, c.FreeError = s.Code, s.Error
	}
	delete(x.turns, s.Path)
}

// askOnceOfAll is askOnce for all nodes.
func (x *exec) askOnceOfAll(s *record.Step, spec *funnel.ActionSpec, conn *Connection, q *question, anew bool) ([]byte, error) {
	t := x.claimTurn(q.on, s.Path)
	switch {
	case t.Code != "":
		return nil, x.fail(s, nil, &funnel.Error{Code: funnel.Code(t.Code), Message: t.Error})
	case !t.Mine:
		x.suspend(wait{on: q.on, why: fmt.Sprintf("%s: another run asks the same, and its answer is for all", conn.Name), step: s.Path})
	}
	if out, ok := x.answerTo(s, conn, q, anew); ok { // it came before the question was ours
		return out, nil
	}
	return x.ask(s, spec, conn, q)
}
