package app

import (
	"context"
	"time"
)

// How a clock is watched that somebody puts right. What runs wait for is kept as
// instants of it, so that it holds over a restart.
const (
	clockEvery = 10 * time.Second // between two looks
	clockJump  = time.Minute      // from then on it is said
)

// clockWatch notices when the clock jumps: when it has gone on by another time than
// has passed. A machine that was asleep looks like one whose clock was put forward.
type clockWatch struct {
	clock  func() time.Time
	began  time.Time // read with the processor's own time, which nobody puts right
	wall   time.Time // what the clock said then
	ahead  time.Duration
	jumped func(by time.Duration)
}

func watchClock(clock func() time.Time, jumped func(time.Duration)) *clockWatch {
	return &clockWatch{clock: clock, began: time.Now(), wall: clock().Round(0), jumped: jumped}
}

// look tells of a jump since the last look.
func (w *clockWatch) look() {
	ahead := w.clock().Round(0).Sub(w.wall) - time.Since(w.began)
	by := ahead - w.ahead
	w.ahead = ahead
	if by.Abs() >= clockJump {
		w.jumped(by)
	}
}

// watchClock looks again and again, until ctx ends.
func (a *App) watchClock(ctx context.Context) {
	w := watchClock(a.o.Clock, a.clockJumped)
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// clockJumped says so, and has what is due now worked on.
func (a *App) clockJumped(by time.Duration) {
	if by > 0 {
		a.log.Warn("the clock was put forward, or the machine was asleep: what is due is worked on now", "by", by.Round(time.Second).String())
	} else {
		a.log.Warn("the clock was put back: runs that wait for a time wait for so much longer, and signed webhooks may be refused until the clock is right", "by", (-by).Round(time.Second).String())
	}
	a.queue.Schedule(a.o.Clock())
}
