// Package app introduces everybody: it builds a server from a configuration and
// a registry, starts it and stops it. The command line, the demo and the
// end-to-end tests share it.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/secret"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/internal/underway"
)

// Options set a server up.
type Options struct {
	Config   *config.Config
	Registry *funnel.Registry
	Version  string
	Log      slog.Handler // where log lines go; secrets are taken out on the way
	Notices  io.Writer    // where the first-run token is shown, once
	Clock    func() time.Time
	// Engine, if set, changes the engine's options before it is made; for tests.
	Engine func(*engine.Options)
	// UnsafeDatabase accepts a PostgreSQL that answers before it has flushed; for
	// tests.
	UnsafeDatabase bool
}

// Bounds on open connections, in all and for each caller that is not this
// machine.
const maxConnections, maxPerCaller = 4096, 256

// App is a server.
type App struct {
	o       Options
	log     *slog.Logger
	secrets []secret.Secret
	output  *swap // what the log is written to
	store   *store.Store
	node    record.Node // this one, with a shared database
	book    *underway.Book
	past    underway.Past // of the processes before this one
	tokens  *auth.Tokens
	metrics *metrics.Metrics
	queue   runs
	engine  *engine.Engine
	intake  *intake.Intake
	gauged  map[string]bool // the gauges that there are
	started time.Time
	handler http.Handler
	server  *http.Server
	listen  net.Listener

	setup     atomic.Pointer[setup]  // what the configuration made of the server
	reloading sync.Mutex             // held by who changes setup and secrets
	told      atomic.Pointer[reload] // the latest reload, or the start
	watching  context.CancelFunc     // ends what watches the connections of setup
	running   context.Context        // ends with the server
	stopping  atomic.Bool            // the server was told to stop

	found reconciliations // of the sources that look for what never arrived

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New builds a server: it opens the database, makes the clients and restores the
// queue, in this order, so that nothing is accepted that could not be stored.
func New(ctx context.Context, o Options) (_ *App, err error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.DiscardHandler
	}
	if err := Check(o.Config, o.Registry); err != nil {
		return nil, err
	}
	a := &App{o: o, metrics: metrics.New(), started: o.Clock(), gauged: map[string]bool{}, output: &swap{}}
	a.output.set(secret.NewHandler(o.Log, secret.NewRedactor()))
	a.log = slog.New(a.output)
	if err = a.openStore(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			if s := a.setup.Load(); s != nil {
				s.close(nil)
			}
			if a.tokens != nil {
				err = errors.Join(err, a.tokens.Close())
			}
			err = store.Explain(errors.Join(err, a.book.Close(), a.store.Close()))
		}
	}()
	if err = a.openBook(); err != nil {
		return nil, err
	}
	created, err := a.openTokens()
	if err != nil {
		return nil, fmt.Errorf("opening the API tokens: %w", err)
	}
	if created != "" && o.Notices != nil {
		fmt.Fprintf(o.Notices, "The API's admin token, shown this once (also in %s/first-run-token until its first use):\n\n    %s\n\n", o.Config.Data, created)
	}
	s, err := a.prepare(ctx, o.Config, nil)
	if err != nil {
		return nil, err
	}
	a.setup.Store(s)
	a.told.Store(&reload{loaded: a.started})
	if err := a.restoreQuotas(s.links); err != nil {
		return nil, err
	}
	if err := a.assemble(s); err != nil {
		return nil, err
	}
	return a, nil
}

// saw keeps secrets that the log takes out, also those that are replaced later.
func (a *App) saw(list ...secret.Secret) {
	for _, s := range list {
		if !slices.ContainsFunc(a.secrets, func(known secret.Secret) bool { return known.Reveal() == s.Reveal() }) {
			a.secrets = append(a.secrets, s)
		}
	}
}

func (a *App) sawOne(s secret.Secret) { a.saw(s) }

func (a *App) settings(c *config.Config) (map[string][]byte, error) {
	out := map[string][]byte{}
	for name, p := range c.Playbooks {
		if p.Options.IsEmpty() {
			continue
		}
		raw, err := p.Options.JSON(c.ResolveText(a.sawOne))
		if err != nil {
			return nil, fmt.Errorf("reading the options of playbook %s: %w", name, err)
		}
		out[name] = raw
	}
	return out, nil
}

// match returns the playbooks that run for a trigger's events at the moment.
func (a *App) match(trigger string) []string { return a.setup.Load().byTrigger[trigger] }

