package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// runs is the queue: the embedded one, or River's.
type runs interface {
	Add(runs ...int64)
	Added(runs ...int64)
	Schedule(at time.Time)
	Freed(connection string)
	Depth() (ready, working int)
	Start(ctx context.Context) error
	Stop()
}

// shared reports whether other nodes may work on the same database.
func (a *App) shared() bool { return a.store.Pool() != nil }

// openStore opens SQLite, or the shared database.
func (a *App) openStore(ctx context.Context) (err error) {
	c := a.o.Config
	if !c.Database.Shared() {
		a.store, err = store.Open(c.Data)
		return err
	}
	url, err := c.ResolveDatabase()
	if err != nil {
		return err
	}
	a.saw(url)
	enqueue, err := queue.Enqueuer()
	if err != nil {
		return err
	}
	a.node = record.Node{ID: newNodeID(), Name: nodeName(c), Version: a.o.Version, StartedAt: a.started}
	o := store.Postgres{URL: url.Reveal(), Enqueue: enqueue, Migrate: queue.Migrate, Unsafe: a.o.UnsafeDatabase}
	for end := time.Now().Add(databasePatience); ; {
		a.store, err = store.OpenPostgres(ctx, o)
		if !errors.Is(err, store.ErrAway) || time.Now().After(end) {
			return err
		}
		a.log.Warn("waiting for the database", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// MarkRestored notes in the database of the configuration that it was restored by
// other means than ours.
func MarkRestored(ctx context.Context, c *config.Config) error {
	a := &App{o: Options{Config: c}, log: slog.New(slog.DiscardHandler)}
	if err := a.openStore(ctx); err != nil {
		return err
	}
	return errors.Join(a.store.NoteRestored(store.Restored{At: time.Now().UTC()}), a.store.Close())
}

// recallFor is how long after a restore what is new to the database is looked up
// first: longer than a source or a reconciliation brings something back.
const recallFor = 7 * 24 * time.Hour

// recallUntil returns until when that is so.
func (a *App) recallUntil() (time.Time, error) {
	r, err := a.store.Restored()
	if err != nil || r.At.IsZero() {
		return time.Time{}, err
	}
	until := r.At.Add(recallFor)
	if a.o.Clock().Before(until) {
		a.log.Info("the database was restored: what is to be made is looked up first, for it may be there already", "backup_of", r.MadeAt, "restored", r.At, "until", until)
	}
	return until, nil
}

// databasePatience is how long a node waits for a database that does not answer
// when it starts: both may have been started by the same power cut.
const databasePatience = 20 * time.Second

// ErrAway says that the database did not answer: the same start may succeed later.
var ErrAway = store.ErrAway

func newNodeID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return hex.EncodeToString(b[:])
}

func nodeName(c *config.Config) string {
	if c.Cluster.Node != "" {
		return c.Cluster.Node
	}
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	_, port, _ := net.SplitHostPort(c.Server.Listen)
	return net.JoinHostPort(host, port)
}

func (a *App) newQueue(c *config.Config) (runs, error) {
	if !a.shared() {
		return queue.New(queue.Options{
			Backlog: a.store, Gates: gates{&a.setup}, Workers: c.Engine.Workers, Log: a.log, Clock: a.o.Clock,
			Work: func(ctx context.Context, run int64) string { return a.engine.Work(ctx, run, nil).Parked },
		}), nil
	}
	return queue.NewRiver(queue.RiverOptions{
		Cluster: a.store, Pool: a.store.Pool(), Node: a.node, Lease: c.Cluster.Lease, Gates: gates{&a.setup}, Workers: c.Engine.Workers, Log: a.log, Metrics: a.metrics,
		Work: func(ctx context.Context, run int64, l *record.Lease) record.Worked { return a.engine.Work(ctx, run, l) },
	})
}

// tokensSetting is the name of the stored API tokens, the same for all nodes.
const tokensSetting = "api_tokens"

// openTokens opens the API tokens: those of the data directory or, with a shared
// database, of all nodes. Of nodes that start at the same moment, the first one's
// token counts, and it alone is shown.
func (a *App) openTokens() (created string, err error) {
	dir := a.o.Config.Data
	if a.shared() {
		if err := a.adoptTokens(false); err != nil {
			return "", err
		}
	}
	if a.tokens, created, err = auth.Open(dir, a.o.Clock); err != nil || created == "" || !a.shared() {
		return created, err
	}
	if first, err := a.firstTokens(); err != nil || !first {
		return "", err
	}
	return created, nil
}

// firstTokens makes the token that was just created that of all nodes, unless
// another node was first: then its token takes the place of ours.
func (a *App) firstTokens() (first bool, err error) {
	ours, err := auth.Export(a.o.Config.Data)
	if err != nil {
		return false, err
	}
	err = a.store.ChangeSetting(tokensSetting, func(stored []byte) []byte {
		if first = stored == nil; first {
			return ours
		}
		return nil
	})
	if err != nil || first {
		return first, err
	}
	return false, a.adoptTokens(true)
}

// adoptTokens takes over the tokens of the database if they are newer than ours,
// or anyway.
func (a *App) adoptTokens(anyway bool) error {
	raw, err := a.store.Setting(tokensSetting)
	if err != nil || raw == nil {
		return err
	}
	return auth.Import(a.o.Config.Data, raw, anyway)
}

// shareTokens stores our tokens if they are newer than those of the database.
func (a *App) shareTokens() error {
	ours, err := auth.Export(a.o.Config.Data)
	if err != nil {
		return err
	}
	return a.store.ChangeSetting(tokensSetting, func(stored []byte) []byte {
		if stored != nil && !auth.Newer(ours, stored) {
			return nil
		}
		return ours
	})
}

// syncTokens keeps the tokens of all nodes the same: the newest are everybody's.
func (a *App) syncTokens(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.shareTokens()
		if err == nil {
			err = a.adoptTokens(false)
		}
		if err != nil {
			a.log.Error("sharing the API tokens with the other nodes", "error", err)
		}
	}
}
