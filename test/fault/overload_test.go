package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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
	client := newCaller(w.server)
	const before, after = `{"timestamp":%d,"webhookEvent":"comment_created","comment":{"id":"%d","author":{"accountId":"712020:jane","displayName":"Jane Doe"},"body":"`,
		`"},"issue":{"id":"1","key":"SIRT-1","fields":{"summary":"s","project":{"key":"SIRT"}}}}`
	rest := []byte(strings.Repeat("a comment of some length ", 1000) + after)
	flood := &sort{name: "repeated", method: http.MethodPost, path: "/hooks/flood", body: func(i int) net.Buffers {
		return net.Buffers{fmt.Appendf(nil, before, 1_767_225_600_000+i, i), rest}
	}}
	splunk := &sort{name: "once", method: http.MethodPost, path: "/hooks/splunk/" + splunkSecret, body: whole(alert), acked: map[string]bool{}}
	look := &sort{name: "pages", method: http.MethodGet, path: "/"}

	capacity := flood.capacity(ctx, client)
	flood.accepted = nil
	const once = 20 // alerts a second: far less than the server can do
	var all sync.WaitGroup
	flood.late = nil
	began := time.Now()
	splunk.openLoop(ctx, &all, client, once, lasts)
	flood.openLoop(ctx, &all, client, 8*capacity, lasts)
	look.openLoop(ctx, &all, client, 2*capacity-once, lasts)
	all.Wait()
	sent := time.Since(began)

	calm := time.Now() // what follows is what the server can do easily
	back := time.Duration(0)
	for back == 0 && time.Since(calm) < 30*time.Second {
		before, shedBefore := flood.counts()
		flood.openLoop(ctx, &all, client, capacity/4, time.Second)
		all.Wait()
		after, shedAfter := flood.counts()
		if shedAfter == shedBefore && after > before {
			back = time.Since(calm)
		}
	}
	flooded, floodShed := flood.counts()
	shedP99 := percentile(append(append([]time.Duration{}, flood.shed...), look.shed...), 0.99)
	lateP99 := percentile(flood.late, 0.99)
	again := flood.capacity(ctx, client) // a machine whose speed changes gets more than ten times as much, or less
	w.waitIdle(ctx, t)
	r := w.judge(splunk.acked).result()
	r.name = "F14 overload"
	w.measure(&r)
	r.p99 = percentile(splunk.accepted, 0.99)
	seen, lookShed := look.counts()
	_, lost := splunk.counts()
	r.note("capacity %.0f/s before and %.0f/s after it at %d %% of a processor; in %v: once %d accepted, %d shed; repeated %d accepted, %d shed; pages %d answered, %d shed; shed answers p99 %v; the client came %v late at the 99th percentile; normal again after %v; p99 is of alerts sent once",
		capacity, again, share, sent.Round(time.Second), len(splunk.accepted), lost, flooded, floodShed, seen, lookShed, shedP99.Round(time.Millisecond), lateP99.Round(time.Millisecond), back.Round(100*time.Millisecond))
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
