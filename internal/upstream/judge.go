package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// judge says what an action's error tells about the other system. An answer that
// refuses the call is an answer; so is one that asks us to come back later. A
// caller that gave up, or a fault of our own, tells nothing.
func judge(err error) (verdict, *funnel.Error) {
	e, _ := errors.AsType[*funnel.Error](err)
	if errors.Is(err, context.Canceled) {
		return mute, e
	}
	switch funnel.CodeOf(err) {
	case "", funnel.NotFound, funnel.Invalid, funnel.Conflict, funnel.Throttled:
		return healthy, e
	case funnel.Unauthorized:
		if e.Narrow { // only this call lacks a permission; the credential works
			return healthy, e
		}
		return forbidden, e
	case funnel.Unavailable, funnel.Uncertain:
		return failing, e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failing, e
	}
	return mute, e
}

// errorText returns the text of the integration's own error, which holds no
// secrets; what is wrapped around it or has no code may.
func errorText(err error) string {
	text := "no answer in time"
	if e, ok := errors.AsType[*funnel.Error](err); ok {
		text = e.Error()
	}
	return strings.ToValidUTF8(text[:min(len(text), 500)], "")
}

// The pauses when the other side asks for one without saying how long.
const (
	firstPause   = time.Second
	longestPause = 5 * time.Minute
)

// throttle is the pause that the other side asked for.
type throttle struct {
	until time.Time
	again int // pauses in a row whose length nobody told
}

// hit begins or prolongs the pause. An instant is obeyed exactly; without one,
// or with one that has passed, it backs off with full jitter.
func (t *throttle) hit(until, now time.Time) {
	if until.After(now) {
		if until.After(t.until) {
			t.until = until
		}
		return
	}
	if now.Before(t.until) {
		return // one of several calls that were refused at the same time
	}
	most := longestPause
	if t.again < 9 { // 2^9 s are longer than the longest
		most = min(firstPause<<t.again, longestPause)
	}
	t.again++
	t.until = now.Add(rand.N(most) + 1)
}

// relax forgets the pauses after an answer, unless one is on.
func (t *throttle) relax(now time.Time) {
	if !now.Before(t.until) {
		t.again = 0
	}
}

// blocked returns why and until when nobody may enter, nil if some may.
func (g *Governor) blocked(now time.Time) *Blocked {
	var b *Blocked
	longest := func(why string, until time.Time) {
		if b == nil || until.After(b.Until) {
			b = g.block(why, until)
		}
	}
	if g.breaker.shut(now) {
		longest(breakerText(g.breaker, g.lastError), g.breaker.next())
	}
	if now.Before(g.throttle.until) {
		longest("the other side asked for a pause", g.throttle.until)
	}
	if g.quota.left() == 0 {
		longest(quotaText(g.quota), g.quota.midnight())
	}
	return b
}

// refusal returns why there is no room for one more.
func (g *Governor) refusal(now time.Time) *Blocked {
	if b := g.blocked(now); b != nil {
		return b
	}
	waiting := len(g.line)
	switch {
	case g.places > 0 && g.inside+waiting >= 2*g.places:
		return g.block(fmt.Sprintf("all %d places are taken and as many wait", g.places), time.Time{})
	case g.breaker.open:
		return g.block(breakerText(g.breaker, g.lastError), time.Time{})
	case g.quota.left() <= waiting:
		return g.block(quotaText(g.quota), g.quota.midnight())
	}
	return g.block(rateText(g.rate), g.rate.at(waiting, now))
}

func (g *Governor) block(why string, until time.Time) *Blocked {
	return &Blocked{Connection: g.name, Why: why, Until: until}
}

func breakerText(b breaker, last string) string {
	if b.probing {
		return "one call finds out whether it works again; the last error was: " + last
	}
	return fmt.Sprintf("it failed %d times in a row, the last error was: %s", b.failures, last)
}

func quotaText(q quota) string {
	return fmt.Sprintf("the day's quota of %d calls is used up", q.daily)
}

func rateText(w window) string {
	rate, per, _ := strings.Cut(w.String(), " ")
	return fmt.Sprintf("the rate of %s calls %s is used up", rate, per)
}
