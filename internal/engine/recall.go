package engine

import (
	"context"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// recall looks up an effect that the ledger does not know, when the database was
// restored lately: it may have been made after the backup. What is found counts as
// sent and confirmed, and true is returned. Each effect is looked up once; that was
// not made a moment ago, so the search index has caught up with it.
func (x *exec) recall(s *record.Step, spec *funnel.ActionSpec, conn *Connection, f *record.Effect) (bool, error) {
	now := x.e.o.Clock()
	if !now.Before(x.e.o.RecallUntil) || spec.Find == nil || f.Attempt > 0 || !f.SentAt.IsZero() || len(x.e.live().Lookups) == 0 {
		return false, nil
	}
	leave := x.pass(s, conn)
	type found struct {
		out []byte
		ok  bool
	}
	r, err := fenced(x, conn, spec.ID+" (look-up after a restore)", func(ctx context.Context) (r found, err error) {
		r.out, r.ok, err = spec.Find(ctx, conn.Client, funnel.EffectKey(f.Key), s.Input)
		if err == nil && !r.ok && spec.Adopt != nil {
			r.out, r.ok, err = spec.Adopt(ctx, conn.Client, s.Input)
		}
		r.out = x.e.mask(r.out)
		return r, err
	})
	leave(err)
	switch {
	case err != nil:
		return false, x.again(s, conn, nil, err)
	case !r.ok:
		return false, nil
	}
	sent := *f
	sent.State, sent.SentAt, sent.Attempt = record.Sent, now, 1
	if x.journal(s, record.Change{Effect: &sent}).Conflict {
		return true, x.reread(f)
	}
	*f = sent
	f.State, f.Outcome = record.Confirmed, r.out
	return true, nil
}
