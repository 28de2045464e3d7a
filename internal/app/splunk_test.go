package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/playbooks"
)

const splunkToken = "token-of-the-test"

// splunkServer is a running server between a simulated Splunk and a simulated Jira.
type splunkServer struct {
	site   *jirafake.Site
	api    *splunkfake.API
	sender *splunkfake.Sender
	url    string
	token  string
}

func startSplunk(t *testing.T) splunkServer {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"token": jirafake.DefaultToken, "hook": hookSecret, "splunk": splunkToken} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := jirafake.New(jirafake.Options{})
	t.Cleanup(site.Close)
	api := splunkfake.NewAPI(splunkfake.APIOptions{Token: splunkToken})
	tracker, searches := httptest.NewServer(site), httptest.NewServer(api)
	t.Cleanup(tracker.Close)
	t.Cleanup(searches.Close)
	c, err := config.Parse(filepath.Join(dir, "funnel.yaml"), fmt.Appendf(nil, `
server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1"}
data: data
connections:
  jira: {integration: jira, options: {url: %q, email: %q, token: "${file:token}"}}
  splunk: {integration: splunk, options: {url: %q, token: "${file:splunk}"}}
sources:
  splunk: {trigger: splunk.alert, connection: splunk, auth: {path_secret: ["${file:hook}"]}}
playbooks:
  open_ticket: {options: {verify: true}}
`, tracker.URL, jirafake.DefaultEmail, searches.URL))
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, app.Options{
		Config: c, Version: "test",
		Registry: funnel.NewRegistry().Add(jira.Integration(), splunk.Integration()).AddPlaybooks(playbooks.OpenTicket, playbooks.ShowRows),
		Engine:   func(o *engine.Options) { o.Backoff = func(int) time.Duration { return 10 * time.Millisecond } },
	})
	token, err := os.ReadFile(filepath.Join(dir, "data", "first-run-token"))
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + a.Addr()
	return splunkServer{site, api, splunkfake.New(splunkfake.Options{URL: url + "/hooks/splunk/" + hookSecret}), url, strings.TrimSpace(string(token))}
}

func (s splunkServer) fire(t *testing.T, a splunkfake.Alert, rows ...map[string]any) {
	t.Helper()
	if err := s.sender.FireEach(t.Context(), a, rows...); err != nil {
		t.Fatal(err)
	}
}

type splunkRun struct{ ID, Playbook, State, Step, Why string }

// settled waits until no run is under way, and returns all by their states.
func (s splunkServer) settled(t *testing.T) []splunkRun {
	t.Helper()
	for {
		var page struct{ Runs []splunkRun }
		s.call(t, http.MethodGet, "/api/v1/runs?limit=100", "", &page)
		busy := len(page.Runs) == 0
		for _, r := range page.Runs {
			busy = busy || r.State == "queued" || r.State == "running" || r.State == "waiting"
		}
		if !busy {
			return page.Runs
		}
		select {
		case <-time.After(20 * time.Millisecond): // between two looks; nothing is ordered by it
		case <-t.Context().Done():
			t.Fatal("the runs do not settle")
		}
	}
}

func (s splunkServer) call(t *testing.T, method, path, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
	if into != nil {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
}

// rowComments returns how many comments of show_rows there are on all tickets.
func (s splunkServer) rowComments() (n int) {
	for _, issue := range s.site.Issues() {
		for _, c := range issue.Comments {
			if strings.Contains(string(c.Properties["funnel.comment"]), `"show_rows"`) {
				n++
			}
		}
	}
	return n
}

func hosts(n int) []map[string]any {
	list := make([]map[string]any, n)
	for i := range list {
		list[i] = map[string]any{"dest": fmt.Sprintf("WS-%04d", i), "severity": "high"}
	}
	return list
}

// An alert for all rows: one ticket, one table, and a file with what does not fit.
func TestRowsOfOneAlert(t *testing.T) {
	t.Parallel()
	s := startSplunk(t)
	s.api.Add(splunkfake.Job{SID: "once-1", Search: "Rule", Rows: hosts(70)})
	s.fire(t, splunkfake.Alert{SID: "once-1", Search: "Rule"}, hosts(1)...)
	for _, r := range s.settled(t) {
		if r.State != "succeeded" {
			t.Errorf("run %+v", r)
		}
	}
	issues := s.site.Issues()
	if len(issues) != 1 || s.rowComments() != 1 || len(issues[0].Attachments) != 1 {
		t.Fatalf("%d tickets, %d tables, %+v", len(issues), s.rowComments(), issues)
	}
}

// An alert for each result: the rows share a search job, each has its ticket, and
// none of them has the table of all.
func TestRowsOfAlertsForEachResult(t *testing.T) {
	t.Parallel()
	s := startSplunk(t)
	s.api.Add(splunkfake.Job{SID: "each-1", Search: "Rule", Each: true, Rows: hosts(3)})
	s.fire(t, splunkfake.Alert{SID: "each-1", Search: "Rule"}, hosts(3)...)
	s.fire(t, splunkfake.Alert{SID: "each-1", Search: "Rule"}, hosts(1)...) // the same delivery again
	for _, r := range s.settled(t) {
		if r.State != "succeeded" {
			t.Errorf("run %+v", r)
		}
	}
	if n := len(s.site.Issues()); n != 3 || s.rowComments() != 0 {
		t.Errorf("%d tickets with %d tables, want 3 and none", n, s.rowComments())
	}
}

// An alert that Splunk does not know opens no ticket; its run says why, and a
// person can open the ticket all the same. While Splunk is down an alert waits.
func TestVerifiedAlerts(t *testing.T) {
	t.Parallel()
	s := startSplunk(t)
	s.fire(t, splunkfake.Alert{SID: "forged", Search: "Rule"}, hosts(1)...)
	runs := s.settled(t)
	if len(runs) != 1 || runs[0].State != "failed" || runs[0].Step != "verify" || !strings.Contains(runs[0].Why, "Splunk does not know the search job") || len(s.site.Issues()) != 0 {
		t.Fatalf("runs %+v, %d tickets", runs, len(s.site.Issues()))
	}
	s.call(t, http.MethodPost, "/api/v1/runs/"+runs[0].ID+"/skip", `{"step":"verify"}`, nil)
	s.settled(t)
	if n := len(s.site.Issues()); n != 1 {
		t.Fatalf("%d tickets after the step was skipped", n)
	}

	s.api.Add(splunkfake.Job{SID: "known", Search: "Other", Rows: hosts(1)})
	s.api.Misbehave(splunkfake.Faults{Status: 503, Times: 3})
	s.fire(t, splunkfake.Alert{SID: "known", Search: "Other"}, hosts(1)...)
	for _, r := range s.settled(t) {
		if r.State != "succeeded" {
			t.Errorf("run %+v", r)
		}
	}
	if n := len(s.site.Issues()); n != 2 {
		t.Errorf("%d tickets after Splunk came back, want 2", n)
	}
}
