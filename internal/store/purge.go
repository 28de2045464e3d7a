package store

import (
	"context"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// blobLock is held by who keeps an outcome apart, and alone by who drops those that
// nobody has any more.
const blobLock = 0x426c6f62 // "Blob"

func lockBlobs(t *tx, alone bool) error {
	switch {
	case !t.cluster:
		return nil // there is one writer
	case alone:
		return t.exec("SELECT pg_advisory_xact_lock(?)", blobLock)
	}
	return t.exec("SELECT pg_advisory_xact_lock_shared(?)", blobLock)
}

// PurgeDeliveries drops at most so many of the oldest deliveries that were received
// before the time, and returns how many it dropped.
func (s *Store) PurgeDeliveries(before time.Time, most int) (n int64, err error) {
	err = s.do(func(t *tx) (err error) {
		// From the oldest on: what is not old enough ends it, and nothing beyond is read.
		n, err = t.count("DELETE FROM delivery WHERE id IN (SELECT id FROM (SELECT id, received_at FROM delivery ORDER BY id LIMIT ?) AS oldest WHERE received_at < ?)", most, micros(before))
		return err
	})
	return n, err
}

// Used returns how many bytes of the database's file are in use, which is what grows
// with what is kept: the file itself never gets smaller. With a shared database it
// returns 0.
func (s *Store) Used(ctx context.Context) (bytes int64, err error) {
	if s.pg != nil {
		return 0, nil
	}
	err = s.read.QueryRowContext(ctx, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&bytes)
	return bytes, err
}

// PurgeEvents drops events that were received before the time, with all of their
// runs, steps and effects, and the tickets' places that nobody repeats any more.
// An event stays as long as one of its runs has not ended or failed and waits for
// a person. It looks at so many events after the one with the id, and returns the
// last one's id; 0: there is nothing more to look at.
func (s *Store) PurgeEvents(before time.Time, after int64, most int) (p record.Purged, err error) {
	err = s.do(func(t *tx) error {
		p = record.Purged{}
		if err := lockBlobs(t, true); err != nil {
			return err
		}
		seen, err := t.ids("SELECT id FROM event WHERE id > ? ORDER BY id LIMIT ?", after, most)
		if err != nil || len(seen) == 0 {
			return err
		}
		first, last := seen[0], seen[len(seen)-1]
		old, err := t.ids("SELECT id FROM event WHERE id >= ? AND id <= ? AND received_at < ?", first, last, micros(before))
		if err != nil || len(old) == 0 {
			return err // younger ones follow
		}
		p.Next = last
		events, err := t.ids(`SELECT id FROM event WHERE id >= ? AND id <= ? AND received_at < ?
			AND NOT EXISTS (SELECT 1 FROM run WHERE run.event_id = event.id AND (run.live = 1 OR run.state = 'failed' OR run.updated_at >= ?))`, first, last, micros(before), micros(before))
		if err != nil {
			return err
		}
		for _, id := range events {
			if err := purgeEvent(t, id, before, &p); err != nil {
				return err
			}
		}
		return nil
	})
	return p, err
}

func purgeEvent(t *tx, id int64, before time.Time, p *record.Purged) error {
	const itsRuns = "(SELECT id FROM run WHERE event_id = ?)"
	apart, err := t.names("SELECT DISTINCT outcome_ref FROM step WHERE outcome_ref <> '' AND run_id IN "+itsRuns, id)
	if err != nil {
		return err
	}
	if err := t.exec("DELETE FROM ticket WHERE effect_key IN (SELECT effect_key FROM effect WHERE run_id IN "+itsRuns+") AND settled = 1 AND last_seen < ?", id, micros(before)); err != nil {
		return err
	}
	// An effect whose ticket is still repeated stays: it says what the ticket is.
	if err := t.exec("DELETE FROM effect WHERE run_id IN "+itsRuns+" AND NOT EXISTS (SELECT 1 FROM ticket WHERE ticket.effect_key = effect.effect_key)", id); err != nil {
		return err
	}
	if err := t.exec("DELETE FROM step WHERE run_id IN "+itsRuns, id); err != nil {
		return err
	}
	runs, err := t.count("DELETE FROM run WHERE event_id = ?", id)
	if err != nil {
		return err
	}
	p.Runs += runs
	events, err := t.count("DELETE FROM event WHERE id = ?", id)
	if err != nil {
		return err
	}
	p.Events += events
	for _, hash := range apart {
		if err := t.exec("DELETE FROM blob WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM step WHERE outcome_ref = ?)", hash, hash); err != nil {
			return err
		}
	}
	return nil
}
