package app

import (
	"context"
	"time"
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
	for class, n := range map[string]int64{"deliveries": deliveries, "events": events, "runs": runs} {
		a.metrics.Purged(class, n)
	}
	if deliveries+events > 0 {
		a.log.Info("what is old was dropped", "deliveries", deliveries, "events", events, "runs", runs)
	}
}
