package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/secret"
	"github.com/funnelsec/funnel/internal/upstream"
)

// link is a connection with what the app keeps for it.
type link struct {
	engine.Connection
	governor *upstream.Governor
	counted  bool // each call is stored
	made     made
	account  atomic.Pointer[string]
	learned  atomic.Bool             // the account was told by this client, not taken over
	uses     atomic.Pointer[checked] // the latest check of what playbooks name; nil before the first
}

// notifyConnection is the connection of the notify target. No configured one can
// have the name, for "~" is not allowed there.
const notifyConnection = "~notify"

// made is what a client is made of. Two that are the same need no other client.
type made struct {
	integration string
	limits      funnel.Limits
	roots       *x509.CertPool
	options     []byte // with the secrets
	setting     string // see engine.Connection.Options
}

func (m made) same(n made) bool {
	return m.integration == n.integration && m.limits == n.limits && m.roots.Equal(n.roots) && bytes.Equal(m.options, n.options)
}

// connect makes the clients of all configured connections, except for those that
// there are already. It contacts nobody: a system that is down must not keep the
// server from accepting alerts.
func (a *App) connect(ctx context.Context, c *config.Config, before map[string]*link) (_ map[string]*link, err error) {
	links := map[string]*link{}
	defer func() {
		if err != nil {
			(&setup{links: links}).close(before)
		}
	}()
	for name, conn := range c.Connections {
		in, ok := a.o.Registry.Integration(conn.Integration)
		if !ok || in.Connect == nil {
			return links, fmt.Errorf("connection %s: there is no integration %q", name, conn.Integration)
		}
		options, err := conn.Options.JSON(c.ResolveText(a.sawOne))
		if err != nil {
			return links, fmt.Errorf("reading the options of connection %s: %w", name, err)
		}
		roots, err := rootCAs(conn.CAFile)
		if err != nil {
			return links, c.ErrorAt("/connections/"+name+"/tls/ca_file", err.Error(), "")
		}
		m := made{integration: in.Name, limits: overlay(in.Limits, conn.Limits), roots: roots, options: options, setting: setting(conn.Options)}
		if links[name], err = a.link(ctx, name, in, m, before[name]); err != nil {
			delete(links, name)
			return links, err
		}
	}
	if c.Notify == nil {
		return links, nil
	}
	links[notifyConnection], err = a.linkNotify(ctx, c, before[notifyConnection])
	if err != nil {
		delete(links, notifyConnection)
	}
	return links, err
}

func (a *App) linkNotify(ctx context.Context, c *config.Config, before *link) (*link, error) {
	in, ok := a.o.Registry.Integration("webhook")
	if !ok {
		return nil, fmt.Errorf("notify needs the integration webhook, which this build does not have")
	}
	options := map[string]string{"url": c.Notify.URL}
	if !c.Notify.Secret.IsZero() {
		s, err := c.Resolve(c.Notify.Secret)
		if err != nil {
			return nil, err
		}
		a.saw(s)
		options["secret"] = s.Reveal()
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("reading notify: %w", err)
	}
	return a.link(ctx, notifyConnection, in, made{integration: in.Name, limits: in.Limits, options: raw}, before)
}

// link returns the connection that is made so: the one before, if it is.
func (a *App) link(ctx context.Context, name string, in funnel.Integration, m made, before *link) (*link, error) {
	if before != nil && before.made.same(m) {
		return before, nil
	}
	limits := m.limits
	if limits.Timeout <= 0 {
		limits.Timeout = upstream.DefaultTimeout
	}
	if limits.Concurrency <= 0 {
		limits.Concurrency = 4
	}
	out := upstream.Options{Version: a.o.Version, Timeout: limits.Timeout, Concurrency: limits.Concurrency, RootCAs: m.roots}
	client, err := in.Connect.Connect(ctx, funnel.Env{
		Connection: name, HTTP: upstream.NewHTTP(out), Dial: upstream.NewDial(out), RootCAs: m.roots,
		Log: a.log.With("connection", name), Clock: a.o.Clock, Timeout: limits.Timeout,
	}, m.options)
	if err != nil {
		return nil, fmt.Errorf("connecting %s: %w", name, err)
	}
	l := &link{governor: upstream.NewGovernor(name, limits, a.o.Clock), made: m}
	var way engine.Gate = l.governor
	switch l.counted = countedEach(limits); {
	case a.store != nil && a.shared(): // nil: the connections are only checked
		way = &sharedGate{Governor: l.governor, a: a, name: name, limits: limits, longest: 2 * limits.Timeout}
	case l.counted:
		way = &gate{Governor: l.governor, put: func(s upstream.State) error { return a.putQuota(name, s) }}
	}
	// An action may make several exchanges, such as reading before writing.
	l.Connection = engine.Connection{Name: name, Integration: in.Name, Client: client, Gate: way, Timeout: 2 * limits.Timeout, Limits: limits, Options: m.setting}
	return l, nil
}

