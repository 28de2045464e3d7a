package store

import (
	"context"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// Page asks for rows older than Before (0: the newest), at most Limit of them.
type Page struct {
	Before int64
	Limit  int
}

// RunFilter narrows a list of runs; zero fields do not.
type RunFilter struct {
	State    record.State
	Playbook string
	Event    int64
	Page
}

// where builds a condition from column tests; the columns are the author's.
type where struct {
	terms []string
	args  []any
}

func (w *where) add(term string, arg any) {
	w.terms, w.args = append(w.terms, term), append(w.args, arg)
}

func (w *where) between(since, until time.Time) {
	if !since.IsZero() {
		w.add("received_at >= ?", micros(since))
	}
	if !until.IsZero() {
		w.add("received_at < ?", micros(until))
	}
}

func (w *where) page(p Page) string {
	if p.Before > 0 {
		w.add("id < ?", p.Before)
	}
	text := ""
	if len(w.terms) > 0 {
		text = " WHERE " + strings.Join(w.terms, " AND ")
	}
	w.args = append(w.args, max(p.Limit, 1))
	return text + " ORDER BY id DESC LIMIT ?"
}

// Runs returns runs, the newest first.
func (s *Store) Runs(ctx context.Context, f RunFilter) ([]record.Run, error) {
	var w where
	if f.State != "" {
		w.add("state = ?", string(f.State))
	}
	if f.Playbook != "" {
		w.add("playbook = ?", f.Playbook)
	}
	if f.Event != 0 {
		w.add("event_id = ?", f.Event)
	}
	tail := w.page(f.Page)
	return list(ctx, s.read, scanRun, "SELECT "+runColumns+" FROM run"+tail, w.args...)
}

// EventFilter narrows a list of events; zero fields do not.
type EventFilter struct {
	Disposition record.Disposition
	Source      string
	Trigger     string
	CauseEvent  int64     // only what effects of this event's runs are
	Since       time.Time // received then or later
	Until       time.Time // received before
	Page
}

// Events returns events without their bodies, the newest first.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]record.Event, error) {
	var w where
	if f.Disposition != "" {
		w.add("disposition = ?", string(f.Disposition))
	}
	if f.Source != "" {
		w.add("source = ?", f.Source)
	}
	if f.Trigger != "" {
		w.add("trigger_id = ?", f.Trigger)
	}
	if f.CauseEvent != 0 {
		w.add("cause_event <> 0 AND cause_event = ?", f.CauseEvent)
	}
	w.between(f.Since, f.Until)
	tail := w.page(f.Page)
	return list(ctx, s.read, scanEvent, "SELECT "+eventColumns+" FROM event"+tail, w.args...)
}

// DeliveryFilter narrows a list of deliveries; zero fields do not.
type DeliveryFilter struct {
	Source  string
	Verdict record.Verdict
	Event   int64
	Since   time.Time // received then or later
	Until   time.Time // received before
	Page
}

const deliveryColumns = "id, source, received_at, verdict, reason, event_id, bytes"

func scanDelivery(row scanner) (d record.Delivery, err error) {
	var received int64
	err = row.Scan(&d.ID, &d.Source, &received, &d.Verdict, &d.Reason, &d.EventID, &d.Bytes)
	d.ReceivedAt = fromMicros(received)
	return d, err
}

// Deliveries returns deliveries, the newest first.
func (s *Store) Deliveries(ctx context.Context, f DeliveryFilter) ([]record.Delivery, error) {
	var w where
	if f.Source != "" {
		w.add("source = ?", f.Source)
	}
	if f.Verdict != "" {
		w.add("verdict = ?", string(f.Verdict))
	}
	if f.Event != 0 {
		w.add("event_id = ?", f.Event)
	}
	w.between(f.Since, f.Until)
	tail := w.page(f.Page)
	return list(ctx, s.read, scanDelivery, "SELECT "+deliveryColumns+" FROM delivery"+tail, w.args...)
}

// Delivery returns a delivery, or ErrNotFound.
func (s *Store) Delivery(ctx context.Context, id int64) (record.Delivery, error) {
	return one(ctx, s.read, scanDelivery, "SELECT "+deliveryColumns+" FROM delivery WHERE id = ?", id)
}

// Summary counts what there is.
type Summary struct {
	Runs          map[record.State]int
	Events        map[record.Disposition]int
	OldestWaiting int64 // microseconds since 1970 of the oldest live run, 0 for none
}

// Summarize counts live and failed runs, and the events that no playbook runs for.
func (s *Store) Summarize(ctx context.Context) (Summary, error) {
	out := Summary{Runs: map[record.State]int{}, Events: map[record.Disposition]int{}}
	type count struct {
		name string
		n    int
	}
	scan := func(row scanner) (c count, err error) { err = row.Scan(&c.name, &c.n); return c, err }
	runs, err := list(ctx, s.read, scan, "SELECT state, COUNT(*) FROM run WHERE live = 1 GROUP BY state UNION ALL SELECT 'failed', COUNT(*) FROM run WHERE state = 'failed'")
	if err != nil {
		return out, err
	}
	for _, c := range runs {
		out.Runs[record.State(c.name)] = c.n
	}
	events, err := list(ctx, s.read, scan, "SELECT disposition, COUNT(*) FROM event WHERE disposition <> 'matched' GROUP BY disposition")
	if err != nil {
		return out, err
	}
	for _, c := range events {
		out.Events[record.Disposition(c.name)] = c.n
	}
	err = s.read.QueryRowContext(ctx, "SELECT COALESCE(MIN(created_at), 0) FROM run WHERE live = 1").Scan(&out.OldestWaiting)
	return out, err
}
