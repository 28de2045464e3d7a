package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// ErrNotFound says that there is no such row.
var ErrNotFound = record.ErrNotFound

const runColumns = "id, event_id, kind, parent, playbook, state, replay, created_at, updated_at, finished_at, wake_at, wait_on, wait_since, why, step, code, told, told_why, deaths, crashes, silent, input"

type scanner interface{ Scan(...any) error }

// runRow is where a run is scanned to.
type runRow struct {
	record.Run
	created, updated, finished, wake, since int64
}

func (r *runRow) fields() []any {
	return []any{
		&r.ID, &r.EventID, &r.Kind, &r.Parent, &r.Playbook, &r.State, &r.Replay, &r.created, &r.updated, &r.finished,
		&r.wake, &r.WaitOn, &r.since, &r.Why, &r.Step, &r.Code, &r.Told, &r.ToldWhy, &r.Deaths, &r.Crashes, &r.Silent, &r.Input,
	}
}

func (r *runRow) run() record.Run {
	r.CreatedAt, r.UpdatedAt, r.FinishedAt, r.WakeAt, r.WaitSince = fromMicros(r.created), fromMicros(r.updated), fromMicros(r.finished), fromMicros(r.wake), fromMicros(r.since)
	return r.Run
}

func scanRun(row scanner) (record.Run, error) {
	var r runRow
	err := row.Scan(r.fields()...)
	return r.run(), err
}

const eventColumns = "id, source, trigger_id, connection, dedup_key, received_at, data, disposition, cause_run, cause_event, depth"

// eventRow is where an event is scanned to.
type eventRow struct {
	record.Event
	received int64
}

func (e *eventRow) fields() []any {
	return []any{&e.ID, &e.Source, &e.Trigger, &e.Connection, &e.Key, &e.received, &e.Data, &e.Disposition, &e.CauseRun, &e.CauseEvent, &e.Depth}
}

func (e *eventRow) event() record.Event {
	e.ReceivedAt = fromMicros(e.received)
	return e.Event
}

func scanEvent(row scanner) (record.Event, error) {
	var e eventRow
	err := row.Scan(e.fields()...)
	return e.event(), err
}

const stepColumns = "run_id, path, seq, action, connection, input_hash, input, state, outcome, outcome_ref, code, error, attempts, effect_key, started_at, finished_at, next_at, asked_at"

func scanStep(row scanner) (s record.Step, ref string, err error) {
	var started, finished, next, asked int64
	err = row.Scan(&s.RunID, &s.Path, &s.Seq, &s.Action, &s.Connection, &s.InputHash, &s.Input, &s.State, &s.Outcome, &ref, &s.Code, &s.Error,
		&s.Attempts, &s.EffectKey, &started, &finished, &next, &asked)
	s.StartedAt, s.FinishedAt, s.NextAt, s.AskedAt = fromMicros(started), fromMicros(finished), fromMicros(next), fromMicros(asked)
	return s, ref, err
}

const effectColumns = "effect_key, run_id, path, action, connection, scope, serial, state, attempt, looks, unproven, sent_at, outcome"

func scanEffect(row scanner) (e record.Effect, err error) {
	var sent int64
	err = row.Scan(&e.Key, &e.RunID, &e.Path, &e.Action, &e.Connection, &e.Scope, &e.Serial, &e.State, &e.Attempt, &e.Looks, &e.Unproven, &sent, &e.Outcome)
	e.SentAt = fromMicros(sent)
	return e, err
}

