package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// keepForWaiting is how long an answer is kept at least, for the runs that waited
// for it: they are worked on at once, and after a crash soon.
const keepForWaiting = 10 * time.Minute

// question is a look-up whose answer is for all runs that ask the same.
type question struct {
	lookup string // a hash of what is looked up
	on     string // the WaitOn of those who wait for the answer
}

// question returns what the step asks, nil if its answer is for nobody else.
func (x *exec) question(s *record.Step, spec *funnel.ActionSpec, conn *Connection) (*question, error) {
	if spec.Lookup == nil {
		return nil, nil
	}
	key, err := spec.Lookup(s.Input)
	if err != nil {
		return nil, funnel.Errorf(funnel.Invalid, "reading the input of %s: %w", spec.ID, err)
	}
	if key == "" {
		return nil, nil
	}
	sum := sha256.Sum256([]byte(spec.ID + "\x00" + conn.Options + "\x00" + key))
	q := &question{lookup: hex.EncodeToString(sum[:16])}
	q.on = record.WaitAnswer(conn.Name, q.lookup)
	return q, nil
}

// askOnce gets the answer that another run got, waits for the one that another
// run is about to get, or asks for all. Only who asks enters the connection, so an
// answer costs one call however many want it.
func (x *exec) askOnce(s *record.Step, spec *funnel.ActionSpec, conn *Connection, q *question, anew bool) ([]byte, error) {
	if out, ok := x.answerTo(s, conn, q, anew); ok {
		return out, nil
	}
	if x.e.o.Shared != nil {
		return x.askOnceOfAll(s, spec, conn, q, anew)
	}
	t := turn{run: x.run.ID, path: s.Path}
	mine, failed, heir := x.e.flights.take(q.on, t)
	if heir != 0 {
		x.e.o.Queue.Add(heir)
	}
	switch {
	case failed != nil:
		return nil, x.fail(s, nil, failed)
	case !mine:
		x.suspend(wait{on: q.on, why: fmt.Sprintf("%s: another run asks the same, and its answer is for all", conn.Name), step: s.Path})
	}
	out, ok := x.answerTo(s, conn, q, anew) // it may have come before the question was ours
	var err error
	if !ok {
		out, err = x.ask(s, spec, conn, q)
	}
	var why *funnel.Error
	errors.As(err, &why)
	x.e.o.Queue.Add(x.e.flights.end(q.on, t, why)...)
	return out, err
}

// answerTo journals the answer that is kept, if it is one for this run.
func (x *exec) answerTo(s *record.Step, conn *Connection, q *question, anew bool) ([]byte, bool) {
	a, err := x.e.o.Journal.Answer(x.ctx, conn.Name, q.lookup)
	switch {
	case errors.Is(err, record.ErrNotFound):
		return nil, false
	case err != nil:
		x.broken(fmt.Errorf("reading an answer: %w", err))
	case !x.fits(a, conn, anew):
		return nil, false
	}
	s.AskedAt = a.AskedAt
	x.succeed(s, record.Change{}, a.Outcome)
	x.e.o.Metrics.Lookup(conn.Name, true)
	return a.Outcome, true
}

// fits reports whether the answer is young enough: by the connection's limits, or
// because it came while the run waited. For who asks anew, the question must have
// been asked after the run was made.
func (x *exec) fits(a record.Answer, conn *Connection, anew bool) bool {
	x.mu.Lock()
	run, waited := x.run, x.run.State == record.Waiting && !x.progress
	x.mu.Unlock()
	now := x.e.o.Clock()
	limit := conn.Limits.CacheUnknown
	if a.Found {
		limit = conn.Limits.Cache
	}
	switch {
	case a.AskedAt.After(now.Add(time.Minute)): // the clock was wrong then, or is now
		return false
	case anew && a.AskedAt.Before(run.CreatedAt):
		return false
	case waited && !run.WaitSince.IsZero() && !a.AskedAt.Before(run.WaitSince):
		return true
	}
	return now.Before(a.AskedAt.Add(limit))
}

// keep adds the answer to the change that journals it, and lets those go on who
// wait for it.
func (x *exec) keep(c *record.Change, spec *funnel.ActionSpec, conn *Connection, q *question, asked time.Time, out []byte) {
	found, err := spec.Found(out)
	if err != nil {
		x.e.o.Log.Error("an outcome cannot be read again and is not shared", "action", spec.ID, "run", x.run.ID, "error", err)
		return
	}
	limit := conn.Limits.CacheUnknown
	if found {
		limit = conn.Limits.Cache
	}
	c.Answer = &record.Answer{
		Connection: conn.Name, Lookup: q.lookup, AskedAt: asked, ExpiresAt: asked.Add(max(limit, keepForWaiting)), Found: found, Outcome: out,
	}
	c.Release = append(c.Release, q.on)
}

// leaveFlights takes an ended run out of all questions and has the runs worked on
// that ask in its place.
func (e *Engine) leaveFlights(run int64) {
	if e.o.Shared == nil {
		e.o.Queue.Add(e.flights.leave(run)...)
	}
}
