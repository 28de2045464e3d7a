package jira

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// twice is a site with two tickets that Funnel opened.
func twice(t *testing.T, o jirafake.Options) (*jirafake.Site, *Client) {
	t.Helper()
	site, c := newSite(t, o)
	must[Ticket](t)(perform(t, c, OpenTicket, effect("1"), about("one", ob(funnel.User, "jdoe"))))
	must[Ticket](t)(perform(t, c, OpenTicket, effect("2"), about("two", ob(funnel.User, "jdoe"))))
	return site, c
}

var dup = CloseDuplicateInput{Issue: "SIRT-2", Of: "SIRT-1", Resolution: "Duplicate"}

// parts says what there is of a duplicate on the site.
func parts(site *jirafake.Site) string {
	issue, _ := site.Issue("SIRT-2")
	return fmt.Sprint(len(issue.Comments), " comments, links ", issue.Links, ", ", issue.Status, " ", issue.Resolution)
}

const closed = "1 comments, links [{Duplicate SIRT-2 SIRT-1}], Done Duplicate"

func TestCloseDuplicate(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		site, c := twice(t, o)
		in := dup
		in.Comment = funnel.NewDocument(funnel.Paragraph(funnel.Text("Both are about "), funnel.Data("http://evil.test/")))
		if _, found := lookUp(t, c, CloseDuplicate, effect("d"), in); found {
			t.Fatal("a duplicate that was not closed is found closed")
		}
		out := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d"), in))
		if !out.Closed || out.Status != "Done" || out.Why != "" || out.Comment == "" || parts(site) != closed {
			t.Errorf("%+v: %s", out, parts(site))
		}
		issue, _ := site.Issue("SIRT-2")
		if text := unmarked(jirafake.Text(issue.Comments[0].Body)); !strings.Contains(text, "This is a duplicate of SIRT-1") || !strings.Contains(text, "hxxp://evil[.]test/") {
			t.Errorf("the comment says %q", text)
		}
		found, ok := lookUp(t, c, CloseDuplicate, effect("d"), in)
		if !ok || found != out {
			t.Errorf("found %v: %+v, want %+v", ok, found, out)
		}
		// Again it is the same, and nothing more is written.
		writes := len(site.Journal())
		if again := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d2"), in)); !again.Closed || len(site.Journal()) != writes || parts(site) != closed {
			t.Errorf("again: %+v: %s", again, parts(site))
		}
	})
}

// Whichever answer is lost, or whichever request does not arrive, a repetition
// makes what is missing and nothing twice.
func TestCloseDuplicateInParts(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		for n := 1; n <= 3; n++ {
			for _, kind := range []jirafake.FaultKind{jirafake.AnswerLost, jirafake.DropBefore} {
				site, c := twice(t, o)
				writes := 0
				site.Next(func(r *http.Request) bool {
					if jirafake.IsWrite(r) {
						writes++
					}
					return writes == n
				}, jirafake.Fault{Kind: kind})
				if _, err := perform(t, c, CloseDuplicate, effect("d"), dup); funnel.CodeOf(err) != funnel.Uncertain {
					t.Fatalf("write %d: %v", n, err)
				}
				out, found := lookUp(t, c, CloseDuplicate, effect("d"), dup)
				if all := n == 3 && kind == jirafake.AnswerLost; found != all || found && !out.Closed {
					t.Errorf("write %d, fault %d: found %v (%s)", n, kind, found, parts(site))
				}
				if out := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d"), dup)); !out.Closed || parts(site) != closed {
					t.Errorf("write %d, fault %d: %+v: %s", n, kind, out, parts(site))
				}
			}
		}
	})
}

// What a person has touched, or what is not ours, stays as it is unless told
// otherwise.
func TestCloseDuplicateKeepsOff(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		jane := jirafake.Person{AccountID: "jane", DisplayName: "Jane Doe"}
		for name, tt := range map[string]struct {
			touch func(*jirafake.Site) error
			why   string
		}{
			"comment": {func(s *jirafake.Site) error { _, err := s.PersonComments(jane, "SIRT-2", "mine"); return err }, "Jane Doe has worked on it"},
			"edit":    {func(s *jirafake.Site) error { return s.PersonEdits(jane, "SIRT-2", "other") }, "Jane Doe has worked on it"},
			"move":    {func(s *jirafake.Site) error { return s.Transition("SIRT-2", "In Progress") }, "has worked on it"},
			"done":    {func(s *jirafake.Site) error { return s.Transition("SIRT-2", "Done") }, "it is done already"},
		} {
			site, c := twice(t, o)
			if err := tt.touch(site); err != nil {
				t.Fatal(err)
			}
			before, writes := parts(site), len(site.Journal())
			out := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d"), dup))
			if out.Closed || !strings.Contains(out.Why, tt.why) || parts(site) != before || len(site.Journal()) != writes {
				t.Errorf("%s: %+v, %s", name, out, parts(site))
			}
			in := dup
			in.Anyway = true
			if out := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d"), in)); out.Closed == (name == "done") {
				t.Errorf("%s, anyway: %+v", name, out)
			}
		}
		site, c := newSite(t, o)
		for range 2 {
			if _, err := site.PersonCreates(jane, jirafake.NewIssue{Summary: "by hand", Labels: []string{"funnel"}}); err != nil {
				t.Fatal(err)
			}
		}
		if out := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d"), dup)); out.Closed || out.Why != "Funnel did not open it" {
			t.Errorf("somebody's: %+v", out)
		}
		_, err := perform(t, c, CloseDuplicate, effect("d"), CloseDuplicateInput{Issue: "SIRT-2", Of: "SIRT-99"})
		wantCode(t, err, funnel.NotFound)
	})
}

// A history that is not all there does not prove that nobody has touched it.
func TestCloseDuplicateLongHistory(t *testing.T) {
	t.Parallel()
	site, c := twice(t, jirafake.Options{})
	if err := site.PersonEdits(jirafake.Person{AccountID: "jane", DisplayName: "Jane"}, "SIRT-2", "hers"); err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		must[UpdatedIssue](t)(perform(t, c, UpdateFields, effect("u"), UpdateFieldsInput{Issue: "SIRT-2", Summary: fmt.Sprint(i)}))
	}
	if out := must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("d"), dup)); out.Closed || !strings.HasPrefix(out.Why, "somebody") {
		t.Errorf("%+v", out)
	}
}

func TestCloseDuplicateBadAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"html": "<html>", "null": "null", "wrong types": `{"accountId":"me","id":"1","key":"SIRT-1","changelog":"x","comments":7}`,
		"no history": `{"accountId":"me","id":"1","key":"SIRT-2","comments":[],"fields":{"creator":{"accountId":"me"},"labels":["funnel"],"status":{"name":"To Do"}}}`,
	} {
		written := 0
		c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				written++
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}), newClock().now)
		out, err := perform(t, c, CloseDuplicate, effect("d"), dup)
		if err == nil && out.Closed || written != 0 {
			t.Errorf("%s: %+v, %v, %d writes", name, out, err, written)
		}
	}
}

// All three parts make a closed duplicate.
func TestDuplicateComplete(t *testing.T) {
	t.Parallel()
	for d, want := range map[duplicate]bool{
		{comment: "1", linked: true, done: true}: true, {comment: "1", linked: true, status: "done"}: true,
		{linked: true, done: true}: false, {comment: "1", done: true}: false, {comment: "1", linked: true, status: "To Do"}: false,
	} {
		if d.complete(dup) != want {
			t.Errorf("%+v: want %v", d, want)
		}
	}
}
