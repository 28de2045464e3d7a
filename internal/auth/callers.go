package auth

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxFailures = 30      // per caller and minute
	maxCallers  = 1 << 14 // that are told apart; the others share one count
)

// key is a caller: an IPv4 address, or the /64 of an IPv6 one.
type key struct{ netip.Addr }

// callers counts failed tries in the current minute.
type callers struct {
	mu     sync.Mutex
	minute time.Time
	counts map[key]int
}

// Deny counts a failed try of the address and returns how long it should stay
// away, 0 if it need not. A right token is never refused because of others'
// failures at the same address, for a proxy may stand there.
func (t *Tokens) Deny(remote netip.Addr) time.Duration {
	now, c := t.now(), &t.callers
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := now.Truncate(time.Minute); !m.Equal(c.minute) {
		c.minute = m
		clear(c.counts)
	}
	k := caller(remote)
	if _, known := c.counts[k]; !known && len(c.counts) >= maxCallers {
		k = key{}
	}
	c.counts[k]++
	if c.counts[k] <= maxFailures {
		return 0
	}
	return c.minute.Add(time.Minute).Sub(now)
}

func caller(a netip.Addr) key {
	a = a.Unmap()
	if p, err := a.Prefix(64); err == nil && a.Is6() {
		return key{p.Addr()}
	}
	return key{a}
}
