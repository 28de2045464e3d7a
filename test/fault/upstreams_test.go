package fault

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// outage stands before Jira and can be down: then whoever comes is cut off.
type outage struct {
	site http.Handler
	down atomic.Bool

	mu    sync.Mutex
	tries []time.Time // of those who came while it was down
}

// ServeHTTP passes a request on, or cuts the connection.
func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !o.down.Load() {
		o.site.ServeHTTP(w, r)
		return
	}
	o.mu.Lock()
	o.tries = append(o.tries, time.Now())
	o.mu.Unlock()
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// since returns how many came while it was down, after the time.
func (o *outage) since(at time.Time) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.tries {
		if t.After(at) {
			n++
		}
	}
	return n
}

// before puts something between the server and its Jira.
func (w *world) before(t *testing.T, url string) {
	t.Helper()
	w.configure(t, func(text string) string { return jiraURL.ReplaceAllString(text, "${1}"+url+`"`) })
}

// TestF09UpstreamDown is F9 over sockets: Jira is down while alerts go on coming in.
// They are accepted as ever, the server asks now and then whether Jira is back, and
// when it is, all tickets are opened, the oldest first.
func TestF09UpstreamDown(t *testing.T) {
	t.Parallel() // it mostly waits
	lasts := 4 * time.Second
	switch {
	case *long:
		lasts = 30 * time.Minute
	case *full:
		lasts = 3 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute+2*lasts)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, IndexLag: jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second), Webhooks: jirafake.WebhookMode{Off: true}})
	gate := &outage{site: w.jira}
	server := httptest.NewServer(gate)
	t.Cleanup(server.Close)
	w.before(t, server.URL)
	w.start(t, nil)
	alerts := &sort{name: "once", method: http.MethodPost, path: "/hooks/splunk/" + splunkSecret, body: whole(alert), acked: map[string]bool{}}
	var all sync.WaitGroup
	client := newCaller(w.server)
	alerts.openLoop(ctx, &all, client, 5, 2*time.Second)
	all.Wait()
	gate.down.Store(true)
	began := time.Now()
	alerts.openLoop(ctx, &all, client, 5, lasts)
	all.Wait()
	const opens = 10 * time.Second // by then the breaker has opened, and the first pauses are over
	probes := gate.since(began.Add(opens))
	tries := gate.since(began)
	back := time.Now()
	gate.down.Store(false)
	w.waitIdle(ctx, t)
	drained := time.Since(back)
	r := w.judge(alerts.acked).result()
	r.name = "F09 upstream down"
	w.measure(&r)
	r.p99 = percentile(alerts.accepted, 0.99)
	r.note("%d requests in %v of outage, %d of them after the first %v; all done %v after it; a ticket was at most %d places out of its order; p99 is of acceptance", tries, lasts, probes, opens, drained.Round(time.Second), w.disorder())
	r.aim(r.p99 < 50*time.Millisecond, "acceptance p99 < 50 ms")
	if most := int((lasts-opens)/(30*time.Second)) + 2; lasts > opens && probes > most {
		r.fault("%d requests were made to a system that is down, want at most %d: one in 30 s", probes, most)
	}
	if shed := len(alerts.shed) + len(alerts.bad); shed > 0 {
		r.fault("%d alerts were not accepted during the outage", shed)
	}
	r.mustBeClean(t)
}

// disorder returns by how many places the tickets are out of the alerts' order at
// most.
func (w *world) disorder() (most int) {
	place := 0
	for _, issue := range w.jira.Issues() {
		text := jirafake.Text(issue.Description)
		i := strings.Index(text, "marker-")
		if i < 0 {
			continue
		}
		var n int
		_, _ = fmt.Sscanf(text[i:], "marker-%d", &n)
		place++
		most = max(most, n-place, place-n)
	}
	return most
}

// TestF11Answers is F11: a network that is slow, gives answers in crumbs or in parts,
// hangs or breaks connections, between the server and Jira, under load.
func TestF11Answers(t *testing.T) {
	t.Parallel() // it mostly waits, and no figure of it has an aim
	each := time.Second
	if *full {
		each = 8 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, IndexLag: jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second), Webhooks: jirafake.WebhookMode{Off: true}})
	site := httptest.NewServer(w.jira)
	t.Cleanup(site.Close)
	way := poisonedWay(t, strings.TrimPrefix(site.URL, "http://"))
	w.before(t, "http://"+way.Listen)
	w.start(t, nil)
	if acked := w.fire(ctx, t, 3); len(acked) != 3 {
		t.Fatal("the first alerts were not accepted")
	}
	w.waitIdle(ctx, t)
	threads, files := figure(&node{world: w}, "go_goroutines"), w.openFiles(t)
	l := w.startLoadFrom(ctx, t, 3, 6, 50_000)
	// The look-ups of these runs come 100 times as early as real ones, the last after
	// 6 s. So a request may not be on its way for that long; an answer may.
	quicker := strings.NewReplacer(`"average_size":10,`, `"average_size":200,`, `"rate":2`, `"rate":20`)
	for _, toxic := range []string{
		`{"type":"latency","attributes":{"latency":300,"jitter":250}}`,
		`{"type":"slicer","attributes":{"average_size":10,"size_variation":5,"delay":20000}}`,
		`{"type":"limit_data","attributes":{"bytes":700}}`,
		`{"type":"reset_peer","attributes":{"timeout":50}}`,
		`{"type":"timeout","attributes":{"timeout":0}}`,
		`{"type":"bandwidth","attributes":{"rate":2}}`,
	} {
		for _, stream := range []string{"downstream", "upstream"} {
			if stream == "upstream" {
				if toxic = quicker.Replace(toxic); !*full {
					continue
				}
			}
			if _, err := way.Toxics.AddToxicJson(strings.NewReader(strings.Replace(toxic, "{", `{"name":"it","toxicity":0.7,"stream":"`+stream+`",`, 1))); err != nil {
				t.Fatal(err)
			}
			pause(each)
			if err := way.Toxics.RemoveToxic(ctx, "it"); err != nil {
				t.Fatal(err)
			}
		}
	}
	acked := l.stop(t)
	w.waitIdle(ctx, t)
	r := w.judge(acked).result()
	r.name = "F11 bad answers"
	w.measure(&r)
	threadsNow, filesNow := figure(&node{world: w}, "go_goroutines"), w.openFiles(t)
	r.note("6 kinds for %v each; goroutines %.0f, then %.0f; open files %d, then %d; p99 is listening", each, threads, threadsNow, files, filesNow)
	if threadsNow > threads+50 || filesNow > files+50 { // connections that are kept for the next call
		r.fault("something is left behind")
	}
	if status := w.says("/status"); !strings.Contains(status, `"needs_attention":0`) {
		r.fault("runs have failed: %s", status)
	}
	r.mustBeClean(t)
}

// poisonedWay is a TCP proxy that can misbehave.
func poisonedWay(t *testing.T, to string) *toxiproxy.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	zerolog.SetGlobalLevel(zerolog.Disabled) // its toxics have a logger of their own
	metrics := toxiproxy.NewMetricsContainer(prometheus.NewRegistry())
	way := toxiproxy.NewProxy(toxiproxy.NewServer(metrics, zerolog.New(io.Discard)), "jira", address, to)
	if err := way.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.Stop)
	return way
}

// openFiles returns how many the server's process has.
func (w *world) openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.process.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
