package store

import (
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// ErrState says that the run is not in a state in which that can be done.
var ErrState = record.ErrState

// Retry lets a failed run go on from the steps that failed it, with fresh
// attempts. An effect of theirs that failed because its outcome stayed unknown is
// made again: that is what the person decided. One that failed because it could
// not be looked up is looked up.
func (s *Store) Retry(run int64, now time.Time) error {
	return s.do(func(t *tx) error {
		var steps string
		if err := idle(t, run); err != nil {
			return err
		}
		found, err := t.get("SELECT step FROM run WHERE id = ? AND state = 'failed'", []any{run}, &steps)
		if err != nil {
			return err
		}
		if !found {
			return missing(t, run)
		}
		for _, path := range strings.Split(steps, "\n") {
			if err := t.exec(`UPDATE effect SET looks = 0, state = CASE WHEN EXISTS (SELECT 1 FROM step WHERE run_id = effect.run_id AND path = effect.path AND code = 'uncertain')
				THEN 'planned' ELSE state END WHERE run_id = ? AND path = ? AND state = 'uncertain'`, run, path); err != nil {
				return err
			}
			if err := t.exec("UPDATE step SET state = 'queued', attempts = 0, code = '', error = '', next_at = 0 WHERE run_id = ? AND path = ? AND state IN ('failed', 'uncertain')", run, path); err != nil {
				return err
			}
		}
		return requeue(t, run, now)
	})
}

// Skip marks a step that has no outcome as skipped and lets its run go on.
func (s *Store) Skip(run int64, path string, now time.Time) error {
	return s.do(func(t *tx) error {
		if err := idle(t, run); err != nil {
			return err
		}
		n, err := t.count(`UPDATE step SET state = 'skipped', outcome = NULL, finished_at = ? WHERE run_id = ? AND path = ? AND state NOT IN ('succeeded', 'skipped')
			AND EXISTS (SELECT 1 FROM run WHERE id = ? AND state IN ('failed', 'waiting'))`, micros(now), run, path, run)
		if err != nil {
			return err
		}
		if n == 0 {
			return missing(t, run)
		}
		if err := freeTurn(t, run, path); err != nil {
			return err
		}
		return requeue(t, run, now)
	})
}

// Cancel ends a run that has not finished. It returns the runs that can go on
// because of it.
func (s *Store) Cancel(run int64, now time.Time) (runs []int64, err error) {
	err = s.do(func(t *tx) error {
		runs = nil
		n, err := t.count(`UPDATE run SET state = 'cancelled', live = 0, finished_at = ?, updated_at = ?, wake_at = 0, wait_on = '', why = 'cancelled by a person',
			fence = fence + 1, lease_until = 0, node = '' WHERE id = ? AND (live = 1 OR state = 'failed')`,
			micros(now), micros(now), run)
		if err != nil {
			return err
		}
		if n == 0 {
			return missing(t, run)
		}
		if runs, err = passTickets(t, run); err != nil {
			return err
		}
		freed, err := freeTurns(t, run)
		runs = append(runs, freed...)
		return err
	})
	return runs, err
}

func requeue(t *tx, run int64, now time.Time) error {
	t.wake(run)
	return t.exec("UPDATE run SET state = ?, live = 1, updated_at = ?, finished_at = 0, wake_at = 0, wait_on = '', wait_since = 0, why = '', code = '', deaths = 0, crashes = 0, silent = 0 WHERE id = ?",
		string(record.Running), micros(now), run)
}

func missing(t *tx, run int64) error {
	var id int64
	found, err := t.get("SELECT id FROM run WHERE id = ?", []any{run}, &id)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrNotFound
	}
	return ErrState
}

// Setting returns a small stored fact, nil if there is none.
func (s *Store) Setting(name string) (value []byte, err error) {
	err = s.do(func(t *tx) error {
		_, err := t.get("SELECT value FROM setting WHERE name = ?", []any{name}, &value)
		return err
	})
	return value, err
}

// PutSetting stores a small fact.
func (s *Store) PutSetting(name string, value []byte) error {
	return s.do(func(t *tx) error {
		return t.exec("INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	})
}

// ChangeSetting replaces a small fact by what change makes of it (nil if there is
// none), unless that is nil. Nobody else changes it in between.
func (s *Store) ChangeSetting(name string, change func([]byte) []byte) error {
	return s.do(func(t *tx) error {
		var value []byte
		if _, err := t.get(t.locked("SELECT value FROM setting WHERE name = ?"), []any{name}, &value); err != nil {
			return err
		}
		next := change(value)
		if next == nil {
			return nil
		}
		if value == nil { // two that insert it collide, and the second tries again
			return t.exec("INSERT INTO setting (name, value) VALUES (?, ?)", name, next)
		}
		return t.exec("UPDATE setting SET value = ? WHERE name = ?", next, name)
	})
}
