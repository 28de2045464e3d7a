package httpapi

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel/internal/metrics"
)

// class says who is turned away first when there is too much to do.
type class int

const (
	always   class = iota // health, status, metrics: they are how one sees what is wrong
	once                  // deliveries that nobody repeats: they wait, and are the last
	repeated              // deliveries whose sender comes again
	pages                 // what people and scripts look at or ask for: the first
)

// String names the class, as the metrics do.
func (c class) String() string { return [...]string{"always", "once", "repeated", "pages"}[c] }

// The bounds of requests in progress. In quiet times there are a few; when there
// is more to do than can be done they add up, until who can come again is sent
// away. Deliveries that nobody repeats may take all the places, and then wait in
// line; places that they gave back are theirs first.
const (
	mostOnce     = 512
	mostRepeated = 128
	mostPages    = 32
	mostInLine   = 4096
	lineFor      = 20 * time.Second // less than the time that senders give an answer
)

// Requests that wait for the disk together cost little, and those that wait for the
// processor make all others wait. So how many may be in progress beside those that
// nobody repeats falls when they take long, and rises when they do not.
const (
	longTaken = 100 * time.Millisecond
	fewest    = 8
	cutPause  = 100 * time.Millisecond // between two falls: the requests in progress say the same
)

// shedLog is between two lines about it in the log.
const shedLog = 10 * time.Second

// admission lets requests in by their class.
type admission struct {
	log     *slog.Logger
	metrics *metrics.Metrics
	clock   func() time.Time

	mu    sync.Mutex
	room  int // how many may be in, beside deliveries that nobody repeats
	cut   time.Time
	in    int
	pages int // of in
	line  []chan struct{}
	shed  [pages + 1]int // since the log last told
	told  time.Time
}

// enter admits a request or, after ctx or the time in line has ended, does not.
// leave is to be called after an admitted one.
func (a *admission) enter(ctx context.Context, c class) (leave func(), ok bool) {
	if c == always {
		return func() {}, true
	}
	a.mu.Lock()
	switch {
	case c == once && a.in < mostOnce && len(a.line) == 0,
		c == repeated && a.in < a.room && len(a.line) == 0,
		c == pages && a.in < a.room && a.pages < mostPages && len(a.line) == 0:
		a.in++
		if c == pages {
			a.pages++
		}
		a.mu.Unlock()
		began := a.clock()
		return func() { a.leave(c, began) }, true
	case c == once && len(a.line) < mostInLine:
		turn := make(chan struct{})
		a.line = append(a.line, turn)
		a.mu.Unlock()
		return a.wait(ctx, turn)
	}
	a.refuse(c)
	a.mu.Unlock()
	return nil, false
}

// wait waits in line.
func (a *admission) wait(ctx context.Context, turn chan struct{}) (leave func(), ok bool) {
	timer := time.NewTimer(lineFor)
	defer timer.Stop()
	select {
	case <-turn:
		return func() { a.leave(once, time.Time{}) }, true
	case <-timer.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, t := range a.line {
		if t == turn {
			a.line = append(a.line[:i], a.line[i+1:]...)
			a.refuse(once)
			return nil, false
		}
	}
	return func() { a.leave(once, time.Time{}) }, true // its turn came in the last moment
}

// leave ends a request that began at the time; who is first in line gets its place.
func (a *admission) leave(c class, began time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c == pages {
		a.pages--
	}
	if c != once {
		a.adapt(began)
	}
	if len(a.line) > 0 {
		close(a.line[0])
		a.line = a.line[1:]
		return
	}
	a.in--
}

// adapt makes less room after a request that took long, and more after one that did
// not and had no room beside it.
func (a *admission) adapt(began time.Time) {
	now := a.clock()
	switch long := now.Sub(began) > longTaken; {
	case long && now.Sub(a.cut) > cutPause:
		a.room, a.cut = max(fewest, a.room*3/4), now
	case !long && a.in >= a.room:
		a.room = min(mostRepeated, a.room+1)
	}
}

// refuse counts, and tells the log now and then.
func (a *admission) refuse(c class) {
	a.metrics.Shed(c.String())
	a.shed[c]++
	if now := a.clock(); now.Sub(a.told) >= shedLog {
		a.log.Warn("there is more to do than can be done; requests were turned away with 503", "pages", a.shed[pages], "repeated", a.shed[repeated], "once", a.shed[once])
		a.told, a.shed = now, [pages + 1]int{}
	}
}

// figures returns how many requests are in progress and how many in line.
func (a *admission) figures() (in, line int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.in, len(a.line)
}

// admit turns requests away when there is too much to do, before their bodies are
// read: what has been admitted is answered by what became of it.
func (s *server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, ok := s.admission.enter(r.Context(), s.class(r))
		if !ok {
			p := problem(http.StatusServiceUnavailable, "there is more to do than can be done at the moment; come again later")
			p.retryAfter = time.Duration(1+rand.IntN(5)) * time.Second // not all at once
			p.write(w)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}

// class returns the class of a request whose pattern is known.
func (s *server) class(r *http.Request) class {
	switch {
	case isHook(r.Pattern):
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/hooks/"), "/")
		if s.Intake.Repeated(name) {
			return repeated
		}
		return once
	case s.vital[r.Pattern]:
		return always
	}
	return pages
}
