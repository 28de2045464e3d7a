package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/record"
)

// effect performs an action that changes something, through the ledger:
//
//	planned ──> sent ──> confirmed
//	   ^          └───> uncertain ──> confirmed (found) or planned (proven absent)
//
// The row says sent, on the disk, before the request leaves.
func (x *exec) effect(s *record.Step, spec *funnel.ActionSpec, conn *Connection) ([]byte, error) {
	f := &record.Effect{
		RunID: x.run.ID, Path: s.Path, Action: spec.ID, Connection: conn.Name, State: record.Planned,
		Key: string(funnel.NewEffectKey(x.event.Key, x.playbookName(), s.Path, x.run.Replay)),
	}
	settle, out, err := x.claim(s, spec, conn, f)
	if err != nil || out != nil {
		return out, err
	}
	if err := x.takeTurn(s, spec, conn, f); err != nil {
		return nil, err
	}
	if known, err := x.knownEffect(f.Key); err != nil {
		x.broken(err)
	} else if known != nil {
		f = known
		f.RunID, f.Path = x.run.ID, s.Path
	}
	s.EffectKey = f.Key
	for {
		switch f.State {
		case record.Confirmed:
			return x.confirm(s, spec, conn, f, settle)
		case record.Sent: // found so after a crash
			f.State, f.Looks = record.EffectUncertain, 0
			s.NextAt = f.SentAt.Add(x.distance(0))
			x.e.o.Metrics.Unsure()
		case record.EffectUncertain:
			if err := x.resolve(s, spec, conn, f); err != nil {
				return nil, err
			}
		default:
			if x.spent(s) {
				return nil, x.fail(s, f, &funnel.Error{Code: funnel.Internal, Message: s.Error})
			}
			x.notYet(s, conn)
			if known, err := x.recall(s, spec, conn, f); err != nil {
				return nil, err
			} else if known {
				continue
			}
			if err := x.send(s, spec, conn, f); err != nil {
				return nil, err
			}
		}
	}
}

// playbookName names what the run does in effect keys; a companion is not the
// playbook that it accompanies.
func (x *exec) playbookName() string {
	if x.run.Kind == record.Playbook || x.run.Kind == record.Call {
		return x.run.Playbook
	}
	if x.run.Kind == record.Notify { // there is one for each failure
		return fmt.Sprintf("%s~notify-run%d", x.run.Playbook, x.run.ID)
	}
	return fmt.Sprintf("%s~%s%d", x.run.Playbook, x.run.Kind, x.run.Told)
}

// claim gets the right to make what the action may make only once. out is the
// outcome of a repeat.
func (x *exec) claim(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect) (settle *record.Ticket, out []byte, err error) {
	if spec.Claim == nil {
		return nil, nil, nil
	}
	c, err := spec.Claim(s.Input)
	if err != nil {
		return nil, nil, x.fail(s, nil, funnel.Errorf(funnel.Invalid, "reading the input of %s: %w", spec.ID, err))
	}
	x.mu.Lock()
	run := x.run
	x.mu.Unlock()
	run.Why = "another run is opening the ticket for the same thing"
	if !x.e.tells(run) {
		run.ToldWhy = run.Why
	}
	now := x.e.o.Clock()
	var repeatErr error
	faultpoint.Hit("engine.claim.before")
	claimed, err := x.e.o.Journal.Claim(record.ClaimRequest{
		Connection: conn.Name, Scope: c.Scope, Fingerprint: c.Fingerprint, Window: c.Window,
		EffectKey: f.Key, Run: run, Step: *s, Now: now, Fence: x.fence(),
		Repeat: func(outcome []byte, seen int, first, last time.Time) (out []byte, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("it panicked: %v", p)
				}
				repeatErr = err
			}()
			return spec.Repeat(outcome, funnel.Seen{Count: seen, First: first, Last: last})
		},
	})
	faultpoint.Hit("engine.claim.after")
	switch {
	case repeatErr != nil:
		return nil, nil, x.fail(s, nil, funnel.Errorf(funnel.Internal, "making a repeat's outcome of %s: %w", spec.ID, repeatErr))
	case err != nil:
		x.broken(err)
	case claimed.Waits:
		x.suspend(wait{on: record.WaitTicket(conn.Name, c.Scope, c.Fingerprint), why: run.Why, step: s.Path, recorded: true})
	case claimed.Outcome != nil:
		s.State, s.Outcome, s.FinishedAt = record.Succeeded, claimed.Outcome, now
		x.gotOn()
		return nil, claimed.Outcome, nil
	}
	f.Key, f.Scope = claimed.EffectKey, c.Scope
	return &record.Ticket{Connection: conn.Name, Scope: c.Scope, Fingerprint: c.Fingerprint, EffectKey: claimed.EffectKey}, nil, nil
}

