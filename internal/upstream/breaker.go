package upstream

import "time"

// The breaker's cadence.
const (
	tripAfter      = 3                // failures in a row
	firstProbe     = 5 * time.Second  // from the opening to the first probe
	longestProbe   = 30 * time.Second // the distance doubles up to this
	credentialWait = 5 * time.Minute  // a refused credential is tried rarely: directories lock accounts
)

// breaker stops asking a system that keeps failing, and then lets one caller at
// a time through as a probe.
//
// It is our own because gobreaker cannot express it: its distance between probes
// is fixed and the same for every cause, it cannot be opened at once, it reads
// the clock itself, and it does not tell when it would let somebody through.
type breaker struct {
	failures int // in a row
	open     bool
	probing  bool // a probe is under way
	wait     time.Duration
	probeAt  time.Time
	epoch    uint64 // counts openings and closings; who entered in an earlier one is not heard
}

// verdict is what the end of an action tells about the system's health.
type verdict int

const (
	mute      verdict = iota // nothing
	healthy                  // it answered
	failing                  // it did not
	forbidden                // it refused the credential
)

// done hears the end of an action that entered in the epoch.
func (b *breaker) done(epoch uint64, v verdict, now time.Time) {
	if epoch != b.epoch {
		return
	}
	if v == failing || v == forbidden {
		b.failures++
	}
	switch {
	case !b.open && v == healthy:
		b.failures = 0
	case v == healthy:
		*b = breaker{epoch: b.epoch + 1}
	case v == forbidden:
		b.trip(credentialWait, now)
	case !b.open && v == failing && b.failures >= tripAfter:
		b.trip(firstProbe, now)
	case b.open && v == failing:
		b.trip(min(2*b.wait, longestProbe), now)
	case b.open: // a probe that told nothing
		b.trip(b.wait, now)
	}
}

func (b *breaker) trip(wait time.Duration, now time.Time) {
	b.open, b.probing = true, false
	b.wait, b.probeAt = wait, now.Add(wait)
	b.epoch++
}

// shut reports whether nobody may enter now.
func (b *breaker) shut(now time.Time) bool {
	return b.open && (b.probing || now.Before(b.probeAt))
}

// next is when a probe may enter; zero when one is under way, or none is needed.
func (b *breaker) next() time.Time {
	if !b.open || b.probing {
		return time.Time{}
	}
	return b.probeAt
}

func (b *breaker) state(now time.Time) string {
	switch {
	case !b.open:
		return "closed"
	case b.probing || !now.Before(b.probeAt):
		return "half-open"
	}
	return "open"
}
