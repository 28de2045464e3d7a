package jira

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func ob(kind funnel.Kind, value string) funnel.Observable {
	return funnel.Observable{Kind: kind, Value: value}
}

// about is the input of a ticket about the observables.
func about(name string, list ...funnel.Observable) OpenTicketInput {
	in := ticketInput()
	in.Summary, in.Fingerprint, in.Observables = name, name, list
	return in
}

func TestFindRelated(t *testing.T) {
	t.Parallel()
	clock := newClock()
	site, c := newSite(t, jirafake.Options{Now: clock.now})
	jdoe, host, url := ob(funnel.User, "jdoe"), ob(funnel.Host, "WS-0142"), ob(funnel.URL, `http://evil.test/" OR project = HR --`)
	for i, in := range []OpenTicketInput{
		about("too old", jdoe),                       // SIRT-1
		about("user", ob(funnel.User, "JDoe"), host), // SIRT-2: the same user
		about("nothing", ob(funnel.User, "other")),
		about("exactly", url, jdoe), // SIRT-4
		about("mine", jdoe, url),    // SIRT-5
		about("mine again", ob(funnel.Email, "jdoe")),
	} {
		if in.Summary == "mine again" {
			in.Fingerprint = "mine" // SIRT-6
		}
		must[Ticket](t)(perform(t, c, OpenTicket, effect(fmt.Sprint(i)), in))
		if i == 0 {
			clock.advance(20 * 24 * time.Hour)
		}
		clock.advance(time.Minute)
	}
	if _, err := site.PersonCreates(jirafake.Person{AccountID: "p", DisplayName: "P"}, jirafake.NewIssue{Summary: "by hand", Labels: []string{observableLabel(url), "funnel"}}); err != nil {
		t.Fatal(err)
	}
	in := FindRelatedInput{Issue: "SIRT-5", Observables: []funnel.Observable{jdoe, url, jdoe}, Fingerprint: "mine"}
	got := must[RelatedIssues](t)(perform(t, c, FindRelated, "", in))
	var said []string
	for _, r := range got.Issues {
		said = append(said, fmt.Sprint(r.Key, " ", r.Summary, " ", r.Shared, " ", r.SameObservables, r.SameFingerprint, r.Ours))
	}
	want := []string{
		fmt.Sprint("SIRT-7 by hand ", []funnel.Observable{url}, " false false false"),
		fmt.Sprint("SIRT-6 mine again ", []funnel.Observable{}, " false true true"),
		fmt.Sprint("SIRT-4 exactly ", []funnel.Observable{jdoe, url}, " true false true"),
		fmt.Sprint("SIRT-2 user ", []funnel.Observable{jdoe}, " false false true"),
	}
	if !slices.Equal(said, want) || got.More {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
	in.Within = funnel.Duration(30 * 24 * time.Hour)
	if got := must[RelatedIssues](t)(perform(t, c, FindRelated, "", in)); len(got.Issues) != 5 {
		t.Errorf("%d issues of 30 days, want 5", len(got.Issues))
	}
	in.Limit = 2
	if got := must[RelatedIssues](t)(perform(t, c, FindRelated, "", in)); len(got.Issues) != 2 || !got.More {
		t.Errorf("%d issues with the limit 2, more %v", len(got.Issues), got.More)
	}
	in = FindRelatedInput{Issue: "SIRT-5"}
	before := len(site.Journal(jirafake.KindSearch))
	if got := must[RelatedIssues](t)(perform(t, c, FindRelated, "", in)); len(got.Issues) != 0 || len(site.Journal(jirafake.KindSearch)) != before {
		t.Errorf("without anything to share: %+v", got)
	}
}

// Tickets with as many labels as there can be are not taken for the same: there may
// be more observables than labels.
func TestManyObservables(t *testing.T) {
	t.Parallel()
	site, c := newSite(t, jirafake.Options{})
	var list []funnel.Observable
	for i := range 30 {
		list = append(list, ob(funnel.Host, fmt.Sprint("ws-", i)))
	}
	must[Ticket](t)(perform(t, c, OpenTicket, effect("a"), about("a", list...)))
	must[Ticket](t)(perform(t, c, OpenTicket, effect("b"), about("b", list[:25]...)))
	issue, _ := site.Issue("SIRT-1")
	if n := len(issue.Labels); n != maxMarked+4 {
		t.Errorf("%d labels %q, want %d", n, issue.Labels, maxMarked+4)
	}
	got := must[RelatedIssues](t)(perform(t, c, FindRelated, "", FindRelatedInput{Issue: "SIRT-2", Observables: list[:25]}))
	if len(got.Issues) != 1 || len(got.Issues[0].Shared) != maxMarked || got.Issues[0].SameObservables {
		t.Errorf("%+v", got)
	}
}

// The query that looks for related issues is read back as the same conditions,
// whatever the observables are, and none of their values stands in it.
func TestRelatedQuery(t *testing.T) {
	t.Parallel()
	hostile := rapid.OneOf(rapid.String(), rapid.StringMatching(`["\\ a\x00\n'(),=]{0,12}( OR | ORDER BY | IN \()?["\\]{0,3}`))
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(hostile, 1, 30).Draw(rt, "values")
		within := time.Duration(rapid.Int64Range(int64(time.Minute), int64(mostWithin)).Draw(rt, "within"))
		// As a builder of queries ...
		q := search{}.where(projectField, values[0]).whereAny(labelsField, values).createdWithin(within).newestFirst()
		flatten := make([]string, len(values))
		for i, v := range values {
			flatten[i] = flat(v)
		}
		want := jirafake.JQL{Order: true, Terms: []jirafake.Term{
			{Field: "project", Op: "=", Values: flatten[:1]},
			{Field: "labels", Op: "in", Values: flatten},
			{Field: "created", Op: ">=", Values: []string{fmt.Sprintf("-%dm", int64((within+time.Minute-1)/time.Minute))}},
		}}
		if got, err := jirafake.ParseJQL(q.String()); err != nil || !reflect.DeepEqual(got, want) {
			rt.Fatalf("%s is read as %+v (%v), want %+v", q, got, err, want)
		}
		// ... and as an action: only hashes.
		var list []funnel.Observable
		for _, v := range values {
			list = append(list, ob(funnel.Host, v))
		}
		for _, l := range observableLabels(list) {
			if rest, ok := strings.CutPrefix(l, labelObservable); !ok || len(rest) != 16 || strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") != "" {
				rt.Fatalf("label %q", l)
			}
		}
	})
}