func (a *App) assemble(s *setup) (err error) {
	c := s.config
	options := engine.Options{
		Journal: a.store, Registry: a.o.Registry, Match: a.match,
		RunURL: func(run int64) string { return fmt.Sprintf("%s/api/v1/runs/%d", c.Server.PublicURL, run) },
		Clock:  a.o.Clock, Log: a.log, Metrics: a.metrics, Underway: a.book,
	}
	if options.RecallUntil, err = a.recallUntil(); err != nil {
		return err
	}
	a.instruct(s, &options)
	if a.queue, err = a.newQueue(c); err != nil {
		return err
	}
	options.Queue = a.queue
	if a.shared() {
		options.Shared = a.store
	}
	if a.o.Engine != nil {
		a.o.Engine(&options)
	}
	a.engine = engine.New(options)
	for name, l := range s.links {
		l.governor.OnFree(func() { a.queue.Freed(name) })
	}
	a.intake = intake.New(intake.Options{
		Inbox: a.store, Families: a.store, Sources: s.sources, Match: a.match, Wake: a.queue.Added, Clock: a.o.Clock, Log: a.log, Metrics: a.metrics, Observe: s.observe(),
	})
	a.gauges(s.links)
	host, _, _ := net.SplitHostPort(c.Server.Listen)
	hosts := []string{host}
	if u, err := url.Parse(c.Server.PublicURL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	a.handler = httpapi.New(httpapi.Options{
		Intake: a.intake, Reader: a.store, Control: a.engine, Caller: a.engine, Status: a.Status, Ready: a.ready, Tokens: a.tokens, Metrics: a.metrics,
		Registry: a.o.Registry, Version: a.o.Version, AllowedHosts: hosts, PublicURL: c.Server.PublicURL, Clock: a.o.Clock, Log: a.log, BehindProxy: c.Server.BehindProxy,
		Reserved: (&spare{disk: a.disk}).only,
	})
	return nil
}

// gates tells the queue how many callers a connection takes.
type gates struct{ setup *atomic.Pointer[setup] }

// Free returns how many more callers the connection would take now.
func (g gates) Free(connection string) int {
	if l := g.setup.Load().links[connection]; l != nil {
		return l.governor.Free()
	}
	return 1 // no longer configured: let the run find out and say so
}

// notification is the input of webhook.send for a run that needs attention.
func notification(at engine.Attention) ([]byte, error) {
	return json.Marshal(map[string]any{"type": "needs_attention", "data": map[string]any{
		"run": fmt.Sprint(at.Run), "event": fmt.Sprint(at.Event), "playbook": at.Playbook, "step": at.Step, "code": at.Code, "why": at.Why, "url": at.URL,
	}})
}

// Start begins to work on runs and to listen. It returns once the address
// answers.
func (a *App) Start(ctx context.Context) error {
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.running = ctx
	if err := a.engine.Start(ctx); err != nil {
		return store.Explain(err)
	}
	if err := a.queue.Start(ctx); err != nil {
		return store.Explain(err)
	}
	a.watch()
	a.background(func() { a.every(ctx, time.Minute) })
	a.background(func() { a.watchDisk(ctx) })
	a.background(func() { a.verify(ctx) })
	a.background(func() { a.purgeEvery(ctx, purgePeriod) })
	if a.shared() {
		a.background(func() { a.syncTokens(ctx) })
	}
	listen, err := net.Listen("tcp", a.o.Config.Server.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", a.o.Config.Server.Listen, err)
	}
	a.listen = httpapi.LimitListener(listen, maxConnections, a.perCaller())
	a.server = httpapi.Server(a.handler, a.o.Config.Server.Listen)
	a.background(func() {
		if err := a.server.Serve(a.listen); err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("serving", "error", err)
		}
	})
	a.log.Info("listening", "address", a.Addr(), "version", a.o.Version)
	return nil
}

// perCaller bounds a caller's connections, unless a proxy stands for all of them.
func (a *App) perCaller() int {
	if a.o.Config.Server.BehindProxy {
		return 0
	}
	return maxPerCaller
}

// Addr returns the address that the server listens on.
func (a *App) Addr() string { return a.listen.Addr().String() }

func (a *App) background(fn func()) {
	a.wg.Add(1)
	go func() { defer a.wg.Done(); fn() }()
}

// every does what is to be done again and again, until ctx ends.
func (a *App) every(ctx context.Context, d time.Duration) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	last := map[string]int{}
	clock := watchClock(a.o.Clock, a.clockJumped)
	for {
		select {
		case <-tick.C:
			a.keepQuotas(last)
			clock.look()
		case <-ctx.Done():
			a.keepQuotas(last)
			return
		}
	}
}
