package jira

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func says(text string) funnel.Document {
	return funnel.NewDocument(funnel.Paragraph(funnel.Text(text)))
}

// commented returns a site, in Jira Cloud unless options are given, with one
// ticket, SIRT-1.
func commented(t *testing.T, o ...jirafake.Options) (*jirafake.Site, *Client) {
	t.Helper()
	site, c := newSite(t, append(o, jirafake.Options{})[0])
	must[Ticket](t)(perform(t, c, OpenTicket, effect("ticket"), ticketInput()))
	return site, c
}

func texts(t *testing.T, site *jirafake.Site) []string {
	t.Helper()
	issue, ok := site.Issue("SIRT-1")
	if !ok {
		t.Fatal("the issue is gone")
	}
	var list []string
	for _, c := range issue.Comments {
		list = append(list, unmarked(jirafake.Text(c.Body)))
	}
	return list
}

func wantTexts(t *testing.T, site *jirafake.Site, want ...string) {
	t.Helper()
	if got := texts(t, site); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("the comments are %q, want %q", got, want)
	}
}

func TestAddComment(t *testing.T) { everywhere(t, testAddComment) }

func testAddComment(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	key := effect("1")
	in := AddCommentInput{Issue: "SIRT-1", Body: says("hello")}
	if _, found := lookUp(t, c, AddComment, key, in); found {
		t.Fatal("a comment that was not made was found")
	}
	made := must[Comment](t)(perform(t, c, AddComment, key, in))
	if want := c.base.String() + "/browse/SIRT-1?focusedCommentId=" + made.ID; made.URL != want || made.Issue != "SIRT-1" {
		t.Errorf("comment %+v, want the page %s", made, want)
	}
	wantTexts(t, site, "hello")
	if found, ok := lookUp(t, c, AddComment, key, in); !ok || found != made {
		t.Errorf("found %v: %+v, want %+v", ok, found, made)
	}
	changed := must[Comment](t)(perform(t, c, UpdateComment, effect("2"), UpdateCommentInput{Issue: "SIRT-1", ID: made.ID, Body: says("bye")}))
	if changed != made {
		t.Errorf("changed %+v, want %+v", changed, made)
	}
	wantTexts(t, site, "bye")
	if _, ok := lookUp(t, c, AddComment, key, in); !ok {
		t.Error("after a change the comment is not found any more")
	}
	must[Comment](t)(perform(t, c, AddComment, effect("3"), AddCommentInput{Issue: "SIRT-1"}))
	wantTexts(t, site, "bye", "(nothing to say)")
}

func TestUnsureComment(t *testing.T) { everywhere(t, testUnsureComment) }

func testUnsureComment(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	in := AddCommentInput{Issue: "SIRT-1", Body: says("hello")}
	site.Next(jirafake.IsComment, jirafake.Fault{Kind: jirafake.AnswerLost})
	_, err := perform(t, c, AddComment, effect("1"), in)
	wantCode(t, err, funnel.Uncertain, "commenting on SIRT-1")
	if found, ok := lookUp(t, c, AddComment, effect("1"), in); !ok || found.ID == "" {
		t.Errorf("found %v: %+v", ok, found)
	}
	site.Next(jirafake.IsComment, jirafake.Fault{Kind: jirafake.DropBefore})
	_, err = perform(t, c, AddComment, effect("2"), in)
	wantCode(t, err, funnel.Uncertain)
	if _, ok := lookUp(t, c, AddComment, effect("2"), in); ok {
		t.Error("a comment that was not made was found")
	}
}

// TestManyComments: the look-up reads all pages.
func TestManyComments(t *testing.T) { everywhere(t, testManyComments) }

