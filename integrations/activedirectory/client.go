package activedirectory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/funnelsec/funnel"
)

const (
	// maxIdle is how many connections are kept for the next look-up.
	maxIdle = 4
	// maxIdleAge is how long; firewalls forget idle connections silently, and
	// AD closes them after 15 minutes (LDAP policy MaxConnIdleTime).
	maxIdleAge = 2 * time.Minute
	// bindPause is how long a refused password is not tried again. Every run
	// that tried would count towards the lockout of the service account.
	bindPause = 15 * time.Minute
	// defaultTimeout bounds one operation when the environment does not.
	defaultTimeout = 10 * time.Second
)

// Client reads one domain. Its methods may be called concurrently.
type Client struct {
	env      funnel.Env
	addr     string // host:port
	startTLS bool
	tls      *tls.Config
	baseDN   string
	short    string // NetBIOS name of the domain
	dns      string // DNS name of the domain
	bindName string
	password funnel.Secret
	timeout  time.Duration // of one operation

	binding chan struct{} // held while binding, so that a wrong password is tried once and not by all at once

	mu      sync.Mutex
	idle    []*link
	refused error // the last bind was refused for its password
	until   time.Time
}

// link is one bound connection.
type link struct {
	*ldap.Conn
	wire *wire
	idle time.Time // since when
}

// Connect checks the configuration and returns a client. It does not connect:
// that happens on the first look-up.
func Connect(_ context.Context, env funnel.Env, cfg Config) (*Client, error) {
	if env.Dial == nil {
		return nil, funnel.Errorf(funnel.Internal, "connecting to Active Directory: the environment cannot dial")
	}
	if env.Clock == nil {
		env.Clock = time.Now
	}
	c := &Client{env: env, startTLS: cfg.StartTLS, baseDN: cfg.BaseDN, bindName: cfg.BindName, password: cfg.Password, timeout: env.Timeout, binding: make(chan struct{}, 1)}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	host, err := c.setAddress(cfg)
	if err != nil {
		return nil, err
	}
	if c.tls, err = tlsConfig(cfg, env.RootCAs, host); err != nil {
		return nil, err
	}
	if c.dns, err = domainOf(cfg.BaseDN); err != nil {
		return nil, err
	}
	if c.short = cfg.Domain; c.short == "" {
		c.short, _, _ = strings.Cut(c.dns, ".")
	}
	if cfg.BindName == "" || cfg.Password.IsZero() { // an empty password would bind as nobody
		return nil, funnel.Errorf(funnel.Invalid, "connecting to Active Directory: set bind_name and password, the service account that may read")
	}
	return c, nil
}

// setAddress takes the address from the URL and refuses what would be read by
// others on the way.
func (c *Client) setAddress(cfg Config) (host string, err error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", funnel.Errorf(funnel.Invalid, "connecting to Active Directory: url must be ldaps://host or ldap://host with start_tls, without path or user")
	}
	port := u.Port()
	switch {
	case u.Scheme == "ldaps" && cfg.StartTLS:
		return "", funnel.Errorf(funnel.Invalid, "connecting to Active Directory: start_tls is for ldap:// addresses; ldaps:// has TLS from the start")
	case u.Scheme == "ldap" && !cfg.StartTLS:
		return "", funnel.Errorf(funnel.Invalid, "connecting to Active Directory: ldap:// without start_tls would send the password readably; use ldaps:// or set start_tls")
	case u.Scheme == "ldaps" && port == "":
		port = ldap.DefaultLdapsPort
	case u.Scheme == "ldap" && port == "":
		port = ldap.DefaultLdapPort
	case u.Scheme != "ldaps" && u.Scheme != "ldap":
		return "", funnel.Errorf(funnel.Invalid, "connecting to Active Directory: url must begin with ldaps:// or ldap://")
	}
	c.addr = net.JoinHostPort(u.Hostname(), port)
	return u.Hostname(), nil
}

// tlsConfig trusts the authorities of the options only, or those of the connection.
func tlsConfig(cfg Config, roots *x509.CertPool, host string) (*tls.Config, error) {
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: roots}
	pem := []byte(cfg.CA)
	if cfg.CAFile != "" {
		b, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, funnel.Errorf(funnel.Invalid, "connecting to Active Directory: reading ca_file: %w", err)
		}
		pem = append(append(pem, '\n'), b...)
	}
	if len(pem) == 0 {
		return conf, nil
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, funnel.Errorf(funnel.Invalid, "connecting to Active Directory: ca_file or ca holds no PEM certificate")
	}
	return conf, nil
}

// domainOf returns the DNS name of the domain that a DN is in.
func domainOf(baseDN string) (string, error) {
	dn, err := ldap.ParseDN(baseDN)
	var labels []string
	if err == nil {
		for _, rdn := range dn.RDNs {
			if a := rdn.Attributes[0]; strings.EqualFold(a.Type, "DC") {
				labels = append(labels, a.Value)
			}
		}
	}
	if strings.Trim(strings.Join(labels, ""), ". ") == "" {
		return "", funnel.Errorf(funnel.Invalid, "connecting to Active Directory: base_dn must be a distinguished name in a domain, such as DC=corp,DC=example,DC=com")
	}
	return strings.Join(labels, "."), nil
}

