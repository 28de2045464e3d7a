package funnel

import (
	"fmt"
	"net/netip"
	"regexp"
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
	rapid.Check(t, func(t *rapid.T) {
		for kind, v := range drawn(t) {
			if got := Refang(Defang(v)); got != v {
				t.Fatalf("%s %q comes back as %q", kind, v, got)
			}
			checkDefang(t, v)
		}
	})
	piece := rapid.SampledFrom(strings.Fields("http hxxp HTTPS fTp s ftps :// :// : / [ ] ( ) { } [.] (.) . . dot at @ [:] a example.com x X t ? # ü \" '"))
	rapid.Check(t, func(t *rapid.T) {
		checkDefang(t, strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, "pieces"), ""))
	})
}

// drawn returns an observable of each kind that can be inert.
func drawn(t *rapid.T) map[Kind]string {
	label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
	domain := strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".") + ".example"
	addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4"))
	six, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6"))
	host := rapid.SampledFrom([]string{domain, addr.String(), "[" + six.String() + "]", strings.ToUpper(domain)}).Draw(t, "host")
	port := rapid.SampledFrom([]string{"", ":8443"}).Draw(t, "port")
	scheme := rapid.SampledFrom([]string{"http", "https", "HTTP", "hTTps", "ftp", "ftps", "ldap", "ssh"}).Draw(t, "scheme")
	path := rapid.StringMatching(`(/[a-z0-9._~%!$&*+,;=:@-]{0,12}){0,3}(\?[a-z]=[a-z0-9./:?-]{0,12})?(#[a-z./]{0,5})?`).Draw(t, "path")
	return map[Kind]string{
		Domain: domain, IP: six.String(), Email: rapid.StringMatching(`[a-z][a-z0-9._+-]{0,10}`).Draw(t, "local") + "@" + domain, URL: scheme + "://" + host + port + path,
	}
}

// checkDefang checks what is true of every text: what is inert comes back as
// refanging the text alone makes it, both may be done twice, and nothing that is
// inert is a live URL.
func checkDefang(t interface{ Fatalf(string, ...any) }, v string) {
	inert, plain := Defang(v), Refang(v)
	if got := Refang(inert); got != plain {
		t.Fatalf("%q is %q when inert and comes back as %q, not %q", v, inert, got, plain)
	}
	if Defang(inert) != inert || Refang(plain) != plain {
		t.Fatalf("%q: defanged %q, again %q; refanged %q, again %q", v, inert, Defang(inert), plain, Refang(plain))
	}
	if live := liveURL.FindString(strings.ReplaceAll(inert, "[.]", "[]")); live != "" {
		t.Fatalf("%q is %q when inert, where %q is live", v, inert, live)
	}
}

// liveURL matches a scheme that programs make links of, and a dot in the host of
// any.
var liveURL = regexp.MustCompile(`(?i)(https?|ftps?)://|://[^/?# \t\r\n"'<>]*\.`)

func FuzzDefang(f *testing.F) {
	for _, v := range []string{
		"", "http://example.com/a.b?c=d.e", "HTTPS://user:pass@192.0.2.1:8080", "hxxp://example[.]com", "http://ahttp://b.example.com", "http://[2001:db8::1]/",
		"https://example.com/?to=http://www.example.org/a.b", "http://[.]x[[.]].y", "ftp://a.b ftps://c.d sftp://e.f", "jdoe[at]example(dot)com", "http[:]//a.b", "http[://]a.b", "http:[/][/]a.b",
		"http://a:http:://b.c", fmt.Sprint(strings.Repeat("http://", 20), "a.b"),
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) { checkDefang(t, v) })
}
