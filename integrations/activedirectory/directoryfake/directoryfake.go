// Package directoryfake simulates an Active Directory domain controller over
// real LDAP (RFC 4511), for tests and for the laptop demo.
//
// It listens with LDAPS under a certificate authority that exists only in
// memory, so that a client proves its certificate checks instead of switching
// them off. It answers bind, search, StartTLS and "who am I" as a hardened
// domain controller does (MS-ADTS): a bind without TLS is refused, a search
// before a bind is refused, at most 1,000 entries come without paging, and
// attributes that AD computes come only when asked for by name. The directory
// is read-only: whatever would change it gets unwillingToPerform.
//
// The server journals every operation that it processed ([Server.Journal]) and
// can be told to misbehave ([Server.Down], [Server.Hang], [Server.SlowDrip],
// [Server.BusyNext], [Server.DropNext], [Server.RawNext]).
package directoryfake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// DefaultMaxPageSize is the number of entries that AD returns at most in one
// answer (LDAP policy MaxPageSize, MS-ADTS 3.1.1.3.4.6).
const DefaultMaxPageSize = 1000

// DefaultMaxValRange is the number of values of one attribute that AD returns
// at most in one answer (LDAP policy MaxValRange).
const DefaultMaxValRange = 1500

// Options configure a [Server]. The zero value serves an empty directory on a
// free port of the loopback interface.
type Options struct {
	// Addr is the address of the LDAPS listener; "" means "127.0.0.1:0".
	Addr string
	// PlainAddr is the address of a second listener that starts without TLS
	// and offers StartTLS; "" means none.
	PlainAddr string
	// Hosts are more names or IP addresses for the server's certificate,
	// beside localhost, 127.0.0.1 and the host of Addr.
	Hosts []string
	// CA signs the server's certificate; nil makes a new one. Keep one to let
	// clients trust a restarted server.
	CA *CA
	// Entries are the objects of the directory. Their DNs share one domain
	// (DC=...) suffix. An ancestor without an entry of its own is not found.
	Entries []Entry
	// Passwords holds the password of each account that may bind, by
	// sAMAccountName in lower case.
	Passwords map[string]string
	// Referrals are LDAP URLs that are appended as search result references to
	// searches of the whole domain, as AD does for its other partitions.
	Referrals []string
	// MaxPageSize replaces [DefaultMaxPageSize] when it is positive.
	MaxPageSize int
	// NoPaging makes the server ignore the paging control, as some proxies for
	// LDAP do: whatever is over MaxPageSize is cut with code 4.
	NoPaging bool
	// MaxValRange replaces [DefaultMaxValRange] when it is positive.
	MaxValRange int
	// Now is the clock of the journal and of account expiry; nil is time.Now.
	Now func() time.Time
}

// Server is a running simulation. Its methods may be called concurrently.
type Server struct {
	opts Options
	dir  *directory
	ca   *CA
	tls  *tls.Config

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	endpoints []*endpoint
	conns     map[net.Conn]bool // true: swallowed by Hang before its handshake
	down      bool
	faults    faults
	journal   []Op
}

// endpoint is one address that the server listens on.
type endpoint struct {
	addr   string // with the port, once it was bound
	secure bool
	ln     net.Listener // nil while down
}

// Start checks the entries, makes the keys and listens. The caller must Close
// the server.
func Start(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.MaxPageSize <= 0 {
		opts.MaxPageSize = DefaultMaxPageSize
	}
	if opts.MaxValRange <= 0 {
		opts.MaxValRange = DefaultMaxValRange
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	dir, err := newDirectory(opts.Entries)
	if err != nil {
		return nil, err
	}
	ca := opts.CA
	if ca == nil {
		if ca, err = NewCA(); err != nil {
			return nil, err
		}
	}
	host, _, err := net.SplitHostPort(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("starting the directory fake: address %q: %w", opts.Addr, err)
	}
	cert, err := ca.issue(append([]string{host, "localhost", "127.0.0.1"}, opts.Hosts...))
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:      opts,
		dir:       dir,
		ca:        ca,
		tls:       &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		conns:     map[net.Conn]bool{},
		endpoints: []*endpoint{{addr: opts.Addr, secure: true}},
	}
	if opts.PlainAddr != "" {
		s.endpoints = append(s.endpoints, &endpoint{addr: opts.PlainAddr})
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	err = s.listen()
	s.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// CAPEM returns the certificate of the authority that signed the server's
// certificate, in PEM: what a client must trust.
func (s *Server) CAPEM() []byte { return s.ca.PEM() }

// URL returns the address of the LDAPS listener, "ldaps://127.0.0.1:port". It
// stays the same over [Server.Down].
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "ldaps://" + s.endpoints[0].addr
}

// PlainURL returns the address of the StartTLS listener, "ldap://...", or ""
// without [Options.PlainAddr].
func (s *Server) PlainURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.endpoints) < 2 {
		return ""
	}
	return "ldap://" + s.endpoints[1].addr
}

// BaseDN returns the domain's naming context, such as
// "DC=corp,DC=example,DC=test", or "" for an empty directory.
func (s *Server) BaseDN() string { return s.dir.root }

// Close stops listening, closes every connection and waits for the server's
// goroutines. Closing again does nothing.
func (s *Server) Close() error {
	s.cancel()
	s.mu.Lock()
	err := s.unlisten()
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// listen binds every endpoint; the caller holds mu.
func (s *Server) listen() error {
	for _, ep := range s.endpoints {
		if ep.ln != nil {
			continue
		}
		ln, err := net.Listen("tcp", ep.addr)
		if err != nil {
			return fmt.Errorf("starting the directory fake: %w", err)
		}
		ep.ln, ep.addr = ln, ln.Addr().String()
		s.wg.Go(func() { s.accept(ln, ep.secure) })
	}
	s.down = false
	return nil
}

// unlisten closes the listeners and the connections; the caller holds mu.
func (s *Server) unlisten() error {
	var errs []error
	for _, ep := range s.endpoints {
		if ep.ln != nil {
			errs = append(errs, ep.ln.Close())
			ep.ln = nil
		}
	}
	for c := range s.conns {
		c.Close() // its session notices and removes it
	}
	s.down = true
	return errors.Join(errs...)
}

// accept serves the connections of one listener until it is closed.
func (s *Server) accept(ln net.Listener, secure bool) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.down { // accepted while the listener was being closed
			s.mu.Unlock()
			c.Close()
			continue
		}
		swallowed := s.faults.hang
		s.conns[c] = swallowed
		s.mu.Unlock()
		s.wg.Go(func() {
			defer s.forget(c)
			if swallowed {
				swallow(c)
				return
			}
			serve(s, c, secure)
		})
	}
}

// forget closes a connection and drops it from the books.
func (s *Server) forget(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}
