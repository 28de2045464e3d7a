package jira

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestHostileJira(t *testing.T) {
	for name, o := range map[string]jirafake.Options{"cloud": {Seed: 1}, "data center": {Seed: 1, Deployment: jirafake.DataCenter}} {
		t.Run(name, func(t *testing.T) { hostileJira(t, o) })
	}
}

func hostileJira(t *testing.T, o jirafake.Options) {
	account := `"email":"` + jirafake.DefaultEmail + `"`
	if o.Deployment == jirafake.DataCenter {
		account = `"deployment":"data_center"`
	}
	funneltest.HostileHTTP(t, funneltest.Hostile{
		Integration: Integration(),
		Options: func(base string) string {
			return `{"url":"` + base + `",` + account + `,"token":"` + jirafake.DefaultToken + `"}`
		},
		Secrets: []string{jirafake.DefaultToken, base64.StdEncoding.EncodeToString([]byte(jirafake.DefaultEmail + ":" + jirafake.DefaultToken))},
		Healthy: func(t testing.TB) http.Handler {
			site := jirafake.New(o)
			t.Cleanup(site.Close)
			person := jirafake.Person{AccountID: "712020:00000000-0000-4000-8000-00000000a001", DisplayName: "J. Doe", Email: "jdoe@example.com"}
			for _, summary := range []string{"one", "two"} {
				if _, err := site.PersonCreates(person, jirafake.NewIssue{Project: "SIRT", Type: "Task", Summary: summary, Labels: []string{"funnel", observableLabel(ob(funnel.User, "jdoe"))}}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := site.PersonComments(person, "SIRT-1", "a comment"); err != nil {
				t.Fatal(err)
			}
			return site
		},
		Reads: func(_, path string) bool {
			return strings.HasSuffix(path, "/search/jql") || strings.HasSuffix(path, "/search")
		},
		// People's comments count too.
		Inputs:         map[string]string{"jira.update_comment": `{"issue":"SIRT-1","id":"20001","body":"Seen."}`},
		StatusSuffices: func(_, path string) bool { return strings.HasSuffix(path, "/issueLink") },
	})
}
