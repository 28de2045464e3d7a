package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/observables"
	"github.com/funnelsec/funnel/internal/secret"
)

// setup is what a configuration makes of the server. A reload makes another one
// around the same store, queue and engine.
type setup struct {
	config    *config.Config
	links     map[string]*link
	sources   []intake.Source
	settings  map[string][]byte   // of playbooks, as JSON, those that are configured
	byTrigger map[string][]string // the enabled playbooks
}

// reload is how the latest reload ended.
type reload struct {
	loaded  time.Time // when the configuration in force was read
	at      time.Time
	err     string   // free of secrets; empty: it was done
	pending []string // what changed and needs a restart
}

// The waits of a reload.
const (
	accountWait = 5 * time.Second  // for a new client to say who we are there
	retireAfter = 30 * time.Second // until an old client is looked at whether it can be closed
)

// prepare makes the setup of a configuration. Of the one before, it takes the
// connections that did not change. On an error nothing has changed.
func (a *App) prepare(ctx context.Context, c *config.Config, before *setup) (_ *setup, err error) {
	var old map[string]*link
	if before != nil {
		old = before.links
	}
	s := &setup{config: c, byTrigger: map[string][]string{}}
	if s.links, err = a.connect(ctx, c, old); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close(old)
		}
	}()
	if s.sources, err = a.sources(c, s.links); err != nil {
		return nil, err
	}
	if s.settings, err = a.settings(c); err != nil {
		return nil, err
	}
	for _, p := range a.o.Registry.Playbooks() {
		if configured, ok := c.Playbooks[p.Name]; !ok || configured.Enabled {
			s.byTrigger[p.Trigger.ID] = append(s.byTrigger[p.Trigger.ID], p.Name)
		}
	}
	return s, nil
}

// instruct sets the options of the engine that the setup decides about. From
// then on, all secrets that were read are taken out of what is logged.
func (a *App) instruct(s *setup, o *engine.Options) {
	redactor := secret.NewRedactor(a.secrets...)
	a.output.set(secret.NewHandler(a.o.Log, redactor))
	e := s.config.Engine
	o.Lookups, o.Quiet, o.TellAfter, o.Attempts = e.Lookups, e.Quiet, e.TellAfter, e.Attempts
	o.Settings, o.Mask = s.settings, redactor.RedactBytes
	o.Connections, o.Notify = map[string]*engine.Connection{}, nil
	for name, l := range s.links {
		o.Connections[name] = &l.Connection
	}
	if action, ok := a.o.Registry.Action("webhook.send"); ok && s.links[notifyConnection] != nil {
		o.Notify = &engine.Notifier{Action: action, Connection: notifyConnection, Input: notification}
	}
}

// observe makes the observables of an event, knowing what belongs to us.
func (s *setup) observe() func([]funnel.Observable, string) []funnel.Observable {
	return observables.NewOurs(s.config.Observables.OwnDomains, s.config.Observables.OwnNetworks).Observe
}

// close closes the clients that are not among the kept ones.
func (s *setup) close(kept map[string]*link) {
	for name, l := range s.links {
		if l == nil || kept[name] == l {
			continue
		}
		l.governor.Close()
		l.closeClient()
	}
}

func (l *link) closeClient() {
	if c, ok := l.Client.(io.Closer); ok {
		_ = c.Close()
	}
}

// watch begins to watch the connections of the setup, and ends to watch those of
// the one before.
func (a *App) watch() {
	if a.watching != nil {
		a.watching()
	}
	var ctx context.Context
	ctx, a.watching = context.WithCancel(a.running)
	s := a.setup.Load()
	a.learnAccounts(ctx, s.links)
	a.watchUses(ctx, s)
	a.watchMissed(ctx, s)
}