// takeTurn waits until no other run works on the same thing.
func (x *exec) takeTurn(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect) error {
	if spec.Serial == nil {
		return nil
	}
	name, err := spec.Serial(s.Input)
	if err != nil {
		return x.fail(s, nil, funnel.Errorf(funnel.Invalid, "reading the input of %s: %w", spec.ID, err))
	}
	f.Serial = record.WaitSerial(conn.Name, name)
	if holder, ok := x.takeSerial(f.Serial, s.Path); !ok {
		x.suspend(wait{on: f.Serial, why: fmt.Sprintf("run %d is writing the same thing", holder), step: s.Path})
	}
	return nil
}

// knownEffect returns the ledger's row, nil if there is none.
func (x *exec) knownEffect(key string) (*record.Effect, error) {
	x.mu.Lock()
	f := x.effects[key]
	x.mu.Unlock()
	if f != nil {
		return f, nil
	}
	known, err := x.e.o.Journal.Effect(x.ctx, key)
	if err == nil {
		return &known, nil
	}
	if errors.Is(err, record.ErrNotFound) {
		return nil, nil
	}
	return nil, err
}

// send makes one attempt. On return without an error the effect is confirmed,
// or its state has changed under us.
func (x *exec) send(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect) error {
	leave := x.pass(s, conn)
	defer leave(context.Canceled) // the journal may end the replay; of the other side that says nothing
	from := record.Planned
	if f.Attempt == 0 && f.SentAt.IsZero() {
		from = "" // the row is new
	}
	sent := *f
	sent.State, sent.SentAt, sent.Looks = record.Sent, x.e.o.Clock(), 0
	sent.Attempt++
	s.State = record.Running
	faultpoint.Hit("engine.sent.before")
	if x.journal(s, record.Change{Effect: &sent, From: from}).Conflict {
		leave(nil)
		return x.reread(f)
	}
	*f = sent
	x.mayBegin()
	faultpoint.Hit("engine.request.before")
	out, err := x.invoke(spec, conn, s, funnel.Attempt{Key: funnel.EffectKey(f.Key), Number: f.Attempt, Unproven: f.Unproven})
	faultpoint.Hit("engine.request.after")
	leave(err)
	if err == nil {
		f.State, f.Outcome = record.Confirmed, out
		return nil
	}
	if x.ctx.Err() != nil {
		x.drop() // the row says sent: it will be looked up
	}
	err = x.coded(s, err)
	switch code := funnel.CodeOf(err); {
	case code != funnel.Uncertain && code != funnel.Internal, spec.Settle == funnel.SettleByUpsert, len(x.e.live().Lookups) == 0:
		f.State = record.Planned
		return x.again(s, conn, f, err)
	case spec.Settle == funnel.SettleByEvidence:
		f.State = record.EffectUncertain
		return x.fail(s, f, funnel.Errorf(funnel.Uncertain, "%s; whether it was done is unknown and cannot be looked up: check by hand, then skip the step or retry it", words(err)))
	}
	x.e.o.Metrics.Unsure()
	if funnel.CodeOf(err) == funnel.Internal { // ours, and it will hardly pass
		x.spend(s, err)
		s.Attempts++
	}
	f.State = record.EffectUncertain
	s.State, s.Code, s.Error = record.Uncertain, string(funnel.Uncertain), words(err)
	x.lookAgain(s, conn, f, f.SentAt.Add(x.distance(0)))
	return nil
}

