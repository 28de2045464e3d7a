package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

// lenient resolves the old spellings of IPv4 addresses as the C library does.
func lenient(_ context.Context, host string) ([]netip.Addr, error) {
	known := map[string]string{
		"2852039166": "169.254.169.254", "0xa9fea9fe": "169.254.169.254", "0251.0376.0251.0376": "169.254.169.254",
		"169.254.43518": "169.254.169.254", "169.254.169.254.": "169.254.169.254", "metadata.google.internal": "169.254.169.254",
		"169.254.169.254.nip.io": "169.254.169.254", "①⑥⑨.254.169.254": "169.254.169.254", "mapped.test": "::ffff:169.254.169.254",
		"2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "0177.0.0.1": "127.0.0.1", "127.1": "127.0.0.1",
		"localhost": "127.0.0.1", "localhost.": "127.0.0.1", "LOCALHOST": "127.0.0.1", "0": "0.0.0.0",
	}
	if a, ok := known[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestForbiddenAddressesAreRefused(t *testing.T) {
	t.Parallel()
	dial := upstream.NewDial(upstream.Options{Lookup: lenient})
	for _, host := range []string{
		// Metadata and other link-local addresses.
		"169.254.169.254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:169.254.169.254",
		"2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.254.169.254.", "①⑥⑨.254.169.254",
		"metadata.google.internal", "169.254.169.254.nip.io", "mapped.test", "fe80::1", "fe80::1%lo", "febf::1", "fec0::1",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd20:ce::254%lo", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		// Forms that hide an IPv4 address: NAT64, 6to4, Teredo, compatible, translated.
		"64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:ffff::1", "2002:a9fe:a9fe::1", "2002:7f00:1::",
		"2001::1", "2001:0:a9fe:a9fe::1", "::169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1%lo",
		// Unspecified, multicast, reserved.
		"0.0.0.0", "0.1.2.3", "0", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.255.255.250", "ff02::1", "ff05::2%lo", "240.0.0.1",
		"255.255.255.255", "192.88.99.1", "100::1",
	} {
		conn, err := dial(t.Context(), "tcp", net.JoinHostPort(host, "1"))
		if err == nil {
			_ = conn.Close()
			t.Fatalf("%s was dialled", host)
		}
		wantCode(t, err, funnel.Unavailable, "refusing to dial")
	}
}

func TestPrivateAddressesAreAllowedUnlessPublicOnly(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	sentinel := listen(t, &connections)
	_, port, _ := net.SplitHostPort(sentinel)
	spellings := []string{"127.0.0.1", "::ffff:127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "localhost.", "LOCALHOST"}
	for _, host := range spellings {
		conn, err := upstream.NewDial(upstream.Options{Lookup: lenient})(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		_ = conn.Close()
	}
	public := upstream.NewDial(upstream.Options{Lookup: lenient, PublicOnly: true})
	for _, host := range append(spellings, "::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fc00::1", "fd12::1", "127.255.255.254") {
		_, err := public(t.Context(), "tcp", net.JoinHostPort(host, port))
		wantCode(t, err, funnel.Unavailable, "refusing to dial")
	}
	if n := int(connections.Load()); n > len(spellings) {
		t.Errorf("the sentinel got %d connections, want only those of the first loop", n)
	}
}

// A name that first resolves to a public address and then to loopback gains
// nothing: it is resolved once, and the checked address is dialled.
func TestNameIsResolvedOnce(t *testing.T) {
	t.Parallel()
	var connections, lookups atomic.Int32
	sentinel := listen(t, &connections)
	_, port, _ := net.SplitHostPort(sentinel)
	dial := upstream.NewDial(upstream.Options{PublicOnly: true, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if lookups.Add(1) == 1 {
			return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("2002:7f00:1::")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	_, err := dial(t.Context(), "tcp", "flip.test:"+port)
	wantCode(t, err, funnel.Unavailable, "refusing to dial")
	if lookups.Load() != 1 || connections.Load() != 0 {
		t.Errorf("%d look-ups and %d connections, want 1 and 0", lookups.Load(), connections.Load())
	}
}

func TestForbiddenAddressAmongAllowedOnesIsSkipped(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	sentinel := listen(t, &connections)
	_, port, _ := net.SplitHostPort(sentinel)
	dial := upstream.NewDial(upstream.Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}, nil
	}})
	conn, err := dial(t.Context(), "tcp", "both.test:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); got != sentinel {
		t.Errorf("connected to %s, want %s", got, sentinel)
	}
}

func TestNextAddressIsTried(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	sentinel := listen(t, &connections)
	_, port, _ := net.SplitHostPort(sentinel)
	dial := upstream.NewDial(upstream.Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
	}})
	conn, err := dial(t.Context(), "tcp", "two.test:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// A name server can name a thousand addresses: each would have a thousandth of the time.
func TestFirstAddressesAreTried(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	_, port, _ := net.SplitHostPort(listen(t, &connections))
	for place, reached := range map[int]bool{1: true, 8: true, 9: false, 1000: false} {
		dial := upstream.NewDial(upstream.Options{Lookup: func(context.Context, string) (list []netip.Addr, err error) {
			list = append(list, netip.MustParseAddr("169.254.169.254")) // is no place
			for i := 1; i <= 1000; i++ {
				list = append(list, netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})) // nobody listens there
			}
			list[place] = netip.MustParseAddr("127.0.0.1")
			return list, nil
		}})
		conn, err := dial(t.Context(), "tcp", "thousand.test:"+port)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != reached {
			t.Errorf("an address in place %d is reached: %v (%v), want %v", place, err == nil, err, reached)
		}
	}
}

// A name server that says nothing takes only a part of the time of an exchange, and
// it is said what was waited for.
func TestLookUpHasALimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		began := time.Now()
		_, err := upstream.NewDial(upstream.Options{Lookup: silent})(t.Context(), "tcp", "silent.test:1")
		wantCode(t, err, funnel.Unavailable, "looking up the host name: no answer within 10s")
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the look-up took %v, want 10 s", took)
		}
		began = time.Now()
		_, err = upstream.NewDial(upstream.Options{Lookup: silent, Timeout: 3 * time.Second})(t.Context(), "tcp", "silent.test:1")
		wantCode(t, err, funnel.Unavailable, "no connection in time")
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the look-up took %v, want the 3 s of the exchange", took)
		}
	})
}

