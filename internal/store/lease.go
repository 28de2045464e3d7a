package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// databaseNow is the database's time in microseconds since 1970. Leases are
// decided by it alone, never by a node's clock.
const databaseNow = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT"

// held checks that the lease is still the run's, and keeps it so until the
// transaction ends. Without a fence there is nothing to check.
func held(t *tx, run, fence int64) error {
	if fence == 0 || !fenced() {
		return nil
	}
	var have int64
	found, err := t.get(t.locked("SELECT fence FROM run WHERE id = ?"), []any{run}, &have)
	if err == nil && (!found || have != fence) {
		err = record.ErrFenced
	}
	return err
}

// idle refuses with ErrBusy a run that a node works on, and keeps others from
// beginning until the transaction ends.
func idle(t *tx, run int64) error {
	if !t.cluster {
		return nil
	}
	var busy bool
	_, err := t.get("SELECT (lease_until > "+databaseNow+")::INTEGER FROM run WHERE id = ? FOR UPDATE", []any{run}, &busy)
	if err == nil && busy {
		err = record.ErrBusy
	}
	return err
}

// Begin gives the node the lease on a run, for the job of the generation. It is
// refused if the job is out of date, the run has ended, or somebody works on it:
// then whoever does looks at it once more. The fence grows with each lease; what
// is written under an earlier one is refused.
func (s *Store) Begin(j record.Job, node string, lease time.Duration) (fence int64, ok bool, err error) {
	err = s.do(func(t *tx) error {
		fence, ok = 0, false
		var generation, have int64
		var live, busy bool
		found, err := t.get("SELECT generation, fence, live, (lease_until > "+databaseNow+")::INTEGER FROM run WHERE id = ? FOR UPDATE", []any{j.Run},
			&generation, &have, &live, &busy)
		switch {
		case err != nil:
			return err
		case !found || generation != j.Generation:
			return nil
		case !live: // should a person have it go on, it needs a job again
			return t.exec("UPDATE run SET begun = generation WHERE id = ?", j.Run)
		case busy:
			return t.exec("UPDATE run SET woken = 1 WHERE id = ?", j.Run)
		}
		fence, ok = have+1, true
		return t.exec("UPDATE run SET begun = generation, fence = ?, node = ?, woken = 0, lease_until = "+databaseNow+" + ? WHERE id = ?", fence, node, lease.Microseconds(), j.Run)
	})
	return fence, ok, err
}

// End gives the lease back. A run that was woken meanwhile gets its next job, and
// one that somebody has to go on with.
func (s *Store) End(run, fence int64, again bool) error {
	return s.do(func(t *tx) error {
		var woken bool
		found, err := t.get("SELECT woken FROM run WHERE id = ? AND fence = ? FOR UPDATE", []any{run, fence}, &woken)
		if err != nil || !found {
			return err
		}
		if woken || again {
			t.wake(run)
		}
		return t.exec("UPDATE run SET lease_until = 0, node = '', woken = 0 WHERE id = ?", run)
	})
}

// Beat says that the node is alive and prolongs its leases; it returns the runs
// whose lease has passed to another.
func (s *Store) Beat(n record.Node, lease time.Duration, fences map[int64]int64) (lost []int64, err error) {
	runs := make([]int64, 0, len(fences))
	for run := range fences {
		runs = append(runs, run)
	}
	slices.Sort(runs) // all lock in the same order
	numbers := make([]int64, len(runs))
	for i, run := range runs {
		numbers[i] = fences[run]
	}
	err = s.do(func(t *tx) error {
		if err := t.exec("INSERT INTO node (id, name, version, started_at, seen_at) VALUES (?, ?, ?, ?, "+databaseNow+") ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
			n.ID, n.Name, n.Version, micros(n.StartedAt)); err != nil {
			return err
		}
		kept, err := t.ids("UPDATE run SET lease_until = "+databaseNow+" + ? FROM UNNEST(?::BIGINT[], ?::BIGINT[]) AS ours (id, fence) WHERE run.id = ours.id AND run.fence = ours.fence AND run.node = ? RETURNING run.id",
			lease.Microseconds(), runs, numbers, n.ID)
		if err != nil {
			return err
		}
		lost = slices.DeleteFunc(slices.Clone(runs), func(run int64) bool { return slices.Contains(kept, run) })
		return nil
	})
	return lost, err
}

