package app

import (
	"context"
	"time"

	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/record"
)

// How what is old is dropped: in small batches with pauses, so that nobody waits
// for long behind one.
const (
	purgePeriod = time.Hour
	purgeBatch  = 50
	purgeRest   = 20 * time.Millisecond
)

// purgeEvery drops what has been kept for long enough, until ctx ends.
func (a *App) purgeEvery(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch ours, err := a.store.TakeDuty("retention", a.node.ID, every+time.Minute); {
		case err != nil:
			a.log.Error("dropping what is old", "error", err)
		case ours:
			a.purge(ctx)
		}
	}
}

// purge does it once.
func (a *App) purge(ctx context.Context) {
	keep, now := a.setup.Load().config.Retention, a.o.Clock()
	if keep.Deliveries <= 0 || keep.Events <= 0 { // not read from a file: nothing is said about it
		return
	}
	var deliveries, events, runs int64
	for n := int64(purgeBatch); n >= purgeBatch && ctx.Err() == nil; {
		var err error
		if n, err = a.store.PurgeDeliveries(now.Add(-keep.Deliveries), purgeBatch); err != nil {
			a.log.Error("dropping old deliveries", "error", err)
			return
		}
		deliveries += n
		pause(ctx, purgeRest)
	}
	for next := int64(0); ctx.Err() == nil; {
		p, err := a.store.PurgeEvents(now.Add(-keep.Events), next, purgeBatch)
		if err != nil {
			a.log.Error("dropping old events", "error", err)
			return
		}
		events, runs = events+p.Events, runs+p.Runs
		if next = p.Next; next == 0 {
			break
		}
		pause(ctx, purgeRest)
	}
	d, e, r := a.fit(ctx, keep.Size, now.Add(-config.LeastKept))
	deliveries, events, runs = deliveries+d, events+e, runs+r
	for class, n := range map[string]int64{"deliveries": deliveries, "events": events, "runs": runs} {
		a.metrics.Purged(class, n)
	}
	if deliveries+events > 0 {
		a.log.Info("what is old was dropped", "deliveries", deliveries, "events", events, "runs", runs)
	}
}

// fit drops the oldest until the database takes up no more than size, and nothing
// that came after the time. Without a size it drops nothing.
func (a *App) fit(ctx context.Context, size int64, before time.Time) (deliveries, events, runs int64) {
	used, err := a.store.Used(ctx)
	for next := int64(0); err == nil && size > 0 && used > size && ctx.Err() == nil; used, err = a.store.Used(ctx) {
		var n int64
		var p record.Purged
		if n, err = a.store.PurgeDeliveries(before, purgeBatch); err == nil {
			p, err = a.store.PurgeEvents(before, next, purgeBatch)
		}
		if err != nil {
			break
		}
		deliveries, events, runs = deliveries+n, events+p.Events, runs+p.Runs
		if next = p.Next; next == 0 && n < purgeBatch {
			a.log.Warn("the database is larger than retention.size, and all that may be dropped is younger than a week or waits for a person", "bytes", used, "size", size)
			break
		}
		pause(ctx, purgeRest)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Error("dropping the oldest", "error", err)
	}
	return deliveries, events, runs
}
