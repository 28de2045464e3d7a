package upstream

import (
	"fmt"
	"slices"
	"time"
)

// window is a rate limit without bursts beyond it. Whatever window of the length
// per one looks at, at most rate calls are under way in it. The other side counts a
// call when it arrives, which we only know to be before its end: so a call counts
// until per after its end, and what the other side sees keeps to the rate whatever
// the way there takes. A token bucket would let twice as many through at its edges.
type window struct {
	rate  int // zero: no limit
	per   time.Duration
	under int         // calls under way
	ends  []time.Time // of calls that count still, oldest first
}

func (w *window) limited() bool { return w.rate > 0 && w.per > 0 }

// String returns the rate, such as "4 per minute".
func (w *window) String() string {
	per := w.per.String()
	for name, d := range map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour} {
		if w.per == d {
			per = name
		}
	}
	return fmt.Sprintf("%d per %s", w.rate, per)
}

// forget drops the calls that no longer count.
func (w *window) forget(now time.Time) {
	n := 0
	for n < len(w.ends) && !w.ends[n].Add(w.per).After(now) {
		n++
	}
	w.ends = slices.Delete(w.ends, 0, n)
}

// left returns how many may start now.
func (w *window) left(now time.Time) int {
	if !w.limited() {
		return unbounded
	}
	w.forget(now)
	return max(0, w.rate-w.under-len(w.ends))
}

// at returns the earliest instant for a start that has `ahead` others before it,
// if the calls under way end now.
func (w *window) at(ahead int, now time.Time) time.Time {
	if !w.limited() {
		return now
	}
	w.forget(now)
	rounds, place := ahead/w.rate, ahead%w.rate
	at := now
	if i := place + w.under + len(w.ends) - w.rate; i >= len(w.ends) {
		at = now.Add(w.per)
	} else if i >= 0 {
		at = w.ends[i].Add(w.per)
	}
	return at.Add(time.Duration(rounds) * w.per)
}

// within returns how many may surely start until now+d.
func (w *window) within(d time.Duration, now time.Time) int {
	n := w.left(now)
	if !w.limited() {
		return n
	}
	for _, end := range w.ends {
		if !end.Add(w.per).After(now.Add(d)) {
			n++
		}
	}
	return min(n, w.rate)
}

func (w *window) start() {
	if w.limited() {
		w.under++
	}
}

func (w *window) end(now time.Time) {
	if w.limited() {
		w.under--
		w.ends = append(w.ends, now)
	}
}

// restore counts calls of an earlier process: ends, and calls that were under way
// and may arrive until now.
func (w *window) restore(ends []time.Time, under int, now time.Time) {
	if !w.limited() {
		return
	}
	for range min(under, w.rate) {
		ends = append(ends, now)
	}
	for _, end := range ends {
		if end.After(now) { // the clock went back
			end = now
		}
		w.ends = append(w.ends, end)
	}
	slices.SortFunc(w.ends, time.Time.Compare)
	w.ends = w.ends[max(0, len(w.ends)-w.rate):]
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
