package playbooks

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/virustotal"
)

func at(text string) *time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return &t
}

func wantText(t *testing.T, what string, doc funnel.Document, want string) {
	t.Helper()
	if got := doc.String(); got != strings.Trim(want, "\n") {
		t.Errorf("%s is\n%s\n\nwant\n%s", what, got, strings.Trim(want, "\n"))
	}
}

func wantPaths(t *testing.T, r funneltest.Result, want string) {
	t.Helper()
	if r.Err != nil {
		t.Errorf("the run failed: %v", r.Err)
	}
	if got := strings.Join(r.Paths(), " "); got != want {
		t.Errorf("the run took the steps %q, want %q", got, want)
	}
}

func alert() splunk.AlertEvent {
	return splunk.AlertEvent{
		Search: "MockScan: Credential dumping tool", SID: "1", App: "search", Owner: "admin", Severity: "high", Fingerprint: "fp",
		ResultsLink: "https://splunk.example.com/app/search/@go?sid=1", Time: at("2026-03-01T11:59:00Z"), Received: *at("2026-03-01T13:00:00+01:00"),
		Row: splunk.Row{
			{Name: "_raw", Values: []string{"raw event\nfrom http://evil.test/x"}},
			{Name: "file_hash", Values: []string{"44d88612fea8a8f36de82e1278abb02f"}},
			{Name: "user", Values: []string{`CORP\jdoe`, "j.doe"}},
		},
		Observables: funnel.Observables{Observables: []funnel.Observable{
			{Kind: funnel.User, Value: `CORP\jdoe`},
			{Kind: funnel.MD5, Value: "44d88612fea8a8f36de82e1278abb02f"},
			{Kind: funnel.IP, Value: "10.0.0.7", Own: true},
			{Kind: funnel.Domain, Value: "evil.example.net", Field: "text"},
		}},
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	funnel.NewRegistry().Add(splunk.Integration(), jira.Integration(), activedirectory.Integration(), virustotal.Integration()).AddPlaybooks(All()...)
}

func TestOpenTicket(t *testing.T) {
	t.Parallel()
	r := funneltest.Run(t, OpenTicket, alert(), funneltest.Answers{"jira.open_ticket": funneltest.Always(jira.Ticket{Key: "SIRT-1", Seen: 1})},
		funneltest.WithSettings(`{"splunk_url":"https://splunk.example.com","labels":["soc"],"priority":{"high":"P1"}}`))
	wantPaths(t, r, "ticket")
	in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket")
	if in.Project != "SIRT" || in.IssueType != "Task" || in.Priority != "P1" || in.Fingerprint != "fp" || in.Window.Std() != 24*time.Hour || fmt.Sprint(in.Labels) != "[soc]" || in.Follows != "" {
		t.Errorf("input %+v", in)
	}
	if want := `MockScan: Credential dumping tool: CORP\jdoe`; in.Summary != want {
		t.Errorf("summary %q, want %q", in.Summary, want)
	}
	wantText(t, "the description", in.Description, `
The search MockScan: Credential dumping tool of the app search, owned by admin fired in Splunk. It happened at 2026-03-01 11:59:00 UTC; the alert arrived at 2026-03-01 12:00:00 UTC. Severity: high

Open the search in Splunk <https://splunk.example.com/app/search/@go?sid=1>

What can be looked up

- user: CORP\jdoe
- md5: 44d88612fea8a8f36de82e1278abb02f
- ip: 10.0.0.7 (ours)
- domain: evil.example.net (named in the text)

Fields

Field | Value
file_hash | 44d88612fea8a8f36de82e1278abb02f
user | CORP\jdoe, j.doe

Event

raw event
from hxxp://evil[.]test/x
`)
}

// TestPrioritiesAreNotShared: settings of one run do not leak into the next.
func TestPrioritiesAreNotShared(t *testing.T) {
	t.Parallel()
	answers := funneltest.Answers{"jira.open_ticket": funneltest.Always(jira.Ticket{Key: "SIRT-1"})}
	funneltest.Run(t, OpenTicket, alert(), answers, funneltest.WithSettings(`{"priority":{"high":"P1"}}`))
	r := funneltest.Run(t, OpenTicket, alert(), answers)
	if in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket"); in.Priority != "High" {
		t.Errorf("priority %q, want the default", in.Priority)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for settings, good := range map[string]bool{
		`{}`: true, `{"project":"SOC","window":"1h","priority":{"info":""},"splunk_url":"http://splunk.example.com:8000"}`: true,
		`{"projekt":"SOC"}`: false, `{"priority":{"urgent":"High"}}`: false, `{"splunk_url":"splunk"}`: false, `{"window":"-1h"}`: false,
	} {
		if err := OpenTicket.CheckSettings([]byte(settings)); (err == nil) != good {
			t.Errorf("settings %s: %v", settings, err)
		}
	}
}

func TestHostileAlert(t *testing.T) {
	t.Parallel()
	e := alert()
	e.Search = "x\n[~accountid:1] @here\u202e https://evil.test/a"
	e.Owner, e.App = "*)(uid=*", "{html}"
	e.ResultsLink = "https://splunk.example.com.evil.test/login"
	e.Time = nil
	e.Row = splunk.Row{{Name: "![img](http://evil.test)", Values: []string{strings.Repeat("y", 501)}}}
	e.Observables.Observables = []funnel.Observable{{Kind: funnel.URL, Value: "http://evil.test/\u202e"}}
	r := funneltest.Run(t, OpenTicket, e, funneltest.Answers{"jira.open_ticket": funneltest.Always(jira.Ticket{})}, funneltest.WithSettings(`{"splunk_url":"https://splunk.example.com"}`))
	in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket")
	if want := "x [~accountid:1] @here hxxps://evil[.]test/a: hxxp://evil[.]test/"; in.Summary != want {
		t.Errorf("summary %q, want %q", in.Summary, want)
	}
	wantText(t, "the description", in.Description, `
The search x [~accountid:1] @here hxxps://evil[.]test/a of the app {html}, owned by *)(uid=* fired in Splunk. The alert arrived at 2026-03-01 12:00:00 UTC. Severity: high

Open the search in Splunk: hxxps://splunk[.]example[.]com[.]evil[.]test/login

What can be looked up

- url: hxxp://evil[.]test/

Fields

Field | Value
![img](hxxp://evil[.]test) | `+strings.Repeat("y", 499)+"…")
	if links(in.Description) != 0 {
		t.Errorf("data became a link: %v", in.Description)
	}
	// Without splunk_url no address is trusted.
	r = funneltest.Run(t, OpenTicket, alert(), funneltest.Answers{"jira.open_ticket": funneltest.Always(jira.Ticket{})})
	if in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket"); links(in.Description) != 0 {
		t.Errorf("an address became a link although none is trusted: %v", in.Description)
	}
}

