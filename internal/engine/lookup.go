package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/upstream"
)

// Backoff is the default wait before the next try, after n that count: up to
// 1 s, 2 s, 4 s … 5 min, with full jitter.
func Backoff(n int) time.Duration {
	ceiling := min(time.Second<<min(n, 20), 5*time.Minute)
	return time.Duration(rand.Int64N(int64(ceiling))) + time.Millisecond
}

// words returns what an action says about its failure. The errors of net/http
// around it hold whole addresses, which may be secrets.
func words(err error) string {
	var e *funnel.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return "it failed in an unexpected way"
}

// stepError is the final failure of a step.
type stepError struct {
	path string
	err  *funnel.Error
}

func (e *stepError) Error() string { return fmt.Sprintf("step %s: %v", e.path, e.err) }
func (e *stepError) Unwrap() error { return e.err }

func failureOf(s *record.Step) error {
	return &stepError{path: s.Path, err: &funnel.Error{Code: funnel.Code(s.Code), Message: s.Error}}
}

// lookUp performs an action that only reads.
func (x *exec) lookUp(s *record.Step, spec *funnel.ActionSpec, conn *Connection, anew bool) ([]byte, error) {
	q, err := x.question(s, spec, conn)
	switch {
	case err != nil:
		return nil, x.fail(s, nil, err)
	case q == nil:
		return x.ask(s, spec, conn, nil)
	}
	return x.askOnce(s, spec, conn, q, anew)
}

// ask makes an attempt at a look-up; q is nil if the answer is for nobody else.
func (x *exec) ask(s *record.Step, spec *funnel.ActionSpec, conn *Connection, q *question) ([]byte, error) {
	x.notYet(s, conn)
	leave := x.pass(s, conn)
	asked := x.e.o.Clock()
	out, err := x.invoke(spec, conn, s, funnel.Attempt{Number: s.Attempts + 1})
	faultpoint.Hit("engine.ask.after")
	leave(err)
	if err != nil {
		return nil, x.again(s, conn, nil, err)
	}
	var c record.Change
	if q != nil {
		x.keep(&c, spec, conn, q, asked, out)
		x.e.o.Metrics.Lookup(conn.Name, false)
	}
	x.succeed(s, c, out)
	return out, nil
}

// notYet goes on waiting when the run was worked on before the time of the step's
// next try has come.
func (x *exec) notYet(s *record.Step, conn *Connection) {
	if s.State == record.Waiting && x.e.o.Clock().Before(s.NextAt) {
		x.suspend(wait{at: s.NextAt, why: fmt.Sprintf("%s: %s", conn.Name, s.Error), step: s.Path})
	}
}

// pass enters the connection's gate, or parks the run. leave is to be called once;
// further calls do nothing.
func (x *exec) pass(s *record.Step, conn *Connection) (leave func(error)) {
	end, err := conn.Gate.Enter(x.ctx)
	var blocked *upstream.Blocked
	switch {
	case err == nil:
		var once sync.Once
		return func(err error) { once.Do(func() { end(err) }) }
	case errors.As(err, &blocked):
		x.park(s, conn, blocked)
	case x.ctx.Err() == nil:
		x.e.o.Log.Error("entering a connection", "connection", conn.Name, "error", err)
		x.later()
	}
	x.drop()
	return nil
}

// park waits for the connection. Of one that is down, the reason is its last
// error: a text that counted would be another reason after every probe, to be
// written and told again.
func (x *exec) park(s *record.Step, conn *Connection, b *upstream.Blocked) {
	why := b.Why
	if state, ok := stateOf(conn); ok && state.Breaker != "closed" && state.LastError != "" {
		why = state.LastError
	}
	w := wait{on: record.WaitConnection(conn.Name), at: b.Until, why: fmt.Sprintf("%s: %s", conn.Name, why), step: s.Path}
	if s.State != record.Queued {
		w.steps = []*record.Step{s}
	}
	x.suspend(w)
}

// invoke makes one attempt, fenced against panics and bounded in time.
func (x *exec) invoke(spec *funnel.ActionSpec, conn *Connection, s *record.Step, attempt funnel.Attempt) (out []byte, err error) {
	return fenced(x, conn, spec.ID, func(ctx context.Context) ([]byte, error) {
		out, err := spec.Invoke(funnel.WithAttempt(ctx, attempt), conn.Client, s.Input)
		return x.e.mask(out), err
	})
}

// mask takes secrets out of an outcome.
func (e *Engine) mask(b []byte) []byte {
	if e.live().Mask == nil {
		return b
	}
	return e.live().Mask(b)
}

// maskError takes secrets out of what an error says. One that says none stays as
// it is; of another the cause goes, for nobody knows what is in it.
func (e *Engine) maskError(err error) error {
	var said *funnel.Error
	if e.live().Mask == nil || !errors.As(err, &said) {
		return err
	}
	text := said.Error()
	masked := string(e.live().Mask([]byte(text)))
	if masked == text {
		return err
	}
	clean := *said
	clean.Message, clean.Err = masked, nil
	return &clean
}

