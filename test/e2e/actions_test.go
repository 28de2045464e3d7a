package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/httpapi"
)

// Every action's example, the one that the API's description shows, works on the
// demo as it is.
func TestExamplesRunOnTheDemo(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	ran, comment := 0, ""
	actions := funnel.NewRegistry().Add(all.Integrations()...).Actions()
	for _, a := range actions {
		example, ok := httpapi.Example(a)
		if !ok || a.Effect == funnel.Contains {
			t.Errorf("%s has no example that can be tried", a.ID)
			continue
		}
		if in, ok := example.(map[string]any); ok && a.ID == "jira.update_comment" {
			in["id"] = comment // 20001 if the demo plays slowly
		}
		out, code := d.funnel(t, "run", a.ID, "--json", "--wait", "60s", "--input", asJSON(t, example))
		var outcome map[string]any
		if code != 0 || json.Unmarshal([]byte(out), &outcome) != nil {
			t.Errorf("%s with %s ended with %d: %s", a.ID, asJSON(t, example), code, out)
			continue
		}
		if found, looks := outcome["found"]; looks && found != true {
			t.Errorf("%s does not find its example %s: %s", a.ID, asJSON(t, example), out)
		}
		if a.ID == "jira.add_comment" {
			comment, _ = outcome["id"].(string)
		}
		ran++
	}
	if ran != len(actions) {
		t.Errorf("%d of %d actions ran", ran, len(actions))
	}
}

func TestRunCommand(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"run", "jira.get_issue", "--issue", "SIRT-1"}, 0, "SIRT-1"},
		{[]string{"run", "jira.add_comment", "--issue", "SIRT-1", "--body", "Called <b>them</b>.", "--json"}, 0, `"issue":"SIRT-1"`},
		{[]string{"run", "jira.search_issues", "--labels", "funnel", "--project", "SIRT", "--json"}, 0, `"key":"SIRT-`},
		{[]string{"run", "jira.add_comment", "--issue", "SIRT-1"}, 2, "--body: needed"},
		{[]string{"run", "jira.add_comment", "--issue", "sirt", "--body", "x"}, 1, "body.issue"},
		{[]string{"run", "jira.get_isue"}, 2, "did you mean jira.get_issue?"},
		{[]string{"run", "jira.get_issue", "--issue", "SIRT-1", "--connection", "nowhere"}, 1, "nowhere"},
		{[]string{"run", "jira.get_issue", "--input", "{"}, 2, "--input"},
		{[]string{"list", "runs", "--limit", "3"}, 0, "(call)"},
		{[]string{"replay", "1", "--playbook", "open_ticket"}, 0, "of open_ticket is "},
		{[]string{"replay", "1", "--playbook", "nothing"}, 1, "not enabled"},
		{[]string{"retry", "1"}, 1, "only a failed run"},
		{[]string{"cancel", "99999"}, 1, "404"},
		{[]string{"list", "deliveries", "--verdict", "accepted", "--since", "1h"}, 0, "accepted"},
		{[]string{"list", "deliveries", "--verdict", "accepted", "--limit", "1"}, 0, "there is more: --before"},
		{[]string{"list", "events", "--trigger", "splunk.alert", "--source", "splunk"}, 0, "matched"},
		{[]string{"show", "event", "1"}, 0, "jira.open_ticket"},
		{[]string{"show", "delivery", "1"}, 0, "accepted"},
		{[]string{"__complete", "run", "jira.get_issue", "--connection", ""}, 0, "jira\tok"},
	} {
		out, code := d.funnel(t, c.args...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("funnel %s ended with %d, want %d and %q:\n%s", strings.Join(c.args, " "), code, c.code, c.want, out)
		}
	}
}
