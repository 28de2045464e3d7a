package jira

import (
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestAdopt: a ticket of the same fingerprint is found by a server that knows
// nothing of it: the newest one that our account opened within the window.
func TestAdopt(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		clock := newClock()
		o.Now = clock.now
		site, c := newSite(t, o)
		in := about("thing")
		adopt := func() (Ticket, bool) {
			t.Helper()
			found, ok, err := c.adoptTicket(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			return found, ok
		}
		if found, ok := adopt(); ok {
			t.Errorf("there is nothing, and %s is found", found.Key)
		}
		opened := must[Ticket](t)(perform(t, c, OpenTicket, effect("1"), in))
		must[Ticket](t)(perform(t, c, OpenTicket, effect("2"), about("another thing")))
		// A person's copy has the labels too.
		if _, err := site.PersonCreates(jirafake.Person{AccountID: "712020:jane", Name: "jane", DisplayName: "Jane Doe"},
			jirafake.NewIssue{Summary: "a clone", Labels: []string{labelOurs, fingerprintLabel(in.Fingerprint)}}); err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Hour)
		if found, ok := adopt(); !ok || found.Key != opened.Key || found.ID != opened.ID || found.URL == "" {
			t.Errorf("found is %+v (%v), want %s", found, ok, opened.Key)
		}
		follow := in
		in.Follows = opened.Key
		if found, ok := adopt(); ok {
			t.Errorf("a ticket that is to follow another is taken for %s", found.Key)
		}
		in = follow
		clock.advance(claimTicket(in).Window)
		if found, ok := adopt(); ok {
			t.Errorf("after the window %s is found", found.Key)
		}
		site.Next(jirafake.IsSearch, jirafake.RateLimited("jira-quota-based", time.Second))
		if _, _, err := c.adoptTicket(t.Context(), in); funnel.CodeOf(err) != funnel.Throttled {
			t.Errorf("a search that is refused says %v", err)
		}
	})
}
