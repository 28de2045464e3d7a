package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
)

const (
	firstReconcile = 2 * time.Second // after the start: what fired meanwhile is missing most
	keepKin        = 48 * time.Hour  // longer than is read
	kinBatch       = 1000
)

// readable returns how the source is read afterwards, nil if it is not. What
// arrives is kept for comparison from now on, or since it has been without a
// break.
func (a *App) readable(s config.Source, l *link) (*intake.Readable, error) {
	now := a.o.Clock().UTC()
	since := now
	err := a.store.ChangeSetting("reconcile:"+s.Name, func(stored []byte) []byte {
		at, err := time.Parse(time.RFC3339Nano, string(stored))
		switch {
		case s.Reconcile.Every == 0 && len(stored) > 0:
			return []byte{} // it is not kept any more
		case s.Reconcile.Every == 0:
			return nil
		case err == nil:
			since = at
			return nil
		}
		return []byte(now.Format(time.RFC3339Nano))
	})
	if err != nil || s.Reconcile.Every == 0 || l == nil {
		return nil, err
	}
	return &intake.Readable{Client: l.Client, Enter: l.Gate.Enter, Back: s.Reconcile.Back, Grace: s.Reconcile.Grace, Since: since}, nil
}

// watchMissed has each source that shall look for what never arrived do so, until
// ctx ends.
func (a *App) watchMissed(ctx context.Context, s *setup) {
	a.found.keep(s.config)
	for _, source := range s.config.Sources {
		if source.Reconcile.Every > 0 {
			a.background(func() { a.reconcileEvery(ctx, source) })
		}
	}
}

func (a *App) reconcileEvery(ctx context.Context, s config.Source) {
	timer := time.NewTimer(min(firstReconcile, s.Reconcile.Every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		a.reconcile(ctx, s)
		timer.Reset(s.Reconcile.Every)
	}
}

// reconcile does it once, unless another node does.
func (a *App) reconcile(ctx context.Context, s config.Source) {
	ours, err := a.store.TakeDuty("reconcile:"+s.Name, a.node.ID, s.Reconcile.Every+time.Minute)
	if err != nil {
		a.log.Error("looking for alerts that never arrived", "source", s.Name, "error", err)
		return
	}
	if !ours {
		a.found.drop(s.Name)
		return
	}
	done, err := a.intake.Reconcile(ctx, s.Name)
	if errors.Is(err, record.ErrNotFound) || ctx.Err() != nil { // a reload has taken the source away, or the server ends
		return
	}
	a.found.add(s.Name, done)
	a.metrics.Missed(s.Name, done.Missing)
	if err != nil {
		a.log.Error("looking for alerts that never arrived", "source", s.Name, "error", err, "failed", done.Failed)
	}
	if done.Missing > 0 {
		a.log.Warn("alerts had never arrived", "source", s.Name, "events", done.Missing, "fired", done.Fired)
	}
	for n := int64(kinBatch); n >= kinBatch && ctx.Err() == nil; {
		if n, err = a.store.ForgetKin(done.At.Add(-s.Reconcile.Back-keepKin), kinBatch); err != nil {
			a.log.Error("forgetting what need not be compared any more", "source", s.Name, "error", err)
			return
		}
	}
}

// reconciliations are the latest of each source.
type reconciliations struct {
	mu     sync.Mutex
	latest map[string]httpapi.Reconciliation
}

func (r *reconciliations) add(source string, d intake.Reconciled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest == nil {
		r.latest = map[string]httpapi.Reconciliation{}
	}
	r.latest[source] = httpapi.Reconciliation{
		Source: source, At: d.At.UTC(), Seconds: d.Took.Seconds(), Fired: d.Fired, Missing: d.Missing, Same: d.Same, Gone: d.Gone, Unread: d.Unread, Others: d.Others,
		Failed: d.Failed, Problem: d.Problem, Examples: d.Examples, Total: r.latest[source].Total + d.Missing,
	}
}

// drop forgets a source that another node looks after.
func (r *reconciliations) drop(source string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.latest, source)
}

// keep forgets the sources that do not look any more.
func (r *reconciliations) keep(c *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for source := range r.latest {
		if c.Sources[source].Reconcile.Every == 0 {
			delete(r.latest, source)
		}
	}
}

func (r *reconciliations) views() (list []httpapi.Reconciliation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.latest {
		list = append(list, v)
	}
	slices.SortFunc(list, func(x, y httpapi.Reconciliation) int { return strings.Compare(x.Source, y.Source) })
	return list
}