// list scans all rows of a query.
func list[T any](ctx context.Context, db *reader, scan func(scanner) (T, error), query string, args ...any) (out []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func one[T any](ctx context.Context, db *reader, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	v, err := scan(db.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return v, ErrNotFound
	}
	return v, err
}

func scanID(row scanner) (id int64, err error) { err = row.Scan(&id); return id, err }

// loadQuery reads a run with its event and whether its journal has an entry: for
// a run that begins that is all there is, and most do not wait and come back.
func loadQuery() string {
	of := func(table, columns string) string {
		return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
	}
	return "SELECT " + of("run", runColumns) + ", " + of("event", eventColumns) + `, EXISTS (SELECT 1 FROM step WHERE run_id = run.id)
		FROM run JOIN event ON event.id = run.event_id WHERE run.id = ?`
}

// Load returns all that a replay of the run needs. It reads what is committed.
func (s *Store) Load(ctx context.Context, run int64) (record.Loaded, error) {
	ctx = context.WithoutCancel(ctx) // to watch it would cost more than these look-ups by key take
	var r runRow
	var e eventRow
	var begun bool
	var l record.Loaded
	err := s.read.QueryRowContext(ctx, loadQuery(), run).Scan(append(slices.Concat(r.fields(), e.fields()), &begun)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return l, fmt.Errorf("loading run %d: %w", run, err)
	}
	l.Run, l.Event = r.run(), e.event()
	if l.Event.CauseEvent != 0 {
		cause, err := s.Event(ctx, l.Event.CauseEvent)
		if err != nil {
			return l, fmt.Errorf("loading the cause of run %d: %w", run, err)
		}
		l.Cause = &cause
	}
	if !begun {
		return l, nil
	}
	if l.Steps, err = s.Steps(ctx, run); err != nil {
		return l, fmt.Errorf("loading the journal of run %d: %w", run, err)
	}
	if !slices.ContainsFunc(l.Steps, func(s record.Step) bool { return s.EffectKey != "" }) {
		return l, nil
	}
	if l.Effects, err = list(ctx, s.read, scanEffect, "SELECT "+effectColumns+" FROM effect WHERE run_id = ?", run); err != nil {
		return l, fmt.Errorf("loading the effects of run %d: %w", run, err)
	}
	return l, nil
}

// Effect returns a row of the ledger.
func (s *Store) Effect(ctx context.Context, key string) (record.Effect, error) {
	return one(ctx, s.read, scanEffect, "SELECT "+effectColumns+" FROM effect WHERE effect_key = ?", key)
}

// Run returns a run.
func (s *Store) Run(ctx context.Context, id int64) (record.Run, error) {
	return one(ctx, s.read, scanRun, "SELECT "+runColumns+" FROM run WHERE id = ?", id)
}

// Event returns an event without its body.
func (s *Store) Event(ctx context.Context, id int64) (record.Event, error) {
	return one(ctx, s.read, scanEvent, "SELECT "+eventColumns+" FROM event WHERE id = ?", id)
}

// Steps returns the journal of a run in the order of its first entries.
func (s *Store) Steps(ctx context.Context, run int64) ([]record.Step, error) {
	return list(ctx, s.read, func(row scanner) (record.Step, error) {
		step, ref, err := scanStep(row)
		if err == nil && ref != "" {
			err = s.read.QueryRowContext(ctx, "SELECT data FROM blob WHERE hash = ?", ref).Scan(&step.Outcome)
		}
		return step, err
	}, "SELECT "+stepColumns+" FROM step WHERE run_id = ? ORDER BY seq", run)
}

// Unsure returns the effects whose outcome is not known and whose run goes on. Of
// ended runs, a person has decided, or will.
func (s *Store) Unsure(ctx context.Context) ([]record.Effect, error) {
	return list(ctx, s.read, scanEffect, "SELECT "+effectColumns+" FROM effect WHERE state IN ('sent', 'uncertain') AND EXISTS (SELECT 1 FROM run WHERE id = effect.run_id AND live = 1)")
}

// Ready returns runs that need only a worker, the oldest first, after the given id.
func (s *Store) Ready(ctx context.Context, after int64, limit int) ([]int64, error) {
	return list(ctx, s.read, scanID, "SELECT id FROM run WHERE live = 1 AND wait_on = '' AND wake_at = 0 AND id > ? ORDER BY id LIMIT ?", after, limit)
}

// Due returns runs whose time to wake has come, the longest due first.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]int64, error) {
	return list(ctx, s.read, scanID, "SELECT id FROM run WHERE live = 1 AND wait_on = '' AND wake_at > 0 AND wake_at <= ? ORDER BY wake_at, id LIMIT ?", micros(now), limit)
}

// NextWake returns when the next run after the instant is due, zero for none.
func (s *Store) NextWake(ctx context.Context, after time.Time) (time.Time, error) {
	var at int64
	err := s.read.QueryRowContext(ctx, "SELECT COALESCE(MIN(wake_at), 0) FROM run WHERE live = 1 AND wait_on = '' AND wake_at > ?", micros(after)).Scan(&at)
	return fromMicros(at), err
}

// Parked returns runs that wait for the same thing, the oldest first.
func (s *Store) Parked(ctx context.Context, waitOn string, limit int) ([]int64, error) {
	return list(ctx, s.read, scanID, "SELECT id FROM run WHERE live = 1 AND wait_on = ? ORDER BY wake_at, id LIMIT ?", waitOn, limit)
}

// WaitCounts returns for each thing that runs wait for how many do.
func (s *Store) WaitCounts(ctx context.Context) (map[string]int, error) {
	type count struct {
		on string
		n  int
	}
	counts, err := list(ctx, s.read, func(row scanner) (c count, err error) { err = row.Scan(&c.on, &c.n); return c, err },
		"SELECT wait_on, COUNT(*) FROM run WHERE live = 1 AND wait_on <> '' GROUP BY wait_on")
	out := map[string]int{}
	for _, c := range counts {
		out[c.on] = c.n
	}
	return out, err
}

// Untold returns playbook runs that have not got on since the instant and have
// not said why since it last changed, the longest waiting first.
func (s *Store) Untold(ctx context.Context, since time.Time, limit int) ([]record.Run, error) {
	return list(ctx, s.read, scanRun, "SELECT "+runColumns+` FROM run WHERE live = 1 AND kind = 'playbook' AND state = 'waiting' AND wait_since > 0 AND wait_since <= ? AND told_why <> why
		ORDER BY wait_since, id LIMIT ?`, micros(since), limit)
}
