package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/internal/upstream"
)

const workers = 32 // the default of engine.workers

// job is the event and the input of the steps; its JSON has a fixed length.
type job struct {
	N int `json:"n"`
}

// caller is the client of the integration that the runs use.
type caller struct {
	http *http.Client // nil: it calls nobody
	url  string
}

func (c *caller) Nothing(context.Context, job) (job, error) { return job{N: 1}, nil }

func (c *caller) Call(ctx context.Context, in job) (job, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return job{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return job{}, err
	}
	return in, res.Body.Close()
}

// TestRunsOfFourSteps compares how many runs per second are worked on whose
// steps do nothing but be journalled.
func TestRunsOfFourSteps(t *testing.T) {
	runs := workers
	if *full {
		runs = 4000
	}
	var mine, bare string
	compare(t, "runs of four no-op steps, 32 workers", "runs/s", 0.50,
		func(t *testing.T) float64 {
			mine = preloaded(t, runs, "four")
			s := open(t, mine)
			defer closing(t, s)
			return work(t, s, runs, newWorld(&caller{}))
		},
		func(t *testing.T) float64 {
			bare = preloaded(t, runs, "four")
			b := newBare(t, bare)
			defer closing(t, closer(b.close))
			return bareWork(t, b, runs)
		})
	if mine != "" && bare != "" {
		mustHoldTheSame(t, mine, bare)
	}
}

