package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/record"
)

// How River works on jobs. A run is bounded by its actions' time-outs, and a node
// that dies loses its runs with their leases; the bounds here are for jobs that
// slipped through all of that.
const (
	jobTimeout  = time.Hour
	rescueAfter = 2 * time.Hour
	keepJobs    = time.Minute // a job that is done: what happened is in the journal
	mostTries   = 10_000      // of a job that finds no database
	queueName   = "runs"
	retryAfter  = time.Second
	listenPause = 20 * time.Millisecond // between two fetches
	pollEvery   = time.Second           // for jobs of which no word came, and for what is due
	lostAfter   = 20 * time.Second      // a fetched job has begun by then
	searchEvery = 30 * time.Second      // for jobs that the table has lost
	batch       = 200
)

// runArgs are a job's: one job is one run, at one of the times at which it can go
// on. A job of an earlier generation than the run's does nothing, so it does not
// matter if there are several; a run that is woken again before its job is taken
// gets no other.
type runArgs struct {
	Run        int64 `json:"run"`
	Generation int64 `json:"generation"`
}

// Kind names the jobs in River's table.
func (runArgs) Kind() string { return "run" }

// Cluster is the shared database, as the queue needs it.
type Cluster interface {
	Begin(j record.Job, node string, lease time.Duration) (fence int64, ok bool, err error)
	End(run, fence int64, again bool) error
	Beat(n record.Node, lease time.Duration, fences map[int64]int64) (lost []int64, err error)
	Forget(node string) error
	TakeOver(limit int) (int, error)
	WakeDue(limit int) (int, error)
	WakeParked(waitOn string, limit int) (int, error)
	WakeLost(jobs []record.Job) (int, error)
	WakeForgotten(before time.Time, limit int) (int, error)
	Wake(runs ...int64) error
	WaitCounts(ctx context.Context) (map[string]int, error)
}

// Enqueuer returns what makes jobs in a transaction of the journal.
func Enqueuer() (func(context.Context, pgx.Tx, []record.Job) error, error) {
	client, err := river.NewClient(riverpgxv5.New(nil), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("preparing the queue: %w", err)
	}
	return func(ctx context.Context, tx pgx.Tx, jobs []record.Job) error {
		params := make([]river.InsertManyParams, len(jobs))
		for i, j := range jobs {
			params[i] = river.InsertManyParams{Args: runArgs(j), InsertOpts: &river.InsertOpts{Queue: queueName, MaxAttempts: mostTries}}
		}
		if len(jobs) > 8 {
			_, err := client.InsertManyFastTx(ctx, tx, params)
			return err
		}
		_, err := client.InsertManyTx(ctx, tx, params)
		return err
	}, nil
}

// Migrate creates or upgrades River's tables.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("upgrading the queue's tables: %w", err)
	}
	return nil
}

