package app_test

import (
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/playbooks"
)

func registry() *funnel.Registry {
	return funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
}

func TestCheckSources(t *testing.T) {
	t.Parallel()
	const start = "connections: {jira: {integration: jira, options: {url: 'http://127.0.0.1:1', email: a@example.com, token: '${env:T}'}}}\nsources: {jira: {auth: {none: true}, "
	for source, want := range map[string]string{
		"trigger: jira.issue_created}}": "",
		"connection: jira, trigger: [jira.issue_created, jira.issue_updated, jira.comment_created]}}": "",
		"trigger: [jira.issue_created, jira.isue_updated], connection: jira}}":                        "did you mean jira.issue_updated?",
		"trigger: [jira.issue_created, jira.comment_created]}}":                                       "trigger jira.comment_created needs a connection",
		"trigger: [jira.issue_created, jira.issue_created], connection: jira}}":                       "twice",
		"trigger: [jira.issue_created, splunk.alert], connection: jira}}":                             "make a source for each integration",
		"trigger: [jira.issue_created, 7], connection: jira}}":                                        "names only",
	} {
		c, err := config.Parse("f.yaml", []byte(start+source))
		if err == nil {
			err = app.Check(c, registry())
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}
