package jira

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestCheckUses(t *testing.T) {
	everywhere(t, func(t *testing.T, o jirafake.Options) {
		o.Projects = []jirafake.Project{{Key: "SIRT", IssueTypes: []string{"A", "B", "C", "D", "E", "F", "Task"}}, {Key: "HR"}, {Key: "STRICT", NeedsCustomField: true}}
		_, c := newSite(t, o)
		for _, tt := range []struct {
			use  funnel.Use
			want string // the problem; empty: there is none
			near string // one of the names instead
		}{
			{Use("project", UseProject, "SIRT"), "", ""},
			{Use("project", UseProject, "SRIT"), "Jira has no project SRIT", "SIRT"},
			{Use("project", UseProject, "../x"), "Jira has no project ../x", "HR"},
			{Use("issue_type", UseIssueType, "task", "SIRT"), "", ""}, // on the second page
			{Use("issue_type", UseIssueType, "Tusk", "SIRT"), "project SIRT has no issue type Tusk", "Task"},
			{Use("issue_type", UseIssueType, "Task", "NONE"), "", ""}, // its project is another use
			{Use("issue_type", UseIssueType, "Task", "STRICT"), "needs the field Business unit (customfield_10050), which Funnel does not fill", ""},
			{Use("priority.high", UsePriority, "Highest", "SIRT", "Task"), "", ""},
			{Use("priority.high", UsePriority, "Hi", "SIRT", "Task"), "project SIRT has no priority Hi", "High"},
			{Use("link_type", UseLinkType, "relates"), "", ""},
			{Use("link_type", UseLinkType, "Related"), "Jira has no link type Related", "Relates"},
			{Use("to", UseStatus, "Done", "SIRT"), "", ""},
			{Use("to", UseStatus, "Closed", "SIRT"), "project SIRT has no status Closed", "Done"},
			{Use("to", UseStatus, "Closed"), "Jira has no status Closed", "In Progress"},
			{Use("rules.1.assignee", UseAssignee, jirafake.DefaultEmail, "SIRT"), "", ""},
			{Use("rules.1.assignee", UseAssignee, "nobody@example.com", "SIRT"), "nobody, or nobody alone, can be assigned as nobody@example.com", ""},
		} {
			unmet, err := c.CheckUses(t.Context(), []funnel.Use{tt.use})
			if err != nil || len(unmet) > 1 || (len(unmet) == 1) != (tt.want != "") {
				t.Errorf("%+v: %+v, error %v", tt.use, unmet, err)
				continue
			}
			if len(unmet) == 1 && (!strings.Contains(unmet[0].Problem, tt.want) || tt.near != "" && !slices.Contains(unmet[0].Instead, tt.near)) {
				t.Errorf("%+v: %+v, want %q and %q", tt.use, unmet[0], tt.want, tt.near)
			}
		}
	})
}

// Each thing is asked for once, and a site that does not answer is an error, not a
// name that does not exist.
func TestCheckUsesAsks(t *testing.T) {
	t.Parallel()
	site := jirafake.New(jirafake.Options{})
	t.Cleanup(site.Close)
	asked := map[string]int{}
	c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		site.ServeHTTP(w, r)
	}), newClock().now)
	uses := []funnel.Use{Use("project", UseProject, "SIRT"), Use("issue_type", UseIssueType, "Task", "SIRT"), Use("link_type", UseLinkType, "Relates"), Use("link_type", UseLinkType, "Blocks")}
	for i := range 5 {
		uses = append(uses, Use(fmt.Sprint("priority.", i), UsePriority, "High", "SIRT", "Task"))
	}
	if unmet, err := c.CheckUses(t.Context(), uses); len(unmet) != 0 || err != nil {
		t.Fatalf("%+v, %v", unmet, err)
	}
	for path, n := range asked {
		if n > 2 { // two pages of fields
			t.Errorf("%s was asked %d times", path, n)
		}
	}
	site.Down(true)
	for _, u := range uses {
		if unmet, err := c.CheckUses(t.Context(), []funnel.Use{u}); funnel.CodeOf(err) != funnel.Unavailable || unmet != nil {
			t.Errorf("a site that is down: %+v: %+v, %v", u, unmet, err)
		}
	}
}

func TestCheckUsesBadAnswers(t *testing.T) {
	t.Parallel()
	uses := []funnel.Use{Use("project", UseProject, "SIRT"), Use("issue_type", UseIssueType, "Task", "SIRT"), Use("link_type", UseLinkType, "Relates"), Use("to", UseStatus, "Done", "SIRT")}
	for name, body := range map[string]string{
		"html": "<html>", "wrong types": `{"issueTypes":"x"}`, "endless": `{"issueTypes":[{"id":"1","name":"Task"}],"fields":[{"fieldId":"x"}],"total":100000000}`, "list": `[]`,
		"hostile": `{"issueTypes":[{"id":"../../x","name":"Task\u202e\n"}],"fields":[],"total":1}`,
	} {
		asked := 0
		c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			if strings.Contains(r.URL.Path, "..") {
				t.Errorf("%s: asked for %s", name, r.URL.Path)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}), newClock().now)
		unmet, err := c.CheckUses(t.Context(), uses)
		if err == nil && len(unmet) == 0 || asked > 2*maxMeta+10 {
			t.Errorf("%s: %+v, %v, asked %d times", name, unmet, err, asked)
		}
	}
}
