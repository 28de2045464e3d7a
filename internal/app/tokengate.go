package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/upstream"
)

// sharedGate is a governor whose rate, quota, places and pauses hold for all nodes
// together. Its breaker and its line are this node's.
type sharedGate struct {
	*upstream.Governor
	a       *App
	name    string
	limits  funnel.Limits
	longest time.Duration // of a call
}

// Enter takes a token from the database before it enters the governor.
func (g *sharedGate) Enter(ctx context.Context) (func(error), error) {
	t, err := g.take(ctx)
	if err != nil {
		return nil, err
	}
	if !t.Granted {
		time.AfterFunc(min(t.Wait, time.Hour)+time.Millisecond, func() { g.a.queue.Freed(g.name) })
		return nil, &upstream.Blocked{Connection: g.name, Why: t.Why, Until: t.Until}
	}
	leave, err := g.Governor.Enter(ctx)
	if err != nil {
		g.give(record.Ended{Connection: g.name, ID: t.ID, Unused: true})
		return nil, err
	}
	return func(err error) {
		leave(err)
		end := record.Ended{Connection: g.name, ID: t.ID}
		if e, ok := errors.AsType[*funnel.Error](err); ok && !e.Narrow && e.Code == funnel.Throttled {
			end.PausedUntil, end.PausedWhy = e.RetryAt, "it asked to be left alone for a while"
		}
		g.give(end)
	}, nil
}

// The wait for a place that another node may give back at any moment: to park a
// run for it would cost more.
const (
	placeWait  = 2 * time.Second
	placePause = 20 * time.Millisecond
)

// take takes a token. For one that is to be had soon it waits.
func (g *sharedGate) take(ctx context.Context) (record.Token, error) {
	q := record.TokenRequest{
		Connection: g.name, Node: g.a.node.ID, Lease: g.a.o.Config.Cluster.Lease, Rate: g.limits.Rate, Per: g.limits.Per, Daily: g.limits.Daily, Concurrency: g.limits.Concurrency, Longest: g.longest,
	}
	for end := time.Now().Add(placeWait); ; {
		t, err := g.a.store.TakeToken(q)
		if err != nil {
			return t, fmt.Errorf("asking the other nodes for a call to %s: %w", g.name, err)
		}
		if t.Granted || time.Now().Add(min(t.Wait, placePause)).After(end) || t.Wait > placeWait {
			return t, nil
		}
		select {
		case <-time.After(min(t.Wait, placePause) + rand.N(placePause)):
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

// give ends a call. While that cannot be written it is tried again, until the
// database takes the call for ended by itself.
func (g *sharedGate) give(e record.Ended) { g.giveUntil(e, time.Now().Add(g.longest)) }

func (g *sharedGate) giveUntil(e record.Ended, end time.Time) {
	err := g.a.store.GiveToken(e)
	if err == nil || time.Now().After(end) {
		return
	}
	g.a.log.Warn("telling the other nodes that a call has ended", "connection", g.name, "error", err)
	time.AfterFunc(time.Second, func() {
		if g.a.running.Err() == nil {
			g.giveUntil(e, end)
		}
	})
}
