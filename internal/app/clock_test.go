package app

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestClockJumps: a clock that is put forward or back is noticed once, and one that
// is only adjusted a little is not.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var off time.Duration
		var jumps []time.Duration
		w := watchClock(func() time.Time { return time.Now().Add(off) }, func(by time.Duration) { jumps = append(jumps, by) })
		for _, by := range []time.Duration{0, time.Hour, 0, 0, -2 * time.Hour, 30 * time.Second, -59 * time.Second, 10 * 365 * 24 * time.Hour, 0} {
			off += by
			time.Sleep(time.Minute)
			w.look()
		}
		if want := []time.Duration{time.Hour, -2 * time.Hour, 10 * 365 * 24 * time.Hour}; !slices.Equal(jumps, want) {
			t.Errorf("it jumped by %v, want %v", jumps, want)
		}
		jumps = nil
		for range 10_000 { // drifts by 500 s in all
			off += 50 * time.Millisecond
			time.Sleep(time.Minute)
			w.look()
		}
		if jumps != nil {
			t.Errorf("it jumped by %v, and only drifted", jumps)
		}
	})
}
