package httpapi

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel/internal/metrics"
)

// class says who is turned away first when there is too much to do.
type class int

const (
	always   class = iota // health, status, metrics: they are how one sees what is wrong
	once                  // deliveries that nobody repeats: the last
	repeated              // deliveries whose sender comes again
	pages                 // what people and scripts look at or ask for: the first
)

// String names the class, as the metrics do.
func (c class) String() string { return [...]string{"always", "once", "repeated", "pages"}[c] }

// The bounds of requests in progress and of those in line for it. In quiet times there
// are a few; when there is more to do than can be done the lines fill up, until who
// can come again is sent away. Deliveries that nobody repeats have places beyond the
// room of the others, and are the first in line.
const (
	mostOnce  = 512
	mostRoom  = 128
	firstRoom = 16
	leastRoom = 2                // while nobody has to be turned away
	lineFor   = 20 * time.Second // less than the time that senders give an answer
)

var mostInLine = [...]int{once: 4096, repeated: 128, pages: 16}

// Requests that wait for the disk together cost little, and those that want a
// processor make all others wait, also those that are only to be turned away. So the
// room grows slowly when it is too small, and is halved when processors have to be
// waited for. While requests are turned away there may be none, and a look lets one
// in: even two at a time, and always two, would keep the processors busy.
const (
	longLag  = 10 * time.Millisecond
	shortLag = 5 * time.Millisecond
	lookRest = 100 * time.Millisecond // between two looks
)

// shedLog is between two lines about it in the log.
const shedLog = 10 * time.Second

// admission lets requests in by their class.
type admission struct {
	log     *slog.Logger
	metrics *metrics.Metrics
	clock   func() time.Time
	lag     func() time.Duration // how long processors had to be waited for since it was asked last

	mu     sync.Mutex
	room   int       // how many may be in, beside those that nobody repeats
	full   bool      // since the last look it was too small for one
	away   bool      // since the last look one was turned away
	looked time.Time // at the lag
	one    bool      // the look lets one in although there is no room
	armed  bool      // somebody looks when nobody comes
	all    int       // how many are in
	in     [pages + 1]int
	line   [pages + 1][]chan struct{}
	shed   [pages + 1]int // since the log last told
	told   time.Time
}

// enter admits a request, at once or when its turn in line comes. It does not when
// the line is full, when that takes too long, and when ctx ends. leave is to be called
// after an admitted one.
func (a *admission) enter(ctx context.Context, c class) (leave func(), ok bool) {
	if c == always {
		return func() {}, true
	}
	a.mu.Lock()
	a.adapt()
	if len(a.line[c]) >= mostInLine[c] {
		a.refuse(c)
		a.mu.Unlock()
		return nil, false
	}
	turn := make(chan struct{})
	a.line[c] = append(a.line[c], turn)
	a.dispatch()
	a.mu.Unlock()
	if !a.wait(ctx, c, turn) {
		return nil, false
	}
	return func() { a.leave(c) }, true
}

// wait returns when the turn comes, or false when it will not.
func (a *admission) wait(ctx context.Context, c class, turn chan struct{}) bool {
	select {
	case <-turn:
		return true
	default:
	}
	timer := time.NewTimer(lineFor)
	defer timer.Stop()
	select {
	case <-turn:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.line[c], turn)
	if i < 0 {
		return true // its turn came in the last moment
	}
	a.line[c] = slices.Delete(a.line[c], i, i+1)
	a.refuse(c)
	return false
}

// leave ends a request.
func (a *admission) leave(c class) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	a.in[c]--
	a.dispatch()
}

// dispatch lets in whom there is a place for, by class and then in the order in which
// they came.
func (a *admission) dispatch() {
	for c := once; c <= pages; c++ {
		for len(a.line[c]) > 0 && a.place(c) {
			close(a.line[c][0])
			a.line[c] = a.line[c][1:]
			a.all++
			a.in[c]++
			a.one = a.one && c == once
		}
		a.full = a.full || c != once && len(a.line[c]) > 0
	}
	if !a.armed && len(a.line[repeated])+len(a.line[pages]) > 0 {
		a.armed = true
		time.AfterFunc(lookRest, a.look)
	}
}

// look goes on while somebody is in line, also when nobody comes or leaves.
func (a *admission) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	a.adapt()
	a.dispatch()
}

// place reports whether there is a place for one of the class. Pages, which may take
// long, for some wait for an action's outcome, leave half of the room to deliveries; and
// when there is no room, those that are in do not keep a delivery out.
func (a *admission) place(c class) bool {
	switch c {
	case once:
		return a.all < mostOnce
	case repeated:
		return a.all < a.room || a.one
	default:
		return a.one && a.in[pages] < mostRoom/2 || a.all < a.room && a.in[pages] < max(a.room/2, 1)
	}
}

// adapt looks now and then at the lag, and makes half the room when there was one, and
// a little more when there was none and the room was too small.
func (a *admission) adapt() {
	now := a.clock()
	if now.Sub(a.looked) < lookRest {
		return
	}
	least := leastRoom
	if a.away {
		least = 0
	}
	switch lag := a.lag(); {
	case lag > longLag:
		a.room /= 2
	case lag < shortLag && a.full:
		a.room = min(a.room+1+a.room/16, mostRoom)
	}
	a.room = max(a.room, least)
	a.looked, a.full, a.away, a.one = now, false, false, a.room == 0 && a.in[repeated] == 0
}

// refuse counts, and tells the log now and then.
func (a *admission) refuse(c class) {
	a.metrics.Shed(c.String())
	a.shed[c]++
	a.away = true
	if now := a.clock(); now.Sub(a.told) >= shedLog {
		a.log.Warn("there is more to do than can be done; requests were turned away with 503", "pages", a.shed[pages], "repeated", a.shed[repeated], "once", a.shed[once])
		a.told, a.shed = now, [pages + 1]int{}
	}
}

// figures returns how many requests are in progress and how many in line.
func (a *admission) figures() (in, line int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.line {
		line += len(l)
	}
	return a.all, line
}

// admit turns requests away when there is too much to do or hardly any space, before
// their bodies are read: what has been admitted is answered by what became of it.
func (s *server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.class(r)
		if c == repeated && s.Reserved() {
			s.Metrics.Shed(c.String())
			p := problem(http.StatusServiceUnavailable, "the disk is nearly full, and what is left of it is kept for deliveries that nobody repeats; come again later")
			p.retryAfter = time.Minute
			p.write(w)
			return
		}
		leave, ok := s.admission.enter(r.Context(), c)
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
