package e2e

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// Debian's python3-jira, which nobody here wrote, finds both kinds of the
// simulated site to be what it takes Jira for.
func TestPythonJira(t *testing.T) {
	t.Parallel()
	useReal(t)
	installed(t, "/usr/bin/jirashell", "python3-jira")
	for name, tt := range map[string]struct {
		options     jirafake.Options
		description string // as version 2 of the API gives it
		comments    []any
		search      any
		paged       []any
	}{
		// The client still asks for the old search, which Jira Cloud has switched off.
		"cloud": {jirafake.Options{}, "Title\nbold text", []any{"changed", "another"}, 410.0, nil},
		"data_center": {
			jirafake.Options{Deployment: jirafake.DataCenter, SearchPage: 1},
			"h2. Title\n\n*bold* text",
			[]any{"changed", "another"},
			[]any{"SIRT-1", 1.0},
			[]any{"SIRT-1", "SIRT-2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.options.People = []jirafake.Person{{AccountID: "712020:00000000-0000-4000-8000-00000000aaaa", Name: "jdoe", DisplayName: "Jane Doe", Email: "jdoe@example.com"}}
			site := jirafake.New(tt.options)
			server := httptest.NewServer(site)
			t.Cleanup(func() {
				site.Close()
				server.Close()
			})
			out := command(t, "testdata/python-jira", nil, "/usr/bin/python3", "-B", "-W", "error::DeprecationWarning:jira", "drive.py", name, server.URL, jirafake.DefaultToken, jirafake.DefaultEmail)
			var got map[string]any
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("the client says %s: %v", out, err)
			}
			want := map[string]any{
				"cloud": name == "cloud", "me": "Funnel", "project": "Security Incident Response", "key": "SIRT-1",
				"summary": "Made by python3-jira", "description": tt.description, "labels": []any{"e2e", "python"}, "status": "To Do",
				"comments": tt.comments, "author": "Funnel", "transitions": []any{"To Do", "In Progress", "Done"}, "moved": "In Progress",
				"assignee": "Jane Doe", "unassigned": true, "link_types": []any{"Blocks", "Cloners", "Duplicate", "Relates"},
				"link": []any{"Relates", "SIRT-2"}, "property": 1.0, "attachment": "drive.py", "content": true, "search": tt.search,
				"missing": []any{404.0, "Issue does not exist or you do not have permission to see it."},
				"refused": []any{400.0, "You must specify a summary of the issue."},
			}
			if tt.paged != nil {
				want["paged"] = tt.paged
			}
			for k := range want {
				if !reflect.DeepEqual(got[k], want[k]) {
					t.Errorf("%s: the client sees %v, want %v", k, got[k], want[k])
				}
			}
			issue, _ := site.Issue("SIRT-1")
			if issue.Summary != "Changed by python3-jira" || len(issue.Labels) != 3 || len(issue.Attachments) != 1 || len(issue.Comments) != 2 || len(issue.Links) != 1 {
				t.Errorf("the site has %+v", issue)
			}
		})
	}
}
