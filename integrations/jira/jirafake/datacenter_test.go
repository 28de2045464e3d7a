package jirafake_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

type wikiComment struct {
	ID         string
	Body       any
	Author     map[string]any
	Properties []struct{ Key string }
}

func TestDataCenter(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{Deployment: jirafake.DataCenter})
	me := must[map[string]any](s, 200, "GET", "/rest/api/2/myself", nil)
	if me["key"] != jirafake.DefaultUserKey || me["name"] != "funnel" || me["accountId"] != nil {
		t.Errorf("we are %v", me)
	}
	if info := must[map[string]any](s, 200, "GET", "/rest/api/2/serverInfo", nil); info["deploymentType"] != "Server" {
		t.Errorf("the site is %v", info)
	}
	must[any](s, 404, "GET", "/rest/api/3/myself", nil)
	must[any](s, 404, "GET", "/rest/api/2/search/jql?jql=project=SIRT", nil)

	markup := "h1. Title\n\n*bold* [~jdoe] [x|http://evil.test] !x.png! {html}<b>{html}\n\n||a||b||\n|1|2|"
	made := must[created](s, 201, "POST", "/rest/api/2/issue", obj{"fields": obj{
		"project": obj{"key": "SIRT"}, "issuetype": obj{"name": "Task"}, "summary": "x", "description": markup,
	}})
	must[any](s, 400, "POST", "/rest/api/2/issue", newIssue("an Atlassian document"))
	issue := must[struct{ Fields struct{ Description any } }](s, 200, "GET", "/rest/api/2/issue/"+made.Key, nil)
	if issue.Fields.Description != markup {
		t.Errorf("the description is %v", issue.Fields.Description)
	}
	e := s.Journal(jirafake.KindCreateIssue)[0]
	if e.Mentions != 1 || e.Links != 1 || e.Media != 1 || e.Macros != 1 || !slices.Equal(e.Targets, []string{"jdoe", "http://evil.test"}) {
		t.Errorf("the journal says %+v", e)
	}
	_, _, page := s.send("GET", "/browse/SIRT-1", nil)
	for _, want := range []string{`<h3 class="h">Title</h3>`, "<strong>bold</strong>", `<span class="mention">@jdoe</span>`, "<th>", "{html}"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	if strings.Contains(string(page), "<b>") {
		t.Error("the page shows HTML from a text")
	}
	must[any](s, 400, "PUT", "/rest/api/2/issue/SIRT-1/assignee", obj{"accountId": jirafake.DefaultUserKey})
	must[any](s, 204, "PUT", "/rest/api/2/issue/SIRT-1/assignee", obj{"name": "funnel"})
	long := strings.Repeat("x", 32768)
	must[any](s, 400, "POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": long})
	must[any](s, 201, "POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": long[1:]})
	must[any](s, 400, "POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": " \n"})
}

func TestDataCenterCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{Deployment: jirafake.DataCenter})
	for header, want := range map[string]int{"Bearer " + jirafake.DefaultToken: 200, "bearer wrong": 401, "": 401, "Basic ZnVubmVsQGV4YW1wbGUuY29tOnNpbXVsYXRlZC10b2tlbg==": 401} {
		req, err := http.NewRequest("GET", s.server.URL+"/rest/api/2/myself", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", header)
		res, err := s.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%q: status %d, want %d", header, res.StatusCode, want)
		}
	}
}

func TestOldComments(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		s := start(t, jirafake.Options{Deployment: jirafake.DataCenter, OldComments: old})
		if _, err := s.PersonCreates(jirafake.Person{AccountID: "JIRAUSER10200", Name: "jdoe", DisplayName: "Jane Doe"}, jirafake.NewIssue{Summary: "x"}); err != nil {
			t.Fatal(err)
		}
		must[wikiComment](s, 201, "POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": "x", "properties": []obj{{"key": "p", "value": 1}}})
		list := must[struct{ Comments []wikiComment }](s, 200, "GET", "/rest/api/2/issue/SIRT-1/comment?expand=properties", nil).Comments
		if n := len(list[0].Properties); old != (n == 0) || list[0].Author["key"] != jirafake.DefaultUserKey {
			t.Errorf("old %v: %d properties, author %v", old, n, list[0].Author)
		}
	}
}

// TestOldSearch: pages are counted by offsets, and large ones are cut.
func TestOldSearch(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{Deployment: jirafake.DataCenter, SearchPage: 3})
	for range 7 {
		if _, err := s.PersonCreates(jirafake.Person{AccountID: "1"}, jirafake.NewIssue{Summary: "x", Labels: []string{"l"}}); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		StartAt, MaxResults, Total int
		Issues                     []struct{ Key string }
	}
	var keys []string
	for start := 0; start < 7; start += 3 {
		got := must[answer](s, 200, "POST", "/rest/api/2/search", obj{"jql": "labels = l ORDER BY created ASC", "startAt": start, "maxResults": 50, "fields": []string{"summary"}})
		if got.StartAt != start || got.MaxResults != 3 || got.Total != 7 {
			t.Errorf("page %+v", got)
		}
		for _, i := range got.Issues {
			keys = append(keys, i.Key)
		}
	}
	if want := "SIRT-1 SIRT-2 SIRT-3 SIRT-4 SIRT-5 SIRT-6 SIRT-7"; strings.Join(keys, " ") != want {
		t.Errorf("found %v", keys)
	}
	if got := must[answer](s, 200, "GET", "/rest/api/2/search?jql=labels%20%3D%20l&startAt=99", nil); len(got.Issues) != 0 || got.Total != 7 {
		t.Errorf("beyond the end: %+v", got)
	}
}

