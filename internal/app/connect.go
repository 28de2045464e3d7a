package app

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
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
	account  atomic.Pointer[string]
	uses     atomic.Pointer[checked] // the latest check of what playbooks name; nil before the first
}

// notifyConnection is the connection of the notify target. No configured one can
// have the name, for "~" is not allowed there.
const notifyConnection = "~notify"

// connect makes the clients of all configured connections. It contacts nobody:
// a system that is down must not keep the server from accepting alerts.
func (a *App) connect(ctx context.Context) error {
	for name, c := range a.o.Config.Connections {
		in, ok := a.o.Registry.Integration(c.Integration)
		if !ok || in.Connect == nil {
			return fmt.Errorf("connection %s: there is no integration %q", name, c.Integration)
		}
		options, err := c.Options.JSON(a.o.Config.ResolveText(a.sawOne))
		if err != nil {
			return fmt.Errorf("reading the options of connection %s: %w", name, err)
		}
		roots, err := rootCAs(c.CAFile)
		if err != nil {
			return a.o.Config.ErrorAt("/connections/"+name+"/tls/ca_file", err.Error(), "")
		}
		if err := a.link(ctx, name, in, overlay(in.Limits, c.Limits), roots, options); err != nil {
			return err
		}
		a.links[name].Options = setting(c.Options)
	}
	n := a.o.Config.Notify
	if n == nil {
		return nil
	}
	in, ok := a.o.Registry.Integration("webhook")
	if !ok {
		return fmt.Errorf("notify needs the integration webhook, which this build does not have")
	}
	options := map[string]string{"url": n.URL}
	if !n.Secret.IsZero() {
		s, err := a.o.Config.Resolve(n.Secret)
		if err != nil {
			return err
		}
		a.saw(s)
		options["secret"] = s.Reveal()
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("reading notify: %w", err)
	}
	return a.link(ctx, notifyConnection, in, in.Limits, nil, raw)
}

func (a *App) link(ctx context.Context, name string, in funnel.Integration, limits funnel.Limits, roots *x509.CertPool, options []byte) error {
	if limits.Timeout <= 0 {
		limits.Timeout = upstream.DefaultTimeout
	}
	if limits.Concurrency <= 0 {
		limits.Concurrency = 4
	}
	out := upstream.Options{Version: a.o.Version, Timeout: limits.Timeout, Concurrency: limits.Concurrency, RootCAs: roots}
	client, err := in.Connect.Connect(ctx, funnel.Env{
		Connection: name, HTTP: upstream.NewHTTP(out), Dial: upstream.NewDial(out), RootCAs: roots,
		Log: a.log.With("connection", name), Clock: a.o.Clock, Timeout: limits.Timeout,
	}, options)
	if err != nil {
		return fmt.Errorf("connecting %s: %w", name, err)
	}
	l := &link{governor: upstream.NewGovernor(name, limits, a.o.Clock)}
	var way engine.Gate = l.governor
	if l.counted = countedEach(limits); l.counted {
		way = &gate{Governor: l.governor, put: func(s upstream.State) error { return a.putQuota(name, s) }}
	}
	// An action may make several exchanges, such as reading before writing.
	l.Connection = engine.Connection{Name: name, Integration: in.Name, Client: client, Gate: way, Timeout: 2 * limits.Timeout, Limits: limits}
	a.links[name] = l
	return nil
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
func (a *App) learnAccounts(ctx context.Context) {
	for _, l := range a.links {
		asker, ok := l.Client.(funnel.Accounter)
		if !ok {
			continue
		}
		a.background(func() {
			for wait := 200 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
				account, err := asker.Account(ctx)
				if err == nil && account != "" {
					l.account.Store(&account)
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

func (l *link) knownAccount() string {
	if p := l.account.Load(); p != nil {
		return *p
	}
	return ""
}

// sources makes the configured sources, with their secrets.
func (a *App) sources() ([]intake.Source, error) {
	var list []intake.Source
	for name, s := range a.o.Config.Sources {
		var triggers []*funnel.TriggerSpec
		for _, id := range s.Triggers {
			trigger, ok := a.o.Registry.Trigger(id)
			if !ok {
				return nil, fmt.Errorf("source %s: there is no trigger %q", name, id)
			}
			triggers = append(triggers, trigger)
		}
		secrets, err := a.o.Config.ResolveAuth(s.Auth)
		if err != nil {
			return nil, err
		}
		a.saw(secrets...)
		source := intake.Source{
			Name: name, Triggers: triggers, Connection: s.Connection, Auth: authOf(string(s.Auth.Kind), secrets), MaxBody: int(s.MaxBody),
			Fields: s.Fields, Fingerprint: s.Fingerprint, Text: s.Text,
		}
		if l := a.links[s.Connection]; l != nil {
			source.Account = l.knownAccount
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

// closeClients closes what keeps connections open.
func (a *App) closeClients() {
	for _, l := range a.links {
		l.governor.Close()
		if c, ok := l.Client.(io.Closer); ok {
			_ = c.Close()
		}
	}
}
