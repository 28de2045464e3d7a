package upstream

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
)

const (
	// maxWait is how long a caller may wait inline for its turn by the rate.
	maxWait = 2 * time.Second
	// longestSleep bounds the timer: it does not know that the clock was put right,
	// or that the machine was asleep.
	longestSleep = time.Minute
	// unbounded stands for "no limit" in counts.
	unbounded = 1 << 20
)

// Governor decides for one connection who may act now. At most as many callers
// as the connection has places are inside, and as many again wait in line; the
// others get Blocked at once. All methods may be called from any goroutine.
//
// It has no goroutine of its own, and at most one timer, which is set only while
// somebody waits for an instant or a refusal has an end.
type Governor struct {
	name   string
	places int // zero: no limit
	clock  func() time.Time

	mu        sync.Mutex
	inside    int
	line      []*waiter
	rate      window
	quota     quota
	breaker   breaker
	throttle  throttle
	offered   int // what the listeners know as free
	listeners []func()
	timer     *time.Timer
	closed    bool

	lastError   string
	lastErrorAt time.Time
	lastSuccess time.Time
}

type waiter struct {
	turn  chan error // gets one value: nil or *Blocked
	epoch uint64     // of the breaker, when admitted
}

// NewGovernor returns the governor of the connection. A nil clock is time.Now.
func NewGovernor(name string, limits funnel.Limits, clock func() time.Time) *Governor {
	if clock == nil {
		clock = time.Now
	}
	g := &Governor{
		name: name, clock: clock, places: max(0, limits.Concurrency),
		rate:  window{rate: limits.Rate, per: limits.Per},
		quota: quota{daily: limits.Daily},
	}
	now := clock()
	g.quota.roll(now)
	g.offered = g.free(now)
	return g
}

// Enter admits one action, or returns *Blocked at once, or waits: for a place in
// the order of arrival, or at most two seconds for its turn by the rate. While it
// waits it may still be turned away with *Blocked, and the end of ctx ends it
// with ctx.Err(). After the action leave is called once with its error; further
// calls do nothing.
func (g *Governor) Enter(ctx context.Context) (leave func(err error), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &waiter{turn: make(chan error, 1)}
	g.update(func(now time.Time) {
		if g.free(now) == 0 {
			w.turn <- g.refusal(now)
			return
		}
		g.line = append(g.line, w)
	})
	select {
	case err = <-w.turn:
	default:
		select {
		case err = <-w.turn:
		case <-ctx.Done():
			g.update(func(time.Time) {
				if i := slices.Index(g.line, w); i >= 0 {
					g.line = slices.Delete(g.line, i, i+1)
					w.turn <- ctx.Err()
				}
			})
			err = <-w.turn // its turn may have come first: then it goes in
		}
	}
	if err != nil {
		return nil, err
	}
	var once sync.Once
	return func(err error) { once.Do(func() { g.leave(w.epoch, err) }) }, nil
}

// leave hears how an action ended.
func (g *Governor) leave(epoch uint64, err error) {
	g.update(func(now time.Time) {
		g.inside--
		g.rate.end(now)
		v, e := judge(err)
		if v == healthy && (e == nil || e.Code != funnel.Throttled) {
			g.lastSuccess = now
		} else if v != mute {
			g.lastError, g.lastErrorAt = errorText(err), now
		}
		g.breaker.done(epoch, v, now)
		switch {
		case e != nil && !e.Narrow && (e.Code == funnel.Throttled || v == failing && e.RetryAt.After(now)):
			g.throttle.hit(e.RetryAt, now) // also an outage that says how long it lasts, as a 503 may
		case v == healthy:
			g.throttle.relax(now)
		}
	})
}

// Free returns how many more callers it would take now; zero when it is blocked.
func (g *Governor) Free() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	g.quota.roll(now)
	return g.free(now)
}

// OnFree registers a function that is called, outside of all locks, whenever the
// governor takes more callers than before: a caller left, a turn by the rate came,
// a pause ended, a probe is due, a day began. It must return soon, and may call
// the governor's methods. It should wake at most Free callers.
func (g *Governor) OnFree(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners = append(g.listeners, fn)
}

// Close ends the timer and the calls of OnFree, when a new governor takes over.
// Who is in or waits is served to the end.
func (g *Governor) Close() {
	g.update(func(time.Time) { g.closed = true })
}

// update changes the state, then lets in whom it can, sets the timer, and calls
// the listeners if there is more room than they know of.
func (g *Governor) update(change func(now time.Time)) {
	g.mu.Lock()
	now := g.clock()
	g.quota.roll(now)
	change(now)
	g.dispatch(now)
	free := g.free(now)
	var call []func()
	if free > g.offered && !g.closed {
		call = slices.Clone(g.listeners)
	}
	g.offered = free
	g.setTimer(now, free)
	g.mu.Unlock()
	for _, fn := range call {
		fn()
	}
}

// dispatch lets in the head of the line for as long as it can; when the governor
// is blocked, the whole line is turned away. Nobody in line waits longer than
// maxWait for the rate: free counts the line before it takes one more.
func (g *Governor) dispatch(now time.Time) {
	for len(g.line) > 0 {
		if b := g.blocked(now); b != nil {
			for _, w := range g.line {
				w.turn <- b
			}
			g.line = nil
			return
		}
		if g.places > 0 && g.inside >= g.places || g.rate.at(0, now).After(now) {
			return
		}
		w := g.line[0]
		g.line = slices.Delete(g.line, 0, 1)
		g.admit(w, now)
	}
}

func (g *Governor) admit(w *waiter, now time.Time) {
	g.inside++
	g.rate.start()
	g.quota.used++
	g.breaker.probing = g.breaker.open
	w.epoch = g.breaker.epoch
	w.turn <- nil
}

// free is Free under the lock.
func (g *Governor) free(now time.Time) int {
	if g.blocked(now) != nil {
		return 0
	}
	waiting := len(g.line)
	n := min(g.rate.within(maxWait, now), g.quota.left()) - waiting
	if g.places > 0 {
		n = min(n, 2*g.places-g.inside-waiting)
	}
	if g.breaker.open {
		n = min(n, 1-waiting)
	}
	return max(n, 0)
}

// setTimer sets the timer to the next instant at which the head of the line may
// enter or a governor without room has some.
func (g *Governor) setTimer(now time.Time, free int) {
	var next time.Time
	soonest := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if len(g.line) > 0 && (g.places == 0 || g.inside < g.places) {
		soonest(g.rate.at(0, now))
	}
	if free == 0 && !g.closed {
		if b := g.blocked(now); b != nil {
			soonest(b.Until)
		} else {
			soonest(g.rate.at(len(g.line), now).Add(-maxWait))
			if g.quota.left() <= len(g.line) {
				soonest(g.quota.midnight())
			}
		}
	}
	sleep := min(next.Sub(now), longestSleep)
	switch {
	case next.IsZero():
		if g.timer != nil {
			g.timer.Stop()
		}
	case g.timer == nil:
		g.timer = time.AfterFunc(sleep, func() { g.update(func(time.Time) {}) })
	default:
		g.timer.Reset(sleep)
	}
}
