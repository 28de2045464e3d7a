package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

// Connections that may be called so rarely have each call stored before it is
// made, so that a crash neither gives a quota twice nor makes a call too early. It
// costs one write a call; the others are stored once a minute.
const (
	rarelyPerSecond = 10
	rarelyPerDay    = 100_000
)

// countedEach reports whether each call is worth a write.
func countedEach(l funnel.Limits) bool {
	rare := l.Rate > 0 && l.Per > 0 && time.Duration(l.Rate)*time.Second <= rarelyPerSecond*l.Per
	return rare || l.Daily > 0 && l.Daily <= rarelyPerDay
}

// gate is a governor whose count is stored with each call.
type gate struct {
	*upstream.Governor
	put func(upstream.State) error
	mu  sync.Mutex // so that an older count never replaces a later one
}

// Enter is the governor's, and returns after the call that is about to be made is
// on the disk.
func (g *gate) Enter(ctx context.Context) (func(error), error) {
	leave, err := g.Governor.Enter(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.keep(); err != nil {
		leave(context.Canceled) // tells nothing about the other side
		return nil, fmt.Errorf("storing the count of calls: %w", err)
	}
	return func(err error) {
		leave(err)
		if e, ok := errors.AsType[*funnel.Error](err); ok && e.Code == funnel.Throttled {
			_ = g.keep() // the pause; if it is lost, the other side asks for it again
		}
	}, nil
}

func (g *gate) keep() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.put(g.Keep())
}

// quotaSetting is the name of the stored use of a connection's limits.
func quotaSetting(connection string) string { return "governor:" + connection }

func (a *App) putQuota(name string, s upstream.State) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return a.store.PutSetting(quotaSetting(name), raw)
}

// restoreQuotas takes over what the last process used up.
func (a *App) restoreQuotas(links map[string]*link) error {
	if a.shared() { // the database counts
		return nil
	}
	for name, l := range links {
		raw, err := a.store.Setting(quotaSetting(name))
		if err != nil {
			return fmt.Errorf("reading the quota of connection %s: %w", name, err)
		}
		var s upstream.State
		if raw != nil && json.Unmarshal(raw, &s) == nil {
			l.governor.Restore(s)
		}
	}
	return nil
}

// keepQuotas stores the use of limits that are not stored with each call.
func (a *App) keepQuotas(last map[string]int) {
	if a.shared() {
		return
	}
	for name, l := range a.setup.Load().links {
		s := l.governor.Keep()
		if l.counted || s.QuotaLimit == 0 || last[name] == s.QuotaUsed {
			continue
		}
		last[name] = s.QuotaUsed
		if err := a.putQuota(name, s); err != nil {
			a.log.Error("storing a quota", "connection", name, "error", err)
		}
	}
}
