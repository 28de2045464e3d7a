package funnel

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRefang(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                        "",
		"nothing to see, (really) [1] {a}":        "nothing to see, (really) [1] {a}",
		"hxxp://example[.]com/a":                  "http://example.com/a",
		"hXXps://example(.)com":                   "hTTps://example.com",
		"HXXP[:]//example{.}com":                  "HTTP://example.com",
		"hxtp://example[dot]com":                  "http://example.com",
		"fxp[://]example[DOT]com":                 "ftp://example.com",
		"hxxp:[/][/]example.com":                  "http://example.com",
		"jdoe[at]example[.]com, jdoe{@}example":   "jdoe@example.com, jdoe@example",
		"192[.]0[.]2[.]1 and 2001[:]db8[:][:]1":   "192.0.2.1 and 2001:db8::1",
		"example[[.]]com":                         "example.com",
		"example[.)com (/) [dots]":                "example[.)com (/) [dots]",
		"fxps://x sfxp://y, without it: hxxp fxp": "ftps://x sftp://y, without it: hxxp fxp",
	} {
		if got := Refang(text); got != want {
			t.Errorf("Refang(%q) = %q, want %q", text, got, want)
		}
	}
}

// An observable of every kind comes back as it was; in any text nothing more is
// changed than Refang alone would change, and both may be done twice.
func TestDefangRoundTrip(t *testing.T) {
	t.Parallel()
	for kind, values := range map[Kind][]string{
		User: {"jdoe", `EXAMPLE\jdoe`, "o'brien"}, Host: {"pc-1.corp.example.com"}, IP: {"192.0.2.1", "2001:db8::1"},
		Domain: {"example.com", "xn--bcher-kva.example"}, Email: {"jdoe@example.com"},
		URL: {
			"http://example.com", "HTTPS://www.Example.com/a.b?c=d.e#f", "Http://user:pass@192.0.2.1:8080/x", "ftp://example.com/a",
			"ftps://example.com", "sftp://a.example.com", "ldap://dc1.example.com/o=a.b", "http://[2001:db8::1]/", "http://[::ffff:192.0.2.1]:80/a",
			"https://example.com/?to=http://www.example.org/a.b", "https://example.com/(a)[b]{c}",
		},
		MD5: {strings.Repeat("0a", 16)}, SHA1: {strings.Repeat("0a", 20)}, SHA256: {strings.Repeat("0a", 32)},
	} {
		for _, v := range values {
			if got := Refang(Defang(v)); got != v {
				t.Errorf("%s %q comes back as %q", kind, v, got)
			}
		}
	}
	piece := rapid.SampledFrom(strings.Fields("http hxxp HTTPS fTp s ftps :// :// : / [ ] ( ) { } [.] (.) . . dot at @ [:] a example.com x X t ? # ü \" '"))
	rapid.Check(t, func(t *rapid.T) {
		v := strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, "pieces"), "")
		inert, plain := Defang(v), Refang(v)
		if got := Refang(inert); got != plain {
			t.Fatalf("%q is %q when inert and comes back as %q, not %q", v, inert, got, plain)
		}
		if Defang(inert) != inert || Refang(plain) != plain {
			t.Fatalf("%q: defanged %q, again %q; refanged %q, again %q", v, inert, Defang(inert), plain, Refang(plain))
		}
	})
}