func TestDialRefusesOtherNetworksAndShapes(t *testing.T) {
	t.Parallel()
	dial := upstream.NewDial(upstream.Options{})
	for network, address := range map[string]string{"udp": "127.0.0.1:1", "unix": "/run/x.sock", "tcp": "127.0.0.1"} {
		_, err := dial(t.Context(), network, address)
		wantCode(t, err, funnel.Unavailable, "refusing to dial")
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	dial := upstream.NewDial(upstream.Options{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	_, err := dial(ctx, "tcp", "dc.example.com:636")
	wantCode(t, err, funnel.Unavailable, "connecting to dc.example.com:636")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v is not context.Canceled", err)
	}
}

// listen counts the connections to a port of 127.0.0.1.
func listen(t *testing.T, connections *atomic.Int32) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String()
}

func FuzzEgress(f *testing.F) {
	for _, seed := range []string{"169.254.169.254", "10.0.0.1", "127.0.0.1", "224.0.0.1", "8.8.8.8", "0.0.0.0"} {
		f.Add(netip.MustParseAddr(seed).AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v4, ok := netip.AddrFromSlice(b)
		if !ok || !v4.Is4() {
			return
		}
		// Whatever is refused as IPv4 is refused in every form that carries it, and
		// the tunnelled forms are refused always.
		a := v4.As4()
		embed := func(prefix string, at int) string {
			x := netip.MustParseAddr(prefix).As16()
			copy(x[at:], a[:])
			return netip.AddrFrom16(x).String()
		}
		for _, public := range []bool{false, true} {
			plain := upstream.Denied(v4, public)
			if mapped := upstream.Denied(netip.MustParseAddr(embed("::ffff:0:0", 12)), public); mapped != plain {
				t.Errorf("%s: %q as IPv4, %q mapped", v4, plain, mapped)
			}
			for _, form := range []string{embed("64:ff9b::", 12), embed("64:ff9b:1::", 12), embed("2002::", 2), embed("2001::", 12)} {
				if why := upstream.Denied(netip.MustParseAddr(form), public); why == "" {
					t.Errorf("%s is allowed", form)
				}
			}
			if (v4.IsLinkLocalUnicast() || v4.IsMulticast() || v4.IsUnspecified()) && plain == "" {
				t.Errorf("%s is allowed", v4)
			}
			if public && (v4.IsLoopback() || v4.IsPrivate()) && !strings.Contains(plain, "not allowed") {
				t.Errorf("%s: %q with PublicOnly", v4, plain)
			}
		}
	})
}