func testManyComments(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	person := jirafake.Person{AccountID: "1", DisplayName: "Jane Doe"}
	for i := range 250 {
		if i == 240 {
			must[Comment](t)(perform(t, c, AddComment, effect("late"), AddCommentInput{Issue: "SIRT-1", Body: says("ours")}))
		}
		if _, err := site.PersonComments(person, "SIRT-1", "noise"); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := lookUp(t, c, AddComment, effect("late"), AddCommentInput{Issue: "SIRT-1"}); !found {
		t.Error("a comment on the third page was not found")
	}
	all, err := c.comments(t.Context(), "SIRT-1")
	if len(all) != 251 || err != nil {
		t.Errorf("%d comments, error %v; want 251", len(all), err)
	}
}

// TestDeletedBetweenPages: a deletion moves others up; none may be overlooked.
func TestDeletedBetweenPages(t *testing.T) {
	t.Parallel()
	asked := 0
	c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		first := 1
		if asked > 1 { // comment 1 was deleted after the first page
			first = 2
		}
		var start int
		_, _ = fmt.Sscan(r.URL.Query().Get("startAt"), &start)
		var list []string
		for id := first + start; id <= 6 && len(list) < 3; id++ {
			list = append(list, fmt.Sprintf(`{"id":"%d"}`, id))
		}
		_, _ = io.WriteString(w, fmt.Sprintf(`{"total":%d,"comments":[%s]}`, 7-first, strings.Join(list, ",")))
	}), newClock().now)
	all, err := c.comments(t.Context(), "SIRT-1")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, b := range all {
		ids = append(ids, b.ID)
	}
	if got := strings.Join(ids, " "); got != "2 3 4 5 6" {
		t.Errorf("read the comments %s, want 2 3 4 5 6", got)
	}
}

func keep(name string, revision int, text string) KeepCommentInput {
	return KeepCommentInput{Issue: "SIRT-1", Name: name, Revision: revision, Body: says(text)}
}

func TestKeepComment(t *testing.T) { everywhere(t, testKeepComment) }

func testKeepComment(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	first := must[Comment](t)(perform(t, c, KeepComment, effect("1"), keep("enrich_user", 1, "waiting")))
	must[Comment](t)(perform(t, c, KeepComment, effect("2"), keep("enrich_file", 1, "another")))
	wantTexts(t, site, "waiting", "another")
	for i, step := range []struct {
		revision  int
		text      string
		want      string
		unchanged bool
	}{
		{2, "still waiting", "still waiting", false},
		{1, "late", "still waiting", true},
		{2, "the same revision", "the same revision", false},
		{Final, "done", "done", false},
		{3, "failed", "done", true},
		{Final, "done again", "done again", false},
	} {
		got := must[Comment](t)(perform(t, c, KeepComment, effect(fmt.Sprint("step", i)), keep("enrich_user", step.revision, step.text)))
		if got.ID != first.ID || got.Unchanged != step.unchanged {
			t.Errorf("revision %d: %+v, want the comment %s, unchanged %v", step.revision, got, first.ID, step.unchanged)
		}
		wantTexts(t, site, step.want, "another")
	}
	if n := len(site.Journal(jirafake.KindAddComment)); n != 2 {
		t.Errorf("%d comments were added, want 2", n)
	}
}

func TestUnsureKeptComment(t *testing.T) { everywhere(t, testUnsureKeptComment) }

func testUnsureKeptComment(t *testing.T, o jirafake.Options) {
	isChange := func(r *http.Request) bool { return r.Method == http.MethodPut }
	for name, match := range map[string]func(*http.Request) bool{"add": jirafake.IsComment, "change": isChange} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site, c := commented(t, o)
			if name == "change" {
				must[Comment](t)(perform(t, c, KeepComment, effect("0"), keep("a", 1, "first")))
			}
			in, key := keep("a", 2, "second"), effect("1")
			if _, found := lookUp(t, c, KeepComment, key, in); found {
				t.Fatal("found before it was made")
			}
			site.Next(match, jirafake.Fault{Kind: jirafake.AnswerLost})
			_, err := perform(t, c, KeepComment, key, in)
			wantCode(t, err, funnel.Uncertain)
			if found, ok := lookUp(t, c, KeepComment, key, in); !ok || found.Unchanged {
				t.Errorf("found %v: %+v", ok, found)
			}
			wantTexts(t, site, "second")
			must[Comment](t)(perform(t, c, KeepComment, effect("2"), keep("a", 3, "third")))
			if found, ok := lookUp(t, c, KeepComment, key, in); !ok || !found.Unchanged {
				t.Errorf("a later revision does not settle it: %v, %+v", ok, found)
			}
		})
	}
}

func TestKeepIsSerial(t *testing.T) {
	t.Parallel()
	name, err := KeepComment.Spec().Serial([]byte(`{"issue":"SIRT-1","name":"seen","revision":2,"body":{"version":1,"blocks":[]}}`))
	if name != "SIRT-1/seen" || err != nil {
		t.Errorf("serial %q, error %v", name, err)
	}
}

func TestBadComments(t *testing.T) { everywhere(t, testBadComments) }

