package store

import (
	"context"
	"fmt"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// acceptKin finds the event of a delivery that has kin: it came before, or it was
// read before. Then that event's id is returned, and the kin is counted.
func acceptKin(t *tx, k record.Kin) (eventID int64, known bool, err error) {
	if err := lockFamily(t, k.Family); err != nil {
		return 0, false, err
	}
	known, err = t.get("SELECT event_id FROM kin WHERE family = ? AND dedup_key = ?", []any{k.Family, k.Key}, &eventID)
	if err != nil {
		return 0, false, err
	}
	if known {
		// If it was read before under the very same key, it has now been delivered.
		return eventID, true, t.exec("UPDATE kin SET found = found - CASE WHEN found > 0 THEN 1 ELSE 0 END, pushed = pushed + 1 WHERE family = ? AND dedup_key = ?", k.Family, k.Key)
	}
	var key string
	known, err = t.get(`SELECT dedup_key, event_id FROM kin WHERE family = ? AND found > 0 AND (likeness = ? OR likeness = ? AND (mark = ? OR mark = '' OR ? = ''))
		ORDER BY CASE WHEN mark = ? THEN 0 ELSE 1 END, at, dedup_key LIMIT 1`,
		[]any{k.Family, record.LikeAny, k.Likeness, k.Mark, k.Mark, k.Mark}, &key, &eventID)
	if err != nil || !known {
		return 0, false, err
	}
	if err := t.exec("UPDATE kin SET found = found - 1 WHERE family = ? AND dedup_key = ?", k.Family, key); err != nil {
		return 0, false, err
	}
	k.EventID, k.Pushed, k.Found = eventID, 1, 0
	return eventID, true, insertKin(t, k)
}

func insertKin(t *tx, k record.Kin) error {
	return t.exec("INSERT INTO kin (family, dedup_key, likeness, mark, event_id, pushed, found, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		k.Family, k.Key, k.Likeness, k.Mark, k.EventID, k.Pushed, k.Found, micros(k.At))
}

const kinColumns = "family, dedup_key, likeness, mark, event_id, pushed, found, at"

func scanKin(row scanner) (k record.Kin, err error) {
	var at int64
	err = row.Scan(&k.Family, &k.Key, &k.Likeness, &k.Mark, &k.EventID, &k.Pushed, &k.Found, &at)
	k.At = fromMicros(at)
	return k, err
}

// Family returns the kin of a family.
func (s *Store) Family(ctx context.Context, family string) ([]record.Kin, error) {
	return list(ctx, s.read, scanKin, "SELECT "+kinColumns+" FROM kin WHERE family = ? ORDER BY at, dedup_key", family)
}

// Settled reports whether the family was found complete.
func (s *Store) Settled(ctx context.Context, family string) (bool, error) {
	scan := func(row scanner) (n int, err error) { err = row.Scan(&n); return n, err }
	n, err := one(ctx, s.read, scan, "SELECT COUNT(*) FROM settled WHERE family = ?", family)
	return n > 0, err
}

// Reconcile stores what is missing of a family, and that the family is settled.
// Whether something is missing is decided in the same transaction, so that a
// delivery of the same moment comes either before or after.
func (s *Store) Reconcile(r record.Reconciliation) (record.Reconciled, error) {
	var out record.Reconciled
	err := s.do(func(t *tx) error {
		out = record.Reconciled{}
		have, err := family(t, r.Family)
		if err != nil {
			return err
		}
		for _, m := range r.Decide(have) {
			if err := storeMissing(t, m, r.Now, &out); err != nil {
				return err
			}
		}
		if !r.Settle {
			return nil
		}
		return t.exec("INSERT INTO settled (family, at) VALUES (?, ?) ON CONFLICT DO NOTHING", r.Family, micros(r.Now))
	})
	return out, err
}

func storeMissing(t *tx, m record.Missing, now time.Time, out *record.Reconciled) error {
	k := m.Event.Kin
	k.Found, k.At = max(k.Found, 1), now
	if m.Same != "" {
		found, err := t.get("SELECT event_id FROM kin WHERE family = ? AND dedup_key = ?", []any{k.Family, m.Same}, &k.EventID)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("there is no kin %q to count to", m.Same)
		}
		if err := t.exec("UPDATE kin SET found = found + ? WHERE family = ? AND dedup_key = ?", k.Found, k.Family, m.Same); err != nil {
			return err
		}
		m.Delivery.Verdict, m.Delivery.EventID = record.Duplicate, k.EventID
		out.Same++
		return insertDelivery(t, m.Delivery)
	}
	id, inserted, runs, err := insertEvent(t, m.Event)
	if err != nil {
		return err
	}
	k.EventID = id
	m.Delivery.Verdict, m.Delivery.EventID = record.Accepted, id
	if !inserted { // an event from before its kin was kept
		m.Delivery.Verdict = record.Duplicate
		out.Same++
	} else {
		out.Events++
		out.Runs = append(out.Runs, runs...)
	}
	if err := insertKin(t, k); err != nil {
		return err
	}
	return insertDelivery(t, m.Delivery)
}

// family reads the kin of a family, alone until the transaction ends: a delivery
// of the same family waits, for what it would find is being decided.
func family(t *tx, name string) (have []record.Kin, err error) {
	if err := lockFamily(t, name); err != nil {
		return nil, err
	}
	err = t.each("SELECT "+kinColumns+" FROM kin WHERE family = ? ORDER BY at, dedup_key", []any{name}, func(row scanner) error {
		k, err := scanKin(row)
		have = append(have, k)
		return err
	})
	return have, err
}

func lockFamily(t *tx, name string) error {
	if !t.cluster {
		return nil // there is one writer
	}
	return t.exec("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", name)
}

// ForgetKin drops at most so many kin, and settled families, that are older than
// the time, and returns how many it dropped.
func (s *Store) ForgetKin(before time.Time, most int) (int64, error) {
	var n int64
	err := s.do(func(t *tx) (err error) {
		kin, err := t.count("DELETE FROM kin WHERE (family, dedup_key) IN (SELECT family, dedup_key FROM kin WHERE at < ? ORDER BY at LIMIT ?)", micros(before), most)
		if err != nil {
			return err
		}
		n, err = t.count("DELETE FROM settled WHERE family IN (SELECT family FROM settled WHERE at < ? ORDER BY at LIMIT ?)", micros(before), most)
		n += kin
		return err
	})
	return n, err
}

// TakeDuty lets the holder do, for a time, what only one node does at a time; who
// has it keeps it by asking again. A database of one process gives it always.
func (s *Store) TakeDuty(name, holder string, lasts time.Duration) (ok bool, err error) {
	if s.pg == nil {
		return true, nil
	}
	err = s.do(func(t *tx) error {
		n, err := t.count("INSERT INTO duty (name, holder, until) VALUES (?, ?, "+databaseNow+" + ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE duty.holder = excluded.holder OR duty.until <= "+databaseNow,
			name, holder, lasts.Microseconds())
		ok = n > 0
		return err
	})
	return ok, err
}

// LeaveDuty gives a duty back before its time is over.
func (s *Store) LeaveDuty(name, holder string) error {
	return s.do(func(t *tx) error { return t.exec("DELETE FROM duty WHERE name = ? AND holder = ?", name, holder) })
}
