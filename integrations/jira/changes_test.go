package jira

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestCreateIssue(t *testing.T) { everywhere(t, testCreateIssue) }

func testCreateIssue(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	in := CreateIssueInput{
		Project: "SIRT", IssueType: "Task", Summary: "one\nline", Description: says("why"), Labels: []string{"follow up", "follow-up", ""}, Priority: "High",
		Fields: map[string]json.RawMessage{jirafake.CustomField: json.RawMessage(`"x"`)},
	}
	key := effect("a")
	if _, found := lookUp(t, c, CreateIssue, key, in); found {
		t.Fatal("an issue that was not made was found")
	}
	made := must[CreatedIssue](t)(perform(t, c, CreateIssue, key, in))
	issue, _ := site.Issue(made.Key)
	if issue.Summary != "one line" || issue.Priority != "High" || issue.Custom != `"x"` || !slices.Contains(issue.Labels, "follow-up") || jirafake.Text(issue.Description) != "why" {
		t.Errorf("%+v", issue)
	}
	if found, ok := lookUp(t, c, CreateIssue, key, in); !ok || found != made {
		t.Errorf("found %v: %+v, want %+v", ok, found, made)
	}
	// Every call makes one: nothing is shared by a fingerprint.
	if again := must[CreatedIssue](t)(perform(t, c, CreateIssue, effect("b"), in)); again.Key == made.Key {
		t.Error("two calls made one issue")
	}
}

// An answer that is lost is looked up and not repeated.
func TestCreateIssueLostAnswer(t *testing.T) { everywhere(t, testCreateIssueLostAnswer) }

func testCreateIssueLostAnswer(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	site.Next(jirafake.IsCreate, jirafake.Fault{Kind: jirafake.AnswerLost})
	in := CreateIssueInput{Project: "SIRT", IssueType: "Task", Summary: "s"}
	_, err := perform(t, c, CreateIssue, effect("a"), in)
	if funnel.CodeOf(err) != funnel.Uncertain {
		t.Fatalf("the lost answer is %v", err)
	}
	if found, ok := lookUp(t, c, CreateIssue, effect("a"), in); !ok || found.Key != "SIRT-1" {
		t.Errorf("found %v: %+v", ok, found)
	}
	if _, ok := lookUp(t, c, CreateIssue, effect("b"), in); ok {
		t.Error("another effect is found too")
	}
}

func TestUpdateFields(t *testing.T) { everywhere(t, testUpdateFields) }

func testUpdateFields(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	text := says("new")
	in := UpdateFieldsInput{
		Issue: "SIRT-1", Summary: "other", Description: &text, Priority: "Low", AddLabels: []string{"a b", "c"}, RemoveLabels: []string{"d"},
		Fields: map[string]json.RawMessage{jirafake.CustomField: json.RawMessage(`"y"`)},
	}
	before, _ := site.Issue("SIRT-1")
	for range 2 { // repeating is harmless
		if out := must[UpdatedIssue](t)(perform(t, c, UpdateFields, effect("u"), in)); out.Issue != "SIRT-1" || out.URL != c.base.String()+"/browse/SIRT-1" {
			t.Errorf("%+v", out)
		}
		after, _ := site.Issue("SIRT-1")
		if after.Summary != "other" || after.Priority != "Low" || after.Custom != `"y"` || jirafake.Text(after.Description) != "new" {
			t.Errorf("%+v", after)
		}
		if want := slices.Sorted(slices.Values(append([]string{"a-b", "c"}, before.Labels...))); !slices.Equal(after.Labels, want) {
			t.Errorf("labels %q, want those that were there and the new ones %q", after.Labels, want)
		}
	}
}

func TestTransitionIssue(t *testing.T) { everywhere(t, testTransitionIssue) }

func testTransitionIssue(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	in := TransitionIssueInput{Issue: "SIRT-1", To: "in progress"}
	if _, found := lookUp(t, c, TransitionIssue, effect("t"), in); found {
		t.Fatal("a move that was not made was found")
	}
	if out := must[Transitioned](t)(perform(t, c, TransitionIssue, effect("t"), in)); out.Status != "In Progress" || out.Was != "To Do" {
		t.Errorf("%+v", out)
	}
	if out, found := lookUp(t, c, TransitionIssue, effect("t"), in); !found || out.Status != "In Progress" {
		t.Errorf("found %v: %+v", found, out)
	}
	if out := must[Transitioned](t)(perform(t, c, TransitionIssue, effect("t2"), in)); out.Was != "" {
		t.Errorf("an issue that is there already was moved: %+v", out)
	}
	if n := len(site.Journal(jirafake.KindTransition)); n != 1 {
		t.Errorf("%d transitions, want 1", n)
	}
	_, err := perform(t, c, TransitionIssue, effect("t3"), TransitionIssueInput{Issue: "SIRT-1", To: "Nirvana"})
	if funnel.CodeOf(err) != funnel.Conflict || !strings.Contains(err.Error(), "To Do, In Progress, Done") || strings.Contains(err.Error(), "Nirvana") {
		t.Errorf("an unknown status: %v", err)
	}
}