func testBadComments(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	_, err := perform(t, c, AddComment, "", AddCommentInput{Issue: "../myself", Body: says("x")})
	wantCode(t, err, funnel.Invalid, "SIRT-42")
	_, err = perform(t, c, KeepComment, "", KeepCommentInput{Issue: "SIRT-1", Body: says("x")})
	wantCode(t, err, funnel.Invalid, "name")
	_, err = perform(t, c, UpdateComment, "", UpdateCommentInput{Issue: "SIRT-1", ID: "../1", Body: says("x")})
	wantCode(t, err, funnel.Invalid, "id")
	_, err = perform(t, c, AddComment, "", AddCommentInput{Issue: "SIRT-9", Body: says("x")})
	wantCode(t, err, funnel.NotFound)
	site.SetIssueWriteLimit(1, 1<<40)
	must[Comment](t)(perform(t, c, AddComment, effect("1"), AddCommentInput{Issue: "SIRT-1", Body: says("x")}))
	_, err = perform(t, c, AddComment, effect("2"), AddCommentInput{Issue: "SIRT-1", Body: says("x")})
	wantCode(t, err, funnel.Throttled)
	if e := err.(*funnel.Error); e.Narrow != (o.Deployment == jirafake.Cloud) || e.RetryAt.IsZero() { // Data Center limits the account
		t.Errorf("a limit of one issue is %+v", e)
	}
}

func TestGetIssue(t *testing.T) { everywhere(t, testGetIssue) }

func testGetIssue(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	issue := must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"}))
	if !issue.Found || issue.Done || issue.StatusCategory != "new" || issue.Priority != "High" || issue.Reporter.Account != us(o) || issue.Updated == nil {
		t.Errorf("issue %+v", issue)
	}
	if err := site.Transition("SIRT-1", "Done"); err != nil {
		t.Fatal(err)
	}
	if issue := must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"})); !issue.Done || issue.Status != "Done" {
		t.Errorf("done issue %+v", issue)
	}
	if issue := must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-9"})); issue.Found {
		t.Errorf("an issue that is not there %+v", issue)
	}
	_, err := perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1/comment"})
	wantCode(t, err, funnel.Invalid)
}

func TestLinkIssues(t *testing.T) { everywhere(t, testLinkIssues) }

func testLinkIssues(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	must[Ticket](t)(perform(t, c, OpenTicket, effect("second"), ticketInput()))
	links := func(want int) {
		t.Helper()
		if n := len(site.Journal(jirafake.KindLink)); n != want {
			t.Errorf("%d links were made, want %d", n, want)
		}
	}
	in := LinkIssuesInput{Type: "Relates", Inward: "SIRT-2", Outward: "SIRT-1"}
	if _, found := lookUp(t, c, LinkIssues, "", in); found {
		t.Fatal("a link that was not made was found")
	}
	if link := must[Link](t)(perform(t, c, LinkIssues, effect("1"), in)); link.Existed || link.Type != "Relates" {
		t.Errorf("link %+v", link)
	}
	links(1)
	if link := must[Link](t)(perform(t, c, LinkIssues, effect("1"), in)); !link.Existed {
		t.Errorf("link %+v", link)
	}
	if link := must[Link](t)(perform(t, c, LinkIssues, effect("2"), LinkIssuesInput{Type: "relates", Inward: "SIRT-1", Outward: "SIRT-2"})); !link.Existed {
		t.Errorf("a link without direction, from the other side: %+v", link)
	}
	links(1)
	blocks := LinkIssuesInput{Type: "Blocks", Inward: "SIRT-1", Outward: "SIRT-2"}
	must[Link](t)(perform(t, c, LinkIssues, effect("3"), blocks))
	if _, found := lookUp(t, c, LinkIssues, effect("3"), blocks); !found {
		t.Error("the link was not found")
	}
	blocks.Inward, blocks.Outward = blocks.Outward, blocks.Inward
	if _, found := lookUp(t, c, LinkIssues, effect("4"), blocks); found {
		t.Error("a link in the other direction was found")
	}
	_, err := perform(t, c, LinkIssues, effect("5"), LinkIssuesInput{Type: "Nonsense", Inward: "SIRT-1", Outward: "SIRT-2"})
	wantCode(t, err, funnel.NotFound)
	_, err = perform(t, c, LinkIssues, effect("6"), LinkIssuesInput{Type: "Relates", Inward: "SIRT-1", Outward: "SIRT-1"})
	wantCode(t, err, funnel.Invalid)
}
