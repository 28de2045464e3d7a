package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
)

// misspelt is a configuration whose playbooks name what the site does not have.
func misspelt(t *testing.T, url, options string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(jirafake.DefaultToken), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(filepath.Join(dir, "funnel.yaml"), fmt.Appendf(nil, `
server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1"}
data: data
connections:
  jira: {integration: jira, options: {url: %q, email: %q, token: "${file:token}"}}
playbooks:
  open_ticket: {options: {%s}}
`, url, jirafake.DefaultEmail, options))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const manyWrong = "issue_type: Tusk, priority: {high: Urgent}, link_type: Related, rules: [{assignee: nobody@example.com}]"

var wrong = []string{
	"playbook open_ticket, setting issue_type: project SIRT has no issue type Tusk that the account may create; did you mean Task?; there is Task, Incident, Bug",
	"playbook open_ticket, setting link_type: Jira has no link type Related; did you mean Relates?; there is Blocks, Cloners, Duplicate, Relates",
	"playbook open_ticket, setting rules.1.assignee: in project SIRT nobody, or nobody alone, can be assigned as nobody@example.com; use a mail address or an account ID",
}

func TestCheckConnections(t *testing.T) {
	t.Parallel()
	site := jirafake.New(jirafake.Options{})
	t.Cleanup(site.Close)
	server := httptest.NewServer(site)
	t.Cleanup(server.Close)
	check := func(options string) (string, error) {
		var out bytes.Buffer
		err := app.CheckConnections(t.Context(), app.Options{Config: misspelt(t, server.URL, options), Registry: registry(), Version: "test"}, &out)
		return out.String(), err
	}
	if out, err := check(""); err != nil || out != "jira (jira): answers\n" {
		t.Errorf("%q, error %v", out, err)
	}
	want := "jira (jira): answers, but lacks what playbooks name\n  " + strings.Join(wrong, "\n  ") + "\n"
	if out, err := check(manyWrong); out != want || err == nil || err.Error() != "checking the connections: 1 of 1 need attention" {
		t.Errorf("got\n%swant\n%serror %v", out, want, err)
	}
	if out, err := check("project: SRIT"); err == nil || !strings.Contains(out, "playbook open_ticket, setting project: Jira has no project SRIT, or does not show it to the account; did you mean SIRT?; there is SIRT\n") || strings.Count(out, "\n") != 2 {
		t.Errorf("%s, error %v", out, err)
	}
	site.Down(true)
	if out, err := check(""); err == nil || !strings.Contains(out, "does not answer as it should\n  asking Jira who we are: Jira is not available") {
		t.Errorf("%s, error %v", out, err)
	}
	if writes := site.Journal(); len(writes) != 0 {
		t.Errorf("checking wrote %+v", writes)
	}
}

// A site that is down does not keep the server from starting; once it is back, the
// status tells what it lacks.
func TestUsesInStatus(t *testing.T) {
	t.Parallel()
	site := jirafake.New(jirafake.Options{})
	t.Cleanup(site.Close)
	server := httptest.NewServer(site)
	t.Cleanup(server.Close)
	site.Down(true)
	a := start(t, app.Options{Config: misspelt(t, server.URL, manyWrong), Registry: registry(), Version: "test"})
	status := func() (unmet []string) {
		res, err := http.Get("http://" + a.Addr() + "/status")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var said struct{ Connections []struct{ Unmet []string } }
		if err := json.NewDecoder(res.Body).Decode(&said); err != nil || len(said.Connections) != 1 {
			t.Fatalf("status %d, %+v, error %v", res.StatusCode, said, err)
		}
		return said.Connections[0].Unmet
	}
	if got := status(); got != nil {
		t.Errorf("before the site answered: %q", got)
	}
	site.Down(false)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // between two looks from outside
		if got := status(); slices.Equal(got, wrong) {
			return
		} else if got != nil {
			t.Fatalf("the status says %q, want %q", got, wrong)
		}
	}
	t.Error("the status never says what the site lacks")
}
