// Package all is the list of integrations that ship with Funnel: two lines for
// each.
package all

import (
	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/virustotal"
	"github.com/funnelsec/funnel/integrations/webhook"
)

// Integrations returns the shipped integrations.
func Integrations() []funnel.Integration {
	return []funnel.Integration{
		activedirectory.Integration(),
		jira.Integration(),
		splunk.Integration(),
		virustotal.Integration(),
		webhook.Integration(),
	}
}
