package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// holdBack lets the process have a part of one processor only, so that a client
// on the same machine can send more than it can do.
func holdBack(t *testing.T, p *process, percent int) error {
	t.Helper()
	const root = "/sys/fs/cgroup/cpu" // version 1
	dir := filepath.Join(root, fmt.Sprintf("funnel-fault-%d", p.cmd.Process.Pid))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("holding the server back: %w: it needs root and the controller cpu of cgroup v1", err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = os.Remove(dir)
	})
	const period = 10_000 // microseconds
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cpu.cfs_period_us"), []byte(strconv.Itoa(period)), 0o600),
		os.WriteFile(filepath.Join(dir, "cpu.cfs_quota_us"), []byte(strconv.Itoa(period*percent/100)), 0o600),
		os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.cmd.Process.Pid)), 0o600))
}

// sort is a kind of request in the overload.
type sort struct {
	name   string
	method string
	path   string
	body   func(i int) []byte

	next     atomic.Int64
	mu       sync.Mutex
	accepted []time.Duration // from when it was due
	shed     []time.Duration
	bad      []string
	acked    map[string]bool
}

// send makes the request and notes how it was answered. The time counts from when
// it was due, so that a client that comes late does not make the server look fast.
func (s *sort) send(ctx context.Context, client *http.Client, server string, due time.Time) {
	i := int(s.next.Add(1))
	var body []byte
	if s.body != nil {
		body = s.body(i)
	}
	req, err := http.NewRequestWithContext(ctx, s.method, server+s.path, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			s.note(func() { s.bad = append(s.bad, err.Error()) })
		}
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	took := time.Since(due)
	s.note(func() {
		switch {
		case res.StatusCode/100 == 2:
			s.accepted = append(s.accepted, took)
			if s.acked != nil {
				s.acked[marker(i)] = true
			}
		case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
			s.shed = append(s.shed, took)
		default:
			s.bad = append(s.bad, res.Status)
		}
	})
}

func (s *sort) note(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *sort) counts() (accepted, shed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted), len(s.shed)
}

// openLoop sends so many a second for a time, whatever becomes of them.
func (s *sort) openLoop(ctx context.Context, all *sync.WaitGroup, client *http.Client, server string, perSecond float64, lasts time.Duration) {
	all.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			due := began.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
			if due.Sub(began) > lasts || ctx.Err() != nil {
				return
			}
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait) // until it is due
			}
			all.Go(func() { s.send(ctx, client, server, due) })
		}
	})
}

// TestF14Overload is F14: ten times as much as the server can do, of three sorts:
// pages, deliveries that are repeated, and alerts that Splunk sends once, which are
// few. Only the first two are turned away.
func TestF14Overload(t *testing.T) {
	if !*full {
		t.Skip("NOT RUN: it needs the machine for itself; -fault runs it")
	}
	lasts := 10 * time.Second
	if *long {
		lasts = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute+lasts)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	w.configure(t, func(text string) string {
		return strings.Replace(text, "\nsources:\n", "\nsources:\n  flood: {trigger: jira.comment_created, connection: jira, auth: {none: true}}\n", 1)
	})
	w.start(t, nil)
	const share = 80 // per cent of a processor
	if err := holdBack(t, w.process, share); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 3000, MaxConnsPerHost: 3000}}
	flood := &sort{name: "repeated", method: http.MethodPost, path: "/hooks/flood", body: func(i int) []byte {
		return fmt.Appendf(nil, `{"timestamp":%d,"webhookEvent":"comment_created","comment":{"id":"%d","author":{"accountId":"712020:jane","displayName":"Jane Doe"},"body":"%s"},"issue":{"id":"1","key":"SIRT-1","fields":{"summary":"s","project":{"key":"SIRT"}}}}`,
			1_767_225_600_000+i, i, strings.Repeat("a comment of some length ", 1000))
	}}
	splunk := &sort{name: "once", method: http.MethodPost, path: "/hooks/splunk/" + splunkSecret, body: alert, acked: map[string]bool{}}
	look := &sort{name: "pages", method: http.MethodGet, path: "/"}

	capacity := flood.capacity(ctx, client, w.server)
	flood.accepted = nil
	const once = 20 // alerts a second: far less than the server can do
	var all sync.WaitGroup
	began := time.Now()
	splunk.openLoop(ctx, &all, client, w.server, once, lasts)
	flood.openLoop(ctx, &all, client, w.server, 8*capacity, lasts)
	look.openLoop(ctx, &all, client, w.server, 2*capacity-once, lasts)
	all.Wait()
	sent := time.Since(began)

	calm := time.Now() // what follows is what the server can do easily
	back := time.Duration(0)
	for back == 0 && time.Since(calm) < 30*time.Second {
		before, shedBefore := flood.counts()
		flood.openLoop(ctx, &all, client, w.server, capacity/4, time.Second)
		all.Wait()
		after, shedAfter := flood.counts()
		if shedAfter == shedBefore && after > before {
			back = time.Since(calm)
		}
	}
	flooded, floodShed := flood.counts()
	shedP99 := percentile(append(append([]time.Duration{}, flood.shed...), look.shed...), 0.99)
	again := flood.capacity(ctx, client, w.server) // a machine whose speed changes gets more than ten times as much, or less
	w.waitIdle(ctx, t)
	r := w.judge(splunk.acked).result()
	r.name = "F14 overload"
	w.measure(&r)
	r.p99 = percentile(splunk.accepted, 0.99)
	seen, lookShed := look.counts()
	_, lost := splunk.counts()
	r.note("capacity %.0f/s before and %.0f/s after it at %d %% of a processor; in %v: once %d accepted, %d shed; repeated %d accepted, %d shed; pages %d answered, %d shed; shed answers p99 %v; normal again after %v; p99 is of alerts sent once",
		capacity, again, share, sent.Round(time.Second), len(splunk.accepted), lost, flooded, floodShed, seen, lookShed, shedP99.Round(time.Millisecond), back.Round(100*time.Millisecond))
	r.aim(shedP99 < 50*time.Millisecond, "shed answer < 50 ms")
	r.aim(r.p99 < 500*time.Millisecond, "p99 of accepted < 500 ms")
	r.aim(back > 0 && back < 10*time.Second, "normal within 10 s")
	if lost > 0 {
		r.fault("%d alerts that nobody repeats were shed", lost)
	}
	if floodShed == 0 || lookShed == 0 {
		r.fault("nothing else was shed: it was no overload")
	}
	for _, s := range []*sort{splunk, flood, look} {
		if len(s.bad) > 0 {
			r.fault("%s: %d answers that are none, such as %s", s.name, len(s.bad), s.bad[0])
		}
	}
	if back == 0 {
		r.fault("it is not normal again after 30 s")
	}
	r.mustBeClean(t)
}

// capacity measures how many deliveries a second the server accepts from many
// clients that wait for the answer.
func (s *sort) capacity(ctx context.Context, client *http.Client, server string) float64 {
	const lasts = 3 * time.Second
	began := time.Now()
	before, _ := s.counts()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for time.Since(began) < lasts {
				s.send(ctx, client, server, time.Now())
			}
		})
	}
	all.Wait()
	n, _ := s.counts()
	return float64(n-before) / time.Since(began).Seconds()
}
