package intake_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/intake"
)

// T01: only the right credential stores anything; everything else is told the
// same, whether the source exists or not.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	away := func(r *intake.Request) { r.Loopback = false }
	for _, c := range []struct {
		name, source string
		change       func(*intake.Request)
		right        bool
	}{
		{"path, right", "path", key(pathSecret), true},
		{"path, old", "path", key(oldSecret), true},
		{"path, none", "path", key(""), false},
		{"path, wrong", "path", key(pathSecret + "x"), false},
		{"path, other's", "path", key(otherSecret), false},
		{"path, in the wrong place", "path", func(r *intake.Request) { r.Key = ""; r.Header.Set("Authorization", "Bearer "+pathSecret) }, false},
		{"path, its hash", "path", key("b5d4045c3f466fa91fe2cc6abe79232a1a57cdf104f7a26e716e0a1e2789df78"), false},
		{"path, loopback", "path", func(r *intake.Request) { r.Key, r.Loopback = "", true }, false},
		{"bearer, right", "bearer", header("Authorization", "Bearer "+token), true},
		{"bearer, lower case", "bearer", header("Authorization", "bearer "+token), true},
		{"bearer, old", "bearer", header("Authorization", "Bearer "+oldToken), true},
		{"bearer, none", "bearer", header("Authorization"), false},
		{"bearer, empty", "bearer", header("Authorization", "Bearer "), false},
		{"bearer, wrong", "bearer", header("Authorization", "Bearer "+token[1:]), false},
		{"bearer, other's", "bearer", header("Authorization", "Bearer "+pathSecret), false},
		{"bearer, other scheme", "bearer", header("Authorization", "Basic "+token), false},
		{"bearer, in the path", "bearer", func(r *intake.Request) { r.Header.Del("Authorization"); r.Key = token }, false},
		{"bearer, and something in the path", "bearer", key("x"), false},
		{"signed, right", "signed", func(*intake.Request) {}, true},
		{"signed, none", "signed", header("X-Hub-Signature"), false},
		{"signed, empty", "signed", header("X-Hub-Signature", ""), false},
		{"signed, wrong", "signed", header("X-Hub-Signature", sign("another secret", good)), false},
		{"signed, of the empty secret", "signed", header("X-Hub-Signature", sign("", good)), false},
		{"signed, of another body", "signed", header("X-Hub-Signature", sign(signing, good+" ")), false},
		{"signed, twice", "signed", header("X-Hub-Signature", sign(signing, good), sign("x", good)), false},
		{"signed, other hash", "signed", header("X-Hub-Signature", strings.Replace(sign(signing, good), "sha256", "sha1", 1)), false},
		{"signed, no hash", "signed", header("X-Hub-Signature", strings.TrimPrefix(sign(signing, good), "sha256=")), false},
		{"signed, cut", "signed", header("X-Hub-Signature", sign(signing, good)[:40]), false},
		{"signed, other's", "signed", header("Authorization", "Bearer "+token), true},
		{"none, here", "none", func(*intake.Request) {}, true},
		{"none, away", "none", away, false},
		{"none, with something in the path", "none", key("x"), false},
		{"no kind at all", "broken", func(*intake.Request) {}, false},
		{"no such source", "absent", func(*intake.Request) {}, false},
		{"no such source, with a secret", "absent", key(pathSecret), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			r := request(c.source, good, c.change)
			if c.right {
				d.takes(r)
				if got := d.rows(); got != "1/1/1" {
					t.Errorf("stored %s", got)
				}
				return
			}
			refusal := d.refuses(r, http.StatusNotFound)
			want := intake.Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "there is no such source, or the credential is wrong"}
			if *refusal != want {
				t.Errorf("it is told %+v", *refusal)
			}
			if got := d.rows(); got != "0/0/0" {
				t.Errorf("stored %s", got)
			}
		})
	}
}

// No bit of a signature or of a body can be changed.
func TestSignatureBitFlips(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	minute := func() { d.now = d.now.Add(time.Minute) } // or it would be sent away for failing too often
	flip := func(b []byte, bit int) []byte {
		out := append([]byte(nil), b...)
		out[bit/8] ^= 1 << (bit % 8)
		return out
	}
	mac, _ := hex.DecodeString(strings.TrimPrefix(sign(signing, good), "sha256="))
	for bit := range 8 * len(mac) {
		minute()
		d.refuses(request("signed", good, header("X-Hub-Signature", "sha256="+hex.EncodeToString(flip(mac, bit)))), http.StatusNotFound)
	}
	for bit := range 8 * len(good) {
		minute()
		d.refuses(request("signed", string(flip([]byte(good), bit)), header("X-Hub-Signature", sign(signing, good))), http.StatusNotFound)
	}
	if got := d.rows(); got != "0/0/0" {
		t.Errorf("stored %s", got)
	}
}

// Who fails too often is sent away for the rest of the minute; the right
// credential passes, also from the same address.
func TestTooManyFailures(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	wrong := func() intake.Request { return request("path", good, key("wrong")) }
	for range 60 {
		d.refuses(wrong(), http.StatusNotFound)
	}
	d.now = d.now.Add(20 * time.Second)
	if r := d.refuses(wrong(), http.StatusTooManyRequests); r.RetryAfter != 40*time.Second {
		t.Errorf("it is sent away for %v", r.RetryAfter)
	}
	d.refuses(request("absent", good), http.StatusTooManyRequests)
	d.takes(request("path", good))
	d.refuses(request("path", good, key("wrong"), func(r *intake.Request) { r.Remote = netip.MustParseAddr("192.0.2.2") }), http.StatusNotFound)
	d.now = d.now.Add(41 * time.Second)
	d.refuses(wrong(), http.StatusNotFound)
	if got := d.rows(); got != "1/1/1" {
		t.Errorf("stored %s", got)
	}
}

// An IPv6 caller has 2^64 addresses, and is one caller; IPv4 is the same in both
// spellings.
func TestCallersAreNetworks(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]func(i int) string{
		"IPv6": func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) },
		"IPv4": func(i int) string { return []string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			for i := range 61 {
				status := http.StatusNotFound
				if i == 60 {
					status = http.StatusTooManyRequests
				}
				d.refuses(request("path", good, key("x"), func(r *intake.Request) { r.Remote = netip.MustParseAddr(addr(i)) }), status)
			}
		})
	}
}
