package jira

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// jqlTokens is a reader of JQL that is as simple as it can be: strings in
// quotation marks with backslashes, and words.
func jqlTokens(text string) (tokens []string, err error) {
	for text = strings.TrimLeft(text, " "); text != ""; text = strings.TrimLeft(text, " ") {
		if text[0] != '"' {
			word, rest, _ := strings.Cut(text, " ")
			tokens, text = append(tokens, word), rest
			continue
		}
		var b strings.Builder
		i := 1
		for ; i < len(text) && text[i] != '"'; i++ {
			if text[i] == '\\' {
				i++
			}
			if i < len(text) {
				b.WriteByte(text[i])
			}
		}
		if i >= len(text) {
			return nil, fmt.Errorf("a string has no end")
		}
		tokens, text = append(tokens, `"`+b.String()), text[i+1:]
	}
	return tokens, nil
}

func TestQuoteRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hostile := rapid.OneOf(rapid.String(), rapid.StringMatching(`["\\ a\x00\n'()=]{0,12}( OR | ORDER BY )?["\\]{0,3}`))
		a, b := hostile.Draw(t, "a"), hostile.Draw(t, "b")
		got, err := jqlTokens(search{}.where(projectField, a).where(labelsField, b).newestFirst().String())
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"project", "=", `"` + flat(a), "AND", "labels", "=", `"` + flat(b), "ORDER", "BY", "created", "DESC"}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("read back as %q, want %q", got, want)
		}
	})
}

func TestSearchIssues(t *testing.T) { everywhere(t, testSearchIssues) }

func testSearchIssues(t *testing.T, o jirafake.Options) {
	o.Projects = []jirafake.Project{{Key: "SIRT"}, {Key: "HR"}}
	site, c := newSite(t, o)
	for i := range 120 {
		labels := []string{"bulk"}
		if i%2 == 0 {
			labels = append(labels, "even")
		}
		if _, err := site.PersonCreates(jirafake.Person{AccountID: "1", DisplayName: "Jane Doe"}, jirafake.NewIssue{Summary: fmt.Sprint("issue ", i), Labels: labels}); err != nil {
			t.Fatal(err)
		}
	}
	if err := site.Transition("SIRT-1", "Done"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		in    SearchIssuesInput
		n     int
		more  bool
		first string
	}{
		{SearchIssuesInput{Project: "SIRT"}, 50, true, "SIRT-120"},
		{SearchIssuesInput{Project: "SIRT", Limit: 100}, 100, true, "SIRT-120"},
		{SearchIssuesInput{Project: "SIRT", Labels: []string{"bulk", "even"}, Limit: 100}, 60, false, "SIRT-119"},
		{SearchIssuesInput{Labels: []string{"bulk"}, Status: "Done"}, 1, false, "SIRT-1"},
		{SearchIssuesInput{Project: "HR"}, 0, false, ""},
		{SearchIssuesInput{Labels: []string{`bulk" OR labels = "even`}}, 0, false, ""},
		{SearchIssuesInput{JQL: `project = SIRT AND labels = even ORDER BY created ASC`, Limit: 3}, 3, true, "SIRT-1"},
	} {
		got := must[FoundIssues](t)(perform(t, c, SearchIssues, "", test.in))
		if len(got.Issues) != test.n || got.More != test.more || test.n > 0 && got.Issues[0].Key != test.first {
			t.Errorf("%+v found %d issues, more %v: %.100v", test.in, len(got.Issues), got.More, got.Issues)
		}
	}
	done := must[FoundIssues](t)(perform(t, c, SearchIssues, "", SearchIssuesInput{Project: "SIRT", Status: "Done"})).Issues[0]
	if !done.Done || done.StatusCategory != "done" || done.Status != "Done" || done.Created == nil || done.Reporter.Name != "Jane Doe" || !done.Found {
		t.Errorf("issue %+v", done)
	}
	for _, in := range []SearchIssuesInput{{}, {JQL: "project = X", Project: "X"}, {Project: "X", Limit: 101}, {Project: "X", Limit: -1}, {JQL: "ORDER BY created"}} {
		_, err := perform(t, c, SearchIssues, "", in)
		wantCode(t, err, funnel.Invalid)
	}
}

func TestSmallPages(t *testing.T) {
	t.Parallel()
	asked := 0
	c := &Client{dialect: pages{turn: func(limit int, cursor string) ([]issueBean, string) {
		asked++
		return make([]issueBean, 1), fmt.Sprint("page", asked)
	}}}
	found, more, err := c.find(t.Context(), "searching", search{}, 7)
	if len(found) != 7 || asked != 7 || !more || err != nil {
		t.Errorf("%d issues in %d pages, more %v, error %v", len(found), asked, more, err)
	}
	c.dialect = pages{turn: func(int, string) ([]issueBean, string) { return nil, "the same" }}
	if found, _, err := c.find(t.Context(), "searching", search{}, 7); len(found) != 0 || err != nil {
		t.Errorf("a cursor that stays: %v, %v", found, err)
	}
}

// pages is a dialect that only searches.
type pages struct {
	cloud
	turn func(limit int, cursor string) ([]issueBean, string)
}

func (p pages) search(_ context.Context, _ *Client, _ string, _ search, limit int, cursor string) ([]issueBean, string, error) {
	found, next := p.turn(limit, cursor)
	return found, next, nil
}
