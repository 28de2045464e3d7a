package upstream

import (
	"slices"
	"time"
)

// window is a rate limit without bursts beyond it: a log of the latest starts.
// Whatever window of the length per one looks at, it holds at most rate starts.
// A token bucket would let twice as many through at its edges.
type window struct {
	rate   int // zero: no limit
	per    time.Duration
	starts []time.Time // at most rate, oldest first
}

func (w *window) limited() bool { return w.rate > 0 && w.per > 0 }

// forget drops the starts that no longer count.
func (w *window) forget(now time.Time) {
	n := 0
	for n < len(w.starts) && !w.starts[n].Add(w.per).After(now) {
		n++
	}
	w.starts = slices.Delete(w.starts, 0, n)
}

// at returns the earliest instant for a start that has `ahead` others before it.
func (w *window) at(ahead int, now time.Time) time.Time {
	if !w.limited() {
		return now
	}
	w.forget(now)
	rounds, place := ahead/w.rate, ahead%w.rate
	at := now
	if i := place - (w.rate - len(w.starts)); i >= 0 {
		at = w.starts[i].Add(w.per)
	}
	return at.Add(time.Duration(rounds) * w.per)
}

// within returns how many may start until now+d.
func (w *window) within(d time.Duration, now time.Time) int {
	if !w.limited() {
		return unbounded
	}
	w.forget(now)
	n := (w.rate - len(w.starts)) * (1 + int(d/w.per))
	for _, s := range w.starts {
		if rest := now.Add(d).Sub(s.Add(w.per)); rest >= 0 {
			n += 1 + int(rest/w.per)
		}
	}
	return min(n, unbounded)
}

func (w *window) start(now time.Time) {
	if w.limited() {
		w.starts = append(w.starts, now)
	}
}

// quota is a number of actions per UTC day.
type quota struct {
	daily int // zero: no limit
	day   time.Time
	used  int
}

// roll begins a new day when it has come. A clock that goes back does not give
// the day's quota a second time.
func (q *quota) roll(now time.Time) {
	if day := dayOf(now); day.After(q.day) {
		q.day, q.used = day, 0
	}
}

func (q *quota) left() int {
	if q.daily <= 0 {
		return unbounded
	}
	return max(0, q.daily-q.used)
}

// midnight is when the next day begins.
func (q *quota) midnight() time.Time { return q.day.AddDate(0, 0, 1) }

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