// Reload reads the configuration again and changes the running server by it,
// without refusing a request in between: sources, secrets, connections, limits,
// playbooks and their settings, observables, notify and the waits of the engine.
// Steps under way end with the connection that they began with. If the
// configuration is not right, nothing changes. What needs a restart is named in
// the log and in the status.
func (a *App) Reload(ctx context.Context, load func() (*config.Config, error)) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.stopping.Load() {
		return errors.New("reloading the configuration: the server is stopping")
	}
	pending, err := a.reload(ctx, load)
	now := &reload{at: a.o.Clock(), loaded: a.o.Clock(), pending: pending}
	if err != nil {
		now.err = secret.NewRedactor(a.secrets...).Redact(err.Error())
		before := a.told.Load()
		now.loaded, now.pending = before.loaded, before.pending
		a.log.Error("the configuration is not reloaded, the old one stays", "error", now.err)
		err = fmt.Errorf("reloading the configuration: %w", err)
	} else {
		a.log.Info("the configuration is reloaded")
	}
	a.told.Store(now)
	if len(now.pending) > 0 {
		a.log.Warn("the configuration has changes that need a restart", "changed", strings.Join(now.pending, ", "))
	}
	return err
}

func (a *App) reload(ctx context.Context, load func() (*config.Config, error)) (pending []string, err error) {
	c, err := load()
	if err != nil {
		return nil, err
	}
	if err := Check(c, a.o.Registry); err != nil {
		return nil, err
	}
	before := a.setup.Load()
	next, err := a.prepare(ctx, c, before)
	if err != nil {
		return nil, err
	}
	var fresh []string // the connections that were made
	for name, l := range next.links {
		if before.links[name] != l {
			fresh = append(fresh, name)
			l.takeOver(ctx, before.links[name])
		}
	}
	if err := a.restoreNew(next, before, fresh); err != nil {
		next.close(before.links)
		return nil, err
	}
	a.setup.Store(next)
	a.engine.Reload(func(o *engine.Options) {
		a.instruct(next, o)
		if a.o.Engine != nil {
			a.o.Engine(o)
		}
	})
	a.intake.Reload(next.sources, next.observe())
	a.gauges(next.links)
	for _, name := range fresh {
		next.links[name].governor.OnFree(func() { a.queue.Freed(name) })
	}
	a.watch()
	for name, l := range before.links {
		if next.links[name] != l {
			a.retire(l)
			a.queue.Freed(name) // who is parked there asks the new one, or finds none
		}
	}
	return restart(a.o.Config, c), nil
}

// takeOver has the new connection know who we are before it is used, since
// deliveries are refused until it does: from the old one if only a secret
// changed, else by asking.
func (l *link) takeOver(ctx context.Context, old *link) {
	if old != nil && old.made.integration == l.made.integration && old.made.setting == l.made.setting {
		l.account.Store(old.account.Load())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, accountWait)
	defer cancel()
	l.learnAccount(ctx)
}

// restoreNew gives new connections what the old ones of their name have used of
// the limits, or what is stored.
func (a *App) restoreNew(next, before *setup, fresh []string) error {
	unknown := map[string]*link{}
	for _, name := range fresh {
		if old := before.links[name]; old != nil && old.made.integration == next.links[name].made.integration {
			next.links[name].governor.Restore(old.governor.Keep())
		} else {
			unknown[name] = next.links[name]
		}
	}
	return a.restoreQuotas(unknown)
}

// retire closes an old connection when those who use it are done. Who has
// entered or waits to is served.
func (a *App) retire(l *link) {
	l.governor.Close()
	a.background(func() {
		defer l.closeClient()
		for {
			select {
			case <-a.running.Done():
				return
			case <-time.After(retireAfter):
			}
			if s := l.governor.State(); s.InFlight+s.Waiting == 0 {
				return
			}
		}
	})
}

// restart names what differs and is read at the start only.
func restart(running, now *config.Config) (changed []string) {
	for name, differs := range map[string]bool{
		"server":         !reflect.DeepEqual(running.Server, now.Server),
		"data":           running.Data != now.Data,
		"database":       !reflect.DeepEqual(running.Database.URL, now.Database.URL) || running.Database.From.Ref != now.Database.From.Ref,
		"cluster":        running.Cluster != now.Cluster,
		"engine.workers": running.Engine.Workers != now.Engine.Workers,
	} {
		if differs {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

// configStatus tells people which configuration the server works by.
func (a *App) configStatus() httpapi.ConfigStatus {
	r := a.told.Load()
	s := httpapi.ConfigStatus{LoadedAt: r.loaded, NeedsRestart: r.pending}
	if r.err != "" {
		s.Error, s.ErrorAt = r.err, r.at
	}
	return s
}
