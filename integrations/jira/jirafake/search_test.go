package jirafake_test

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestSearchTerms(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := start(t, jirafake.Options{Now: clk.now, Projects: []jirafake.Project{{Key: "SIRT"}, {Key: "OPS", Name: "Operations"}}})
	s.create("1", "a", "b")
	clk.add(time.Hour)
	s.create("2", "a")
	if _, err := s.PersonCreates(jirafake.Person{DisplayName: "Jane Doe"}, jirafake.NewIssue{Project: "OPS", Summary: "3", Labels: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Transition("SIRT-2", "Done"); err != nil {
		t.Fatal(err)
	}
	for jql, want := range map[string]string{
		`project = SIRT`:       "SIRT-2 SIRT-1",
		`project = "SIRT"`:     "SIRT-2 SIRT-1",
		`project = Operations`: "OPS-1",
		`project = SIRT AND labels = "a" ORDER BY created ASC`: "SIRT-1 SIRT-2",
		`project=SIRT and labels=a order by created desc`:      "SIRT-2 SIRT-1",
		`labels = "a" AND labels = 'b'`:                        "SIRT-1",
		`labels = nothing`:                                     "",
		`status = "To Do"`:                                     "OPS-1 SIRT-1",
		`status != Done AND labels = a AND project = SIRT`:     "SIRT-1",
		`statusCategory = Done`:                                "SIRT-2",
		`statusCategory != Done AND project = SIRT`:            "SIRT-1",
		`created >= "2026-11-03 10:00"`:                        "OPS-1 SIRT-2",
		`created >= -30m`:                                      "OPS-1 SIRT-2",
		`created < 2026-11-03`:                                 "",
		`project = SIRT AND created <= -1h`:                    "SIRT-1",
		`labels = "a\"b"`:                                      "",
	} {
		if got := strings.Join(s.search(jql, nil).keys(), " "); got != want {
			t.Errorf("%s: %q, want %q", jql, got, want)
		}
	}
	if e := s.Journal(jirafake.KindSearch); len(e) == 0 || e[0].JQL == "" {
		t.Error("searches are not in the journal")
	}
}

func TestSearchRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	for jql, says := range map[string]string{
		"":                                "Unbounded",
		"ORDER BY created DESC":           "Unbounded",
		"project = X":                     "does not exist for the field 'project'",
		"status = Nowhere":                "does not exist for the field 'status'",
		"assignee = me":                   "Field 'assignee' does not exist",
		"labels ~ x":                      "operator '~'",
		"labels in (a, in)":               "reserved",
		"labels in (a, b":                 "Expecting ')'",
		"labels in ()":                    "reserved",
		"labels in a":                     "Expecting '('",
		"project in (SIRT, HR)":           "operator 'in'",
		"project = SIRT OR labels = a":    "Expecting either 'AND'",
		"project = SIRT AND":              "Expecting a field",
		"project =":                       "Expecting a value",
		`labels = "x`:                     "has not been completed",
		"project = SIRT ORDER BY updated": "orders by created",
		"created >= yesterday":            "Date value",
		`project = SIRT; labels = x`:      "", // the semicolon belongs to the value
	} {
		code, _, answer := s.send("POST", "/rest/api/3/search/jql", obj{"jql": jql})
		if code != 400 || !strings.Contains(string(answer), says) {
			t.Errorf("%q: status %d %s, want 400 with %q", jql, code, answer, says)
		}
	}
	for name, body := range map[string]obj{
		"page too large":        {"maxResults": 5001},
		"page too small":        {"maxResults": 0},
		"too many to reconcile": {"reconcileIssues": make([]int, 51)},
		"invented token":        {"nextPageToken": "abc"},
	} {
		body["jql"] = "project = SIRT"
		if code, _, answer := s.send("POST", "/rest/api/3/search/jql", body); code != 400 {
			t.Errorf("%s: status %d %s, want 400", name, code, answer)
		}
	}
}

func TestSearchPages(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	for range 7 {
		s.create("x", "l")
	}
	var got []string
	more := obj{"maxResults": 3}
	for pages := 1; ; pages++ {
		p := s.search("labels = l", more)
		got = append(got, p.keys()...)
		if p.IsLast {
			if p.NextPageToken != "" || pages != 3 {
				t.Errorf("last page %d with token %q, want page 3 without", pages, p.NextPageToken)
			}
			break
		}
		more["nextPageToken"] = p.NextPageToken
	}
	if want := "SIRT-7 SIRT-6 SIRT-5 SIRT-4 SIRT-3 SIRT-2 SIRT-1"; strings.Join(got, " ") != want {
		t.Errorf("pages gave %v, want %s", got, want)
	}
	if code, _, _ := s.send("POST", "/rest/api/3/search/jql", obj{"jql": "labels = other", "nextPageToken": more["nextPageToken"]}); code != 400 {
		t.Errorf("the token of another query: status %d, want 400", code)
	}
	byGet := must[struct{ Issues []obj }](s, 200, "GET", "/rest/api/3/search/jql?maxResults=1&jql="+url.QueryEscape("labels = l"), nil)
	if len(byGet.Issues) != 1 || len(byGet.Issues[0]) != 1 || byGet.Issues[0]["id"] != "10007" {
		t.Errorf("by default only the id is answered: %v", byGet.Issues)
	}
}

func TestIndexLag(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := start(t, jirafake.Options{Now: clk.now, IndexLag: jirafake.UniformLag(10*time.Second, 10*time.Second)})
	s.create("x", "old")
	find := func(label string, more obj) int { return len(s.search("labels = "+label, more).Issues) }
	if find("old", nil) != 0 {
		t.Error("a new issue is found at once")
	}
	if find("old", obj{"reconcileIssues": []int{10001}}) != 1 {
		t.Error("reconcileIssues does not find the new issue")
	}
	clk.add(10 * time.Second)
	if find("old", nil) != 1 {
		t.Error("the issue is not found when its lag is over")
	}
	must[any](s, 204, "PUT", "/rest/api/3/issue/SIRT-1", obj{"fields": obj{"labels": []string{"new"}}})
	if find("new", nil) != 0 || find("old", nil) != 1 {
		t.Error("a change of labels is visible at once")
	}
	if find("old", obj{"reconcileIssues": []int{10001}}) != 0 {
		t.Error("reconcileIssues still finds the old label")
	}
	clk.add(10 * time.Second)
	if find("new", nil) != 1 || find("old", nil) != 0 {
		t.Error("a change of labels is not visible when its lag is over")
	}
}

// TestLagsOvertake lets a later change reach the index before an earlier one, which must not bring back the old state.
func TestLagsOvertake(t *testing.T) {
	t.Parallel()
	clk := newClock()
	lags := []time.Duration{0, time.Minute, time.Second}
	s := start(t, jirafake.Options{Now: clk.now, IndexLag: func(*rand.Rand) time.Duration {
		d := lags[0]
		lags = lags[1:]
		return d
	}})
	s.create("x", "first")
	must[any](s, 204, "PUT", "/rest/api/3/issue/SIRT-1", obj{"fields": obj{"labels": []string{"slow"}}})
	must[any](s, 204, "PUT", "/rest/api/3/issue/SIRT-1", obj{"fields": obj{"labels": []string{"fast"}}})
	for _, step := range []time.Duration{time.Second, time.Minute} {
		clk.add(step)
		if n := len(s.search("labels = fast", nil).Issues); n != 1 {
			t.Errorf("after %v: found %d by the last label, want 1", step, n)
		}
		if n := len(s.search("labels = slow", nil).Issues); n != 0 {
			t.Errorf("after %v: found %d by a label that was replaced", step, n)
		}
	}
}

func TestLagDistributions(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	draw := func(l jirafake.Lag) []time.Duration {
		out := make([]time.Duration, 10001)
		for i := range out {
			out[i] = l(r)
		}
		slices.Sort(out)
		return out
	}
	u := draw(jirafake.UniformLag(time.Second, 3*time.Second))
	if u[0] < time.Second || u[len(u)-1] > 3*time.Second || u[5000] < 1900*time.Millisecond || u[5000] > 2100*time.Millisecond {
		t.Errorf("uniform: %v to %v, median %v", u[0], u[len(u)-1], u[5000])
	}
	n := draw(jirafake.LognormalLag(3*time.Second, 1.2, 100*time.Second))
	if n[5000] < 2800*time.Millisecond || n[5000] > 3200*time.Millisecond || n[len(n)-1] > 100*time.Second || n[9990] < 60*time.Second {
		t.Errorf("lognormal: median %v, p99.9 %v, most %v", n[5000], n[9990], n[len(n)-1])
	}
}