// reread replaces the row by what is committed.
func (x *exec) reread(f *record.Effect) error {
	known, err := x.e.o.Journal.Effect(x.ctx, f.Key)
	if err != nil {
		x.broken(err)
	}
	*f = known
	return nil
}

// resolve looks an unsure effect up. On return without an error it is confirmed
// or planned again.
func (x *exec) resolve(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect) error {
	now := x.e.o.Clock()
	switch {
	case spec.Settle == funnel.SettleByEvidence:
		return x.fail(s, f, funnel.Errorf(funnel.Uncertain, "the server stopped during %s, and whether it was done cannot be looked up: check by hand, then skip the step or retry it", spec.ID))
	case spec.Find == nil, len(x.e.live().Lookups) == 0: // repeating is harmless, or nobody looks anything up
		f.State, s.NextAt = record.Planned, time.Time{}
		return x.plan(s, f)
	case now.Before(s.NextAt):
		s.State = record.Uncertain
		x.lookAgain(s, conn, f, s.NextAt)
	}
	s.State = record.Uncertain
	leave := x.pass(s, conn)
	key := funnel.EffectKey(f.Key)
	type found struct {
		out   []byte
		ok    bool
		fresh bool
	}
	r, err := fenced(x, conn, spec.ID+" (look-up)", func(ctx context.Context) (r found, err error) {
		if r.out, r.ok, err = spec.Find(ctx, conn.Client, key, s.Input); err != nil || r.ok {
			r.out = x.e.mask(r.out)
			return r, err
		}
		r.fresh = true
		if spec.Fresh != nil {
			r.fresh, err = spec.Fresh(ctx, conn.Client, key, s.Input, f.SentAt)
		}
		return r, err
	})
	faultpoint.Hit("engine.find.after")
	leave(err)
	switch {
	case err != nil:
		return x.lookUpFailed(s, conn, f, err)
	case r.ok:
		f.State, f.Outcome = record.Confirmed, r.out
		return nil
	}
	f.Looks++
	switch {
	case f.Looks < len(x.e.live().Lookups):
		x.lookAgain(s, conn, f, f.SentAt.Add(x.distance(f.Looks)))
	case r.fresh:
		f.State, f.Unproven, s.NextAt = record.Planned, false, time.Time{}
		return x.plan(s, f)
	case now.Sub(f.SentAt) < x.e.live().Quiet:
		x.lookAgain(s, conn, f, now.Add(x.distance(len(x.e.live().Lookups)-1)/5))
	case spec.Effect == funnel.Contains:
		return x.fail(s, f, funnel.Errorf(funnel.Uncertain, "whether %s was done cannot be proven: check by hand, then skip the step or retry it", spec.ID))
	}
	f.State, f.Unproven, s.NextAt = record.Planned, true, time.Time{}
	return x.plan(s, f)
}

// plan journals that the effect is surely, or by policy, to be made again.
func (x *exec) plan(s *record.Step, f *record.Effect) error {
	faultpoint.Hit("engine.plan.before")
	if x.journal(s, record.Change{Effect: f}).Conflict {
		return x.reread(f)
	}
	return nil
}

