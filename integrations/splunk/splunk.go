// Package splunk connects Splunk Enterprise and Splunk Cloud.
//
// Splunk's webhook alert action tells Funnel about an alert: one delivery for
// each time that an alert fires, or one for each result row. The package turns
// a delivery into an [AlertEvent].
//
// The integration has a trigger and no actions: it needs no connection and no
// credential at Splunk. Authentication of deliveries is the source's, by a
// secret in the path, because Splunk's webhook cannot send headers.
package splunk

import "github.com/funnelsec/funnel"

// Alert turns the deliveries of Splunk's webhook alert action into events.
var Alert = funnel.NewTrigger("splunk.alert", "An alert fired in Splunk.", decodeAlert, funnel.FreeKeys)

// Integration returns the integration for registration.
func Integration() funnel.Integration {
	return funnel.Integration{
		Name:     "splunk",
		Summary:  "Receives alerts from Splunk Enterprise and Splunk Cloud.",
		Triggers: []funnel.AnyTrigger{Alert},
		Docs:     docs(),
	}
}