func TestRelatedRefused(t *testing.T) {
	t.Parallel()
	asked := 0
	c := connectTo(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }), newClock().now)
	some := []funnel.Observable{ob(funnel.User, "x")}
	for what, in := range map[string]FindRelatedInput{
		"issue": {Issue: "SIRT", Observables: some}, "project": {Issue: "SIRT-1", Project: `X" OR project = "Y`, Observables: some},
		"within": {Issue: "SIRT-1", Within: -1, Observables: some}, "long": {Issue: "SIRT-1", Within: funnel.Duration(mostWithin + 1), Observables: some},
		"limit": {Issue: "SIRT-1", Limit: 51, Observables: some},
	} {
		_, err := perform(t, c, FindRelated, "", in)
		if funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	many := slices.Repeat([]string{"SIRT-2"}, 2)
	for what, in := range map[string]LinkRelatedInput{
		"none": {Issue: "SIRT-1"}, "itself": {Issue: "SIRT-1", Related: []string{"SIRT-1"}}, "twice": {Issue: "SIRT-1", Related: many}, "key": {Issue: "SIRT-1", Related: []string{"../x"}},
	} {
		_, err := perform(t, c, LinkRelated, effect("l"), in)
		if funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("link, %s: %v", what, err)
		}
	}
	for what, in := range map[string]CloseDuplicateInput{"itself": {Issue: "SIRT-1", Of: "SIRT-1"}, "key": {Issue: "SIRT-1/..", Of: "SIRT-2"}} {
		_, err := perform(t, c, CloseDuplicate, effect("c"), in)
		if funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("close, %s: %v", what, err)
		}
	}
	if asked != 0 {
		t.Errorf("Jira was asked %d times", asked)
	}
}

