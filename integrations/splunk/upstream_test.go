package splunk_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
	"github.com/funnelsec/funnel/internal/upstream"
)

// TestThroughTheWayOut: on the server's own way out, whose failed POSTs are of
// unknown outcome, a look-up is never uncertain, and ends within the connection's
// timeout.
func TestThroughTheWayOut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]splunkfake.Faults{
		"down": {Down: true}, "hang": {Hang: true}, "half an answer": {Half: true}, "drip": {Drip: true},
	} {
		for _, on := range []string{"results", "create", "oneshot"} {
			t.Run(name+"/"+on, func(t *testing.T) {
				t.Parallel()
				fault.On = on
				api := splunkfake.NewAPI(splunkfake.APIOptions{Token: "x", Jobs: splunkfake.DemoJobs(), Events: splunkfake.DemoEvents()})
				api.Misbehave(fault)
				server := httptest.NewServer(api)
				t.Cleanup(server.Close)
				env := funnel.Env{Connection: "splunk", HTTP: upstream.NewHTTP(upstream.Options{Timeout: 300 * time.Millisecond}), Clock: time.Now, Timeout: 300 * time.Millisecond}
				client, err := splunk.Integration().Connect.Connect(t.Context(), env, []byte(`{"url":"`+server.URL+`","token":"x"}`))
				if err != nil {
					t.Fatal(err)
				}
				c := client.(*splunk.Client)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only so that a hang is seen
				defer cancel()
				switch on {
				case "results":
					_, err = c.GetResults(ctx, splunk.GetResultsInput{SID: splunkfake.DemoSID})
				case "create":
					_, err = c.RunSearch(ctx, splunk.RunSearchInput{Search: "user=jdoe"})
				default:
					_, err = c.RunSearch(ctx, splunk.RunSearchInput{Search: "user=jdoe", Mode: "oneshot"})
				}
				if funnel.CodeOf(err) != funnel.Unavailable || strings.Contains(err.Error(), "carried out") || ctx.Err() != nil {
					t.Errorf("the error is %v (%s)", err, funnel.CodeOf(err))
				}
			})
		}
	}
}

// TestAnswerWithoutEnd: the way out's bound is larger than the integration's own,
// so that rows that are too large are asked for in smaller pieces.
func TestAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	api := splunkfake.NewAPI(splunkfake.APIOptions{Token: "x", Jobs: splunkfake.DemoJobs()})
	api.Misbehave(splunkfake.Faults{On: "results", Huge: true})
	server := httptest.NewServer(http.Handler(api))
	t.Cleanup(server.Close)
	env := funnel.Env{Connection: "splunk", HTTP: upstream.NewHTTP(upstream.Options{}), Clock: time.Now}
	client, err := splunk.Integration().Connect.Connect(t.Context(), env, []byte(`{"url":"`+server.URL+`","token":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.(*splunk.Client).GetResults(t.Context(), splunk.GetResultsInput{SID: splunkfake.DemoSID})
	if err != nil || !r.Found || !r.Truncated || len(r.Rows) != 0 {
		t.Errorf("results are %+v, error %v", r, err)
	}
}