func TestAssignIssue(t *testing.T) { everywhere(t, testAssignIssue) }

func testAssignIssue(t *testing.T, o jirafake.Options) {
	o.People = []jirafake.Person{
		{AccountID: "a1", Name: "jd1", DisplayName: "Jane Doe", Email: "jane@example.com"}, {AccountID: "a2", DisplayName: "Jane Doe"}, {AccountID: "a3", DisplayName: "Jane Doe-Roe"},
	}
	site, c := newSite(t, o)
	must[Ticket](t)(perform(t, c, OpenTicket, effect("ticket"), ticketInput()))
	people := map[string]string{"jane@example.com": "a1", "JANE@example.com": "a1", "a2": "a2", "jane doe-roe": "a3", "": ""}
	if o.Deployment == jirafake.DataCenter {
		people["JD1"] = "a1"
	}
	for wanted, id := range people {
		out := must[Assigned](t)(perform(t, c, AssignIssue, effect("x"+id), AssignIssueInput{Issue: "SIRT-1", Assignee: wanted}))
		issue, _ := site.Issue("SIRT-1")
		if issue.Assignee.AccountID != id || out.Assignee.Account != id {
			t.Errorf("%q: %+v, the site says %+v", wanted, out, issue.Assignee)
		}
	}
	for _, wanted := range []string{"Jane Doe", "Jane", "nobody@example.com", "*"} {
		if _, err := perform(t, c, AssignIssue, effect("y"), AssignIssueInput{Issue: "SIRT-1", Assignee: wanted}); funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("%q: %v", wanted, err)
		}
	}
	if n := len(site.Journal(jirafake.KindAssign)); n != len(people) {
		t.Errorf("%d assignments, want %d", n, len(people))
	}
}

// What is wrong is refused before Jira is asked.
func TestChangesRefused(t *testing.T) {
	t.Parallel()
	asked := 0
	c := connectTo(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }), newClock().now)
	custom := func(name, value string) map[string]json.RawMessage {
		return map[string]json.RawMessage{name: json.RawMessage(value)}
	}
	check := func(what string, err error) {
		t.Helper()
		if funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, in := range map[string]CreateIssueInput{
		"project": {Project: "../x", IssueType: "Task"}, "type": {Project: "SIRT"}, "label": {Project: "SIRT", IssueType: "Task", Labels: []string{"funnel-fp-x"}},
		"field": {Project: "SIRT", IssueType: "Task", Fields: custom("project", `{}`)}, "size": {Project: "SIRT", IssueType: "Task", Fields: custom("customfield_1", `"`+strings.Repeat("x", maxCustom)+`"`)},
	} {
		_, err := perform(t, c, CreateIssue, effect("a"), in)
		check("create: "+what, err)
	}
	for what, in := range map[string]UpdateFieldsInput{
		"issue": {Issue: "SIRT-1/../x", Summary: "s"}, "nothing": {Issue: "SIRT-1"}, "label": {Issue: "SIRT-1", RemoveLabels: []string{"funnel"}},
		"field": {Issue: "SIRT-1", Fields: custom("labels", `[]`)},
	} {
		_, err := perform(t, c, UpdateFields, effect("a"), in)
		check("update: "+what, err)
	}
	_, err := perform(t, c, TransitionIssue, effect("a"), TransitionIssueInput{Issue: "x", To: "Done"})
	check("transition", err)
	_, err = perform(t, c, AssignIssue, effect("a"), AssignIssueInput{Issue: "x"})
	check("assign", err)
	if asked != 0 {
		t.Errorf("Jira was asked %d times", asked)
	}
}

// Hostile and broken answers are no success, and nothing of them becomes a path.
func TestChangesBadAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"html": "<html>", "null": "null", "wrong types": `{"transitions":"x","fields":7}`, "path as id": `{"id":"1","key":"SIRT-1","fields":{"status":{"name":"x"}},"transitions":[{"id":"../../x","to":{"name":"Done"}}]}`,
		"no transitions": `{"id":"1","key":"SIRT-1"}`, "list": `[{"accountId":""}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			written := 0
			c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					written++
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(body))
			}), newClock().now)
			if out, err := perform(t, c, TransitionIssue, effect("a"), TransitionIssueInput{Issue: "SIRT-1", To: "Done"}); err == nil {
				t.Errorf("transition: %+v", out)
			}
			if out, err := perform(t, c, AssignIssue, effect("a"), AssignIssueInput{Issue: "SIRT-1", Assignee: "a"}); err == nil {
				t.Errorf("assign: %+v", out)
			}
			if written != 0 {
				t.Errorf("%d writes after answers that cannot be believed", written)
			}
			if _, err := perform(t, c, UpdateFields, effect("a"), UpdateFieldsInput{Issue: "SIRT-1", Summary: "s"}); funnel.CodeOf(err) != funnel.Uncertain {
				t.Errorf("update with the answer 200: %v", err)
			}
		})
	}
}