func TestLinkRelated(t *testing.T) {
	t.Parallel()
	site, c := newSite(t, jirafake.Options{})
	for i := range 12 {
		must[Ticket](t)(perform(t, c, OpenTicket, effect(fmt.Sprint(i)), about(fmt.Sprint(i))))
	}
	in := LinkRelatedInput{Issue: "SIRT-10", Related: []string{"SIRT-9", "SIRT-11", "SIRT-2"}}
	must[Link](t)(perform(t, c, LinkIssues, effect("x"), LinkIssuesInput{Type: "Duplicate", Inward: "SIRT-10", Outward: "SIRT-2"}))
	if _, found := lookUp(t, c, LinkRelated, effect("l"), in); found {
		t.Error("links that were not made are found")
	}
	// The answer to the second link is lost: the third was not made, so nothing is
	// found, and a repetition makes what is missing.
	isLink := func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/issueLink")
	}
	n := 0
	site.Next(func(r *http.Request) bool {
		if isLink(r) {
			n++
		}
		return n == 2
	}, jirafake.Fault{Kind: jirafake.AnswerLost})
	if _, err := perform(t, c, LinkRelated, effect("l"), in); funnel.CodeOf(err) != funnel.Uncertain {
		t.Fatalf("the lost answer is %v", err)
	}
	for range 2 {
		out := must[LinkedIssues](t)(perform(t, c, LinkRelated, effect("l"), in))
		if !slices.Equal(out.Linked, in.Related) || len(out.Missing) != 0 {
			t.Errorf("%+v", out)
		}
	}
	if _, found := lookUp(t, c, LinkRelated, effect("l"), in); !found {
		t.Error("links that were made are not found")
	}
	// From the other side the same link is the same.
	must[LinkedIssues](t)(perform(t, c, LinkRelated, effect("m"), LinkRelatedInput{Issue: "SIRT-9", Related: []string{"SIRT-10"}}))
	issue, _ := site.Issue("SIRT-10")
	want := []jirafake.Link{{Type: "Duplicate", Source: "SIRT-10", Target: "SIRT-2"}, {Type: "Relates", Source: "SIRT-10", Target: "SIRT-9"}, {Type: "Relates", Source: "SIRT-11", Target: "SIRT-10"}}
	if !slices.Equal(issue.Links, want) {
		t.Errorf("links %+v, want %+v", issue.Links, want)
	}
	if n := len(site.Journal(jirafake.KindLink)); n != 3 {
		t.Errorf("%d links were made, want 3", n)
	}
	// One that is gone is told apart from a link type that does not exist.
	out := must[LinkedIssues](t)(perform(t, c, LinkRelated, effect("g"), LinkRelatedInput{Issue: "SIRT-1", Related: []string{"SIRT-99", "SIRT-2"}}))
	if !slices.Equal(out.Linked, []string{"SIRT-2"}) || !slices.Equal(out.Missing, []string{"SIRT-99"}) {
		t.Errorf("%+v", out)
	}
	_, err := perform(t, c, LinkRelated, effect("t"), LinkRelatedInput{Issue: "SIRT-1", Related: []string{"SIRT-3"}, Type: "Nonsense"})
	wantCode(t, err, funnel.NotFound)
}

// Hostile answers make nothing up.
func TestRelatedBadAnswers(t *testing.T) {
	t.Parallel()
	some := []funnel.Observable{ob(funnel.User, "x")}
	for name, body := range map[string]string{
		"html": "<html>", "null": "null", "wrong types": `{"accountId":"me","issues":"x","fields":7}`, "path": `{"accountId":"me","issues":[{"id":"1","key":"../../x"}]}`,
		"foreign": `{"accountId":"me","issues":[{"id":"1","key":"SIRT-9","fields":{"labels":["funnel","other"]}}]}`,
	} {
		c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}), newClock().now)
		out, err := perform(t, c, FindRelated, "", FindRelatedInput{Issue: "SIRT-1", Observables: some})
		if name == "foreign" { // an issue that has nothing to do with it is left out
			if b, _ := json.Marshal(out); err != nil || len(out.Issues) != 0 {
				t.Errorf("%s: %s (%v)", name, b, err)
			}
			continue
		}
		wantCode(t, err, funnel.Unavailable)
	}
}
