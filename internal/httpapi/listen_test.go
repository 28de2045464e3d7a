package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// pipeListener hands out connections from made-up addresses.
type pipeListener struct{ conns chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	default: // a listener that waited would hang a test that fails
		return nil, net.ErrClosed
	}
}

func (pipeListener) Close() error   { return nil }
func (pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

type from struct {
	net.Conn
	addr   string
	closed *bool
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(addrPort(f.addr)) }
func (f from) Close() error         { *f.closed = true; return f.Conn.Close() }

func TestLimitListener(t *testing.T) {
	t.Parallel()
	l := pipeListener{make(chan net.Conn, 64)}
	limited := LimitListener(l, 6, 2)
	dial := func(addr string) *bool {
		a, _ := net.Pipe()
		closed := new(bool)
		l.conns <- from{a, addr, closed}
		return closed
	}
	accept := func() net.Conn {
		t.Helper()
		c, err := limited.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	dial("192.0.2.1:1")
	first := accept()
	dial("192.0.2.1:2")
	accept()
	third := dial("192.0.2.1:3") // one too many of that address
	mapped := dial("[::ffff:192.0.2.1]:4")
	dial("192.0.2.2:1")
	if c := accept(); c.RemoteAddr().String() != "192.0.2.2:1" || !*third || !*mapped {
		t.Errorf("let in %v, third refused %v, mapped refused %v", c.RemoteAddr(), *third, *mapped)
	}
	for range 3 { // loopback has only the total
		dial("127.0.0.1:1")
		accept()
	}
	seventh := dial("192.0.2.9:1")
	if _, err := limited.Accept(); err == nil || !*seventh {
		t.Error("a connection above the total is let in")
	}
	_ = first.Close()
	_ = first.Close() // counts once
	again := limited.(interface{ enter(netip.Addr) bool })
	if !again.enter(addrPort("192.0.2.1:9").Addr()) || again.enter(addrPort("192.0.2.1:9").Addr()) {
		t.Error("closing one connection makes room for exactly one")
	}
	if network(net.TCPAddrFromAddrPort(addrPort("[2001:db8::1]:1"))) != network(net.TCPAddrFromAddrPort(addrPort("[2001:db8::2]:1"))) {
		t.Error("two addresses of one /64 are two callers")
	}
}

func TestServerIsBounded(t *testing.T) {
	t.Parallel()
	s := Server(http.NotFoundHandler(), "127.0.0.1:0")
	if s.ReadHeaderTimeout != 5*time.Second || s.ReadTimeout != 30*time.Second || s.WriteTimeout != 30*time.Second || s.IdleTimeout != time.Minute || s.MaxHeaderBytes != 16<<10 {
		t.Errorf("bounds %+v", s)
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
