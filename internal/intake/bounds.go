package intake

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// budget bounds the bytes of bodies in memory. Who waits longest is served
// first, so that a large body is not starved by small ones.
type budget struct {
	mu    sync.Mutex
	left  int
	queue []*claim
}

type claim struct {
	n     int
	ready chan struct{}
	gone  bool
}

func newBudget(n int) *budget { return &budget{left: n} }

func (b *budget) take(ctx context.Context, n int, patience time.Duration) bool {
	b.mu.Lock()
	if len(b.queue) == 0 && b.left >= n {
		b.left -= n
		b.mu.Unlock()
		return true
	}
	c := &claim{n: n, ready: make(chan struct{})}
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.ready:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-c.ready: // served in the last moment
		return true
	default:
		c.gone = true
		b.serve()
		return false
	}
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	b.serve()
}

func (b *budget) serve() {
	for len(b.queue) > 0 {
		c := b.queue[0]
		if !c.gone {
			if b.left < c.n {
				return
			}
			b.left -= c.n
			close(c.ready)
		}
		b.queue = b.queue[1:]
	}
}

// callers counts failed authentications per caller and minute.
type callers struct {
	mu     sync.Mutex
	minute time.Time
	counts map[netip.Addr]int
}

const (
	maxFailures = 60      // per caller and minute
	maxCallers  = 1 << 14 // that are told apart; the others share one count
)

func newCallers() *callers { return &callers{counts: map[netip.Addr]int{}} }

// slot returns the count's key: an IPv6 caller is known by its /64.
func (c *callers) slot(a netip.Addr, now time.Time) netip.Addr {
	if m := now.Truncate(time.Minute); !m.Equal(c.minute) {
		c.minute = m
		clear(c.counts)
	}
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	if _, known := c.counts[a]; !known && len(c.counts) >= maxCallers {
		return netip.Addr{}
	}
	return a
}

// failed counts a failure and returns how long the caller should stay away, 0
// if it need not.
func (c *callers) failed(a netip.Addr, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := c.slot(a, now)
	c.counts[slot]++
	if c.counts[slot] <= maxFailures {
		return 0
	}
	return c.minute.Add(time.Minute).Sub(now)
}
