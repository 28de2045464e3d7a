package store

import (
	"context"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// The bounds of the kept answers. They are kept to once in trimEvery answers, so
// that counting costs next to nothing; in between they may be exceeded by so many.
const (
	largestAnswer  = 64 << 10 // bytes of one; a larger one is not kept
	mostAnswers    = 50_000
	mostAnswerSize = 64 << 20 // bytes of all
	trimEvery      = 128
)

// Answer returns the kept answer of a look-up, or ErrNotFound. It may be too old
// for who asks.
func (s *Store) Answer(ctx context.Context, connection, lookup string) (record.Answer, error) {
	a := record.Answer{Connection: connection, Lookup: lookup}
	return one(context.WithoutCancel(ctx), s.read, func(row scanner) (record.Answer, error) {
		var asked, expires int64
		err := row.Scan(&asked, &expires, &a.Found, &a.Outcome)
		a.AskedAt, a.ExpiresAt = fromMicros(asked), fromMicros(expires)
		return a, err
	}, "SELECT asked_at, expires_at, known, outcome FROM answer WHERE connection = ? AND lookup = ?", connection, lookup)
}

// putAnswer keeps an answer, unless a later one is kept already.
func putAnswer(t *tx, a *record.Answer, now time.Time) error {
	if len(a.Outcome) > largestAnswer {
		return nil
	}
	err := t.exec(`INSERT INTO answer (connection, lookup, asked_at, expires_at, known, bytes, outcome) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (connection, lookup) DO UPDATE SET asked_at = excluded.asked_at, expires_at = excluded.expires_at, known = excluded.known,
		bytes = excluded.bytes, outcome = excluded.outcome WHERE excluded.asked_at >= answer.asked_at`,
		a.Connection, a.Lookup, micros(a.AskedAt), micros(a.ExpiresAt), a.Found, len(a.Outcome), a.Outcome)
	if err != nil {
		return err
	}
	if t.kept.Add(1)%trimEvery != 0 {
		return nil
	}
	return trimAnswers(t, now, mostAnswers, mostAnswerSize)
}

// trimAnswers drops what has expired and, while there is too much, what would
// expire next.
func trimAnswers(t *tx, now time.Time, most int, mostSize int64) error {
	if err := t.exec("DELETE FROM answer WHERE expires_at <= ?", micros(now)); err != nil {
		return err
	}
	for {
		var count int
		var size int64
		if _, err := t.get("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM answer", nil, &count, &size); err != nil {
			return err
		}
		if count <= most && size <= mostSize {
			return nil
		}
		n := max(count-most, count/8, 1)
		if err := t.exec("DELETE FROM answer WHERE (connection, lookup) IN (SELECT connection, lookup FROM answer ORDER BY expires_at LIMIT ?)", n); err != nil {
			return err
		}
	}
}
