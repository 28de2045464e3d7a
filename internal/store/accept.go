package store

import "github.com/funnelsec/funnel/internal/record"

// Accepted is what became of an arrival.
type Accepted struct {
	EventID   int64
	Duplicate bool
	Runs      []int64
}

// Accept stores the delivery and, unless its keys are known already, the event
// with a run for each playbook, in one transaction. It returns after the fsync.
func (s *Store) Accept(d record.Delivery, e record.NewEvent) (Accepted, error) {
	var out Accepted
	err := s.writer.do(func(t *tx) error {
		out = Accepted{}
		id, inserted, runs, err := insertEvent(t, e)
		if err != nil {
			return err
		}
		out = Accepted{EventID: id, Duplicate: !inserted, Runs: runs}
		d.EventID, d.Verdict = id, record.Accepted
		if !inserted {
			d.Verdict = record.Duplicate
		}
		return insertDelivery(t, d)
	})
	return out, err
}

// Deliver stores a delivery that is no event.
func (s *Store) Deliver(d record.Delivery) error {
	return s.writer.do(func(t *tx) error { return insertDelivery(t, d) })
}

func insertDelivery(t *tx, d record.Delivery) error {
	return t.exec("INSERT INTO delivery (source, received_at, verdict, reason, event_id, bytes) VALUES (?, ?, ?, ?, ?, ?)",
		d.Source, micros(d.ReceivedAt), string(d.Verdict), d.Reason, d.EventID, d.Bytes)
}

// insertEvent inserts the event and its runs. If one of its keys is known, it
// returns the first event's id instead.
func insertEvent(t *tx, n record.NewEvent) (id int64, inserted bool, runs []int64, err error) {
	e := n.Event
	inserted, err = t.get(`INSERT INTO event (source, trigger_id, connection, dedup_key, delivery_key, received_at, body, data, disposition, cause_run, cause_event, depth)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id`,
		[]any{e.Source, e.Trigger, e.Connection, e.Key, empty(e.DeliveryKey), micros(e.ReceivedAt), e.Body, e.Data,
			string(e.Disposition), e.CauseRun, e.CauseEvent, e.Depth}, &id)
	if err != nil {
		return 0, false, nil, err
	}
	if !inserted {
		_, err = t.get("SELECT id FROM event WHERE dedup_key = ?", []any{e.Key}, &id)
		if err == nil && id == 0 {
			_, err = t.get("SELECT id FROM event WHERE delivery_key = ?", []any{e.DeliveryKey}, &id)
		}
		return id, false, nil, err
	}
	for _, name := range n.Playbooks {
		run, err := insertRun(t, record.Run{EventID: id, Kind: record.Playbook, Playbook: name, State: record.Queued, CreatedAt: e.ReceivedAt})
		if err != nil {
			return 0, false, nil, err
		}
		runs = append(runs, run)
	}
	return id, true, runs, nil
}

func insertRun(t *tx, r record.Run) (id int64, err error) {
	_, err = t.get(`INSERT INTO run (event_id, kind, parent, playbook, state, live, replay, created_at, updated_at, finished_at, wake_at, wait_on, wait_since, why, step, code, told, told_why, input)
		VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, 0, ?, '', 0, '', '', '', ?, '', ?) RETURNING id`,
		[]any{r.EventID, string(r.Kind), r.Parent, r.Playbook, string(r.State), r.Replay, micros(r.CreatedAt), micros(r.CreatedAt), micros(r.WakeAt), r.Told, r.Input}, &id)
	return id, err
}
