package upstream

import (
	"slices"
	"time"
)

// State is how a connection does, for people and for keeping over a restart.
type State struct {
	Connection string `json:"connection"`
	InFlight   int    `json:"in_flight"`
	Waiting    int    `json:"waiting"`
	Breaker    string `json:"breaker"`  // closed, open or half-open
	Failures   int    `json:"failures"` // in a row

	Blocked      string    `json:"blocked,omitempty"` // why nobody may enter; empty: some may
	BlockedUntil time.Time `json:"blocked_until,omitzero"`

	Day        time.Time `json:"day"` // that the quota is counted for
	QuotaUsed  int       `json:"quota_used"`
	QuotaLimit int       `json:"quota_limit,omitempty"` // zero: none
	QuotaLeft  int       `json:"quota_left,omitempty"`  // meaningless without a limit

	Rate     string      `json:"rate,omitempty"`      // such as "4 per minute"; empty: none
	RateLeft int         `json:"rate_left,omitempty"` // calls that it allows now; meaningless without a rate
	RateEnds []time.Time `json:"rate_ends,omitempty"` // when the calls ended that count still; only in what Keep returns

	ThrottledUntil time.Time `json:"throttled_until,omitzero"`
	LastError      string    `json:"last_error,omitempty"` // free of secrets
	LastErrorAt    time.Time `json:"last_error_at,omitzero"`
	LastSuccess    time.Time `json:"last_success,omitzero"`
}

// State returns how the connection does.
func (g *Governor) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	g.quota.roll(now)
	s := State{
		Connection: g.name, InFlight: g.inside, Waiting: len(g.line),
		Breaker: g.breaker.state(now), Failures: g.breaker.failures,
		Day: g.quota.day, QuotaUsed: g.quota.used, QuotaLimit: g.quota.daily,
		LastError: g.lastError, LastErrorAt: g.lastErrorAt, LastSuccess: g.lastSuccess,
	}
	if g.quota.daily > 0 {
		s.QuotaLeft = g.quota.left()
	}
	if g.rate.limited() {
		s.Rate, s.RateLeft = g.rate.String(), g.rate.left(now)
	}
	if now.Before(g.throttle.until) {
		s.ThrottledUntil = g.throttle.until
	}
	if b := g.blocked(now); b != nil {
		s.Blocked, s.BlockedUntil = b.Why, b.Until
	} else if n := len(g.line); g.rate.within(maxWait, now) <= n {
		s.Blocked, s.BlockedUntil = rateText(g.rate), g.rate.at(n, now)
	}
	return s
}

// Keep returns the state with all that Restore wants to know.
func (g *Governor) Keep() State {
	s := g.State()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rate.forget(g.clock())
	s.RateEnds, s.InFlight = slices.Clone(g.rate.ends), g.inside
	return s
}

// Restore takes over what outlives a restart or a change of the limits: the
// day's use of the quota, the calls that count for the rate, the pause that the
// other side asked for, and what was last heard of it. A call that was under way
// counts as one that ends now. The breaker starts anew.
func (g *Governor) Restore(s State) {
	g.update(func(now time.Time) {
		if dayOf(s.Day).Equal(g.quota.day) {
			g.quota.used = max(g.quota.used, s.QuotaUsed)
		}
		g.rate.restore(slices.Clone(s.RateEnds), s.InFlight, now)
		if s.ThrottledUntil.After(g.throttle.until) {
			g.throttle.until = s.ThrottledUntil
		}
		if g.lastErrorAt.IsZero() {
			g.lastError, g.lastErrorAt = s.LastError, s.LastErrorAt
		}
		if g.lastSuccess.IsZero() {
			g.lastSuccess = s.LastSuccess
		}
	})
}
