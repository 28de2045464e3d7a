package jirafake_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	if v == nil {
		return ""
	}
	if text, ok := v.(string); ok {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCreateAndRead(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	body := newIssue("Malware on WS-0042", "zeta", "alpha", "zeta")
	body["properties"] = []obj{{"key": "funnel.effect", "value": obj{"key": "abc"}}}
	c := must[created](s, 201, "POST", "/rest/api/3/issue", body)
	if c.Key != "SIRT-1" || c.ID != "10001" || c.Self != s.server.URL+"/rest/api/3/issue/10001" {
		t.Fatalf("created %+v", c)
	}
	for _, ref := range []string{c.Key, c.ID} {
		got := must[struct {
			Fields struct {
				Summary     string
				Labels      []string
				Status      struct{ StatusCategory struct{ Key string } }
				Description json.RawMessage
				Creator     struct{ AccountID string }
			}
			Properties map[string]obj
		}](s, 200, "GET", "/rest/api/3/issue/"+ref+"?properties=funnel.effect", nil)
		f := got.Fields
		if f.Summary != "Malware on WS-0042" || !slices.Equal(f.Labels, []string{"alpha", "zeta"}) || f.Status.StatusCategory.Key != "new" ||
			jirafake.Text(f.Description) != "text of Malware on WS-0042" || f.Creator.AccountID != jirafake.DefaultAccountID {
			t.Errorf("read by %s: %+v", ref, f)
		}
		if got.Properties["funnel.effect"]["key"] != "abc" {
			t.Errorf("properties: %v", got.Properties)
		}
	}
	few := must[struct{ Fields map[string]any }](s, 200, "GET", "/rest/api/3/issue/SIRT-1?fields=summary,status", nil)
	if len(few.Fields) != 2 {
		t.Errorf("asked for two fields, got %v", few.Fields)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	s.create("Existing")
	field := func(name string, value any) obj {
		b := newIssue("ok")
		if value == nil {
			delete(b["fields"].(obj), name)
		} else {
			b["fields"].(obj)[name] = value
		}
		return b
	}
	const issues, comments = "/rest/api/3/issue", "/rest/api/3/issue/SIRT-1/comment"
	for name, tt := range map[string]struct {
		method, path string
		body         any
		status       int
		says         string
	}{
		"no summary":            {"POST", issues, field("summary", nil), 400, `"summary":"You must specify a summary`},
		"summary of two lines":  {"POST", issues, field("summary", "a\nb"), 400, "newline characters"},
		"summary too long":      {"POST", issues, field("summary", strings.Repeat("é", 256)), 400, "255 characters"},
		"summary of 255":        {"POST", issues, field("summary", strings.Repeat("é", 255)), 201, "key"},
		"unknown project":       {"POST", issues, field("project", obj{"key": "X"}), 400, `"project"`},
		"no project":            {"POST", issues, field("project", nil), 400, `"project"`},
		"unknown type":          {"POST", issues, field("issuetype", obj{"name": "X"}), 400, "valid issue type"},
		"unknown priority":      {"POST", issues, field("priority", obj{"name": "Urgent"}), 400, "priority selected is invalid"},
		"label with a space":    {"POST", issues, field("labels", []string{"a b"}), 400, "contains spaces"},
		"unknown field":         {"POST", issues, field("customfield_1", "x"), 400, "cannot be set"},
		"description as string": {"POST", issues, field("description", "text"), 400, "must be an Atlassian Document"},
		"illegal document":      {"POST", issues, field("description", obj{"type": "doc", "version": 1, "content": []obj{{"type": "text", "text": "x"}}}), 400, "INVALID_INPUT"},
		"description too long":  {"POST", issues, field("description", para(strings.Repeat("x", 32768))), 400, "32,767"},
		"not JSON":              {"POST", issues, "{", 400, "parsing JSON"},
		"unknown issue":         {"GET", issues + "/SIRT-77", nil, 404, "Issue does not exist"},
		"comment as string":     {"POST", comments, obj{"body": "text"}, 400, "Atlassian Document"},
		"comment without body":  {"POST", comments, obj{}, 400, "can not be empty"},
		"unknown comment":       {"PUT", comments + "/1", obj{"body": para("x")}, 404, "Can not find a comment"},
		"odd order":             {"GET", comments + "?orderBy=author", nil, 400, "orderBy"},
		"transition as number":  {"POST", issues + "/SIRT-1/transitions", obj{"transition": obj{"id": 31}}, 400, "transition"},
		"unknown transition":    {"POST", issues + "/SIRT-1/transitions", obj{"transition": obj{"id": "99"}}, 400, "not valid"},
		"unknown property":      {"GET", issues + "/SIRT-1/properties/x", nil, 404, "does not exist"},
		"property not JSON":     {"PUT", issues + "/SIRT-1/properties/x", "{", 400, "valid JSON"},
		"property too long":     {"PUT", issues + "/SIRT-1/properties/x", `"` + strings.Repeat("x", 32768) + `"`, 400, "32768"},
		"old search":            {"GET", "/rest/api/3/search?jql=project=SIRT", nil, 410, "CHANGE-2046"},
		"old search by post":    {"POST", "/rest/api/3/search", obj{}, 410, "CHANGE-2046"},
		"unknown route":         {"GET", "/rest/api/3/nonsense", nil, 404, "errorMessages"},
		"unknown method":        {"PATCH", issues + "/SIRT-1", nil, 404, "errorMessages"},
		"link to itself":        {"POST", "/rest/api/3/issueLink", obj{"type": obj{"name": "Relates"}, "inwardIssue": obj{"key": "SIRT-1"}, "outwardIssue": obj{"key": "SIRT-1"}}, 400, "itself"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, answer := s.send(tt.method, tt.path, tt.body)
			if code != tt.status || !strings.Contains(string(answer), tt.says) {
				t.Errorf("status %d, want %d with %q: %s", code, tt.status, tt.says, answer)
			}
		})
	}
	if n := len(s.Journal()); n != 2 { // "Existing" and the summary of 255
		t.Errorf("%d journal entries, want 2: refused requests do not belong into the journal", n)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	for name, tt := range map[string]struct {
		set  func(*http.Request)
		want int
	}{
		"none":        {func(*http.Request) {}, 401},
		"basic":       {func(r *http.Request) { r.SetBasicAuth(jirafake.DefaultEmail, jirafake.DefaultToken) }, 200},
		"wrong token": {func(r *http.Request) { r.SetBasicAuth(jirafake.DefaultEmail, "x") }, 401},
		"wrong email": {func(r *http.Request) { r.SetBasicAuth("x@example.com", jirafake.DefaultToken) }, 401},
		"bearer":      {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+jirafake.DefaultToken) }, 200},
		"bad bearer":  {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401},
		"no bearer":   {func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, 401},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "GET", s.server.URL+"/rest/api/3/myself", nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.set(req)
			resp, err := s.server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
}

func TestComments(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := start(t, jirafake.Options{Now: clk.now})
	s.create("One")
	const path = "/rest/api/3/issue/SIRT-1/comment"
	var ids []string
	for i := range 120 {
		c := must[created](s, 201, "POST", path, obj{"body": para(fmt.Sprint("no ", i)), "properties": []obj{{"key": "n", "value": i}}})
		ids = append(ids, c.ID)
	}
	type list struct {
		StartAt, MaxResults, Total int
		Comments                   []struct {
			ID         string
			Body       json.RawMessage
			Properties []struct {
				Key   string
				Value any
			}
		}
	}
	for query, want := range map[string]struct {
		n     int
		first string
	}{
		"":                               {50, "no 0"},
		"?maxResults=500":                {100, "no 0"},
		"?startAt=100":                   {20, "no 100"},
		"?startAt=500":                   {0, ""},
		"?orderBy=-created":              {50, "no 119"},
		"?orderBy=created&maxResults=10": {10, "no 0"},
	} {
		l := must[list](s, 200, "GET", path+query, nil)
		if len(l.Comments) != want.n || l.Total != 120 || want.n > 0 && jirafake.Text(l.Comments[0].Body) != want.first {
			t.Errorf("%q: %d comments of %d, want %d from %q", query, len(l.Comments), l.Total, want.n, want.first)
		}
		if want.n > 0 && l.Comments[0].Properties != nil {
			t.Errorf("%q: properties without being asked", query)
		}
	}
	l := must[list](s, 200, "GET", path+"?expand=properties", nil)
	if p := l.Comments[7].Properties; len(p) != 1 || p[0].Key != "n" || p[0].Value != 7.0 {
		t.Errorf("properties: %v", p)
	}
	clk.add(1e9)
	must[any](s, 200, "PUT", path+"/"+ids[3], obj{"body": para("changed")})
	c := first(s.Issue("SIRT-1")).Comments[3]
	if jirafake.Text(c.Body) != "changed" || !c.Updated.After(c.Created) || string(c.Properties["n"]) != "3" {
		t.Errorf("changed comment: %+v", c)
	}
}

func TestEdits(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	s.create("One", "a", "b")
	s.create("Two")
	must[any](s, 204, "PUT", "/rest/api/3/issue/SIRT-1", obj{
		"fields": obj{"summary": "Uno"}, "update": obj{"labels": []obj{{"add": "c"}, {"add": "a"}, {"remove": "b"}}},
	})
	must[any](s, 204, "POST", "/rest/api/3/issue/SIRT-1/transitions", obj{
		"transition": obj{"id": "31"}, "update": obj{"comment": []obj{{"add": obj{"body": para("closing")}}}},
	})
	link := obj{"type": obj{"name": "Duplicate"}, "inwardIssue": obj{"key": "SIRT-2"}, "outwardIssue": obj{"key": "SIRT-1"}}
	must[any](s, 201, "POST", "/rest/api/3/issueLink", link)
	must[any](s, 201, "POST", "/rest/api/3/issueLink", link)
	is, ok := s.Issue("SIRT-1")
	if !ok || is.Summary != "Uno" || !slices.Equal(is.Labels, []string{"a", "c"}) || is.Status != "Done" || len(is.Comments) != 1 {
		t.Errorf("after the edits: %+v", is)
	}
	if want := []jirafake.Link{{Type: "Duplicate", Source: "SIRT-2", Target: "SIRT-1"}}; !slices.Equal(is.Links, want) {
		t.Errorf("links %v, want %v", is.Links, want)
	}
	got := must[struct {
		Fields struct {
			Resolution *struct{ Name string }
			IssueLinks []struct {
				OutwardIssue *struct{ Key string }
			}
		}
	}](s, 200, "GET", "/rest/api/3/issue/SIRT-2", nil)
	if l := got.Fields.IssueLinks; len(l) != 1 || l[0].OutwardIssue == nil || l[0].OutwardIssue.Key != "SIRT-1" || got.Fields.Resolution != nil {
		t.Errorf("the source sees its target as outward issue: %+v", got)
	}
	var kinds []string
	for _, e := range s.Journal() {
		kinds = append(kinds, e.Kind)
	}
	want := []string{"create_issue", "create_issue", "update_issue", "transition", "link", "link"}
	if !slices.Equal(kinds, want) {
		t.Errorf("journal %v, want %v", kinds, want)
	}
}

func TestManyClients(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{IndexLag: jirafake.UniformLag(0, 1e6)})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				label := fmt.Sprintf("l-%d-%d", w, i)
				c := s.create("x", label)
				must[any](s, 201, "POST", "/rest/api/3/issue/"+c.Key+"/comment", obj{"body": para("hi")})
				s.search("labels = "+label, nil)
				s.send("GET", "/browse/"+c.Key, nil)
				s.Issues()
				s.Journal()
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, is := range s.Issues() {
		seen[is.Key] = true
		if len(is.Comments) != 1 {
			t.Errorf("%s has %d comments", is.Key, len(is.Comments))
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d different issues, want 200", len(seen))
	}
}
