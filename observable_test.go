package funnel

import "testing"

func TestIdentity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b Observable
		same bool
	}{
		{Observable{Kind: User, Value: "JDOE"}, Observable{Kind: User, Value: "jdoe", Field: "user", Own: true}, true},
		{Observable{Kind: IP, Value: "::ffff:192.0.2.1"}, Observable{Kind: IP, Value: "192.0.2.1"}, true},
		{Observable{Kind: IP, Value: "2001:DB8:0::1"}, Observable{Kind: IP, Value: "2001:db8::1"}, true},
		{Observable{Kind: IP, Value: "Nonsense"}, Observable{Kind: IP, Value: "nonsense"}, true},
		{Observable{Kind: URL, Value: "http://example.com/A"}, Observable{Kind: URL, Value: "http://example.com/a"}, false},
		{Observable{Kind: User, Value: "a"}, Observable{Kind: Host, Value: "a"}, false},
	} {
		if same := c.a.Identity() == c.b.Identity(); same != c.same {
			t.Errorf("%+v and %+v are the same: %v", c.a, c.b, same)
		}
	}
}
