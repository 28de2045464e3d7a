// Package upstream is the one way out to other systems.
//
// [NewHTTP] makes HTTP clients that are bound to one base address: they send
// the credential nowhere else, follow no redirects, bound the whole exchange in
// time and size, and tell whether a failed request may have been carried out.
// [NewDial] opens other TCP connections by the same egress rule.
//
// A [Governor] decides for one connection how much may be asked at once: places,
// rate, daily quota, the pauses that the other side asks for, and a circuit
// breaker. It never makes a caller wait for long: it answers [Blocked], and tells
// by OnFree when it takes callers again.
//
// # Egress rule
//
// Every address that a name resolves to is checked, and the checked address
// itself is dialled: of a name's addresses the first eight that pass, one after the
// other. Unspecified, link-local, multicast and reserved addresses,
// the metadata services of cloud providers and the tunnels that could hide one
// of them (NAT64, 6to4, Teredo) are never dialled. Loopback and private addresses
// are: base addresses come from the operator's configuration and never from
// events, and directories and trackers mostly stand on private networks.
// [Options].PublicOnly refuses these too.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// The defaults of Options.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultMaxAnswer   = 4 << 20
	defaultConcurrency = 8
)

// Options are the properties of the way out of one connection.
type Options struct {
	Version     string         // Funnel's version, for the User-Agent header
	Timeout     time.Duration  // of a whole exchange, reading the answer included; zero: DefaultTimeout
	MaxAnswer   int64          // bytes of one answer's body; zero: DefaultMaxAnswer
	Concurrency int            // how many idle connections are kept; zero: 8
	RootCAs     *x509.CertPool // who may sign the server's certificate; nil: the system's list; see Roots
	PublicOnly  bool           // refuse loopback and private addresses

	// Lookup resolves a host name. Nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxAnswer <= 0 {
		o.MaxAnswer = DefaultMaxAnswer
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return o
}

// Roots returns the system's certificate authorities and those in the PEM data.
func Roots(pem []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without any: only ours count
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("reading certificate authorities: there is no PEM certificate; give a file with BEGIN CERTIFICATE blocks")
	}
	return pool, nil
}

// NewHTTP returns the function for funnel.Env.HTTP. All its clients share their
// idle connections, which end after 90 seconds or by CloseIdleConnections.
//
// It speaks HTTP/1.1 only: there one connection carries one request at a time,
// so that "was anything written" has an exact answer, and the rule that no POST
// is ever sent twice holds. (Go's HTTP/2 client repeats a POST without body
// after some stream errors.)
func NewHTTP(o Options) func(base *url.URL, authorize func(http.Header)) *http.Client {
	o = o.withDefaults()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		Proxy:                  nil, // not from the environment: the credential goes to the base address only
		DialContext:            newDialer(o).dialTracked,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    o.Timeout,
		Protocols:              protocols,
		DisableCompression:     true, // so that the cap counts what is really there
		MaxIdleConnsPerHost:    o.Concurrency,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
	return func(base *url.URL, authorize func(http.Header)) *http.Client {
		return &http.Client{
			Transport:     &bound{options: o, transport: transport, base: baseOf(base), authorize: authorize},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
}
