package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/internal/upstream"
)

// office is a tracker in memory, reached by an in-memory transport. It journals what
// it did and who asked while it was down.
type office struct {
	mu      sync.Mutex
	down    bool
	asked   []time.Time  // while it was down
	tried   map[int]bool // for which: whether they were done has to be found out first
	did     []opening
	now     int // requests under way
	atOnce  int // the most of them
	latency time.Duration
}

type opening struct {
	n   int
	key string
	at  time.Time
}

// RoundTrip carries a request. A system that is down refuses connections, answers
// 503, or takes a request and never answers, each for some minutes.
func (o *office) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	down := o.down
	if down {
		o.asked = append(o.asked, time.Now())
		n, _ := strconv.Atoi(r.Header.Get("Number"))
		o.tried[n] = true
	}
	o.now++
	o.atOnce = max(o.atOnce, o.now)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.now--
		o.mu.Unlock()
	}()
	answer := httptest.NewRecorder()
	switch how := time.Now().Minute() / 6 % 3; {
	case down && how == 0:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case down && how == 1:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case down:
		answer.WriteHeader(http.StatusServiceUnavailable)
	default:
		time.Sleep(o.latency)
		o.ServeHTTP(answer, r)
	}
	return answer.Result(), nil
}

// ServeHTTP opens a ticket, or says whether there is one.
func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := r.Header.Get("Key")
	if r.Method == http.MethodGet {
		for _, d := range o.did {
			if d.key == key {
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var in paper
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	o.did = append(o.did, opening{in.N, key, time.Now()})
}

type (
	clerk struct{ http *http.Client } // asks the office
	paper struct {
		N int `json:"n"`
	}
)

func (c *clerk) do(ctx context.Context, method string, key funnel.EffectKey, in paper) (status int, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://office.test/", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Key", string(key))
	req.Header.Set("Number", strconv.Itoa(in.N))
	res, err := c.http.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, funnel.Errorf(funnel.Uncertain, "the office did not answer")
	case err != nil:
		return 0, funnel.Errorf(funnel.Unavailable, "the office is not reached")
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.StatusCode == http.StatusServiceUnavailable {
		return 0, funnel.Errorf(funnel.Unavailable, "the office is closed")
	}
	return res.StatusCode, nil
}

func (c *clerk) open(ctx context.Context, in paper) (paper, error) {
	_, err := c.do(ctx, http.MethodPost, funnel.AttemptFrom(ctx).Key, in)
	return in, err
}

func (c *clerk) find(ctx context.Context, key funnel.EffectKey, in paper) (paper, bool, error) {
	status, err := c.do(ctx, http.MethodGet, key, in)
	return in, err == nil && status == http.StatusOK, err
}

// counted counts what is written.
type counted struct {
	*store.Store
	commits atomic.Int64
}

func (c *counted) Commit(change record.Change) (record.Committed, error) {
	c.commits.Add(1)
	return c.Store.Commit(change)
}

// bureau is engine, queue, store and governor, in virtual time.
type bureau struct {
	t      *testing.T
	office *office
	store  *store.Store
	wrote  *counted
	queue  *queue.Queue
	sent   int
	kept   int64 // bytes of the process at the most
}

const (
	perSecond   = 50 // what the office's connection allows
	concurrency = 8
)

// TestF09Virtual is F9 for 8 hours of virtual time: the tracker is down while five
// alerts a second come in. Each waits with one write, one request in 30 s asks
// whether the tracker is back, and when it is, all tickets are opened, the oldest
// first, no faster than the connection allows.
func TestF09Virtual(t *testing.T) {
	lasts := 20 * time.Minute
	if *full || *long {
		lasts = 8 * time.Hour
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	var r result
	synctest.Test(t, func(t *testing.T) {
		b := newBureau(t, dir)
		began := time.Now()
		b.alerts(5, 10*time.Second)
		time.Sleep(time.Minute)
		b.office.set(true)
		before, wrote, fell := b.sent, b.wrote.commits.Load(), time.Now()
		b.alerts(5, lasts)
		parked := b.sent
		written := b.wrote.commits.Load() - wrote
		b.office.set(false)
		healed := time.Now()
		b.drain()
		r = result{name: "F09 eight hours", count: b.sent, rss: b.kept}
		b.judge(&r, before, parked)
		asked := b.office.asked
		settled := 0 // after the breaker has opened and its pauses are at their longest
		for i, at := range asked {
			if at.Sub(fell) < 2*time.Minute {
				continue
			}
			if settled++; settled > 1 && at.Sub(asked[i-1]) < 30*time.Second {
				r.fault("%v into the outage, two requests came within %v", at.Sub(fell).Round(time.Second), at.Sub(asked[i-1]))
			}
		}
		// A request that failed is journalled too, with its try.
		if most := int64(parked-before) + 4*int64(len(asked)) + 10; written > most {
			r.fault("%d writes for %d runs that were parked", written, parked-before)
		}
		r.aim(r.rss < 400<<20, "memory < 400 MB")
		r.note("%v of outage in virtual time, %d runs parked with %d writes, %d requests; all done %v after it; in all %v", healed.Sub(fell), parked-before, written, len(asked), b.last().Sub(healed).Round(time.Second), time.Since(began).Round(time.Second))
		b.end()
	})
	r.mustBeClean(t) // in the time of the day
}

func newBureau(t *testing.T, dir string) *bureau {
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bureau{t: t, office: &office{latency: 40 * time.Millisecond, tried: map[int]bool{}}, store: s, wrote: &counted{Store: s}}
	open := funnel.NewAction("office.open", "Open a ticket.", funnel.Writes, (*clerk).open, funnel.Find((*clerk).find),
		funnel.Fresh(func(*clerk, context.Context, funnel.EffectKey, paper, time.Time) (bool, error) { return true, nil }))
	alerts := funnel.NewTrigger("office.alert", "An alert.", func(funnel.Request) ([]funnel.Arrival[paper], error) { return nil, nil })
	play := funnel.NewPlaybook("file", "Opens a ticket.", alerts, func(r *funnel.Run, p paper) error {
		_, err := funnel.Step(r, "open", open, p)
		return err
	})
	connect := func(context.Context, funnel.Env, struct{}) (*clerk, error) { return nil, nil }
	registry := funnel.NewRegistry().Add(funnel.Integration{
		Name: "office", Summary: "Opens tickets.", Connect: funnel.Connect(connect), Actions: []funnel.AnyAction{open}, Triggers: []funnel.AnyTrigger{alerts},
	}).AddPlaybooks(play)
	limits := funnel.Limits{Concurrency: concurrency, Rate: perSecond, Per: time.Second}
	gate := upstream.NewGovernor("office", limits, nil)
	log := slog.New(slog.DiscardHandler)
	var e *engine.Engine
	b.queue = queue.New(queue.Options{
		Backlog: s, Gates: one{gate}, Workers: 16, Log: log,
		Work: func(ctx context.Context, run int64) string { return e.Work(ctx, run, nil).Parked },
	})
	e = engine.New(engine.Options{
		Journal: b.wrote, Queue: b.queue, Registry: registry, Log: log, Match: func(string) []string { return nil },
		Connections: map[string]*engine.Connection{"office": {
			Name: "office", Integration: "office", Client: &clerk{&http.Client{Transport: b.office}}, Gate: gate, Timeout: 20 * time.Second, Limits: limits,
		}},
		Lookups: []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}, Quiet: 30 * time.Minute,
		TellAfter: 2 * time.Minute, Attempts: 6, RunURL: func(int64) string { return "" },
	})
	gate.OnFree(func() { b.queue.Freed("office") })
	ctx, cancel := context.WithCancel(context.Background())
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.queue.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // within the bubble: it must be left by all
		e.Drain()
		cancel()
		b.queue.Stop()
		gate.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// one is the queue's view of the only governor.
type one struct{ *upstream.Governor }

func (o one) Free(string) int { return o.Governor.Free() }

func (o *office) set(down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
}

// alerts accepts so many alerts a second for the time.
func (b *bureau) alerts(each int, lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Second / time.Duration(each)) {
		b.take()
		if b.sent%1000 == 0 {
			b.weigh()
		}
	}
}

func (b *bureau) take() {
	n := b.sent
	b.sent++
	data, err := json.Marshal(paper{n})
	if err != nil {
		b.t.Fatal(err)
	}
	e := record.NewEvent{
		Event:     record.Event{Source: "test", Trigger: "office.alert", Key: fmt.Sprintf("test:%d", n), ReceivedAt: time.Now(), Data: data, Disposition: record.Matched},
		Playbooks: []string{"file"},
	}
	_, _, runs, err := b.store.Accept(record.Delivery{Source: "test", ReceivedAt: time.Now()}, e)
	if err != nil {
		b.t.Fatal(err)
	}
	b.queue.Added(runs...)
}

// weigh keeps the size of the process.
func (b *bureau) weigh() {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return
	}
	var all, resident int64
	if _, err := fmt.Sscan(string(text), &all, &resident); err == nil {
		b.kept = max(b.kept, resident*int64(os.Getpagesize()))
	}
}

// drain waits until every run is done, and lets new alerts come in meanwhile.
func (b *bureau) drain() {
	for {
		for range 50 {
			b.take()
			time.Sleep(200 * time.Millisecond)
		}
		b.weigh()
		if sum, err := b.store.Summarize(context.Background()); err != nil || sum.Runs[record.Waiting]+sum.Runs[record.Queued]+sum.Runs[record.Running] == 0 {
			if err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
}

func (b *bureau) last() time.Time { return b.office.did[len(b.office.did)-1].at }

// end lets what the last alerts began come to its end.
func (b *bureau) end() { time.Sleep(time.Minute) }

// judge compares the office's journal with what was accepted.
func (b *bureau) judge(r *result, before, parked int) {
	o := b.office
	o.mu.Lock()
	defer o.mu.Unlock()
	times := make([]int, b.sent)
	most := 0
	var order []int
	var recent []time.Time
	for _, d := range o.did {
		times[d.n]++
		if d.n >= before && d.n < parked && !o.tried[d.n] {
			order = append(order, d.n)
		}
		recent = append(recent, d.at)
		for recent[0].Before(d.at.Add(-time.Second + time.Nanosecond)) {
			recent = recent[1:]
		}
		most = max(most, len(recent))
	}
	for _, n := range times {
		switch {
		case n == 0:
			r.lost++
		case n > 1:
			r.double++
		}
	}
	disorder := 0
	rank := map[int]int{}
	for i, n := range slices.Sorted(slices.Values(order)) {
		rank[n] = i
	}
	for i, n := range order {
		disorder = max(disorder, i-rank[n], rank[n]-i)
	}
	if o.atOnce > concurrency {
		r.fault("%d requests at once, want %d at most", o.atOnce, concurrency)
	}
	if most > 2*perSecond {
		r.fault("%d tickets in a second, want %d", most, perSecond)
	}
	if disorder > 64 {
		r.fault("a ticket is %d places out of its order", disorder)
	}
	r.note("at most %d requests at once and %d tickets in a second; a ticket was at most %d places out of its order", o.atOnce, most, disorder)
}