// setting tells one setting of a connection from another. References stay
// references, so it holds no secret.
func setting(o config.Options) string {
	raw, err := o.JSON(nil)
	if err != nil { // it was resolved a moment ago
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// overlay returns the integration's limits with what is configured instead.
func overlay(own, configured funnel.Limits) funnel.Limits {
	if configured.Concurrency > 0 {
		own.Concurrency = configured.Concurrency
	}
	if configured.Rate > 0 {
		own.Rate, own.Per = configured.Rate, configured.Per
	}
	if configured.Daily > 0 {
		own.Daily = configured.Daily
	}
	if configured.Timeout > 0 {
		own.Timeout = configured.Timeout
	}
	if configured.Cache != 0 {
		own.Cache = configured.Cache
	}
	if configured.CacheUnknown != 0 {
		own.CacheUnknown = configured.CacheUnknown
	}
	return own
}

// learnAccounts asks each connection for our own account until it tells.
func (a *App) learnAccounts(ctx context.Context, links map[string]*link) {
	for _, l := range links {
		if l.learned.Load() {
			continue
		}
		a.background(func() {
			for wait := 200 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
				if l.learnAccount(ctx) {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(wait):
				}
			}
		})
	}
}

// learnAccount asks for our own account and reports whether nothing is left to ask.
func (l *link) learnAccount(ctx context.Context) bool {
	asker, ok := l.Client.(funnel.Accounter)
	if !ok {
		return true
	}
	account, err := asker.Account(ctx)
	if err != nil || account == "" {
		return false
	}
	l.account.Store(&account)
	l.learned.Store(true)
	return true
}

func (l *link) knownAccount() string {
	if p := l.account.Load(); p != nil {
		return *p
	}
	return ""
}

// sources makes the configured sources, with their secrets.
func (a *App) sources(c *config.Config, links map[string]*link) ([]intake.Source, error) {
	var list []intake.Source
	for name, s := range c.Sources {
		var triggers []*funnel.TriggerSpec
		for _, id := range s.Triggers {
			trigger, ok := a.o.Registry.Trigger(id)
			if !ok {
				return nil, fmt.Errorf("source %s: there is no trigger %q", name, id)
			}
			triggers = append(triggers, trigger)
		}
		secrets, err := c.ResolveAuth(s.Auth)
		if err != nil {
			return nil, err
		}
		a.saw(secrets...)
		source := intake.Source{
			Name: name, Triggers: triggers, Connection: s.Connection, Auth: authOf(string(s.Auth.Kind), secrets), MaxBody: int(s.MaxBody),
			Fields: s.Fields, Fingerprint: s.Fingerprint, Text: s.Text,
		}
		source.Repeated = !slices.ContainsFunc(triggers, func(t *funnel.TriggerSpec) bool { return !t.Repeated })
		if s.Repeated != nil {
			source.Repeated = *s.Repeated
		}
		if l := links[s.Connection]; l != nil {
			source.Account = l.knownAccount
		}
		if source.Readable, err = a.readable(s, links[s.Connection]); err != nil {
			return nil, err
		}
		list = append(list, source)
	}
	return list, nil
}

func authOf(kind string, secrets []secret.Secret) intake.Auth {
	var plain []string
	for _, s := range secrets {
		plain = append(plain, s.Reveal())
	}
	switch kind {
	case "path_secret":
		return intake.PathSecret(plain...)
	case "bearer":
		return intake.Bearer(plain...)
	case "signature":
		return intake.Signature(secrets[0])
	}
	return intake.None()
}
