// Package splunk connects Splunk Enterprise and Splunk Cloud.
//
// Splunk's webhook alert action tells Funnel about an alert: one delivery for
// each time that an alert fires, or one for each result row. The package turns
// a delivery into an [AlertEvent]. The trigger needs no connection and no
// credential at Splunk; authentication of deliveries is the source's, by a secret
// in the path, because Splunk's webhook cannot send headers.
//
// The webhook carries the first row only. With a connection to the REST API on
// Splunk's management port the actions read all rows of an alert's search job,
// and search.
package splunk

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/funnelsec/funnel"
)

// Alert turns the deliveries of Splunk's webhook alert action into events.
var Alert = funnel.NewTrigger("splunk.alert", "An alert fired in Splunk.", decodeAlert, funnel.FreeKeys,
	funnel.Reconcile((*Client).listFired, (*Client).told))

// Actions of the integration.
var (
	GetJob     = funnel.NewAction("splunk.get_job", "Look up a search job, and how its alert is sent.", funnel.Reads, (*Client).GetJob)
	GetResults = funnel.NewAction("splunk.get_results", "Get the rows that a search job found.", funnel.Reads, (*Client).GetResults)
	RunSearch  = funnel.NewAction("splunk.run_search", "Run a search and get its rows.", funnel.Reads, (*Client).RunSearch,
		funnel.Example(RunSearchInput{Search: "search index=endpoint user=$user$ | head 5", Params: map[string]string{"user": "jdoe"}, Earliest: "0"}))
)

// Config are the options of a connection.
type Config struct {
	URL   string        `json:"url" doc:"Address of the management port" example:"https://splunk.example.com:8089"`
	Token funnel.Secret `json:"token" doc:"Authentication token of an account of its own, whose role may read the alerts' search jobs"`
	Owner string        `json:"owner,omitempty" doc:"Splunk user in whose name space jobs are looked for; nobody if only app is set" example:"nobody"`
	App   string        `json:"app,omitempty" doc:"App in whose name space jobs are looked for and searches run; search if only owner is set" example:"search"`
}

// Integration returns the integration for registration.
func Integration() funnel.Integration {
	return funnel.Integration{
		Name:     "splunk",
		Summary:  "Receives alerts from Splunk Enterprise and Splunk Cloud, reads their results and searches.",
		Connect:  funnel.Connect(connect),
		Limits:   funnel.Limits{Concurrency: 4, Timeout: defaultTimeout},
		Actions:  []funnel.AnyAction{GetJob, GetResults, RunSearch},
		Triggers: []funnel.AnyTrigger{Alert},
		Docs:     docs(),
	}
}

func connect(_ context.Context, env funnel.Env, config Config) (*Client, error) {
	wrong := func(what string) (*Client, error) {
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: %s", env.Connection, what)
	}
	base, err := url.Parse(config.URL)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return wrong("url is not an address such as https://splunk.example.com:8089")
	case base.Scheme != "https" && !(base.Scheme == "http" && loopback(base.Hostname())):
		return wrong("url needs https, for the token travels with each request")
	case config.Token.IsZero():
		return wrong("token is missing")
	case strings.ContainsFunc(config.Token.Reveal(), func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }):
		return wrong("token holds spaces, line breaks or other characters that no token has")
	case config.Owner != "" && !isSegment(config.Owner):
		return wrong("owner is not the name of a Splunk user")
	case config.App != "" && !isSegment(config.App):
		return wrong("app is not the name of an app")
	}
	if env.Clock == nil {
		env.Clock = time.Now
	}
	return newClient(env, base, config), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
