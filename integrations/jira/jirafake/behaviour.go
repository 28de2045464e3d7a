package jirafake

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FaultKind says what becomes of a request.
type FaultKind int

// The kinds of fault.
const (
	noFault       FaultKind = iota
	Reply                   // answer Status, Header and Body without processing
	AnswerLost              // process, then drop the connection
	DropBefore              // drop the connection, process nothing
	Hang                    // process nothing, keep the connection open until the client gives up
	HangAfter               // process, then keep the connection open until the client gives up
	MalformedJSON           // process, answer with the right status and cut-off JSON
	HTML200                 // process nothing, answer 200 with an HTML page as a proxy's sign-in page does
	processLate
)

// Fault is one scripted misbehaviour. Status, Header and Body serve the kind Reply.
type Fault struct {
	Kind   FaultKind
	Status int
	Header http.Header
	Body   string
}

// RateLimited is a 429 with Jira's headers. Reasons seen: jira-burst-based, jira-per-issue-on-write, jira-quota-global-based.
// Retry-After is rounded up to seconds; below zero it is left out.
func RateLimited(reason string, retryAfter time.Duration) Fault {
	h := http.Header{"Ratelimit-Reason": {reason}, "Content-Type": {"application/json;charset=UTF-8"}}
	if retryAfter >= 0 {
		h.Set("Retry-After", seconds(retryAfter))
	}
	return Fault{Kind: Reply, Status: http.StatusTooManyRequests, Header: h, Body: `{"errorMessages":["Rate limit exceeded."],"errors":{}}`}
}

// Unavailable is a 503 with a Retry-After, which is left out below zero.
func Unavailable(retryAfter time.Duration) Fault {
	f := Fault{Kind: Reply, Status: http.StatusServiceUnavailable, Header: http.Header{}, Body: "Service Unavailable\n"}
	if retryAfter >= 0 {
		f.Header.Set("Retry-After", seconds(retryAfter))
	}
	return f
}

// RateLimitedDataCenter is a 429 as Data Center sends it: a bucket that gets fill tokens each interval is empty. Retry-After
// is rounded up to seconds; below zero it is left out.
func RateLimitedDataCenter(limit, fill int, interval, retryAfter time.Duration) Fault {
	h := http.Header{
		"Content-Type": {"application/json"}, "X-Ratelimit-Limit": {strconv.Itoa(limit)}, "X-Ratelimit-Remaining": {"0"},
		"X-Ratelimit-Fillrate": {strconv.Itoa(fill)}, "X-Ratelimit-Interval-Seconds": {seconds(interval)},
	}
	if retryAfter >= 0 {
		h.Set("Retry-After", seconds(retryAfter))
	}
	return Fault{Kind: Reply, Status: http.StatusTooManyRequests, Header: h, Body: `{"message":"Rate limit exceeded."}`}
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

func rawReply(f Fault) reply { return reply{status: f.Status, header: f.Header, raw: []byte(f.Body)} }

// IsWrite matches requests that change something.
func IsWrite(r *http.Request) bool {
	return (r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodDelete) && !IsSearch(r)
}

// IsCreate matches requests that create an issue.
func IsCreate(r *http.Request) bool {
	return r.Method == http.MethodPost && below(r) == "issue"
}

// IsComment matches requests that add or change a comment.
func IsComment(r *http.Request) bool { return IsWrite(r) && strings.Contains(r.URL.Path, "/comment") }

// IsAttach matches requests that attach files.
func IsAttach(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/attachments")
}

// IsSearch matches searches.
func IsSearch(r *http.Request) bool { return below(r) == "search/jql" || below(r) == "search" }

// below is the path below the API of either version.
func below(r *http.Request) string {
	path, _ := strings.CutPrefix(r.URL.Path, "/rest/api/")
	_, path, _ = strings.Cut(path, "/")
	return path
}

type outage int

const (
	outageNone outage = iota
	outageDown
	outageUnplugged
)

// script is a fault waiting for its request.
type script struct {
	match func(*http.Request) bool
	fault Fault
	once  bool
}

// behaviour is how the site misbehaves at the moment.
type behaviour struct {
	mu       sync.Mutex
	scripts  []*script
	out      outage
	lose     float64
	lateness float64
	delay    time.Duration
	loseRand *rand.Rand
	lateRand *rand.Rand
}

func (b *behaviour) init(o Options) {
	b.lose, b.lateness, b.delay = o.LoseAnswers, o.LateProcessing, o.LateDelay
	b.loseRand, b.lateRand = newRand(o.Seed, 1), newRand(o.Seed, 2)
}

// newRand returns one of the independent generators of a seed.
func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// fate decides what becomes of a call: the first matching script, else chance.
func (b *behaviour) fate(c *call) Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, sc := range b.scripts {
		c.r.Body = newBody(c.body) // a match may read it
		if sc.match != nil && !sc.match(c.r) {
			continue
		}
		if sc.once {
			b.scripts = slices.Delete(b.scripts, i, i+1)
		}
		return sc.fault
	}
	if !IsWrite(c.r) {
		return Fault{}
	}
	// Both are drawn for each write, so that one probability does not disturb the decisions of the other.
	late, lose := b.lateRand.Float64() < b.lateness, b.loseRand.Float64() < b.lose
	switch {
	case late:
		return Fault{Kind: processLate}
	case lose:
		return Fault{Kind: AnswerLost}
	}
	return Fault{}
}