// RiverOptions set the queue of several nodes up.
type RiverOptions struct {
	Cluster Cluster
	Pool    *pgxpool.Pool
	Node    record.Node
	Lease   time.Duration // how long a node that is not heard of keeps its runs
	Gates   Gates
	Work    func(ctx context.Context, run int64, lease *record.Lease) record.Worked
	Workers int
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// River hands the runs of a shared database to this node's workers. River keeps
// the jobs and hands each to one node; leases say who works on a run.
type River struct {
	o      RiverOptions
	client *river.Client[pgx.Tx]
	leases *leases

	due    chan time.Time // instants at which runs are due
	freed  chan string    // connections that take more callers
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewRiver returns the queue; Start begins the work.
func NewRiver(o RiverOptions) (*River, error) {
	q := &River{o: o, due: make(chan time.Time, 256), freed: make(chan string, 256)}
	q.leases = newLeases(o)
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, river.WorkFunc(q.work)); err != nil {
		return nil, err
	}
	client, err := river.NewClient(riverpgxv5.New(o.Pool), &river.Config{
		ID: o.Node.ID, Logger: slog.New(quiet{o.Log.Handler()}), Workers: workers,
		Queues:     map[string]river.QueueConfig{queueName: {MaxWorkers: o.Workers}},
		JobTimeout: jobTimeout, RescueStuckJobsAfter: rescueAfter, MaxAttempts: mostTries, RetryPolicy: soon{},
		CompletedJobRetentionPeriod: keepJobs, CancelledJobRetentionPeriod: keepJobs, DiscardedJobRetentionPeriod: 24 * time.Hour,
		FetchCooldown: listenPause, FetchPollInterval: pollEvery,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the queue: %w", err)
	}
	q.client = client
	return q, nil
}

// soon has a job that failed come again soon: it failed for want of the database.
type soon struct{}

// NextRetry returns when.
func (soon) NextRetry(*rivertype.JobRow) time.Time { return time.Now().Add(retryAfter) }

// Start begins to work on jobs until Stop.
func (q *River) Start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := q.leases.beat(); err != nil {
		q.cancel()
		return fmt.Errorf("joining the nodes: %w", err)
	}
	if err := q.client.Start(ctx); err != nil {
		q.cancel()
		return fmt.Errorf("starting the queue: %w", err)
	}
	for _, task := range []func(context.Context){q.leases.keep, q.wakeDue, q.wakeFreed, q.watch} {
		q.wg.Go(func() { task(ctx) })
	}
	return nil
}

// Stop takes no new run and returns when the ones under way have ended.
func (q *River) Stop() {
	if q.cancel == nil {
		return
	}
	ctx, done := context.WithTimeout(context.Background(), rescueAfter)
	defer done()
	if err := q.client.Stop(ctx); err != nil {
		q.o.Log.Error("stopping the queue", "error", err)
	}
	q.cancel()
	q.wg.Wait()
	if err := q.o.Cluster.Forget(q.o.Node.ID); err != nil {
		q.o.Log.Warn("leaving the nodes", "error", err)
	}
}

// Interrupt has the runs under way end at once; others go on with them.
func (q *River) Interrupt() { q.leases.interrupt() }

// work works on the run of a job.
func (q *River) work(_ context.Context, job *river.Job[runArgs]) error {
	l, err := q.leases.begin(record.Job(job.Args))
	switch {
	case err != nil:
		return err
	case l == nil: // out of date, or somebody works on it
		return nil
	}
	faultpoint.Hit("river.begin.after")
	worked := q.o.Work(l.ctx, job.Args.Run, &record.Lease{Fence: l.fence, Until: l.end})
	faultpoint.Hit("river.end.before")
	q.leases.end(l, worked.Again)
	faultpoint.Hit("river.end.after")
	if worked.Parked != "" {
		q.Freed(worked.Parked) // it may have been freed before the run was in the table
	}
	return nil
}

// Add has runs worked on.
func (q *River) Add(runs ...int64) {
	if err := q.o.Cluster.Wake(runs...); err != nil {
		q.o.Log.Error("waking runs", "error", err)
	}
}

// Added does nothing: the transaction that let the runs go on made their jobs.
func (q *River) Added(...int64) {}

// Schedule makes the node look for due runs at the time. What it does not hear of
// is found by looking every second.
func (q *River) Schedule(at time.Time) {
	select {
	case q.due <- at:
	default: // it looks soon anyway
	}
}

// wakeDue makes jobs for the runs whose time has come.
func (q *River) wakeDue(ctx context.Context) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	next := time.Now().Add(pollEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-q.due:
			if at.Before(next) {
				next = at
				timer.Reset(time.Until(at))
			}
			continue
		case <-timer.C:
		}
		n, err := q.o.Cluster.WakeDue(batch)
		if err != nil {
			q.o.Log.Error("waking runs that are due", "error", err)
		}
		next = time.Now().Add(pollEvery)
		if n == batch {
			next = time.Now()
		}
		timer.Reset(time.Until(next))
	}
}

