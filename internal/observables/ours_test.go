package observables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
)

func TestOurs(t *testing.T) {
	t.Parallel()
	named := NewOurs([]string{"Corp.Example.", "bücher.example"}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")})
	private := NewOurs(nil, nil)
	for _, c := range []struct {
		kind           funnel.Kind
		value          string
		named, private bool
	}{
		{funnel.IP, "192.0.2.7", true, false},
		{funnel.IP, "::ffff:192.0.2.7", true, false},
		{funnel.IP, "2001:db8::7", true, false},
		{funnel.IP, "192.0.3.7", false, false},
		{funnel.IP, "10.1.2.3", false, true}, // who names networks names all of them
		{funnel.IP, "172.31.255.255", false, true},
		{funnel.IP, "172.32.0.0", false, false},
		{funnel.IP, "100.64.0.1", false, true},
		{funnel.IP, "fd00::1", false, true},
		{funnel.IP, "127.0.0.1", true, true},
		{funnel.IP, "fe80::1", true, true},
		{funnel.IP, "0.0.0.0", true, true},
		{funnel.IP, "nonsense", false, false},
		{funnel.Domain, "corp.example", true, false},
		{funnel.Domain, "A.CORP.EXAMPLE.", true, false},
		{funnel.Domain, "evilcorp.example", false, false},
		{funnel.Domain, "corp.example.evil.example", false, false},
		{funnel.Domain, "xn--bcher-kva.example", true, false},
		{funnel.Domain, "www.bücher.example", true, false},
		{funnel.Domain, "printer.local", true, true},
		{funnel.Domain, "notlocal", false, false},
		{funnel.Host, "pc-1.corp.example", true, false},
		{funnel.Host, "PC-1", false, false},
		{funnel.Email, "jdoe@corp.example", true, false},
		{funnel.Email, "corp.example@evil.example", false, false},
		{funnel.URL, "https://www.corp.example:8443/a", true, false},
		{funnel.URL, "https://corp.example@evil.example/", false, false},
		{funnel.URL, "https://evil.example/?u=corp.example", false, false},
		{funnel.URL, "http://192.0.2.1/", true, false},
		{funnel.URL, "http://[2001:db8::1]:80/", true, false},
		{funnel.URL, "http://10.0.0.1/", false, true},
		{funnel.URL, "http://intranet/x", true, true},
		{funnel.URL, "http://localhost:8080/", true, true},
		{funnel.URL, "http://3221226081/", false, false},
		{funnel.URL, "http://%zz/", false, false},
		{funnel.URL, "", false, false},
		{funnel.User, "corp.example", false, false},
		{funnel.MD5, "44d88612fea8a8f36de82e1278abb02f", false, false},
	} {
		x := funnel.Observable{Kind: c.kind, Value: c.value}
		if a, b := named.Has(x), private.Has(x); a != c.named || b != c.private {
			t.Errorf("%s %s is ours: %v and %v by default, want %v and %v", c.kind, c.value, a, b, c.named, c.private)
		}
	}
}

// What is ours is kept and marked if a field names it, and left out if only the
// text does.
func TestObserve(t *testing.T) {
	t.Parallel()
	ours := NewOurs([]string{"corp.example.com"}, nil)
	mapped := []funnel.Observable{
		{Kind: funnel.User, Value: "jdoe", Field: "user"}, {Kind: funnel.IP, Value: "10.0.0.7", Field: "src"}, {Kind: funnel.Domain, Value: "Evil.example.net", Field: "domain"},
	}
	got := ours.Observe(mapped, "10.0.0.7 and 10.0.0.8 at pc.corp.example.com asked evil.example.net, evil.example.org and EVIL.example.org; ask it@corp.example.com")
	want := "[{user jdoe user false} {ip 10.0.0.7 src true} {domain Evil.example.net domain false} {domain evil.example.org text false}]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if got := ours.Observe([]funnel.Observable{}, ""); got == nil || len(got) != 0 {
		t.Errorf("of nothing it makes %v", got)
	}
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, "a%d.example.net ", i)
	}
	if got := ours.Observe(mapped[:1], many.String()); len(got) != MaxObservables {
		t.Errorf("an event gets %d observables", len(got))
	}
	full := make([]funnel.Observable, MaxObservables)
	if got := ours.Observe(full, many.String()); len(got) != MaxObservables {
		t.Errorf("a full event gets %d observables", len(got))
	}
}
