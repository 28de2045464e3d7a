package jira

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
)

// Jira limits writes to one issue (developer.atlassian.com, "Rate limiting"). Such a
// refusal binds all writes to that issue, of whatever run, and no other call.

// perIssue is the reason in RateLimit-Reason.
const perIssue = "jira-per-issue-on-write"

// untold is how long an issue rests when Jira does not say.
const untold = time.Second

// resting are the issues that must not be written to yet.
type resting struct {
	mu    sync.Mutex
	until map[string]time.Time // by what requests call the issue
}

// rest remembers that the issues must not be written to before an instant.
func (r *resting) rest(issues []string, at, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	maps.DeleteFunc(r.until, func(_ string, t time.Time) bool { return !t.After(now) })
	for _, issue := range issues {
		if at.After(r.until[issue]) {
			r.until[issue] = at
		}
	}
}

// free returns when all the issues may be written to; zero: now.
func (r *resting) free(issues []string, now time.Time) (at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, issue := range issues {
		if t := r.until[issue]; t.After(now) && t.After(at) {
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

// early refuses a write to an issue that rests; nothing is sent.
func (c *Client) early(k call) error {
	at := c.resting.free(k.writesTo(), c.clock())
	if at.IsZero() {
		return nil
	}
	return &funnel.Error{Code: funnel.Throttled, Message: k.what + ": Jira asks for a pause on this issue", RetryAt: at, Narrow: true}
}

// heard learns from a refusal that an issue rests, and reports whether that is so.
func (c *Client) heard(k call, h http.Header, at time.Time) bool {
	if h.Get("RateLimit-Reason") != perIssue {
		return false
	}
	now := c.clock()
	if at.IsZero() {
		at = now.Add(untold)
	}
	c.resting.rest(k.writesTo(), at, now)
	return true
}