func links(doc funnel.Document) int {
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return strings.Count(string(b), `"url":`)
}

func TestManyFields(t *testing.T) {
	t.Parallel()
	e := alert()
	e.Row, e.Search, e.Observables.Observables = nil, " ", nil
	for i := range 60 {
		e.Row = append(e.Row, splunk.Field{Name: fmt.Sprintf("f%02d", i), Values: []string{"v"}})
	}
	r := funneltest.Run(t, OpenTicket, e, funneltest.Answers{"jira.open_ticket": funneltest.Always(jira.Ticket{})})
	in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket")
	text := in.Description.String()
	if !strings.Contains(text, "f49 | v") || strings.Contains(text, "f50 | v") || !strings.HasSuffix(text, "10 more fields are not shown.") || in.Summary != "Splunk alert" {
		t.Errorf("summary %q, description\n%s", in.Summary, text)
	}
}

func TestRepeat(t *testing.T) {
	t.Parallel()
	r := funneltest.Run(t, OpenTicket, alert(), funneltest.Answers{
		"jira.open_ticket":  funneltest.Always(jira.Ticket{Key: "SIRT-1", Repeat: true, Seen: 3, FirstSeen: at("2026-03-01T10:00:00Z"), LastSeen: at("2026-03-01T13:00:00+01:00")}),
		"jira.get_issue":    funneltest.Always(jira.Issue{Found: true, Key: "SIRT-1"}),
		"jira.keep_comment": funneltest.Always(jira.Comment{}),
	})
	wantPaths(t, r, "ticket state seen")
	in := funneltest.Input[jira.KeepCommentInput](t, r, "seen")
	if in.Issue != "SIRT-1" || in.Name != "seen" || in.Revision != 3 {
		t.Errorf("comment %+v", in)
	}
	wantText(t, "the comment", in.Body, "Seen 3 times, first at 2026-03-01 10:00:00 UTC, last at 2026-03-01 12:00:00 UTC.")
}