func (b *behaviour) outage() outage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out
}

func (b *behaviour) lateDelay() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.delay
}

func (b *behaviour) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// Next lets the fault happen to the next API request that matches; nil matches every request. A match may read the
// request's body. Scripts are tried in the order in which they were added.
func (s *Site) Next(match func(*http.Request) bool, f Fault) { s.script(match, f, true) }

// Always lets the fault happen to every API request that matches, until the returned function is called.
func (s *Site) Always(match func(*http.Request) bool, f Fault) (remove func()) {
	return s.script(match, f, false)
}

func (s *Site) script(match func(*http.Request) bool, f Fault, once bool) func() {
	if f.Kind == noFault || f.Kind >= processLate || f.Kind == Reply && (f.Status < 200 || f.Status > 599) {
		panic(fmt.Sprintf("jirafake: a fault needs a kind, and a reply a status from 200 to 599: kind %d, status %d", f.Kind, f.Status))
	}
	sc := &script{match: match, fault: f, once: once}
	s.behave.set(func() { s.behave.scripts = append(s.behave.scripts, sc) })
	return func() {
		s.behave.set(func() {
			s.behave.scripts = slices.DeleteFunc(s.behave.scripts, func(x *script) bool { return x == sc })
		})
	}
}

// Down lets every request, pages included, be answered by 503 until it is called with false.
func (s *Site) Down(on bool) { s.setOutage(on, outageDown) }

// Unplug lets every connection be dropped without an answer until it is called with false.
func (s *Site) Unplug(on bool) { s.setOutage(on, outageUnplugged) }

func (s *Site) setOutage(on bool, o outage) {
	if !on {
		o = outageNone
	}
	s.behave.set(func() { s.behave.out = o })
}

// SetLoseAnswers changes Options.LoseAnswers.
func (s *Site) SetLoseAnswers(p float64) { s.behave.set(func() { s.behave.lose = p }) }

// SetLateProcessing changes Options.LateProcessing and LateDelay.
func (s *Site) SetLateProcessing(p float64, delay time.Duration) {
	s.behave.set(func() { s.behave.lateness, s.behave.delay = p, delay })
}

// SetIndexLag changes Options.IndexLag for changes from now on.
func (s *Site) SetIndexLag(l Lag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.lag = l
}

// SetIssueWriteLimit changes Options.IssueWriteLimit and IssueWriteWindow.
func (s *Site) SetIssueWriteLimit(n int, window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLimit, s.writeEvery = n, window
}

// limitWrites refuses a write to an issue that had too many lately. The caller holds the lock.
func (s *Site) limitWrites(issues ...*issue) (reply, bool) {
	if s.writeLimit <= 0 {
		return reply{}, true
	}
	now := s.opt.Now()
	for _, is := range issues {
		is.writes = slices.DeleteFunc(is.writes, func(t time.Time) bool { return now.Sub(t) >= s.writeEvery })
		if len(is.writes) >= s.writeLimit {
			wait := is.writes[0].Add(s.writeEvery).Sub(now)
			if s.opt.Deployment == DataCenter { // it has no limit of an issue; its bucket stands for one
				return rawReply(RateLimitedDataCenter(s.writeLimit, s.writeLimit, s.writeEvery, wait)), false
			}
			return rawReply(RateLimited("jira-per-issue-on-write", wait)), false
		}
	}
	for _, is := range issues {
		is.writes = append(is.writes, now)
	}
	return reply{}, true
}
