package store

import "github.com/funnelsec/funnel/internal/record"

// Accept stores the delivery and, unless its keys are known already, the event
// with a run for each playbook, in one transaction. It returns after the fsync:
// the event's id, of a duplicate the first one's, and the runs that can start.
func (s *Store) Accept(d record.Delivery, e record.NewEvent) (eventID int64, duplicate bool, runs []int64, err error) {
	err = s.do(func(t *tx) (err error) {
		if eventID, duplicate, runs, err = accept(t, e); err != nil {
			return err
		}
		d.EventID, d.Verdict = eventID, record.Accepted
		if duplicate {
			d.Verdict = record.Duplicate
		}
		return insertDelivery(t, d)
	})
	return eventID, duplicate, runs, err
}

func accept(t *tx, e record.NewEvent) (eventID int64, duplicate bool, runs []int64, err error) {
	k := e.Kin
	if k.Family != "" {
		if eventID, duplicate, err = acceptKin(t, k); err != nil || duplicate {
			return eventID, duplicate, nil, err
		}
	}
	eventID, inserted, runs, err := insertEvent(t, e)
	if err == nil && k.Family != "" {
		k.EventID, k.Pushed = eventID, 1
		err = insertKin(t, k)
	}
	return eventID, !inserted, runs, err
}

// Deliver stores a delivery that is no event.
func (s *Store) Deliver(d record.Delivery) error {
	return s.do(func(t *tx) error { return insertDelivery(t, d) })
}

func insertDelivery(t *tx, d record.Delivery) error {
	return t.exec("INSERT INTO delivery (source, received_at, verdict, reason, event_id, bytes) VALUES (?, ?, ?, ?, ?, ?)",
		d.Source, micros(d.ReceivedAt), string(d.Verdict), d.Reason, d.EventID, d.Bytes)
}

// insertEvent inserts the event and its runs. If one of its keys is known, it
// returns the first event's id instead.
func insertEvent(t *tx, n record.NewEvent) (id int64, inserted bool, runs []int64, err error) {
	e := n.Event
	id, inserted, err = t.insert(`INSERT INTO event (source, trigger_id, connection, dedup_key, delivery_key, received_at, body, data, disposition, cause_run, cause_event, depth)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		e.Source, e.Trigger, e.Connection, e.Key, empty(e.DeliveryKey), micros(e.ReceivedAt), e.Body, e.Data,
		string(e.Disposition), e.CauseRun, e.CauseEvent, e.Depth)
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
	runs, err = insertRuns(t, id, n)
	return id, true, runs, err
}

func insertRuns(t *tx, event int64, n record.NewEvent) (runs []int64, err error) {
	for _, name := range n.Playbooks {
		run, err := insertRun(t, record.Run{EventID: event, Kind: record.Playbook, Playbook: name, State: record.Queued, CreatedAt: n.Event.ReceivedAt})
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// adoptEvent turns a stored event that started nothing because our own account
// caused it into the event of the effect that it turned out to be.
func adoptEvent(t *tx, id int64, n record.NewEvent) ([]int64, error) {
	e := n.Event
	changed, err := t.count("UPDATE event SET data = ?, disposition = ?, cause_run = ?, cause_event = ?, depth = ? WHERE id = ? AND disposition = ?",
		e.Data, string(e.Disposition), e.CauseRun, e.CauseEvent, e.Depth, id, string(record.Own))
	if err != nil || changed == 0 {
		return nil, err
	}
	return insertRuns(t, id, n)
}

func insertRun(t *tx, r record.Run) (id int64, err error) {
	id, _, err = t.insert(`INSERT INTO run (event_id, kind, parent, playbook, state, live, replay, created_at, updated_at, finished_at, wake_at, wait_on, wait_since, why, step, code, told, told_why, input)
		VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, 0, ?, '', 0, '', '', '', ?, '', ?)`,
		r.EventID, string(r.Kind), r.Parent, r.Playbook, string(r.State), r.Replay, micros(r.CreatedAt), micros(r.CreatedAt), micros(r.WakeAt), r.Told, r.Input)
	t.wake(id)
	return id, err
}
