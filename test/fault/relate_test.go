package fault

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestRelatedTickets raises alerts about the same host by several searches: their
// tickets are linked and list one another, and one about exactly the same things
// as an older one is closed as its duplicate, with every third answer lost.
func TestRelatedTickets(t *testing.T) {
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) { relatedTickets(t, o) })
	}
}

func relatedTickets(t *testing.T, o jirafake.Options) {
	o.LoseAnswers = 0.3
	o.IndexLag = jirafake.UniformLag(0, 100*time.Millisecond)
	w := newWorld(t, o)
	w.start(t, nil)
	fire := func(search, user, host string) string {
		t.Helper()
		before := len(w.jira.Issues())
		w.mustPost(t, bytes.Replace(row(t, search, map[string]any{"user": user, "dest": host}), []byte("Scenario"), []byte(search), 1))
		w.waitIdle(within(t), t)
		issues := w.jira.Issues()
		if len(issues) != before+1 {
			t.Fatalf("the alert of %s made %d tickets", search, len(issues)-before)
		}
		return issues[before].Key
	}
	first := fire("One", "jdoe", "WS-1")
	other := fire("Two", "rroe", "WS-2")
	host := fire("Three", "mmajor", "WS-1")
	same := fire("Four", "jdoe", "WS-1")

	get := func(key string) jirafake.Issue { i, _ := w.jira.Issue(key); return i }
	if links := get(other).Links; len(links) != 0 || !strings.Contains(comment(get(other), "relate_tickets"), "none in the last 14 days") {
		t.Errorf("a ticket about other things has the links %v and says %q", links, comment(get(other), "relate_tickets"))
	}
	if text := comment(get(host), "relate_tickets"); !strings.Contains(text, first) || !strings.Contains(text, "host WS-1") || strings.Contains(text, other) {
		t.Errorf("the ticket about the same host says %q", text)
	}
	want := []jirafake.Link{{Type: "Relates", Source: host, Target: first}, {Type: "Relates", Source: same, Target: host}}
	if links := get(host).Links; !slices.Equal(links, want) {
		t.Errorf("links of %s: %v, want %v", host, links, want)
	}
	closed := get(same)
	if closed.Status != "Done" || !slices.Contains(closed.Links, jirafake.Link{Type: "Duplicate", Source: same, Target: first}) || len(closed.Links) != 2 ||
		!slices.ContainsFunc(closed.Comments, func(c jirafake.Comment) bool {
			return strings.Contains(jirafake.Text(c.Body), "This is a duplicate of "+first)
		}) {
		t.Errorf("the duplicate is %s with the links %v", closed.Status, closed.Links)
	}
	for _, key := range []string{first, host, other} {
		if i := get(key); i.Status == "Done" {
			t.Errorf("%s was closed", key)
		}
	}
	if v := w.judge(map[string]bool{}); v.doubleComments > 0 {
		t.Errorf("%s\n%s", v, strings.Join(v.examples, "\n"))
	}
}
