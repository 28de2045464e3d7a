package store

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/funnelsec/funnel/internal/record"
)

// largeOutcome is the size in bytes over which an outcome becomes a blob.
const largeOutcome = 256 << 10

// Commit writes the change in one transaction and returns after the fsync.
func (s *Store) Commit(c record.Change) (record.Committed, error) {
	var out record.Committed
	err := s.do(func(t *tx) (err error) {
		out, err = commit(t, c)
		return err
	})
	return out, err
}

func commit(t *tx, c record.Change) (out record.Committed, err error) {
	if err := held(t, c.RunID, c.Fence); err != nil {
		return out, err
	}
	if c.Effect != nil {
		ok, err := putEffect(t, c.Effect, c.From)
		if err != nil || !ok {
			return record.Committed{Conflict: err == nil}, err
		}
	}
	for _, step := range c.Steps {
		if err := putStep(t, step); err != nil {
			return out, err
		}
	}
	if c.Answer != nil {
		if err := putAnswer(t, c.Answer, c.Answer.AskedAt); err != nil {
			return out, err
		}
	}
	if c.Settle != nil {
		if err := settleTicket(t, c.Settle); err != nil {
			return out, err
		}
	}
	if c.Emit != nil {
		id, inserted, runs, err := insertEvent(t, *c.Emit)
		if err == nil && !inserted {
			runs, err = adoptEvent(t, id, *c.Emit)
		}
		if err != nil {
			return out, err
		}
		out.EventID, out.Runnable = id, append(out.Runnable, runs...)
	}
	for _, companion := range c.Companions {
		id, err := insertRun(t, *companion)
		if err != nil {
			return out, err
		}
		out.Runnable = append(out.Runnable, id)
	}
	if c.Run != nil {
		more, err := commitRun(t, c.Run)
		if err != nil {
			return out, err
		}
		out.Runnable = append(out.Runnable, more...)
	}
	for _, name := range c.Free {
		if err := endTurn(t, name, c); err != nil {
			return out, err
		}
	}
	released, err := release(t, c.Release)
	out.Runnable = append(out.Runnable, released...)
	return out, err
}

// commitRun writes the run's row. It returns the runs that can go on because of it.
func commitRun(t *tx, r *record.Run) (runnable []int64, err error) {
	run := *r
	gone, err := turnIsOver(t, run.WaitOn)
	if err != nil {
		return nil, err
	}
	if gone {
		run.WaitOn, run.WakeAt = "", fromMicros(0)
		t.wake(run.ID)
		runnable = append(runnable, run.ID)
	}
	if err := putRun(t, &run); err != nil || run.State.Live() {
		return runnable, err
	}
	passed, err := passTickets(t, run.ID)
	if err != nil {
		return nil, err
	}
	freed, err := freeTurns(t, run.ID)
	return append(passed, freed...), err
}

// release lets the runs go on that wait for one of the things, of each the oldest
// first.
func release(t *tx, names []string) (runnable []int64, err error) {
	for _, on := range names {
		released, err := t.ids("UPDATE run SET wait_on = '', wake_at = 0 WHERE live = 1 AND wait_on = ? RETURNING id", on)
		if err != nil {
			return nil, err
		}
		slices.Sort(released)
		runnable = append(runnable, released...)
	}
	t.wake(runnable...)
	return runnable, nil
}

func putRun(t *tx, r *record.Run) error {
	return t.exec(`UPDATE run SET state = ?, live = ?, updated_at = ?, finished_at = ?, wake_at = ?, wait_on = ?, wait_since = ?, why = ?, step = ?, code = ?, told = ?, told_why = ? WHERE id = ?`,
		string(r.State), r.State.Live(), micros(r.UpdatedAt), micros(r.FinishedAt), micros(r.WakeAt), r.WaitOn, micros(r.WaitSince), r.Why, r.Step, r.Code, r.Told, r.ToldWhy, r.ID)
}

