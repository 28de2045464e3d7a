package playbooks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/jira"
)

// ticket is a created ticket about a user and a host.
func aboutTwo() jira.IssueEvent {
	e := created(user("jdoe"), funnel.Observable{Kind: funnel.Host, Value: "WS-0142"}, funnel.Observable{Kind: funnel.Domain, Value: "example.com", Own: true})
	e.Labels, e.URL = []string{"funnel", "funnel-fp-" + strings.Repeat("a", 26)}, "https://jira.example.com/browse/SIRT-42"
	return e
}

func relatedTo(n int, change ...func(*jira.RelatedIssue)) jira.RelatedIssue {
	at := time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC)
	r := jira.RelatedIssue{
		Issue: jira.Issue{
			Found: true, ID: fmt.Sprint(10000 + n), Key: fmt.Sprint("SIRT-", n), Status: "To Do", Created: &at,
			Summary: "[~admin] http://evil.test/ \u202e", URL: fmt.Sprint("https://jira.example.com/browse/SIRT-", n),
		},
		Shared: []funnel.Observable{user("jdoe")}, Ours: true,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func sameAlert(r *jira.RelatedIssue)       { r.SameFingerprint = true }
func sameObservables(r *jira.RelatedIssue) { r.SameObservables = true }
func done(r *jira.RelatedIssue)            { r.Done, r.Status = true, "Done" }
func somebodys(r *jira.RelatedIssue)       { r.Ours = false }

func relateAnswers(closed jira.DuplicateClosed, found ...jira.RelatedIssue) funneltest.Answers {
	return funneltest.Answers{
		"jira.find_related": funneltest.Always(jira.RelatedIssues{Issues: found}), "jira.keep_comment": funneltest.Always(jira.Comment{ID: "1"}),
		"jira.link_related": funneltest.Always(jira.LinkedIssues{}), "jira.close_duplicate": funneltest.Always(closed),
	}
}

func TestRelateTickets(t *testing.T) {
	t.Parallel()
	elsewhere := func(r *jira.RelatedIssue) { r.URL = "https://evil.test/browse/SIRT-6" }
	many := func(r *jira.RelatedIssue) { r.Shared = slices.Repeat([]funnel.Observable{hash()}, 7) }
	r := funneltest.Run(t, RelateTickets, aboutTwo(), relateAnswers(jira.DuplicateClosed{}, relatedTo(7, sameAlert, done), relatedTo(6, elsewhere), relatedTo(5, many)))
	wantPaths(t, r, "find link comment")
	find := funneltest.Input[jira.FindRelatedInput](t, r, "find")
	if find.Issue != "SIRT-42" || find.Project != "SIRT" || find.Fingerprint != strings.Repeat("a", 26) || find.Within.Std() != 14*24*time.Hour || find.Limit != 10 || len(find.Observables) != 2 {
		t.Errorf("looked for %+v", find)
	}
	link := funneltest.Input[jira.LinkRelatedInput](t, r, "link")
	if link.Issue != "SIRT-42" || !slices.Equal(link.Related, []string{"SIRT-7", "SIRT-6", "SIRT-5"}) || link.Type != "Relates" {
		t.Errorf("linked %+v", link)
	}
	doc := comment(t, r, "relate_tickets")
	wantText(t, "the comment", doc, `
Related tickets in the last 14 days: 3

Ticket | Status | Opened | Summary | In common
SIRT-7 <https://jira.example.com/browse/SIRT-7> | Done | 2026-03-01 12:00:07 UTC | [~admin] hxxp://evil[.]test/  | user jdoe; the same alert
SIRT-6: hxxps://evil[.]test/browse/SIRT-6 | To Do | 2026-03-01 12:00:06 UTC | [~admin] hxxp://evil[.]test/  | user jdoe
SIRT-5 <https://jira.example.com/browse/SIRT-5> | To Do | 2026-03-01 12:00:05 UTC | [~admin] hxxp://evil[.]test/  | md5 `+strings.TrimSuffix(strings.Repeat(md5+", md5 ", 5), "md5 ")+`and 2 more
`)
	if n := links(doc); n != 2 {
		t.Errorf("%d links, want those within the site only", n)
	}
}

func TestRelateNothing(t *testing.T) {
	t.Parallel()
	person := aboutTwo()
	person.Alert = nil
	if r := funneltest.Run(t, RelateTickets, person, nil); len(r.Calls) != 0 {
		t.Errorf("a person's ticket: %+v", r.Calls)
	}
	empty := created(funnel.Observable{Kind: funnel.Domain, Value: "example.com", Own: true})
	if r := funneltest.Run(t, RelateTickets, empty, nil); len(r.Calls) != 0 {
		t.Errorf("a ticket about nothing: %+v", r.Calls)
	}
	r := funneltest.Run(t, RelateTickets, aboutTwo(), relateAnswers(jira.DuplicateClosed{}))
	wantText(t, "no related tickets", comment(t, r, "relate_tickets"), "Related tickets: none in the last 14 days.")
	r = funneltest.Run(t, RelateTickets, aboutTwo(), relateAnswers(jira.DuplicateClosed{}), funneltest.Skip("find"))
	wantText(t, "skipped", comment(t, r, "relate_tickets"), "Related tickets: unknown: not asked, a person skipped the look-up.")
}

// By default nothing is closed; by policy only the newer ticket, as a duplicate of
// the oldest open one that Funnel opened.
func TestRelateCloses(t *testing.T) {
	t.Parallel()
	closed := jira.DuplicateClosed{Closed: true}
	for name, tt := range map[string]struct {
		settings string
		found    []jira.RelatedIssue
		closed   jira.DuplicateClosed
		paths    string
		of       string
	}{
		"never":             {`{}`, []jira.RelatedIssue{relatedTo(7, sameAlert, sameObservables)}, closed, "find link comment", ""},
		"the same alert":    {`{"close_duplicates":"same_fingerprint"}`, []jira.RelatedIssue{relatedTo(8, sameAlert), relatedTo(7, sameAlert), relatedTo(6)}, closed, "find link comment close", "SIRT-7"},
		"only other alerts": {`{"close_duplicates":"same_fingerprint"}`, []jira.RelatedIssue{relatedTo(7, sameObservables)}, closed, "find link comment", ""},
		"observables":       {`{"close_duplicates":"same_observables"}`, []jira.RelatedIssue{relatedTo(7, sameObservables), relatedTo(6, sameAlert)}, closed, "find link comment close", "SIRT-7"},
		"done":              {`{"close_duplicates":"same_fingerprint"}`, []jira.RelatedIssue{relatedTo(7, sameAlert, done)}, closed, "find link comment", ""},
		"somebody's":        {`{"close_duplicates":"same_fingerprint"}`, []jira.RelatedIssue{relatedTo(7, sameAlert, somebodys)}, closed, "find link comment", ""},
		"a newer one":       {`{"close_duplicates":"same_fingerprint"}`, []jira.RelatedIssue{relatedTo(43, sameAlert)}, closed, "find link comment", ""},
		"left alone":        {`{"close_duplicates":"same_fingerprint"}`, []jira.RelatedIssue{relatedTo(7, sameAlert)}, jira.DuplicateClosed{Why: "Jane has worked on it"}, "find comment close link-original", "SIRT-7"},
		"without links":     {`{"close_duplicates":"same_fingerprint","link":false}`, []jira.RelatedIssue{relatedTo(7, sameAlert)}, jira.DuplicateClosed{Why: "Jane has worked on it"}, "find comment close", "SIRT-7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := funneltest.Run(t, RelateTickets, aboutTwo(), relateAnswers(tt.closed, tt.found...), funneltest.WithSettings(tt.settings))
			wantPaths(t, r, tt.paths)
			if tt.of == "" {
				return
			}
			in := funneltest.Input[jira.CloseDuplicateInput](t, r, "close")
			if in.Issue != "SIRT-42" || in.Of != tt.of || in.Anyway || in.To != "Done" || in.LinkType != "Duplicate" {
				t.Errorf("closed %+v", in)
			}
		})
	}
}

func TestRelateSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`{}`: "", `{"within":"1h","wait":"0s","most":20,"kinds":["user"],"close_duplicates":"same_observables"}`: "",
		`{"within":"10m"}`: "within", `{"wait":"2h"}`: "wait", `{"most":21}`: "most", `{"close_duplicates":"always"}`: "close_duplicates", `{"kinds":["person"]}`: "kinds",
	} {
		err := RelateTickets.CheckSettings([]byte(settings))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", settings, err, want)
		}
	}
	for settings, want := range map[string]string{
		``: "link_type=Relates", `{"link":false}`: "", `{"close_duplicates":"same_fingerprint"}`: "link_type=Relates duplicate_type=Duplicate close_to=Done",
	} {
		uses, err := RelateTickets.Uses([]byte(settings))
		var said []string
		for _, u := range uses {
			said = append(said, u.Setting+"="+u.Name)
		}
		if got := strings.Join(said, " "); err != nil || got != want {
			t.Errorf("%s: uses %q, error %v, want %q", settings, got, err, want)
		}
	}
}
