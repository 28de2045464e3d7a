package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// toll stands before Jira and now and then asks for a pause instead of passing a
// request on. It remembers for how long and of what, and who does not keep to it.
type toll struct {
	site http.Handler
	part float64 // of the requests that are refused

	mu      sync.Mutex
	random  *rand.Rand
	pauses  []pausing
	refused map[string]int // by the form of the answer
	early   []string
	passed  int
}

// pausing is a pause that was asked for.
type pausing struct {
	what        string // an endpoint, an issue, or everything
	told, until time.Time
	form        string
}

// onItsWay is how long a request may have been under way when the pause was told:
// with 16 callers, some are.
const onItsWay = 250 * time.Millisecond

// The pauses bind one of these.
const (
	bindsAll      = "everything"
	bindsEndpoint = "endpoint "
	bindsIssue    = "issue "
)

// jiraURL is the address of Jira in the configuration.
var jiraURL = regexp.MustCompile(`(integration: jira\n    options: \{url: ")[^"]*"`)

var issueInPath = regexp.MustCompile(`/issue/([A-Z]+-[0-9]+|[0-9]+)`)

// about names what a request is bound by.
func about(r *http.Request) []string {
	names := []string{bindsAll, bindsEndpoint + r.Method + " " + issueInPath.ReplaceAllString(r.URL.Path, "/issue/{}")}
	search := strings.Contains(r.URL.Path, "/search")
	if m := issueInPath.FindStringSubmatch(r.URL.Path); m != nil && r.Method != http.MethodGet && !search {
		names = append(names, bindsIssue+m[1])
	}
	return names
}

// forms are the ways in which a pause is asked for. The time is what is asked for,
// zero if that is nothing.
var forms = []func(now time.Time, n int) (name, header string, until time.Time){
	func(now time.Time, n int) (string, string, time.Time) {
		return "seconds", fmt.Sprint(1 + n%2), now.Add(time.Duration(1+n%2) * time.Second)
	},
	func(now time.Time, _ int) (string, string, time.Time) {
		at := now.Add(2 * time.Second).UTC().Truncate(time.Second)
		return "date", at.Format(http.TimeFormat), at
	},
	func(now time.Time, _ int) (string, string, time.Time) {
		return "seconds with spaces", " 1 ", now.Add(time.Second)
	},
	func(time.Time, int) (string, string, time.Time) { return "0", "0", time.Time{} },
	func(time.Time, int) (string, string, time.Time) { return "negative", "-5", time.Time{} },
	func(time.Time, int) (string, string, time.Time) { return "words", "soon", time.Time{} },
	func(time.Time, int) (string, string, time.Time) { return "missing", "", time.Time{} },
	func(now time.Time, _ int) (string, string, time.Time) {
		return "past date", now.Add(-time.Hour).UTC().Format(http.TimeFormat), time.Time{}
	},
}

// ServeHTTP passes a request on, or refuses it.
func (t *toll) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if status, h := t.judge(r); status != 0 {
		for name, values := range h {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"errorMessages":["Rate limit exceeded."],"errors":{}}`)
		return
	}
	t.site.ServeHTTP(w, r)
}

// judge notes a request that comes too early, and decides whether it is refused.
func (t *toll) judge(r *http.Request) (status int, h http.Header) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	names := about(r)
	for _, p := range t.pauses {
		for _, name := range names {
			if name == p.what && now.After(p.told.Add(onItsWay)) && now.Before(p.until) {
				t.early = append(t.early, fmt.Sprintf("%s %s came %v before the end of a pause of %s, told as %s %v before", r.Method, r.URL.Path, p.until.Sub(now), p.what, p.form, now.Sub(p.told)))
			}
		}
	}
	if t.random.Float64() >= t.part || strings.Contains(r.URL.Path, "/myself") {
		t.passed++
		return 0, nil
	}
	form, header, until := forms[t.random.IntN(len(forms))](now, t.random.IntN(100))
	h = http.Header{"Content-Type": {"application/json;charset=UTF-8"}}
	if header != "" {
		h.Set("Retry-After", header)
	}
	status, what := http.StatusTooManyRequests, bindsAll
	switch kind := t.random.IntN(10); {
	case kind < 4:
		what = names[1]
		h.Set("RateLimit-Reason", "jira-burst-based")
	case kind < 7 && len(names) > 2:
		what = names[2]
		h.Set("RateLimit-Reason", "jira-per-issue-on-write")
	case kind == 7:
		h.Set("RateLimit-Reason", "jira-quota-based")
	case kind == 8:
		status = http.StatusServiceUnavailable
	}
	if !until.IsZero() {
		t.pauses = append(t.pauses, pausing{what: what, told: now, until: until, form: form})
	}
	t.refused[form]++
	return status, h
}

// tollFor puts a toll between the server and its Jira.
func tollFor(t *testing.T, w *world, part float64) *toll {
	t.Helper()
	gate := &toll{site: w.jira, part: part, random: rand.New(rand.NewPCG(*seed, 10)), refused: map[string]int{}}
	server := httptest.NewServer(gate)
	t.Cleanup(server.Close)
	w.before(t, server.URL)
	return gate
}

// TestF10RetryAfter is F10: Jira asks for pauses in every form, of everything, of an
// endpoint or of one issue. No request comes before the end of a pause that it is
// bound by, and no run fails of it, however often it is sent away.
func TestF10RetryAfter(t *testing.T) {
	t.Parallel() // it mostly waits, and measures nothing
	n := 12
	if *full {
		n = 120
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, IndexLag: jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second), Webhooks: jirafake.WebhookMode{Off: true}})
	gate := tollFor(t, w, 0.12)
	w.start(t, nil)
	began := time.Now()
	acked := w.fire(ctx, t, n)
	w.waitIdle(ctx, t)
	r := w.judge(acked).result()
	r.name = "F10 retry after"
	w.measure(&r)
	gate.mu.Lock()
	defer gate.mu.Unlock()
	r.note("%d requests, refused %v, done after %v; p99 is listening", gate.passed, gate.refused, time.Since(began).Round(time.Second))
	if len(gate.early) > 0 {
		r.fault("%d requests came too early: %s", len(gate.early), strings.Join(gate.early[:min(3, len(gate.early))], "; "))
	}
	if len(gate.refused) == 0 {
		r.fault("nothing was refused")
	}
	if status := w.says("/status"); !strings.Contains(status, `"needs_attention":0`) {
		r.fault("runs have failed: %s", status)
	}
	r.mustBeClean(t)
}
