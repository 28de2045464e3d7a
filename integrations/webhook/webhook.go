// Package webhook sends messages to an address of your choice: a chat relay, a
// pager, a script of your own.
//
// A message is JSON, {"id":…,"type":…,"data":…}. Its ID stays the same when it is
// sent again, in the body and in the header webhook-id, so a receiver can tell.
package webhook

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/funnelsec/funnel"
)

// Config are the options of a connection to one receiver.
type Config struct {
	URL    string        `json:"url" doc:"Address that messages are posted to" example:"https://relay.example.com/funnel"`
	Secret funnel.Secret `json:"secret,omitzero" doc:"Signs each message: header X-Hub-Signature with sha256= and the HMAC-SHA256 of the body, hexadecimal"`
}

// Send sends a message. Sending again is harmless: the ID is the same.
var Send = funnel.NewAction("webhook.send", "Send a message to a webhook.", funnel.Writes, (*Client).Send, funnel.Upsert)

// Integration returns the integration for registration.
func Integration() funnel.Integration {
	return funnel.Integration{
		Name:    "webhook",
		Summary: "Sends messages to an address of your choice.",
		Connect: funnel.Connect(connect),
		Limits:  funnel.Limits{Concurrency: 4, Timeout: 15 * time.Second},
		Actions: []funnel.AnyAction{Send},
		Docs:    docs(),
	}
}

func connect(_ context.Context, env funnel.Env, config Config) (*Client, error) {
	// The address may hold a secret in its path: it stands in no error.
	u, err := url.Parse(config.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: url is not an address such as https://relay.example.com/funnel", env.Connection)
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: url needs https, for messages tell about alerts", env.Connection)
	}
	return &Client{http: env.HTTP(u, nil), url: u, secret: config.Secret, clock: env.Clock}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
