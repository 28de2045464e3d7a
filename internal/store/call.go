package store

import (
	"context"

	"github.com/funnelsec/funnel/internal/record"
)

// Call stores the event of a call with its one run, in one transaction. If the
// event's key is known, it returns the first one's run instead.
func (s *Store) Call(e record.Event, r record.Run) (run record.Run, duplicate bool, err error) {
	err = s.do(func(t *tx) error {
		id, inserted, _, err := insertEvent(t, record.NewEvent{Event: e})
		if err != nil {
			return err
		}
		r.EventID, duplicate = id, !inserted
		if duplicate {
			return nil
		}
		r.ID, err = insertRun(t, r)
		return err
	})
	if err != nil || !duplicate {
		return r, false, err
	}
	runs, err := s.Runs(context.Background(), RunFilter{Event: r.EventID, Page: Page{Limit: 1}})
	if err != nil {
		return record.Run{}, true, err
	}
	if len(runs) == 0 {
		return record.Run{}, true, record.ErrNotFound
	}
	return runs[0], true, nil
}
