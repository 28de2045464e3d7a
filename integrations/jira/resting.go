package jira

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
)

// Jira limits three things (developer.atlassian.com, "Rate limiting"), and says
// which in the header RateLimit-Reason: writes to one issue, calls of one endpoint
// in a second, and all calls of the account. A refusal binds what it is about, of
// whatever run, and no other call. Nothing that is bound is sent: an action of
// several requests may meet a pause between two of them.

// The reasons that bind less than everything.
const (
	perIssue    = "jira-per-issue-on-write"
	perEndpoint = "jira-burst-based"
)

// everything stands for all calls; no issue and no endpoint is called so.
const everything = ""

// untold is how long something rests when Jira does not say.
const untold = time.Second

// resting is what must not be called yet.
type resting struct {
	mu    sync.Mutex
	until map[string]time.Time // by what requests call the issue, by endpoint, and everything
}

// rest remembers that what is named must not be called before an instant.
func (r *resting) rest(names []string, at, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	maps.DeleteFunc(r.until, func(_ string, t time.Time) bool { return !t.After(now) })
	for _, name := range names {
		if at.After(r.until[name]) {
			r.until[name] = at
		}
	}
}

// free returns when all that is named may be called; zero: now.
func (r *resting) free(now time.Time, names ...string) (at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if t := r.until[name]; t.After(now) && t.After(at) {
			at = t
		}
	}
	return at
}

// writesTo returns the issues that a call writes to.
func (k call) writesTo() []string {
	switch {
	case k.harmless():
		return nil
	case len(k.issues) > 0:
		return k.issues
	case len(k.path) > 1 && k.path[0] == "issue":
		return k.path[1:2]
	}
	return nil
}

// endpoint names the kind of the request, such as "POST issue/{}/comment".
func (k call) endpoint() string {
	parts := make([]string, len(k.path))
	for i, part := range k.path {
		if parts[i] = part; isIssue(part) {
			parts[i] = "{}"
		}
	}
	return k.method + " " + strings.Join(parts, "/")
}

// early refuses a call that is bound by a pause; nothing is sent.
func (c *Client) early(k call) error {
	now := c.clock()
	e := &funnel.Error{Code: funnel.Throttled}
	if at := c.resting.free(now, everything); !at.IsZero() {
		e.Message, e.RetryAt = k.what+": Jira asks for a pause", at
		return e
	}
	if at := c.resting.free(now, k.endpoint()); !at.IsZero() {
		e.Message, e.RetryAt, e.Narrow = k.what+": Jira asks for a pause of such calls", at, true
	}
	if at := c.resting.free(now, k.writesTo()...); at.After(e.RetryAt) {
		e.Message, e.RetryAt, e.Narrow = k.what+": Jira asks for a pause on this issue", at, true
	}
	if e.RetryAt.IsZero() {
		return nil
	}
	return e
}

// heard learns from a refusal what rests, and notes in the error if that is less
// than everything.
func (c *Client) heard(k call, h http.Header, e *funnel.Error) {
	names := []string{everything}
	switch h.Get("RateLimit-Reason") {
	case perIssue:
		e.Narrow, names = true, k.writesTo()
	case perEndpoint:
		e.Narrow, names = true, []string{k.endpoint()}
	}
	now, at := c.clock(), e.RetryAt
	switch {
	case at.IsZero() && !e.Narrow:
		return // for how long is not said: the connection's governor knows how to back off
	case at.IsZero():
		at = now.Add(untold)
	}
	c.resting.rest(names, at, now)
}