// TestSlowUpstream compares the throughput against upstreams that answer in
// 200 ms with concurrency ÷ latency.
func TestSlowUpstream(t *testing.T) {
	const places = 16
	latency, runs := 20*time.Millisecond, 2*places
	if *full {
		latency, runs = 200*time.Millisecond, 50*places
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := upstream.NewHTTP(upstream.Options{Concurrency: places})(base, nil)
	defer client.CloseIdleConnections()
	w := newWorld(&caller{http: client, url: server.URL})
	w.limits.Concurrency = places
	s := open(t, preloaded(t, runs, "one"))
	defer closing(t, s)
	got, ideal := work(t, s, runs, w), places/latency.Seconds()
	say(t, "one call to an upstream that answers in %v, concurrency %d: ours %.1f runs/s, concurrency ÷ latency %.1f runs/s, ratio %.0f %%, target at least 90 %%", latency, places, got, ideal, 100*got/ideal)
	if *full && got < 0.9*ideal {
		t.Error("the throughput is more than 10 % below concurrency ÷ latency")
	}
}

// world is what the engine is given to work with.
type world struct {
	registry *funnel.Registry
	client   *caller
	limits   funnel.Limits
}

// newWorld returns a world with two playbooks: "four" has four steps that do
// nothing, "one" has one that calls an upstream.
func newWorld(client *caller) *world {
	nothing := funnel.NewAction("bench.nothing", "Do nothing.", funnel.Reads, (*caller).Nothing)
	call := funnel.NewAction("bench.call", "Call the upstream.", funnel.Reads, (*caller).Call)
	trigger := funnel.NewTrigger("bench.job", "There is something to do.", func(funnel.Request) ([]funnel.Arrival[job], error) { return nil, nil })
	integration := funnel.Integration{
		Name: "bench", Summary: "Does nothing.", Actions: []funnel.AnyAction{nothing, call}, Triggers: []funnel.AnyTrigger{trigger},
		Connect: funnel.Connect(func(context.Context, funnel.Env, struct{}) (*caller, error) { return client, nil }),
	}
	four := funnel.NewPlaybook("four", "Do nothing four times.", trigger, func(r *funnel.Run, j job) error {
		for i := range 4 {
			if _, err := funnel.Step(r, stepName(i), nothing, j); err != nil {
				return err
			}
		}
		return nil
	})
	one := funnel.NewPlaybook("one", "Call once.", trigger, func(r *funnel.Run, j job) error {
		_, err := funnel.Step(r, "call", call, j)
		return err
	})
	return &world{registry: funnel.NewRegistry().Add(integration).AddPlaybooks(four, one), client: client}
}

func stepName(i int) string { return "step" + strconv.Itoa(i) }

// work starts the engine and the queue as the server does and returns how many
// of the waiting runs they end per second.
func work(t *testing.T, s *store.Store, runs int, w *world) float64 {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	governor := upstream.NewGovernor("bench", w.limits, nil)
	var e *engine.Engine
	var left atomic.Int64
	left.Store(int64(runs))
	finished := make(chan struct{})
	q := queue.New(queue.Options{
		Backlog: s, Gates: gate{governor}, Workers: workers, Log: log,
		Work: func(ctx context.Context, run int64) string {
			parked := e.Work(ctx, run, nil).Parked
			if parked == "" && left.Add(-1) == 0 {
				close(finished)
			}
			return parked
		},
	})
	governor.OnFree(func() { q.Freed("bench") })
	e = engine.New(engine.Options{
		Journal: s, Queue: q, Registry: w.registry, Match: func(string) []string { return nil },
		Connections: map[string]*engine.Connection{"bench": {Name: "bench", Integration: "bench", Client: w.client, Gate: governor, Timeout: time.Minute}},
		Lookups:     []time.Duration{time.Minute}, Quiet: time.Hour, TellAfter: time.Hour, Attempts: 1,
		RunURL: func(run int64) string { return fmt.Sprint(run) }, Log: log, Metrics: metrics.New(),
	})
	began := time.Now()
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-finished
	took := time.Since(began)
	e.Drain()
	q.Stop()
	governor.Close()
	sum, err := s.Summarize(t.Context())
	if err != nil || len(sum.Runs) > 1 || sum.Runs[record.Failed] != 0 {
		t.Fatalf("not all runs succeeded: %v, %v", sum.Runs, err)
	}
	return float64(runs) / took.Seconds()
}

type gate struct{ *upstream.Governor }

func (g gate) Free(string) int { return g.Governor.Free() }

// bareWork is the bare loop: as many goroutines as there are workers write four
// step rows one after the other and then the end of the run, awaiting each.
func bareWork(t *testing.T, b *bare, runs int) float64 {
	t.Helper()
	const text = `{"n":1}`
	hash := "0123456789abcdef0123456789abcdef"
	var next atomic.Int64
	var done sync.WaitGroup
	errs := make(chan error, workers)
	began := time.Now()
	for range workers {
		done.Go(func() {
			for run := next.Add(1); run <= int64(runs); run = next.Add(1) {
				if err := bareRun(b, run, hash, []byte(text)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	done.Wait()
	took := time.Since(began)
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	return float64(runs) / took.Seconds()
}

func bareRun(b *bare, run int64, hash string, text []byte) error {
	for i := range 4 {
		err := b.do(func() error {
			now := time.Now().UnixMicro()
			_, err := b.exec(insertStep, run, stepName(i), i+1, hash, text, text, now, now)
			return err
		})
		if err != nil {
			return err
		}
	}
	return b.do(func() error {
		now := time.Now().UnixMicro()
		_, err := b.exec(endRun, now, now, run)
		return err
	})
}

// preloaded makes a database with runs that wait for a worker.
func preloaded(t *testing.T, runs int, playbook string) string {
	t.Helper()
	dir := database(t)
	s := open(t, dir)
	defer closing(t, s)
	var next atomic.Int64
	var done sync.WaitGroup
	for range groupSize {
		done.Go(func() {
			for n := next.Add(1); n <= int64(runs); n = next.Add(1) {
				now := time.Now()
				_, _, _, err := s.Accept(record.Delivery{Source: "bench", ReceivedAt: now}, record.NewEvent{
					Event:     record.Event{Source: "bench", Trigger: "bench.job", Key: fmt.Sprint("bench:", n), ReceivedAt: now, Data: []byte(`{"n":1}`), Disposition: record.Matched},
					Playbooks: []string{playbook},
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
	return dir
}