// TestCloudVersion2: a client that speaks version 2 to Cloud writes and reads markup; the site keeps a document.
func TestCloudVersion2(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	s.create("One")
	must[wikiComment](s, 201, "POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": "a *b*"})
	if got := must[struct{ Comments []wikiComment }](s, 200, "GET", "/rest/api/2/issue/SIRT-1/comment", nil).Comments[0].Body; got != "a b" {
		t.Errorf("version 2 reads %v", got)
	}
	got := must[struct {
		Comments []struct{ Body json.RawMessage }
	}](s, 200, "GET", "/rest/api/3/issue/SIRT-1/comment", nil).Comments[0].Body
	if want := `{"type":"doc","version":1,"content":[{"type":"paragraph","content":[{"type":"text","text":"a "},{"type":"text","text":"b","marks":[{"type":"strong"}]}]}]}`; string(got) != want {
		t.Errorf("version 3 reads %s", got)
	}
	must[any](s, 410, "GET", "/rest/api/2/search?jql=project=SIRT", nil)
}

func TestDataCenterLimit(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := start(t, jirafake.Options{Deployment: jirafake.DataCenter, Now: c.now, IssueWriteLimit: 1, IssueWriteWindow: time.Minute})
	if _, err := s.PersonCreates(jirafake.Person{AccountID: "1"}, jirafake.NewIssue{Summary: "x"}); err != nil {
		t.Fatal(err)
	}
	must[any](s, 201, "POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": "x"})
	code, header, _ := s.send("POST", "/rest/api/2/issue/SIRT-1/comment", obj{"body": "x"})
	if code != 429 || header.Get("Retry-After") != "60" || header.Get("X-RateLimit-Remaining") != "0" || header.Get("X-RateLimit-Interval-Seconds") != "60" || header.Get("RateLimit-Reason") != "" {
		t.Errorf("status %d, %v", code, header)
	}
}

// TestDataCenterWebhooks compares the shape of the site's webhooks with captured ones of a Jira Server.
func TestDataCenterWebhooks(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "jira", "webhooks")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("NOT COMPARED with captured webhooks: %s is absent (it lies beside the module, not in it)", folder)
	}
	bodies := make(chan []byte, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Atlassian-Webhook-Identifier") == "" || r.Header.Get("X-Hub-Signature") == "" {
			t.Errorf("headers %v", r.Header)
		}
		bodies <- b
	}))
	t.Cleanup(hook.Close)
	s := start(t, jirafake.Options{Deployment: jirafake.DataCenter, WebhookURL: hook.URL, WebhookSecret: "secret"})
	jane := jirafake.Person{AccountID: "jdoe", Name: "jdoe", DisplayName: "Jane Doe", Email: "jdoe@example.com"}
	if _, err := s.PersonCreates(jane, jirafake.NewIssue{Summary: "x", Description: "*x*"}); err != nil {
		t.Fatal(err)
	}
	next := func() map[string]any {
		var v map[string]any
		if err := json.Unmarshal(<-bodies, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if text := next()["issue"].(map[string]any)["fields"].(map[string]any)["description"]; text != "*x*" {
		t.Errorf("the description is %v", text)
	}
	if _, err := s.PersonComments(jane, "SIRT-1", "hello"); err != nil {
		t.Fatal(err)
	}
	comment := next()
	if err := s.Transition("SIRT-1", "Done"); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]map[string]any{"webhook-server-comment-created.json": comment, "webhook-server-issue-updated-closed.json": next()} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		sameShape(t, name, got, want)
	}
}

// sameShape reports what ours has and the captured one has not, or of another kind; the captured one has more.
func sameShape(t *testing.T, path string, got, want any) {
	t.Helper()
	switch g := got.(type) {
	case map[string]any:
		w, ok := want.(map[string]any)
		if !ok && want != nil {
			t.Errorf("%s: an object where the captured webhook has %T", path, want)
		}
		for k, v := range g {
			if _, known := w[k]; !known && ok {
				t.Errorf("%s/%s: the captured webhook has no such field", path, k)
			} else if ok {
				sameShape(t, path+"/"+k, v, w[k])
			}
		}
	case string:
		if _, ok := want.(string); !ok && want != nil {
			t.Errorf("%s: a string where the captured webhook has %T", path, want)
		}
	case float64:
		if _, ok := want.(float64); !ok && want != nil {
			t.Errorf("%s: a number where the captured webhook has %T", path, want)
		}
	}
}