// Freed wakes the oldest runs parked on the connection, as many as it takes.
func (q *River) Freed(connection string) {
	select {
	case q.freed <- connection:
	default: // watch looks soon
	}
}

func (q *River) wakeFreed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case connection := <-q.freed:
			if free := q.o.Gates.Free(connection); free > 0 {
				if _, err := q.o.Cluster.WakeParked(record.WaitConnection(connection), min(free, batch)); err != nil {
					q.o.Log.Error("waking parked runs", "connection", connection, "error", err)
				}
			}
		}
	}
}

// watch takes over the runs of nodes that are gone, and those whose job came to
// nothing, and looks after runs that another node has parked. Each node does so by
// itself: whoever leads may be the one that is gone.
func (q *River) watch(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	var searched time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, err := q.o.Cluster.TakeOver(batch)
		if n > 0 {
			q.o.Metrics.TakenOver(n)
			q.o.Log.Warn("runs of a node that does not answer are taken over", "runs", n)
		}
		counts, err2 := q.o.Cluster.WaitCounts(ctx)
		for on := range counts {
			if connection, ok := strings.CutPrefix(on, record.WaitConnection("")); ok {
				q.Freed(connection)
			}
		}
		if time.Since(searched) >= searchEvery {
			searched = time.Now()
			err = errors.Join(err, q.wakeForgotten(ctx))
		}
		if err := errors.Join(err, err2, q.wakeLost(ctx)); err != nil && ctx.Err() == nil {
			q.o.Log.Error("looking for runs that nobody works on", "error", err)
		}
	}
}

// wakeLost finds runs whose job was fetched and came to nothing. Such jobs stay in the
// table until River rescues them, so those whose run has gone on are passed over: after
// many deaths there may be any number of them.
func (q *River) wakeLost(ctx context.Context) error {
	rows, err := q.o.Pool.Query(ctx, `SELECT run.id, run.generation FROM river_job
		JOIN run ON run.id = (args->>'run')::BIGINT AND run.generation = (args->>'generation')::BIGINT
		WHERE river_job.state = 'running' AND queue = $1 AND attempted_at < now() - $2::INTERVAL
		AND live = 1 AND begun < generation AND lease_until = 0 LIMIT $3`, queueName, lostAfter, batch)
	if err != nil {
		return err
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record.Job])
	if err != nil || len(jobs) == 0 {
		return err
	}
	n, err := q.o.Cluster.WakeLost(jobs)
	if n > 0 {
		q.o.Log.Warn("runs whose turn came when their node ended got a new place in the queue", "runs", n)
	}
	return err
}

// wakeForgotten finds runs whose job is not in the table any more: each was made
// before the oldest job that somebody may still begin.
func (q *River) wakeForgotten(ctx context.Context) error {
	var oldest time.Time
	if err := q.o.Pool.QueryRow(ctx, `SELECT COALESCE(MIN(created_at), now()) FROM river_job
		WHERE queue = $1 AND (state IN ('available', 'pending', 'retryable', 'scheduled') OR state = 'running' AND attempted_at >= now() - $2::INTERVAL)`,
		queueName, lostAfter).Scan(&oldest); err != nil {
		return err
	}
	n, err := q.o.Cluster.WakeForgotten(oldest.Add(-lostAfter), batch)
	if n > 0 {
		q.o.Log.Warn("runs had lost their place in the queue and got a new one", "runs", n)
	}
	return err
}

// Depth returns how many runs this node works on; the waiting ones are everybody's.
func (q *River) Depth() (ready, working int) { return 0, q.leases.count() }

// Alive reports whether the node is in touch with the database, so that it may
// work.
func (q *River) Alive() bool { return q.leases.alive() }

// quiet keeps River's routine out of the log.
type quiet struct{ slog.Handler }

// Enabled reports whether the level is worth a line.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}