// Check reports whether the directory answers, accepts the service account and
// has the base.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.search(ctx, c.baseDN, ldap.ScopeBaseObject, 1, anything, []string{"1.1"})
	return err
}

// Close closes the idle connections.
func (c *Client) Close() error {
	c.mu.Lock()
	idle := c.idle
	c.idle = nil
	c.mu.Unlock()
	for _, l := range idle {
		l.close()
	}
	return nil
}

// search asks for the entries that match. Referrals are ignored: they would
// lead the credential to other hosts. An answer that was cut at limit is no
// error. It is asked again once, on a new connection, if a kept connection
// turned out to be dead: reading twice does no harm.
func (c *Client) search(ctx context.Context, base string, scope, limit int, f filter, attributes []string) ([]*ldap.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	seconds := max(1, int(c.timeout/time.Second))
	req := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, limit, seconds, false, string(f), attributes, nil)
	l, reused, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := c.ask(ctx, l, req)
	if err != nil && reused && lost(err) && ctx.Err() == nil {
		_ = c.Close() // the other kept ones are as dead
		if l, err = c.dial(ctx); err != nil {
			return nil, err
		}
		entries, err = c.ask(ctx, l, req)
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) && len(entries) >= limit {
		err = nil
	}
	if err != nil {
		return nil, c.explain(ctx, "asking", err)
	}
	return entries, nil
}

// ask performs one search and keeps or closes the connection afterwards.
func (c *Client) ask(ctx context.Context, l *link, req *ldap.SearchRequest) ([]*ldap.Entry, error) {
	var entries []*ldap.Entry
	err := l.run(ctx, func() error {
		result, err := l.Search(req)
		if result != nil {
			entries = result.Entries
		}
		return err
	})
	c.keep(l, err)
	return entries, err
}

// take returns a kept connection or a new one.
func (c *Client) take(ctx context.Context) (l *link, reused bool, err error) {
	oldest := c.env.Clock().Add(-maxIdleAge)
	c.mu.Lock()
	for n := len(c.idle); n > 0; n = len(c.idle) {
		l, c.idle = c.idle[n-1], c.idle[:n-1]
		if !l.IsClosing() && l.idle.After(oldest) {
			c.mu.Unlock()
			return l, true, nil
		}
		go l.close()
	}
	c.mu.Unlock()
	l, err = c.dial(ctx)
	return l, false, err
}

// keep puts a connection aside for the next look-up if it is sound.
func (c *Client) keep(l *link, err error) {
	sound := err == nil || !lost(err) && !ldap.IsErrorAnyOf(err, ldap.LDAPResultOperationsError, ldap.LDAPResultUnavailable)
	c.mu.Lock()
	if sound && !l.IsClosing() && len(c.idle) < maxIdle {
		l.idle = c.env.Clock()
		c.idle = append(c.idle, l)
		l = nil
	}
	c.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// dial opens a connection, under TLS, and binds.
func (c *Client) dial(ctx context.Context) (*link, error) {
	if err := c.paused(); err != nil {
		return nil, err
	}
	raw, err := c.env.Dial(ctx, "tcp", c.addr)
	if err != nil {
		return nil, c.explain(ctx, "connecting to", err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() }) // ends what has no deadline
	defer stop()
	if c.startTLS {
		if err := requestTLS(raw); err != nil {
			raw.Close()
			return nil, c.explain(ctx, "starting TLS with", err)
		}
	}
	secure := tls.Client(raw, c.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, c.explain(ctx, "starting TLS with", err)
	}
	l := &link{wire: newWire(secure)}
	l.Conn = ldap.NewConn(l.wire, true)
	l.SetTimeout(2 * c.timeout) // the context ends it before; without one, go-ldap may wait for ever
	l.Start()
	if err := c.bind(ctx, l); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// bind presents the service account, one connection at a time.
func (c *Client) bind(ctx context.Context, l *link) error {
	select {
	case c.binding <- struct{}{}:
		defer func() { <-c.binding }()
	case <-ctx.Done():
		return c.explain(ctx, "binding to", ctx.Err())
	}
	if err := c.paused(); err != nil {
		return err
	}
	err := l.run(ctx, func() error { return l.Bind(c.bindName, c.password.Reveal()) })
	if err != nil {
		err = c.explain(ctx, "binding to", err)
	}
	c.note(err)
	return err
}

// run performs fn on the connection until the context ends. A malformed answer
// makes go-ldap panic in places; that is the directory's fault, not ours.
func (l *link) run(ctx context.Context, fn func() error) (err error) {
	l.wire.renew()
	stop := context.AfterFunc(ctx, func() { l.wire.Close() })
	defer func() {
		if p := recover(); p != nil {
			err = errMalformed
		}
		if !stop() && err == nil {
			err = ctx.Err()
		}
	}()
	return fn()
}

// close closes the connection without waiting for the other side.
func (l *link) close() {
	l.wire.Close()
	l.Conn.Close()
}

// lost reports whether an error came from the connection and not as an answer
// of the directory.
func lost(err error) bool {
	var answer *ldap.Error
	return err != nil && (!errors.As(err, &answer) || answer.ResultCode >= ldap.ErrorNetwork)
}
