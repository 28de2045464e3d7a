package store

import (
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// Replay adds runs of the playbooks for an event that is stored already. They
// have the next replay number, so that their effects are others than those of
// the runs before. An event that nothing ran for counts as matched from then on.
func (s *Store) Replay(event int64, playbooks []string, now time.Time) (runs []int64, err error) {
	err = s.do(func(t *tx) error {
		runs = nil
		var last int
		var found int64
		if _, err := t.get("SELECT id FROM event WHERE id = ?", []any{event}, &found); err != nil {
			return err
		}
		if found == 0 {
			return record.ErrNotFound
		}
		if _, err := t.get("SELECT COALESCE(MAX(replay), 0) FROM run WHERE event_id = ?", []any{event}, &last); err != nil {
			return err
		}
		for _, name := range playbooks {
			run, err := insertRun(t, record.Run{EventID: event, Kind: record.Playbook, Playbook: name, State: record.Queued, Replay: last + 1, CreatedAt: now})
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		return t.exec("UPDATE event SET disposition = ? WHERE id = ? AND disposition = ?", string(record.Matched), event, string(record.Unmatched))
	})
	return runs, err
}
