package splunk

import (
	"net/http"
	"testing"

	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

func TestHostileSplunk(t *testing.T) {
	funneltest.HostileHTTP(t, funneltest.Hostile{
		Integration: Integration(),
		Options:     func(base string) string { return `{"url":"` + base + `","token":"` + splunkfake.DemoToken + `"}` },
		Secrets:     []string{splunkfake.DemoToken},
		Healthy: func(testing.TB) http.Handler {
			return splunkfake.NewAPI(splunkfake.APIOptions{Token: splunkfake.DemoToken, Jobs: splunkfake.DemoJobs(), Events: splunkfake.DemoEvents()})
		},
		// The version, the second generation of the API, the first, and the results'
		// own address.
		Fallbacks: 3,
		Believes: func(action, what string) bool {
			switch what {
			case "204 instead of an answer": // a job that has not begun, as Splunk's own client takes it
				return true
			case "white space of 3 MiB", "a body without end", "a list without end": // too large: it is asked for in smaller pieces
				return action != "splunk.get_job"
			case "every value is of another type": // a list of values is a value of a row
				return action != "splunk.get_job"
			}
			return false
		},
		// How an alert is sent, and the end of a job that has served.
		Optional: func(action string, request int) bool {
			return action == "splunk.get_job" && request == 3 || action == "splunk.run_search" && request == 5
		},
	})
}
