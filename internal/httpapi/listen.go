package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Server returns a server for the handler with bounds on everything that a
// caller could keep waiting.
func Server(handler http.Handler, addr string) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		// OPTIONS * is for the handler, which refuses it.
		DisableGeneralOptionsHandler: true,
	}
}

// LimitListener closes connections above a total and, except for loopback,
// above a number per caller: an IPv4 address, or the /64 of an IPv6 one. Zero
// means no limit of that kind; behind a proxy perCaller must be zero.
func LimitListener(l net.Listener, total, perCaller int) net.Listener {
	return &limited{Listener: l, total: total, perCaller: perCaller, count: map[netip.Addr]int{}}
}

type limited struct {
	net.Listener
	total, perCaller int

	mu    sync.Mutex
	all   int
	count map[netip.Addr]int
}

// Accept returns the next connection that is within the limits.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(conn.RemoteAddr())
		if l.enter(from) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *limited) enter(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total > 0 && l.all >= l.total ||
		l.perCaller > 0 && !from.IsLoopback() && l.count[from] >= l.perCaller {
		return false
	}
	l.all++
	l.count[from]++
	return true
}

func (l *limited) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.count[from]--; l.count[from] == 0 {
		delete(l.count, from)
	}
}

// network returns what counts as one caller.
func network(a net.Addr) netip.Addr {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if p, err := addr.Prefix(64); err == nil && addr.Is6() && !addr.IsLoopback() {
		return p.Addr()
	}
	return addr
}

type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection and makes room for another.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