func putStep(t *tx, s *record.Step) error {
	outcome, ref := s.Outcome, ""
	if len(outcome) > largeOutcome {
		sum := sha256.Sum256(outcome)
		ref = hex.EncodeToString(sum[:])
		if err := lockBlobs(t, false); err != nil {
			return err
		}
		if err := t.exec("INSERT INTO blob (hash, data) VALUES (?, ?) ON CONFLICT DO NOTHING", ref, outcome); err != nil {
			return err
		}
		outcome = nil
	}
	err := t.exec(`INSERT INTO step (run_id, path, seq, action, connection, input_hash, input, state, outcome, outcome_ref, code, error, attempts, effect_key, started_at, finished_at, next_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (run_id, path) DO UPDATE SET connection = excluded.connection, state = excluded.state, outcome = excluded.outcome, outcome_ref = excluded.outcome_ref,
		code = excluded.code, error = excluded.error, attempts = excluded.attempts, effect_key = excluded.effect_key, finished_at = excluded.finished_at, next_at = excluded.next_at`,
		s.RunID, s.Path, s.Seq, s.Action, s.Connection, s.InputHash, s.Input, string(s.State), outcome, ref, s.Code, s.Error,
		s.Attempts, s.EffectKey, micros(s.StartedAt), micros(s.FinishedAt), micros(s.NextAt))
	if err != nil || s.AskedAt.IsZero() { // most steps ask themselves
		return err
	}
	return t.exec("UPDATE step SET asked_at = ? WHERE run_id = ? AND path = ?", micros(s.AskedAt), s.RunID, s.Path)
}

// putEffect writes the ledger's row and reports whether it could: what is
// confirmed stays so.
func putEffect(t *tx, e *record.Effect, from record.EffectState) (bool, error) {
	if from != "" {
		n, err := t.count("UPDATE effect SET run_id = ?, path = ?, state = ?, attempt = ?, looks = ?, unproven = ?, sent_at = ?, outcome = ? WHERE effect_key = ? AND state = ?",
			e.RunID, e.Path, string(e.State), e.Attempt, e.Looks, e.Unproven, micros(e.SentAt), e.Outcome, e.Key, string(from))
		return n == 1, err
	}
	n, err := t.count(`INSERT INTO effect (effect_key, run_id, path, action, connection, scope, serial, state, attempt, looks, unproven, sent_at, outcome)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (effect_key) DO UPDATE SET run_id = excluded.run_id, path = excluded.path, state = excluded.state, attempt = excluded.attempt,
		looks = excluded.looks, unproven = excluded.unproven, sent_at = excluded.sent_at, outcome = excluded.outcome
		WHERE effect.state <> 'confirmed' OR excluded.state = 'confirmed'`,
		e.Key, e.RunID, e.Path, e.Action, e.Connection, e.Scope, e.Serial, string(e.State), e.Attempt, e.Looks, e.Unproven, micros(e.SentAt), e.Outcome)
	return n == 1, err
}

// Prove confirms an effect from evidence that came from outside. The run that
// waits for it goes on; the event that the effect is comes from that run alone.
func (s *Store) Prove(d record.Delivery, p record.Proof) (record.Proven, error) {
	var out record.Proven
	err := s.do(func(t *tx) error {
		out = record.Proven{Verdict: record.Evidence}
		var run int64
		var state string
		found, err := t.get(t.locked("SELECT run_id, state FROM effect WHERE effect_key = ? AND connection = ? AND scope = ?"), []any{p.EffectKey, p.Connection, p.Scope}, &run, &state)
		if err != nil || !found {
			return err
		}
		out.Known = true
		if record.EffectState(state) == record.Confirmed {
			if _, err := t.get("SELECT id FROM event WHERE dedup_key = ?", []any{p.EventKey}, &out.EventID); err != nil {
				return err
			}
			if out.EventID != 0 {
				out.Verdict = record.Duplicate
			}
		} else {
			if err := t.exec("UPDATE effect SET state = ?, outcome = ? WHERE effect_key = ?", string(record.Confirmed), p.Outcome, p.EffectKey); err != nil {
				return err
			}
			if out.Runs, err = t.ids("UPDATE run SET wake_at = 0, wait_on = '' WHERE id = ? AND live = 1 RETURNING id", run); err != nil {
				return err
			}
			t.wake(out.Runs...)
		}
		d.Verdict, d.EventID = out.Verdict, out.EventID
		return insertDelivery(t, d)
	})
	return out, err
}