// forgetNodeAfter is how long a node that was not seen stays in the list.
const forgetNodeAfter = 24 * time.Hour

// Nodes returns the nodes of the last day.
func (s *Store) Nodes(ctx context.Context) ([]record.Node, error) {
	if s.pg == nil {
		return nil, nil
	}
	return list(ctx, s.read, func(row scanner) (n record.Node, err error) {
		var started, seen int64
		err = row.Scan(&n.ID, &n.Name, &n.Version, &started, &seen)
		n.StartedAt, n.Seen = fromMicros(started), time.Duration(seen)*time.Microsecond
		return n, err
	}, "SELECT id, name, version, started_at, "+databaseNow+" - seen_at FROM node WHERE seen_at > "+databaseNow+" - ? ORDER BY name, id", forgetNodeAfter.Microseconds())
}

// Forget takes a node that ends out of the list.
func (s *Store) Forget(node string) error {
	return s.do(func(t *tx) error { return t.exec("DELETE FROM node WHERE id = ?", node) })
}

// TakeOver makes jobs for runs whose node has let its lease run out, and counts
// that, for the node may have died of them: but not of suspects that it had not come
// to yet. It returns how many there were.
func (s *Store) TakeOver(limit int) (n int, err error) {
	err = s.do(func(t *tx) error {
		runs, err := t.ids("SELECT id FROM run WHERE lease_until > 0 AND lease_until <= "+databaseNow+" ORDER BY lease_until LIMIT ? FOR UPDATE SKIP LOCKED", limit)
		n = len(runs)
		if err != nil {
			return err
		}
		if n == 0 {
			return t.exec("DELETE FROM turn WHERE run_id = 0 AND failed_at < "+databaseNow+" - ?", keepFailure.Microseconds())
		}
		t.wake(runs...)
		return t.exec("UPDATE run SET lease_until = 0, node = '', woken = 0, fence = fence + 1, "+
			"deaths = deaths + CASE WHEN deaths = 0 OR alone = 1 THEN 1 ELSE 0 END, alone = 0 WHERE id = ANY(?)", runs)
	})
	return n, err
}

// WakeDue makes jobs for runs whose time to wake has come, the longest due first.
// It returns how many there were.
func (s *Store) WakeDue(limit int) (n int, err error) {
	err = s.do(func(t *tx) error {
		runs, err := t.ids("SELECT id FROM run WHERE live = 1 AND wait_on = '' AND wake_at > 0 AND wake_at <= "+databaseNow+" ORDER BY wake_at, id LIMIT ? FOR UPDATE SKIP LOCKED", limit)
		n = len(runs)
		if err != nil || n == 0 {
			return err
		}
		t.wake(runs...)
		return t.exec("UPDATE run SET wake_at = 0 WHERE id = ANY(?)", runs)
	})
	return n, err
}

// WakeParked makes jobs for the oldest runs that wait for the same thing, so many
// at the most. Of these, those that have one already get no other: whoever tells of
// a free place twice wakes nobody who would overtake them.
func (s *Store) WakeParked(waitOn string, limit int) (n int, err error) {
	err = s.do(func(t *tx) error {
		runs, err := t.ids(`SELECT id FROM (SELECT id, begun >= generation AS free FROM run WHERE live = 1 AND wait_on = ? AND lease_until = 0 ORDER BY wake_at, id LIMIT ? FOR UPDATE SKIP LOCKED) oldest WHERE free ORDER BY id`,
			waitOn, limit)
		n = len(runs)
		t.wake(runs...)
		return err
	})
	return n, err
}

// WakeLost makes jobs for runs whose job was taken and never begun, for its node
// ended between the two. It returns how many.
func (s *Store) WakeLost(jobs []record.Job) (n int, err error) {
	err = s.do(func(t *tx) error {
		n = 0
		for _, j := range jobs {
			lost, err := t.ids("UPDATE run SET begun = generation WHERE id = ? AND live = 1 AND generation = ? AND begun < generation AND lease_until = 0 RETURNING id", j.Run, j.Generation)
			if err != nil {
				return err
			}
			t.wake(lost...)
			n += len(lost)
		}
		return nil
	})
	return n, err
}

