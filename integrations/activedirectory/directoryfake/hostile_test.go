package directoryfake

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// searchBytes encodes a search request with the filter.
func searchBytes(t testing.TB, filter *ber.Packet) []byte {
	t.Helper()
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, opSearch, nil, "")
	op.AppendChild(str("DC=a"))
	for _, v := range []int64{2, 0} {
		op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, v, ""))
	}
	for range 2 {
		op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(0), ""))
	}
	op.AppendChild(ber.NewBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, false, ""))
	op.AppendChild(filter)
	op.AppendChild(seq())
	return envelope(7, op)
}

// nested returns n not-filters around a presence filter.
func nested(n int) *ber.Packet {
	f := ber.NewString(ber.ClassContext, ber.TypePrimitive, filterPresent, "cn", "")
	for range n {
		outer := ber.Encode(ber.ClassContext, ber.TypeConstructed, filterNot, nil, "")
		outer.AppendChild(f)
		f = outer
	}
	return f
}

// deep returns a message of n nested sequences.
func deep(n int) []byte {
	p := seq()
	for range n {
		p = seq(p)
	}
	return p.Bytes()
}

// hostile are byte strings that are no request; each must end the connection.
func hostile(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"http":             []byte("GET / HTTP/1.1\r\n\r\n"),
		"huge length":      {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02},
		"just too long":    {0x30, 0x83, 0x04, 0x00, 0x01},
		"eight bytes":      {0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"indefinite":       {0x30, 0x80, 0x02, 0x01, 0x01, 0x00, 0x00},
		"child too long":   {0x30, 0x03, 0x02, 0x7f, 0x01},
		"empty":            {0x30, 0x00},
		"no operation":     {0x30, 0x03, 0x02, 0x01, 0x01},
		"negative id":      {0x30, 0x05, 0x02, 0x01, 0xff, 0x42, 0x00},
		"unknown op":       {0x30, 0x05, 0x02, 0x01, 0x01, 0x5e, 0x00},
		"empty bind":       {0x30, 0x05, 0x02, 0x01, 0x01, 0x60, 0x00},
		"empty search":     {0x30, 0x05, 0x02, 0x01, 0x01, 0x63, 0x00},
		"empty extended":   {0x30, 0x05, 0x02, 0x01, 0x01, 0x77, 0x00},
		"nested sequences": deep(500),
		"nested filter":    searchBytes(t, nested(maxFilterDepth)),
		"empty not":        searchBytes(t, ber.Encode(ber.ClassContext, ber.TypeConstructed, filterNot, nil, "")),
		"filter choice":    searchBytes(t, ber.Encode(ber.ClassContext, ber.TypeConstructed, 10, nil, "")),
		"many elements":    seq(nulls(maxElements)...).Bytes(),
	}
}

// nulls returns n empty elements.
func nulls(n int) []*ber.Packet {
	list := make([]*ber.Packet, n)
	for i := range list {
		list[i] = ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagNULL, "", "")
	}
	return list
}

func TestHostileBytesEndTheConnection(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{Entries: []Entry{{DN: "DC=a"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM())
	for name, b := range hostile(t) {
		c, err := tls.Dial("tcp", strings.TrimPrefix(s.URL(), "ldaps://"), &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatalf("%s: the server is gone: %v", name, err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := io.ReadAll(c)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the connection stayed open", name)
		}
		if err == nil && !bytes.Contains(got, []byte(oidDisconnect)) {
			t.Errorf("%s: no notice of disconnection in %q", name, got)
		}
		c.Close()
	}
	if n := len(s.Journal()); n != 0 {
		t.Errorf("%d operations were processed", n)
	}
}

// The bounds hold before the decoder sees a byte.
func TestDecodeBounds(t *testing.T) {
	t.Parallel()
	if _, err := decode(deep(maxDepth - 1)); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
	for name, b := range map[string][]byte{"deep": deep(maxDepth), "many": seq(nulls(maxElements)...).Bytes()} {
		if _, err := decode(b); !errors.Is(err, errProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Unicode folding takes all broken bytes for the same character.
func TestBrokenTextMatchesNothing(t *testing.T) {
	t.Parallel()
	f := filter{kind: filterEqual, attr: "cn", value: "\xff"}
	if matchValue("cn", "\xfe", f) == yes {
		t.Error("two different broken bytes are equal")
	}
}

// A request of the deepest nesting and greatest size must not cost many times
// its size.
func TestDecoderMemoryIsBounded(t *testing.T) {
	payload := str(strings.Repeat("x", maxMessage-2048))
	p := seq(payload)
	for range maxDepth - 4 {
		p = seq(p)
	}
	b := p.Bytes()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readMessage(bufio.NewReader(bytes.NewReader(b)))
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errProtocol) {
		t.Errorf("error is %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
		t.Errorf("decoding %d bytes allocated %d MiB", len(b), used>>20)
	}
}

func TestBytesBeforeTheHandshakeAreNotTrusted(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{Entries: Demo(), PlainAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.PlainURL(), "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, opExtended, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oidStartTLS, ""))
	// One write: the injected search is in the buffer when TLS starts.
	if _, err := c.Write(append(envelope(1, op), searchBytes(t, nested(0))...)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil && !errors.Is(err, io.EOF) {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Error("the handshake went on")
		}
	}
	for _, op := range s.Journal() {
		if op.Kind != "starttls" {
			t.Errorf("processed %+v", op)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, b := range hostile(f) {
		f.Add(b)
	}
	for _, text := range []string{"(&(a=b)(|(c=*)(!(d=e*f*g))))", "(a:1.2.840.113556.1.4.803:=2)", "(a:dn:x:=y)", "(a>=1)"} {
		p, err := ldap.CompileFilter(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(searchBytes(f, p))
	}
	d, err := newDirectory(Demo())
	if err != nil {
		f.Fatal(err)
	}
	srv := &Server{opts: Options{MaxPageSize: 10, MaxValRange: 10, Now: time.Now}, dir: d}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readMessage(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		s := &session{srv: srv, secure: true, bound: d.objects[0], pages: map[string]*pagedSearch{}}
		a, err := s.handle(m, fate{})
		if err != nil || a.op.Kind != "search" {
			return
		}
		// What the journal shows is a filter that means the same again, as far as
		// RFC 4515 can write it: names have no escapes there.
		asked, err := parseSearch(m)
		if err != nil || !writable(asked.filter) {
			return
		}
		p, err := ldap.CompileFilter(a.op.Filter)
		if err != nil {
			t.Fatalf("%s is no filter: %v", a.op.Filter, err)
		}
		again, err := parseFilter(p, maxFilterDepth+1)
		if err != nil || again.String() != a.op.Filter {
			t.Errorf("%s reads back as %s, %v", a.op.Filter, again, err)
		}
	})
}

// writable reports whether all names in a filter are plain and its substrings
// are in an order that text has.
func writable(f filter) bool {
	for _, s := range f.subs {
		if !writable(s) {
			return false
		}
	}
	for i, p := range f.parts {
		if p.value == "" || (p.place == 0) && i > 0 || (p.place == 2) && i < len(f.parts)-1 {
			return false
		}
	}
	if len(f.parts) == 0 && f.kind == filterSubstrings {
		return false
	}
	plain := func(s string) bool {
		return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
	}
	switch f.kind {
	case filterAnd, filterOr, filterNot:
		return true
	case filterExtensible:
		return plain(f.attr) && plain(f.rule) && (f.attr != "" || f.rule != "")
	}
	return f.attr != "" && plain(f.attr)
}
