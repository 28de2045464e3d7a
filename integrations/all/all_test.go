package all_test

import (
	"testing"

	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/all"
)

// Every shipped integration conforms.
func TestEveryIntegrationConforms(t *testing.T) {
	t.Parallel()
	options := map[string]string{ // of a connection that could be real
		"activedirectory": `{"url":"ldaps://dc1.example.com","base_dn":"DC=example,DC=com","bind_name":"CN=funnel,DC=example,DC=com","password":"c0nform-password"}`,
		"jira":            `{"url":"https://example.atlassian.net","email":"funnel@example.com","token":"c0nform-token"}`,
		"splunk":          `{"url":"https://splunk.example.com:8089","token":"c0nform-token"}`,
		"virustotal":      `{"api_key":"c0nform-key"}`,
		"webhook":         `{"url":"https://relay.example.com/funnel","secret":"c0nform-secret"}`,
	}
	for _, in := range all.Integrations() {
		t.Run(in.Name, func(t *testing.T) {
			t.Parallel()
			if in.Connect != nil && options[in.Name] == "" {
				t.Fatal("give this test options of a connection")
			}
			funneltest.Conform(t, in, options[in.Name])
		})
	}
}