// lookUpFailed waits with an unsure effect until it can be looked up: that uses
// up no attempts, for nothing but an answer helps.
func (x *exec) lookUpFailed(s *record.Step, conn *Connection, f *record.Effect, err error) error {
	if x.ctx.Err() != nil {
		x.drop()
	}
	if errors.Is(err, errFault) { // and then, a person has to look
		x.spend(s, err)
		s.Attempts++
	}
	switch code := funnel.CodeOf(err); {
	case code == funnel.Internal && s.Attempts >= x.e.live().Attempts:
	case code == funnel.Throttled, code == funnel.Unavailable, code == funnel.Uncertain, code == funnel.Internal:
		next := x.e.o.Clock().Add(x.e.o.Backoff(4))
		var e *funnel.Error
		if errors.As(err, &e) && e.RetryAt.After(next) {
			next = e.RetryAt
		}
		x.lookAgain(s, conn, f, next)
	}
	return x.fail(s, f, err)
}

// lookAgain waits for the time of the next look-up.
func (x *exec) lookAgain(s *record.Step, conn *Connection, f *record.Effect, at time.Time) {
	s.NextAt = at
	x.suspend(wait{
		at: at, step: s.Path, steps: []*record.Step{s}, effect: f,
		why: fmt.Sprintf("%s did not answer whether %s was done; it is looked up before anything is repeated", conn.Name, s.Action),
	})
}

// distance is how long after sending the look-up of the number comes.
func (x *exec) distance(look int) time.Duration {
	l := x.e.live().Lookups
	if len(l) == 0 {
		return 0
	}
	return l[min(look, len(l)-1)]
}

// confirm journals the outcome with all that follows from it: the settled claim,
// the event that the effect is, and the runs that waited.
func (x *exec) confirm(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect, settle *record.Ticket) ([]byte, error) {
	c := record.Change{Effect: f}
	if settle != nil {
		settle.Outcome = f.Outcome
		c.Settle = settle
		c.Release = append(c.Release, record.WaitTicket(settle.Connection, settle.Scope, settle.Fingerprint))
	}
	if spec.Emit != nil {
		emit, err := x.emission(s, spec, conn, f)
		if err != nil {
			return nil, x.fail(s, f, err)
		}
		c.Emit = emit
		faultpoint.Hit("engine.emit.before")
	}
	if f.Serial != "" {
		if x.e.o.Shared == nil {
			c.Release = append(c.Release, f.Serial)
		}
		defer faultpoint.Hit("engine.release.after")
		defer func() { // after the commit; also when that fails, for a look-up needs no turn
			x.e.o.Queue.Add(x.e.serial.free(f.Serial, turn{run: x.run.ID, path: s.Path})...)
		}()
	}
	faultpoint.Hit("engine.confirm.before")
	x.succeed(s, c, f.Outcome)
	faultpoint.Hit("engine.confirm.after")
	return f.Outcome, nil
}

// emission is the event that the confirmed effect is.
func (x *exec) emission(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect) (*record.NewEvent, error) {
	origin := funnel.Origin{EventID: fmt.Sprint(x.event.ID), Source: x.event.Source, Trigger: x.event.Trigger, Connection: x.event.Connection, Data: x.event.Data}
	em, err := spec.Emit(conn.Name, origin, s.Input, f.Outcome)
	if err != nil {
		return nil, funnel.Errorf(funnel.Internal, "making the event of %s: %w", spec.ID, err)
	}
	data, err := encode(em.Event)
	if err != nil {
		return nil, funnel.Errorf(funnel.Internal, "making the event of %s: %w", spec.ID, err)
	}
	e := record.Event{
		Source: conn.Name, Trigger: em.Trigger, Connection: conn.Name, Key: em.Key, ReceivedAt: x.e.o.Clock(), Data: data,
		CauseRun: x.run.ID, CauseEvent: x.event.ID, Depth: x.event.Depth + 1, Disposition: record.Unmatched,
	}
	playbooks := x.e.live().Match(em.Trigger)
	switch {
	case e.Depth > maxDepth:
		e.Disposition, playbooks = record.Loop, nil
		x.e.o.Log.Warn("a chain of own events is too long and ends here", "run", x.run.ID, "trigger", em.Trigger, "depth", e.Depth)
	case len(playbooks) > 0:
		e.Disposition = record.Matched
	}
	return &record.NewEvent{Event: e, Playbooks: playbooks}, nil
}
