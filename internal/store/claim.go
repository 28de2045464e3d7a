package store

import (
	"fmt"

	"github.com/funnelsec/funnel/internal/record"
)

// Claim gives the run the right to make something once, makes it wait for the
// run that has it, or journals the repeat's outcome when it was made within the
// window. It is decided by the table alone, never by asking the tracker.
func (s *Store) Claim(req record.ClaimRequest) (record.Claimed, error) {
	var out record.Claimed
	err := s.do(func(t *tx) (err error) {
		out, err = claim(t, req)
		return err
	})
	return out, err
}

func claim(t *tx, q record.ClaimRequest) (record.Claimed, error) {
	row := record.Ticket{Connection: q.Connection, Scope: q.Scope, Fingerprint: q.Fingerprint}
	var opened, last int64
	if err := held(t, q.Run.ID, q.Fence); err != nil {
		return record.Claimed{}, err
	}
	// Locked, so that a run that parks here is seen by the owner that settles the
	// ticket: whoever comes second waits and then sees what the first one wrote. Two
	// that insert the row collide, and the second tries again.
	found, err := t.get(t.locked(`SELECT window_no, effect_key, owner, settled, opened_at, seen, last_seen, outcome FROM ticket
		WHERE connection = ? AND scope = ? AND fingerprint = ? ORDER BY window_no DESC LIMIT 1`),
		[]any{q.Connection, q.Scope, q.Fingerprint}, &row.Window, &row.EffectKey, &row.Owner, &row.Settled, &opened, &row.Seen, &last, &row.Outcome)
	if err != nil {
		return record.Claimed{}, err
	}
	row.OpenedAt, row.LastSeen = fromMicros(opened), fromMicros(last)
	switch {
	case !found, row.Settled && row.Owner != q.Run.ID && !q.Now.Before(row.OpenedAt.Add(q.Window)):
		err := t.exec(`INSERT INTO ticket (connection, scope, fingerprint, window_no, effect_key, owner, settled, opened_at, seen, last_seen)
			VALUES (?, ?, ?, ?, ?, ?, 0, ?, 1, ?)`, q.Connection, q.Scope, q.Fingerprint, row.Window+1, q.EffectKey, q.Run.ID, micros(q.Now), micros(q.Now))
		return record.Claimed{Owner: true, EffectKey: q.EffectKey}, err
	case row.Owner == q.Run.ID && row.EffectKey != "":
		return record.Claimed{Owner: true, EffectKey: row.EffectKey}, nil
	case !row.Settled && row.Owner == 0: // given up by its owner: what it began goes on under the same key
		err := t.exec("UPDATE ticket SET owner = ? WHERE connection = ? AND scope = ? AND fingerprint = ? AND window_no = ?",
			q.Run.ID, q.Connection, q.Scope, q.Fingerprint, row.Window)
		return record.Claimed{Owner: true, EffectKey: row.EffectKey}, err
	case !row.Settled:
		run := q.Run
		run.State, run.WaitOn, run.UpdatedAt, run.Step = record.Waiting, record.WaitTicket(q.Connection, q.Scope, q.Fingerprint), q.Now, q.Step.Path
		run.WakeAt = fromMicros(0)
		if run.WaitSince.IsZero() {
			run.WaitSince = q.Now
		}
		return record.Claimed{Waits: true}, putRun(t, &run)
	}
	outcome, err := q.Repeat(row.Outcome, row.Seen+1, row.OpenedAt, q.Now)
	if err != nil {
		return record.Claimed{}, fmt.Errorf("making a repeat's outcome: %w", err)
	}
	step := q.Step
	step.State, step.Outcome, step.FinishedAt = record.Succeeded, outcome, q.Now
	if err := putStep(t, &step); err != nil {
		return record.Claimed{}, err
	}
	err = t.exec("UPDATE ticket SET seen = seen + 1, last_seen = ? WHERE connection = ? AND scope = ? AND fingerprint = ? AND window_no = ?",
		micros(q.Now), q.Connection, q.Scope, q.Fingerprint, row.Window)
	return record.Claimed{Outcome: outcome}, err
}

func settleTicket(t *tx, k *record.Ticket) error {
	return t.exec("UPDATE ticket SET settled = 1, outcome = ? WHERE connection = ? AND scope = ? AND fingerprint = ? AND effect_key = ?",
		k.Outcome, k.Connection, k.Scope, k.Fingerprint, k.EffectKey)
}

// passTickets hands the unsettled claims of a run that ended to the run that has
// waited longest for each, with the effect in whatever state it is.
func passTickets(t *tx, owner int64) (woken []int64, err error) {
	for {
		var k record.Ticket
		found, err := t.get(t.locked("SELECT connection, scope, fingerprint, effect_key FROM ticket WHERE settled = 0 AND owner = ? LIMIT 1"), []any{owner},
			&k.Connection, &k.Scope, &k.Fingerprint, &k.EffectKey)
		if err != nil || !found {
			return woken, err
		}
		var heir int64
		_, err = t.get("SELECT id FROM run WHERE live = 1 AND wait_on = ? ORDER BY wait_since, id LIMIT 1", []any{record.WaitTicket(k.Connection, k.Scope, k.Fingerprint)}, &heir)
		if err != nil {
			return woken, err
		}
		if err := t.exec("UPDATE ticket SET owner = ? WHERE connection = ? AND scope = ? AND fingerprint = ? AND effect_key = ?", heir, k.Connection, k.Scope, k.Fingerprint, k.EffectKey); err != nil {
			return woken, err
		}
		if heir != 0 {
			if err := t.exec("UPDATE run SET wait_on = '', wake_at = 0 WHERE id = ?", heir); err != nil {
				return woken, err
			}
			woken = append(woken, heir)
			t.wake(heir)
		}
	}
}
