package fault

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// preload stores so many alerts of some 4 KB, as if a server had accepted them and
// died.
func (w *world) preload(t *testing.T, n int) map[string]bool {
	t.Helper()
	s, err := store.Open(filepath.Join(w.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	trigger, _ := registry().Trigger("splunk.alert")
	padding := strings.Repeat("what else the search found about it, ", 95)
	var next atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 64 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				body := []byte(strings.Replace(string(alert(i)), `"severity":"high"`, `"severity":"high","more":"`+padding+`"`, 1))
				found, err := trigger.Decode(funnel.Request{Source: "splunk", Body: body, ReceivedAt: began})
				if err != nil || len(found) != 1 {
					t.Errorf("decoding alert %d: %v", i, err)
					return
				}
				e := record.Event{Source: "splunk", Trigger: trigger.ID, Key: "splunk:" + found[0].Key, ReceivedAt: began.Add(time.Duration(i) * time.Millisecond), Body: body, Data: found[0].Event, Disposition: record.Matched}
				if _, _, _, err := s.Accept(record.Delivery{Source: "splunk", ReceivedAt: began, Bytes: len(body)}, record.NewEvent{Event: e, Playbooks: []string{"open_ticket"}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	acked := map[string]bool{}
	for i := range n {
		acked[marker(i)] = true
	}
	return acked
}

// TestF15Backlog is F15: 100,000 alerts wait for a server that starts, and Jira is
// down. It listens at once, does not take them all into memory, and begins when Jira
// is back.
func TestF15Backlog(t *testing.T) {
	smallTogether(t)
	n, watch := 2_000, 2*time.Second
	if *full {
		n, watch = 100_000, 15*time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	gate := &outage{site: w.jira}
	server := httptest.NewServer(gate)
	t.Cleanup(server.Close)
	w.before(t, server.URL)
	acked := w.preload(t, n)
	gate.down.Store(true)
	w.start(t, nil)
	for gate.since(time.Time{}) == 0 {
		if ctx.Err() != nil {
			t.Fatal("no run was begun")
		}
		pause(time.Millisecond)
	}
	first := time.Since(w.process.began)
	pause(watch) // the backlog is what it is
	w.seeSize(w.process)
	r := result{name: "F15 backlog", count: n}
	w.measure(&r)
	steady := r.rss
	gate.down.Store(false)
	for len(w.jira.Issues()) == 0 {
		if ctx.Err() != nil {
			t.Fatalf("no ticket is opened: %s", w.says("/status"))
		}
		pause(10 * time.Millisecond)
	}
	back := time.Now()
	if n > 10_000 { // all of them would take long
		pause(watch)
	} else {
		w.waitIdle(ctx, t)
	}
	opened := len(w.jira.Issues())
	rate := float64(opened) / time.Since(back).Seconds()
	v := w.judge(acked)
	r.double = v.doubleTickets
	if n <= 10_000 {
		r.lost = v.lost
	}
	w.measure(&r)
	r.note("the first request after %v; %d MB with all of it waiting; %d tickets opened at %.0f/s, which are runs of some 20 steps; p99 is listening", first.Round(time.Millisecond), steady>>20, opened, rate)
	r.aim(steady < 256<<20, "< 256 MB with the backlog waiting")
	r.aim(r.p99 < time.Second, "listening < 1 s")
	r.aim(first < 3*time.Second, "the first run < 3 s")
	r.mustBeClean(t)
}
