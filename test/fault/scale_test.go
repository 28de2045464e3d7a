package fault

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestScale measures how many alerts a second 1, 2 and 4 nodes on one PostgreSQL
// work on, from the webhook to the last comment, as ratios in one run: once with
// systems that take their time, where workers wait, and once with systems that
// answer at once, where the machine is the limit.
func TestScale(t *testing.T) {
	if !*full {
		t.Skip("NOT RUN: it needs the machine for itself; -fault runs it")
	}
	for _, c := range []struct {
		name    string
		latency time.Duration
		workers int // of each node
		alerts  int
	}{{"waiting", 150 * time.Millisecond, 4, 60}, {"at once", 0, 32, 100}} {
		t.Run(c.name, func(t *testing.T) {
			first := 0.0
			var text []string
			for _, n := range []int{1, 2, 4} {
				r, perSecond := scaled(t, n, c.workers, c.alerts, c.latency)
				if first == 0 {
					first = perSecond
				}
				text = append(text, fmt.Sprintf("%d nodes %.2f/s (%.2f times one)", n, perSecond, perSecond/first))
				if r.name = fmt.Sprintf("scale %s %d nodes", c.name, n); n == 4 {
					r.note("alerts from the webhook to the last comment, %d workers a node, Jira answers in %v: %s", c.workers, c.latency, strings.Join(text, ", "))
				}
				r.mustBeClean(t)
			}
		})
	}
}

// scaled has the nodes work on alerts, and returns how many they did in a second.
func scaled(t *testing.T, nodes, workers, alerts int, latency time.Duration) (result, float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	size := regexp.MustCompile(`engine: \{workers: [0-9]+`)
	c := newClusterOf(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}}, nodes, func(w *cluster) {
		slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			pause(latency)
			w.jira.ServeHTTP(rw, r)
		}))
		t.Cleanup(slow.Close)
		w.before(t, slow.URL)
		w.configure(t, func(text string) string {
			text = strings.Replace(text, "limits: {concurrency: 16, timeout: 5s}", "limits: {concurrency: 256, timeout: 5s}", 1)
			return size.ReplaceAllString(text, fmt.Sprintf("engine: {workers: %d", workers))
		})
	})
	began := time.Now()
	acked := c.fire(ctx, t, alerts)
	c.waitIdle(ctx, t)
	took := time.Since(began)
	r := c.judge(acked).result()
	for _, n := range c.nodes {
		n.seeSize(n.process)
		r.rss = max(r.rss, n.peak)
	}
	return r, float64(alerts) / took.Seconds()
}
