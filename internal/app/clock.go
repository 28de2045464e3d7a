package app

import "time"

// clockJump is how much the clock has to be put forward or back for it to be said.
const clockJump = time.Minute

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

// clockJumped says so. What runs wait for is kept as instants of the clock, so that it
// holds over a restart; whoever waits for one looks again within a minute.
func (a *App) clockJumped(by time.Duration) {
	if by > 0 {
		a.log.Warn("the clock was put forward, or the machine was asleep: what is due is worked on within a minute", "by", by.Round(time.Second).String())
		return
	}
	a.log.Warn("the clock was put back: runs that wait for a time wait for so much longer", "by", (-by).Round(time.Second).String())
}