// WakeForgotten makes jobs for runs that have none although one was made for them
// before the instant: then the queue's table has lost it. It returns how many.
func (s *Store) WakeForgotten(before time.Time, limit int) (n int, err error) {
	err = s.do(func(t *tx) error {
		runs, err := t.ids("UPDATE run SET begun = generation WHERE id IN (SELECT id FROM run WHERE live = 1 AND begun < generation AND lease_until = 0 AND queued_at < ? ORDER BY queued_at LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING id",
			micros(before), limit)
		n = len(runs)
		t.wake(runs...)
		return err
	})
	return n, err
}

// Wake makes jobs for runs that are to be looked at for another reason.
func (s *Store) Wake(runs ...int64) error {
	if len(runs) == 0 {
		return nil
	}
	return s.do(func(t *tx) error { t.wake(runs...); return nil })
}

// TakeTurn lets a step do what only one may do at a time, unless another does. A
// step that has waited since the instant hears of a turn that failed meanwhile,
// and does not get it; anybody else does.
func (s *Store) TakeTurn(name string, run int64, path string, since time.Time) (out record.Turn, err error) {
	if s.pg == nil {
		return out, record.ErrEmbedded
	}
	err = s.do(func(t *tx) error {
		var at string
		var failed int64
		out = record.Turn{}
		_, err := t.get("INSERT INTO turn (name, run_id, path) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING run_id, path, failed_at, code, error",
			[]any{name, run, path}, &out.Holder, &at, &failed, &out.Code, &out.Error)
		switch {
		case err != nil:
			return err
		case out.Holder != 0:
			out.Mine = out.Holder == run && at == path
			return nil
		case failed >= micros(since):
			return nil
		}
		out = record.Turn{Mine: true, Holder: run}
		return t.exec("UPDATE turn SET run_id = ?, path = ?, failed_at = 0, code = '', error = '' WHERE name = ?", run, path, name)
	})
	return out, err
}

// endTurn ends a turn of the run. The failure of a question is for all who wait
// for its answer.
func endTurn(t *tx, name string, c record.Change) error {
	if c.FreeCode == "" || !strings.HasPrefix(name, "answer:") {
		return t.exec("DELETE FROM turn WHERE name = ? AND run_id = ?", name, c.RunID)
	}
	return t.exec("UPDATE turn SET run_id = 0, path = '', failed_at = "+databaseNow+", code = ?, error = ? WHERE name = ? AND run_id = ?", c.FreeCode, c.FreeError, name, c.RunID)
}

// keepFailure is how long the failure of a question is kept for those who waited.
const keepFailure = time.Hour

// isTurn reports whether a run that waits for it waits for the end of a turn.
func isTurn(waitOn string) bool {
	return strings.HasPrefix(waitOn, "serial:") || strings.HasPrefix(waitOn, "answer:")
}

// turnIsOver reports whether the turn that a run is about to wait for has ended.
// If it has not, its end waits for this transaction and sees who parked.
func turnIsOver(t *tx, waitOn string) (bool, error) {
	if !t.cluster || !isTurn(waitOn) {
		return false, nil
	}
	var holder int64
	found, err := t.get("SELECT run_id FROM turn WHERE name = ? AND run_id <> 0 FOR SHARE", []any{waitOn}, &holder)
	return err == nil && !found, err
}

// freeTurns ends all turns of a run and lets those go on who wait for them.
func freeTurns(t *tx, run int64) ([]int64, error) {
	if !t.cluster {
		return nil, nil
	}
	names, err := t.names("DELETE FROM turn WHERE run_id = ? RETURNING name", run)
	if err != nil {
		return nil, err
	}
	return release(t, names)
}

// freeTurn ends the turns of a step that was skipped.
func freeTurn(t *tx, run int64, path string) error {
	if !t.cluster {
		return nil
	}
	names, err := t.names("DELETE FROM turn WHERE run_id = ? AND path = ? RETURNING name", run, path)
	if err != nil {
		return err
	}
	_, err = release(t, names)
	return err
}