func fenced[T any](x *exec, conn *Connection, what string, fn func(context.Context) (T, error)) (v T, err error) {
	ctx, cancel := context.WithTimeout(x.ctx, conn.Timeout)
	defer cancel()
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	run := x.run.ID
	go func() {
		r := result{err: fault("%s ended its goroutine", what)}
		defer func() {
			if p := recover(); p != nil {
				x.e.o.Log.Error("a panic in an action", "action", what, "run", run, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				r.err = fault("%s panicked; the log has the stack", what)
			}
			done <- r
		}()
		r.v, r.err = fn(ctx)
	}()
	patience := time.NewTimer(conn.Timeout + hangGrace)
	defer patience.Stop()
	select {
	case r := <-done:
		v, err = r.v, r.err
	case <-patience.C:
		x.e.o.Log.Error("an action does not end when its time is up and is left alone: its goroutine stays until the server is restarted", "action", what, "run", run)
		return v, fault("%s did not end within %s and does not notice that its time is up", what, conn.Timeout)
	}
	if err != nil && ctx.Err() != nil && funnel.CodeOf(err) == funnel.Internal {
		err = &funnel.Error{Code: funnel.Uncertain, Message: fmt.Sprintf("%s did not answer within %s", what, conn.Timeout), Err: err}
	}
	return v, x.e.maskError(err)
}

// again decides what follows a failed attempt that surely changed nothing: a
// wait, or the step's final failure, which is returned.
func (x *exec) again(s *record.Step, conn *Connection, f *record.Effect, err error) error {
	if x.ctx.Err() != nil {
		x.drop()
	}
	e := x.coded(s, err)
	now := x.e.o.Clock()
	s.State, s.Code, s.Error = record.Waiting, string(e.Code), e.Error()
	switch e.Code {
	case funnel.Throttled:
		x.alarm(conn, e, now)
		s.NextAt = e.RetryAt
		if !s.NextAt.After(now) { // it did not say when, or the time has passed
			s.NextAt = now.Add(x.e.o.Backoff(3))
		}
		x.suspend(wait{at: s.NextAt, why: fmt.Sprintf("%s: %s", conn.Name, e.Error()), step: s.Path, steps: []*record.Step{s}, effect: f})
	case funnel.Unavailable, funnel.Uncertain, funnel.Internal:
		if b := x.blocked(conn); b != nil && e.Code != funnel.Internal { // waiting for an upstream uses up no attempt
			x.suspend(wait{on: record.WaitConnection(conn.Name), at: b.Until, why: fmt.Sprintf("%s: %s", conn.Name, e.Error()), step: s.Path, steps: []*record.Step{s}, effect: f})
		}
		if e.RetryAt.After(now) && e.Code != funnel.Internal { // nor does waiting until it wants to be asked again
			x.alarm(conn, e, now)
			s.NextAt = e.RetryAt
			x.suspend(wait{at: s.NextAt, why: fmt.Sprintf("%s: %s", conn.Name, e.Error()), step: s.Path, steps: []*record.Step{s}, effect: f})
		}
		x.spend(s, err)
		s.Attempts++
		if s.Attempts < x.e.live().Attempts {
			s.NextAt = now.Add(x.e.o.Backoff(s.Attempts))
			x.suspend(wait{at: s.NextAt, why: fmt.Sprintf("%s: %s", conn.Name, e.Error()), step: s.Path, steps: []*record.Step{s}, effect: f})
		}
	}
	return x.fail(s, f, e)
}

// longPause is how long a pause may be that nobody needs to hear of.
const longPause = time.Hour

// alarm tells the operator of a pause that is longer than systems mostly ask for.
// It is obeyed all the same, see funnel.RetryAfter.
func (x *exec) alarm(conn *Connection, e *funnel.Error, now time.Time) {
	if e.RetryAt.Sub(now) > longPause {
		x.e.o.Log.Warn("an outside system asks for a pause of more than an hour", "connection", conn.Name, "until", e.RetryAt.UTC().Format(time.RFC3339), "why", e.Error())
	}
}

// coded returns the action's own error. One without a code stays in the log, for
// nobody knows what is in it.
func (x *exec) coded(s *record.Step, err error) *funnel.Error {
	var e *funnel.Error
	if errors.As(err, &e) {
		return e
	}
	x.e.o.Log.Error("an action failed without a code", "action", s.Action, "run", x.run.ID, "error", err)
	return funnel.Errorf(funnel.Internal, "%s failed in an unexpected way; the log tells more", s.Action)
}

// blocked returns why the connection takes nobody now, nil if it does.
func (x *exec) blocked(conn *Connection) *upstream.Blocked {
	s, ok := stateOf(conn)
	if !ok || s.Blocked == "" || s.Breaker == "closed" {
		return nil
	}
	return &upstream.Blocked{Connection: conn.Name, Why: s.Blocked, Until: s.BlockedUntil}
}

func stateOf(conn *Connection) (upstream.State, bool) {
	g, ok := conn.Gate.(interface{ State() upstream.State })
	if !ok {
		return upstream.State{}, false
	}
	return g.State(), true
}

// fail journals the step's final failure and returns it, as a replay will.
func (x *exec) fail(s *record.Step, f *record.Effect, err error) error {
	var e *funnel.Error
	if !errors.As(err, &e) {
		e = funnel.Errorf(funnel.Internal, "%s", err.Error())
	}
	s.State, s.Code, s.Error, s.FinishedAt, s.NextAt = record.Failed, string(e.Code), e.Error(), x.e.o.Clock(), time.Time{}
	x.gotOn()
	if x.journal(s, record.Change{Effect: f}).Conflict { // proven in the meantime
		x.later()
		x.drop()
	}
	x.e.o.Metrics.Step(s.Action, "failed", s.FinishedAt.Sub(s.StartedAt))
	return failureOf(s)
}
