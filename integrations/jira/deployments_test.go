package jira

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/upstream"
)

// everywhere runs a test against each kind of site.
func everywhere(t *testing.T, test func(*testing.T, jirafake.Options)) {
	t.Parallel()
	for name, o := range map[string]jirafake.Options{
		"cloud": {}, "data center": {Deployment: jirafake.DataCenter}, "old data center": {Deployment: jirafake.DataCenter, OldComments: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, o)
		})
	}
}

// us is how the site names our account.
func us(o jirafake.Options) string {
	if o.Deployment == jirafake.DataCenter {
		return jirafake.DefaultUserKey
	}
	return jirafake.DefaultAccountID
}

// connectAs returns a client of what the handler serves, a site with the options.
func connectAs(t *testing.T, h http.Handler, now func() time.Time, o jirafake.Options) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	config := map[string]string{"url": server.URL, "email": jirafake.DefaultEmail, "token": jirafake.DefaultToken}
	if o.Deployment == jirafake.DataCenter {
		config = map[string]string{"url": server.URL, "deployment": "data_center", "token": jirafake.DefaultToken}
	}
	options, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	env := funnel.Env{
		Connection: "jira", HTTP: upstream.NewHTTP(upstream.Options{Timeout: 10 * time.Second}),
		Log: slog.New(slog.DiscardHandler), Clock: now,
	}
	client, err := Integration().Connect.Connect(t.Context(), env, options)
	if err != nil {
		t.Fatal(err)
	}
	return client.(*Client)
}

// unmarked is the text of a comment without the mark at its end.
func unmarked(text string) string {
	if i := strings.LastIndex(text, "\n"); strings.HasPrefix(text[i+1:], "Funnel's mark: ") {
		return text[:max(i, 0)]
	}
	return text
}
