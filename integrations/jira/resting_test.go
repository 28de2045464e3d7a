package jira

import (
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// A limit on one issue holds back every write to it, and nothing else.
func TestIssueRests(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		clock := newClock()
		o.Now = clock.now
		site, c := newSite(t, o)
		for _, key := range []string{"1", "2"} {
			must[Ticket](t)(perform(t, c, OpenTicket, effect(key), about(key)))
		}
		add := func(issue string) error {
			_, err := perform(t, c, AddComment, effect(issue), AddCommentInput{Issue: issue, Body: says("x")})
			return err
		}
		refused := func(err error, wait time.Duration) {
			t.Helper()
			wantCode(t, err, funnel.Throttled)
			if e := err.(*funnel.Error); !e.Narrow || e.RetryAt.Sub(clock.now()) != wait {
				t.Errorf("it comes back after %v, narrow %v, want %v", e.RetryAt.Sub(clock.now()), e.Narrow, wait)
			}
		}
		site.Next(jirafake.IsComment, jirafake.RateLimited("jira-per-issue-on-write", 7*time.Second))
		refused(add("SIRT-1"), 7*time.Second)
		clock.advance(6 * time.Second)
		sent := len(site.Journal())
		refused(add("SIRT-1"), time.Second)
		_, err := perform(t, c, LinkIssues, effect("l"), LinkIssuesInput{Type: "Relates", Inward: "SIRT-2", Outward: "SIRT-1"})
		refused(err, time.Second)
		if len(site.Journal()) != sent {
			t.Error("a write was sent too early")
		}
		if err := add("SIRT-2"); err != nil {
			t.Errorf("another issue: %v", err)
		}
		must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"}))
		clock.advance(time.Second)
		if err := add("SIRT-1"); err != nil {
			t.Errorf("after the pause: %v", err)
		}
		// Without a time it rests for a moment; what is over is forgotten.
		site.Next(jirafake.IsComment, jirafake.RateLimited("jira-per-issue-on-write", -1))
		err = add("SIRT-2")
		wantCode(t, err, funnel.Throttled)
		refused(add("SIRT-2"), untold)
		if n := len(c.resting.until); n != 1 {
			t.Errorf("%d issues are remembered, want 1", n)
		}
	})
}

// A limit of one endpoint holds back its calls, on whatever issue, and nothing else.
func TestEndpointRests(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		clock := newClock()
		o.Now = clock.now
		site, c := newSite(t, o)
		for _, key := range []string{"1", "2"} {
			must[Ticket](t)(perform(t, c, OpenTicket, effect(key), about(key)))
		}
		add := func(issue string) error {
			_, err := perform(t, c, AddComment, effect(issue), AddCommentInput{Issue: issue, Body: says("x")})
			return err
		}
		refused := func(err error, wait time.Duration) {
			t.Helper()
			wantCode(t, err, funnel.Throttled)
			if e := err.(*funnel.Error); !e.Narrow || e.RetryAt.Sub(clock.now()) != wait {
				t.Errorf("it comes back after %v, narrow %v, want %v", e.RetryAt.Sub(clock.now()), e.Narrow, wait)
			}
		}
		site.Next(jirafake.IsComment, jirafake.RateLimited("jira-burst-based", 7*time.Second))
		refused(add("SIRT-1"), 7*time.Second)
		clock.advance(6 * time.Second)
		sent := len(site.Journal())
		refused(add("SIRT-2"), time.Second)
		if len(site.Journal()) != sent {
			t.Error("a call of the endpoint was sent too early")
		}
		must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"}))
		must[Ticket](t)(perform(t, c, OpenTicket, effect("3"), about("3")))
		clock.advance(time.Second)
		if err := add("SIRT-2"); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// A pause of the account, or of a site that is not available, holds back everything.
func TestEverythingRests(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		clock := newClock()
		o.Now = clock.now
		site, c := newSite(t, o)
		must[Ticket](t)(perform(t, c, OpenTicket, effect("1"), about("1")))
		for _, reason := range []string{"jira-quota-based", "jira-cost-based", "unheard-of", ""} {
			site.Next(jirafake.IsComment, jirafake.RateLimited(reason, 7*time.Second))
			_, err := perform(t, c, AddComment, effect("c"), AddCommentInput{Issue: "SIRT-1", Body: says("x")})
			wantCode(t, err, funnel.Throttled)
			if err.(*funnel.Error).Narrow {
				t.Errorf("%q binds one call only", reason)
			}
			clock.advance(6 * time.Second)
			sent := len(site.Journal())
			_, err = perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"})
			wantCode(t, err, funnel.Throttled)
			if len(site.Journal()) != sent {
				t.Errorf("%q: a call was sent too early", reason)
			}
			clock.advance(time.Second)
			must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"}))
		}
	})
}
