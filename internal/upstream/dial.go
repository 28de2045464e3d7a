package upstream

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/funnelsec/funnel"
)

const (
	// lookupLimit is how long a name may take. A name server that does not answer costs
	// Go's resolver 5 seconds; the second one of resolv.conf must have its turn after it.
	lookupLimit = 10 * time.Second
	// mostAddresses is how many addresses of a name are dialled: each needs its share
	// of the time, and a name server can name a thousand.
	mostAddresses = 8
)

// dialer opens TCP connections by the egress rule.
type dialer struct{ Options }

// NewDial returns the function for funnel.Env.Dial: TCP by the egress rule, at
// most Options.Timeout per connection attempt. Its errors are *funnel.Error with
// the code Unavailable, for nothing was sent.
func NewDial(o Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := newDialer(o.withDefaults())
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.dial(ctx, network, address)
		if err != nil {
			text, cause := networkReason(err)
			return nil, &funnel.Error{Code: funnel.Unavailable, Message: "connecting to " + address + ": " + text, Err: cause}
		}
		return conn, nil
	}
}

func newDialer(o Options) *dialer { return &dialer{Options: o} }

func (d *dialer) dialTracked(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &tracked{Conn: conn}, nil
}

// dial resolves the host once, and dials the addresses that pass the check, one
// after the other.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &refusal{what: "network " + network, why: "only TCP is allowed"}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &refusal{what: "address " + address, why: "it is not of the form host:port"}
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	allowed, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Control: d.control}
	for i, addr := range allowed {
		var conn net.Conn
		attempt, done := context.WithTimeout(ctx, share(ctx, len(allowed)-i))
		conn, err = dialer.DialContext(attempt, network, net.JoinHostPort(addr.String(), port))
		done()
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// share splits the time that is left between the addresses that are left, so
// that one that swallows packets does not use up everything.
func share(ctx context.Context, addresses int) time.Duration {
	deadline, _ := ctx.Deadline() // dial has set one
	return time.Until(deadline) / time.Duration(addresses)
}

// resolve returns the host's addresses that may be dialled: at least one, and the
// first ones if there are many.
func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs := []netip.Addr{}
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, literal)
	} else if addrs, err = d.lookUp(ctx, host); err != nil {
		return nil, err
	}
	var allowed []netip.Addr
	var refused error = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	for _, addr := range addrs {
		if why := denied(addr, d.PublicOnly); why != "" {
			refused = &refusal{what: addr.String(), why: why}
			continue
		}
		allowed = append(allowed, addr.Unmap())
	}
	if len(allowed) == 0 {
		return nil, refused
	}
	return allowed[:min(len(allowed), mostAddresses)], nil
}

// lookUp is Lookup with a limit of its own.
func (d *dialer) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	limited, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	addrs, err := d.Lookup(limited, host)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, &net.DNSError{Err: "no answer within " + lookupLimit.String(), Name: host, IsTimeout: true}
	}
	return addrs, err
}

// control is the second check, on what is really about to be dialled.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusal{what: address, why: "it is not an IP address"}
	}
	if why := denied(to.Addr(), d.PublicOnly); why != "" {
		return &refusal{what: to.Addr().String(), why: why}
	}
	return nil
}

// refusal says that the egress rule forbids an address.
type refusal struct{ what, why string }

// Error says what was refused and why.
func (r *refusal) Error() string { return "refusing to dial " + r.what + ": " + r.why }
