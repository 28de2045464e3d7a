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
	"sync"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/observables"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/secret"
	"github.com/funnelsec/funnel/internal/store"
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
}

// Bounds on open connections, in all and for each caller that is not this
// machine.
const maxConnections, maxPerCaller = 4096, 256

// App is a server.
type App struct {
	o        Options
	log      *slog.Logger
	secrets  []secret.Secret
	redactor *secret.Redactor
	store    *store.Store
	links    map[string]*link
	tokens   *auth.Tokens
	metrics  *metrics.Metrics
	queue    *queue.Queue
	engine   *engine.Engine
	started  time.Time
	handler  http.Handler
	server   *http.Server
	listen   net.Listener

	playbookSettings map[string][]byte // as JSON, those that are configured

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
	a := &App{o: o, links: map[string]*link{}, metrics: metrics.New(), started: o.Clock()}
	a.log = slog.New(o.Log) // replaced as soon as the secrets are known
	if a.store, err = store.Open(o.Config.Data); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.closeClients()
			if a.tokens != nil {
				err = errors.Join(err, a.tokens.Close())
			}
			err = errors.Join(err, a.store.Close())
		}
	}()
	var created string
	a.tokens, created, err = auth.Open(o.Config.Data, o.Clock)
	if err != nil {
		return nil, fmt.Errorf("opening the API tokens: %w", err)
	}
	if created != "" && o.Notices != nil {
		fmt.Fprintf(o.Notices, "The API's admin token, shown this once (also in %s/first-run-token until its first use):\n\n    %s\n\n", o.Config.Data, created)
	}
	sources, err := a.sourcesAndLinks(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.restoreQuotas(); err != nil {
		return nil, err
	}
	settings, err := a.settings()
	if err != nil {
		return nil, err
	}
	a.playbookSettings = settings
	a.assemble(sources, settings)
	return a, nil
}

// sourcesAndLinks reads all secrets, after which the log can take them out.
func (a *App) sourcesAndLinks(ctx context.Context) ([]intake.Source, error) {
	handler := &swap{}
	handler.set(secret.NewHandler(a.o.Log, secret.NewRedactor()))
	a.log = slog.New(handler)
	if err := a.connect(ctx); err != nil {
		return nil, err
	}
	sources, err := a.sources()
	if err != nil {
		return nil, err
	}
	a.redactor = secret.NewRedactor(a.secrets...)
	handler.set(secret.NewHandler(a.o.Log, a.redactor))
	return sources, nil
}

func (a *App) saw(s ...secret.Secret) { a.secrets = append(a.secrets, s...) }

func (a *App) sawOne(s secret.Secret) { a.saw(s) }

func (a *App) settings() (map[string][]byte, error) {
	out := map[string][]byte{}
	for name, p := range a.o.Config.Playbooks {
		if p.Options.IsEmpty() {
			continue
		}
		raw, err := p.Options.JSON(a.o.Config.ResolveText(a.sawOne))
		if err != nil {
			return nil, fmt.Errorf("reading the options of playbook %s: %w", name, err)
		}
		out[name] = raw
	}
	return out, nil
}

// match returns the enabled playbooks of each trigger.
func (a *App) match() func(string) []string {
	byTrigger := map[string][]string{}
	for _, p := range a.o.Registry.Playbooks() {
		if c, configured := a.o.Config.Playbooks[p.Name]; configured && !c.Enabled {
			continue
		}
		byTrigger[p.Trigger.ID] = append(byTrigger[p.Trigger.ID], p.Name)
	}
	return func(trigger string) []string { return byTrigger[trigger] }
}

func (a *App) assemble(sources []intake.Source, settings map[string][]byte) {
	c, match := a.o.Config, a.match()
	options := engine.Options{
		Journal: a.store, Registry: a.o.Registry, Connections: map[string]*engine.Connection{}, Match: match, Settings: settings,
		Lookups: c.Engine.Lookups, Quiet: c.Engine.Quiet, TellAfter: c.Engine.TellAfter, Attempts: c.Engine.Attempts,
		RunURL: func(run int64) string { return fmt.Sprintf("%s/api/v1/runs/%d", c.Server.PublicURL, run) },
		Clock:  a.o.Clock, Log: a.log, Metrics: a.metrics, Mask: a.redactor.RedactBytes,
	}
	for name, l := range a.links {
		options.Connections[name] = &l.Connection
	}
	if action, ok := a.o.Registry.Action("webhook.send"); ok && a.links[notifyConnection] != nil {
		options.Notify = &engine.Notifier{Action: action, Connection: notifyConnection, Input: notification}
	}
	a.queue = queue.New(queue.Options{
		Backlog: a.store, Gates: gates(a.links), Workers: c.Engine.Workers, Log: a.log, Clock: a.o.Clock,
		Work: func(ctx context.Context, run int64) string { return a.engine.Work(ctx, run) },
	})
	options.Queue = a.queue
	if a.o.Engine != nil {
		a.o.Engine(&options)
	}
	a.engine = engine.New(options)
	for name, l := range a.links {
		l.governor.OnFree(func() { a.queue.Freed(name) })
	}
	receiver := intake.New(intake.Options{
		Inbox: a.store, Sources: sources, Match: match, Wake: a.queue.Add, Clock: a.o.Clock, Log: a.log, Metrics: a.metrics,
		Observe: observables.NewOurs(c.Observables.OwnDomains, c.Observables.OwnNetworks).Observe,
	})
	a.gauges()
	host, _, _ := net.SplitHostPort(c.Server.Listen)
	hosts := []string{host}
	if u, err := url.Parse(c.Server.PublicURL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	a.handler = httpapi.New(httpapi.Options{
		Intake: receiver, Reader: a.store, Control: a.engine, Caller: a.engine, Status: a.Status, Ready: a.ready, Tokens: a.tokens, Metrics: a.metrics,
		Registry: a.o.Registry, Version: a.o.Version, AllowedHosts: hosts, PublicURL: c.Server.PublicURL, Clock: a.o.Clock, Log: a.log, BehindProxy: c.Server.BehindProxy,
	})
}

// gates tells the queue how many callers a connection takes.
type gates map[string]*link

// Free returns how many more callers the connection would take now.
func (g gates) Free(connection string) int {
	if l := g[connection]; l != nil {
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
	if err := a.engine.Start(ctx); err != nil {
		return err
	}
	if err := a.queue.Start(ctx); err != nil {
		return err
	}
	a.learnAccounts(ctx)
	a.watchUses(ctx, a.playbookSettings)
	a.background(func() { a.every(ctx, time.Minute) })
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

func (a *App) every(ctx context.Context, d time.Duration) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	last := map[string]int{}
	for {
		select {
		case <-tick.C:
			a.keepQuotas(last)
		case <-ctx.Done():
			a.keepQuotas(last)
			return
		}
	}
}

// Stop drains the server: requests under way are answered and running steps
// finish until ctx ends; then they are cut off, which the journal survives.
func (a *App) Stop(ctx context.Context) error {
	a.engine.Drain()
	var err error
	if a.server != nil {
		err = a.server.Shutdown(ctx)
	}
	done := make(chan struct{})
	go func() { a.queue.Stop(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		a.cancel()
		<-done
	}
	a.cancel()
	a.wg.Wait()
	a.closeClients()
	return errors.Join(err, a.tokens.Close(), a.store.Close())
}
