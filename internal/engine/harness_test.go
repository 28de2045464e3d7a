package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs the test in virtual time. A goroutine that is left over fails it.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, fn)
}

// world is a server around the desk: the real store, queue, governors and
// intake.
type world struct {
	t         *testing.T
	kit       kit
	desk      *desk
	desks     map[string]*desk // by connection
	playbooks []*funnel.Playbook
	options   func(*engine.Options)
	limits    funnel.Limits
	workers   int
	dir       string

	gates  gates
	store  *store.Store
	queue  *queue.Queue
	engine *engine.Engine
	intake *intake.Intake
	cancel context.CancelFunc
	log    strings.Builder
}

func newWorld(t *testing.T) *world {
	d := newDesk()
	return &world{
		t: t, kit: newKit(), desk: d, desks: map[string]*desk{"desk": d}, workers: 8,
		limits: funnel.Limits{Concurrency: 8}, dir: filepath.Join(t.TempDir(), "data"),
	}
}

// on adds a playbook that runs for alerts.
func (w *world) on(name string, fn func(*funnel.Run, alert) error, options ...funnel.PlaybookOption) {
	w.playbooks = append(w.playbooks, funnel.NewPlaybook(name, "Test.", w.kit.alert, fn, options...))
}

// gates are the queue's view of the governors.
type gates map[string]*upstream.Governor

func (g gates) Free(connection string) int {
	if gate := g[connection]; gate != nil {
		return gate.Free()
	}
	return 0
}

func (w *world) start() *world {
	w.t.Helper()
	if w.store == nil {
		w.reopen()
	}
	registry := funnel.NewRegistry().Add(w.kit.integration()).AddPlaybooks(w.playbooks...)
	log := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelError}))
	match := func(trigger string) (names []string) {
		for _, p := range w.playbooks {
			if p.Trigger.ID == trigger {
				names = append(names, p.Name)
			}
		}
		return names
	}
	g := gates{}
	w.gates = g
	connections := map[string]*engine.Connection{}
	for name, d := range w.desks {
		g[name] = upstream.NewGovernor(name, w.limits, nil)
		connections[name] = &engine.Connection{Name: name, Integration: "desk", Client: d, Gate: g[name], Timeout: 30 * time.Second, Limits: w.limits}
	}
	w.queue = queue.New(queue.Options{
		Backlog: w.store, Gates: g, Workers: w.workers, Log: log,
		Work: func(ctx context.Context, run int64) string { return w.engine.Work(ctx, run, nil).Parked },
	})
	o := engine.Options{
		Journal: w.store, Queue: w.queue, Registry: registry, Connections: connections, Match: match,
		Lookups: []time.Duration{5 * time.Second, 30 * time.Second, 120 * time.Second, 600 * time.Second},
		Quiet:   30 * time.Minute, TellAfter: 2 * time.Minute, Attempts: 5,
		Backoff: func(n int) time.Duration { return time.Duration(n) * time.Second },
		RunURL:  func(int64) string { return "https://funnel.test/run" }, Log: log,
	}
	if w.options != nil {
		w.options(&o)
	}
	w.engine = engine.New(o)
	w.intake = intake.New(intake.Options{
		Inbox: w.store, Match: match, Wake: w.queue.Add, Log: log,
		Sources: []intake.Source{{
			Name: "hooks", Triggers: []*funnel.TriggerSpec{w.kit.opened.Spec()}, Connection: "desk", Auth: intake.None(), MaxBody: 1 << 20,
			Account: func() string { return "funnel" },
		}},
	})
	for name, gate := range g {
		gate.OnFree(func() { w.queue.Freed(name) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	if err := errors.Join(w.engine.Start(ctx), w.queue.Start(ctx)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.crash)
	return w
}

// crash ends the server without grace: attempts under way are cut off.
func (w *world) crash() {
	if w.store == nil {
		return
	}
	w.cancel()
	w.engine.Drain() // a dead process begins nothing either
	w.queue.Stop()
	for _, g := range w.gates {
		g.Close()
	}
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
	w.store = nil
}

// reopen opens the store of a server that has ended.
func (w *world) reopen() {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(w.dir); err != nil {
		w.t.Fatal(err)
	}
}

// died notes that a process ended while it worked on the runs; on one, alone.
func (w *world) died(runs []int64, crashed bool) {
	w.t.Helper()
	alone := int64(0)
	if len(runs) == 1 {
		alone = runs[0]
	}
	if n, err := w.store.Died("", runs, alone, crashed); err != nil || n != len(runs) {
		w.t.Fatalf("of %d deaths %d were noted: %v", len(runs), n, err)
	}
}

// stop ends the server with grace.
func (w *world) stop() {
	w.engine.Drain()
	w.queue.Stop()
	w.crash()
}

// alert accepts an alert and returns its runs. Alerts of one print are about
// the same thing.
func (w *world) alert(name, print string) []int64 {
	w.t.Helper()
	data, _ := json.Marshal(alert{Name: name, Print: print})
	e := record.Event{Source: "test", Trigger: "desk.alert", Key: "test:" + name, ReceivedAt: time.Now(), Data: data, Disposition: record.Matched}
	n := record.NewEvent{Event: e}
	for _, p := range w.playbooks {
		if p.Trigger.ID == "desk.alert" {
			n.Playbooks = append(n.Playbooks, p.Name)
		}
	}
	_, _, runs, err := w.store.Accept(record.Delivery{Source: "test", ReceivedAt: time.Now()}, n)
	if err != nil {
		w.t.Fatal(err)
	}
	w.queue.Add(runs...)
	return runs
}

// one accepts an alert for the only playbook and returns its run.
func (w *world) one(name string) int64 { w.t.Helper(); return w.alert(name, name)[0] }

// webhook delivers a webhook of the desk through the intake.
func (w *world) webhook(h hook) intake.Result {
	w.t.Helper()
	body, _ := json.Marshal(h)
	result, err := w.intake.Receive(context.Background(), intake.Request{
		Source: "hooks", Loopback: true, Remote: netip.MustParseAddr("127.0.0.1"),
		Header: http.Header{"Content-Type": {"application/json"}}, Body: strings.NewReader(string(body)), ContentLength: int64(len(body)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

// after lets virtual time pass until everybody waits.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) run(id int64) record.Run {
	w.t.Helper()
	r, err := w.store.Run(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) step(run int64, path string) record.Step {
	w.t.Helper()
	steps, err := w.store.Steps(context.Background(), run)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range steps {
		if s.Path == path {
			return s
		}
	}
	return record.Step{}
}

// runs returns all runs of a kind and playbook, the oldest first.
func (w *world) runs(kind record.Kind, playbook string) (list []record.Run) {
	w.t.Helper()
	all, err := w.store.Runs(context.Background(), store.RunFilter{Playbook: playbook, Page: store.Page{Limit: 1000}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range all {
		if r.Kind == kind {
			list = append([]record.Run{r}, list...)
		}
	}
	return list
}

// is checks the state of a run.
func (w *world) is(run int64, want record.State) record.Run {
	w.t.Helper()
	r := w.run(run)
	if r.State != want {
		w.t.Fatalf("run %d is %s (%s %s), want %s", run, r.State, r.Code, r.Why, want)
	}
	return r
}

// did checks how often the desk processed the action.
func (w *world) did(op string, want int) {
	w.t.Helper()
	if got := w.desk.did(op); len(got) != want {
		w.t.Fatalf("%s was processed %d times, want %d: %v", op, len(got), want, got)
	}
}