func TestRepeatOfADoneTicket(t *testing.T) {
	t.Parallel()
	repeat := func(key string) funneltest.Answer {
		return funneltest.Always(jira.Ticket{Key: key, Repeat: true, Seen: 2})
	}
	fresh := funneltest.Always(jira.Ticket{Key: "SIRT-9", Seen: 1})
	done, open, gone := funneltest.Always(jira.Issue{Found: true, Done: true}), funneltest.Always(jira.Issue{Found: true}), funneltest.Always(jira.Issue{})
	for name, test := range map[string]struct {
		tickets, states funneltest.Answer
		options         []funneltest.Option
		paths           string
	}{
		"new":           {funneltest.InTurn(repeat("SIRT-1"), fresh), done, nil, "ticket state ticket-2 link-2"},
		"second is new": {funneltest.InTurn(repeat("SIRT-1"), repeat("SIRT-2"), fresh), done, nil, "ticket state ticket-2 state-2 ticket-3 link-3"},
		"second open":   {funneltest.InTurn(repeat("SIRT-1"), repeat("SIRT-2")), funneltest.InTurn(done, open), nil, "ticket state ticket-2 state-2 seen"},
		"deleted":       {funneltest.InTurn(repeat("SIRT-1"), fresh), gone, nil, "ticket state ticket-2"},
		"skipped state": {repeat("SIRT-1"), done, []funneltest.Option{funneltest.Skip("state")}, "ticket state seen"},
		"skipped":       {repeat("SIRT-1"), done, []funneltest.Option{funneltest.Skip("ticket")}, "ticket"},
		"second skip":   {funneltest.InTurn(repeat("SIRT-1"), fresh), done, []funneltest.Option{funneltest.Skip("ticket-2")}, "ticket state ticket-2"},
	} {
		r := funneltest.Run(t, OpenTicket, alert(), funneltest.Answers{
			"jira.open_ticket": test.tickets, "jira.get_issue": test.states, "jira.keep_comment": funneltest.Always(jira.Comment{}), "jira.link_issues": funneltest.Always(jira.Link{}),
		}, test.options...)
		t.Log(name)
		wantPaths(t, r, test.paths)
		if name == "second is new" {
			first, second := funneltest.Input[jira.OpenTicketInput](t, r, "ticket-2"), funneltest.Input[jira.OpenTicketInput](t, r, "ticket-3")
			link := funneltest.Input[jira.LinkIssuesInput](t, r, "link-3")
			if first.Follows != "SIRT-1" || second.Follows != "SIRT-2" || link != (jira.LinkIssuesInput{Type: "Relates", Inward: "SIRT-9", Outward: "SIRT-2"}) {
				t.Errorf("follows %s and %s, link %+v", first.Follows, second.Follows, link)
			}
		}
	}
	r := funneltest.Run(t, OpenTicket, alert(), funneltest.Answers{"jira.open_ticket": repeat("SIRT-1"), "jira.get_issue": done})
	if funnel.CodeOf(r.Err) != funnel.Conflict || len(r.Calls) != 2*maxChain {
		t.Errorf("an endless chain ends with %v after %d calls", r.Err, len(r.Calls))
	}
}
