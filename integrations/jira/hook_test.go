package jira

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

func arrivalOf[E any](t *testing.T, trigger funnel.Trigger[E], name string) (funnel.AnyArrival, E) {
	t.Helper()
	var e E
	found, err := trigger.Spec().Decode(delivery(captured(t, name)))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %d arrivals, error %v", name, len(found), err)
	}
	if err := json.Unmarshal(found[0].Event, &e); err != nil {
		t.Fatal(err)
	}
	return found[0], e
}

func TestIssueUpdated(t *testing.T) {
	t.Parallel()
	_, e := arrivalOf(t, IssueUpdated, "webhook-issue-updated-resolved.json")
	at := time.UnixMilli(1550286940507).UTC()
	want := IssueUpdate{
		ID: "10040", Key: "TES-41", Project: "TES", Summary: "Unit test summary 1", Status: "Done", StatusWas: "In Progress", StatusCategory: "done", Done: true,
		Labels: []string{"test-label"}, Reason: "issue_generic", By: Person{Account: "5c5f880629be9642ba529340", Name: "Test User"}, At: &at,
		URL: "https://some-instance-test.atlassian.net/browse/TES-41",
		Changes: []FieldChange{
			{Field: "resolution", Name: "resolution", To: "Done", ToID: "10000"},
			{Field: "status", Name: "status", From: "In Progress", To: "Done", FromID: "3", ToID: "10002"},
		},
	}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("got  %+v\nwant %+v", e, want)
	}
	if c, ok := e.Change("Status"); !e.StatusChanged() || !ok || c.To != "Done" {
		t.Errorf("status %+v", c)
	}
	if _, e := arrivalOf(t, IssueUpdated, "webhook-issue-updated-labels.json"); e.StatusChanged() || e.Changes[0].From != "bad test-label" || e.Changes[0].To != "sad test-label" {
		t.Errorf("labels: %+v", e)
	}
	// Jira Server tells no IDs of fields.
	if _, e := arrivalOf(t, IssueUpdated, "webhook-server-issue-updated-closed.json"); e.StatusWas != "Resolved" || e.Changes[0].Field != "status" || e.By.Account != "admin" {
		t.Errorf("of Jira Server: %+v", e)
	}
}

func TestCommentCreated(t *testing.T) {
	t.Parallel()
	a, e := arrivalOf(t, CommentCreated, "webhook-cloud-comment-created.json")
	if a.Actor != "5c5f880629be9642ba529340" || e.ID != "10019" || e.IssueID != "10040" || e.Key != "TES-41" || e.Project != "TES" || e.Body != "Added a comment" || e.Restricted ||
		e.URL != "https://some-instance-test.atlassian.net/browse/TES-41?focusedCommentId=10019" || e.Author.Name != "Test User" || e.Observables.Observables == nil {
		t.Errorf("arrival %+v, event %+v", a, e)
	}
	// Jira Server tells the issue only in the comment's address.
	if a, e := arrivalOf(t, CommentCreated, "webhook-server-comment-created.json"); a.Actor != "user-a" || e.IssueID != "10013" || e.Key != "" || e.Body != "unik" {
		t.Errorf("of Jira Server: arrival %+v, event %+v", a, e)
	}
	var texts []string
	req := delivery([]byte(`{"webhookEvent":"comment_created","comment":{"id":"1","body":"see 192.0.2.1\u202e","visibility":{"type":"role","value":"Administrators"}},"issue":{"id":"2","key":"SIRT-1"}}`))
	req.Observe = func(_ []funnel.Observable, text string) []funnel.Observable {
		texts = append(texts, text)
		return []funnel.Observable{{Kind: funnel.IP, Value: "192.0.2.1", Field: "text"}}
	}
	found, err := CommentCreated.Spec().Decode(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(found[0].Event, &e); err != nil || !e.Restricted || e.Body != "see 192.0.2.1" || e.Observable(funnel.IP) != "192.0.2.1" || len(texts) != 1 {
		t.Errorf("event %+v, looked at %q", e, texts)
	}
}

func TestOddWebhooks(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"webhookEvent":"jira:issue_updated","issue":{"id":"1","key":"SIRT-1"},"issue_event_type_name":"issue_commented","comment":{"id":"7"}}`:    "ignored",
		`{"webhookEvent":"jira:issue_updated","issue":{"id":"1","key":"SIRT-1"},"changelog":{"id":8,"items":[{"field":"x","from":[1],"to":null}]}}`: "jira.issue_updated jira.issue_updated:jira:8 by ",
		`{"webhookEvent":"jira:issue_updated","issue":{"id":"1","key":"SIRT-1"},"changelog":{"id":"8/../9","items":[{"field":"x"}]}}`:               "jira.issue_updated jira.issue_updated:jira: by ",
		`{"webhookEvent":"jira:issue_updated","issue":{"id":"1"},"changelog":{"items":[{"field":"x"}]}}`:                                            "reading a Jira webhook: /issue/key is missing or not the key of an issue",
		`{"webhookEvent":"jira:issue_updated","issue":"SIRT-1"}`:                                                                                    errShape.Error(),
		`{"webhookEvent":"comment_created","comment":{"id":"x"}}`:                                                                                   "reading a Jira webhook: /comment/id is missing or not a number",
		`{"webhookEvent":"comment_created","comment":{"id":"1"}}`:                                                                                   "reading a Jira webhook: /issue/id is missing or not a number",
		`{"webhookEvent":"comment_created","comment":{"id":"1","self":"/rest/api/2/issue/x/comment/1"}}`:                                            "reading a Jira webhook: /issue/id is missing or not a number",
		`{"webhookEvent":"comment_updated","comment":{"id":"1"}}`:                                                                                   "ignored",
	} {
		if got := becomes(t, []byte(body)); got != want {
			t.Errorf("%s:\n%s, want\n%s", body, got, want)
		}
	}
}

// What no trigger needs spoils no other trigger's event.
func TestPartsAreApart(t *testing.T) {
	t.Parallel()
	body := `{"webhookEvent":"jira:issue_created","issue":{"id":"1","key":"SIRT-1"},"changelog":"?","comment":[]}`
	if got := becomes(t, []byte(body)); got != "jira.issue_created jira.issue_created:jira:1 by " {
		t.Error(got)
	}
}

func FuzzWebhooks(f *testing.F) {
	files, err := filepath.Glob("testdata/webhook-*.json")
	if err != nil || len(files) < 8 {
		f.Fatalf("%d captures: %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, trigger := range Integration().Triggers {
			found, err := trigger.Spec().Decode(delivery(body))
			var ignored funnel.Ignored
			switch {
			case errors.As(err, &ignored):
			case err != nil && funnel.CodeOf(err) != funnel.Invalid:
				t.Fatalf("%s: error %v", trigger.Spec().ID, err)
			case err == nil:
				var e struct {
					Key     string
					Body    string
					Changes []FieldChange
				}
				if err := json.Unmarshal(found[0].Event, &e); err != nil || found[0].Key != "" && !isID(found[0].Key) || e.Key != "" && !isIssueKey(e.Key) {
					t.Fatalf("event %s with key %q", found[0].Event, found[0].Key)
				}
				if len(e.Changes) > maxChanges || units(e.Body) > maxComment || strings.ContainsRune(e.Body, '\u202e') {
					t.Fatalf("event %s", found[0].Event)
				}
			}
		}
	})
}
