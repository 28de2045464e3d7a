package virustotal

import (
	"net/url"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// TestInvalidObservables: what is not a domain, address or URL is refused before
// anything is sent, by a text that does not repeat the value.
func TestInvalidObservables(t *testing.T) {
	t.Parallel()
	fake := virustotalfake.New(virustotalfake.Options{})
	c := client(t, fake)
	label := strings.Repeat("a", 63)
	tests := map[string][]string{
		"domain": {
			"", ".", "..", "../files/x", "hunter2", "hunter2.example/../../users/x", "a..example.com", ".example.com", "example.com..", "example.com/hunter2",
			"example.com?x", "example.com#x", "%2e%2e.example.com", "a b.example.com", "a\n.example.com", "a\x00.example.com", "-a.example.com", "a-.example.com",
			"hunter2:pw@example.com", "example.com:80", "bücher.example.com", "ａ.example.com", "8.8.8.8", "1.2.3", "[::1]", "a\\b.example.com",
			label + "a.example.com", label + "." + label + "." + label + "." + label + ".com",
		},
		"ip": {
			"", "hunter2", "8.8.8", "8.8.8.8/32", "8.8.8.8:53", "8.8.8.08", "0x08080808", "134744072", " 8.8.8.8", "8.8.8.8\n", "../files/x", "2001:4860::1%eth0",
			"fe80::1%25../../x", "[2001:4860::1]", "8.8.8.8/../x",
		},
		"url": {
			"", "hunter2", "example.com/x", "//example.com/x", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "data:text/html,hunter2",
			"http://", "http:///path", "http:example.com", "https://user:hunter2@", "http://bücher.example.com/", "http://example.com:port/", "http://exa mple.com/",
			"http://example.com/\n", "http://example.com/%zz", "http://[fe80::1%25eth0]/", "http://a%2fb.example.com/", "http://example.com/" + strings.Repeat("a", maxURL),
		},
	}
	for field, values := range tests {
		for _, value := range values {
			err := ask(t, c, field, value)
			if funnel.CodeOf(err) != funnel.Invalid || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "asking VirusTotal: "+field+" ") {
				t.Errorf("%s %q gives %v (%s), want an invalid one without the value", field, value, err, funnel.CodeOf(err))
			}
		}
	}
	if err := ask(t, c, "domain", "bücher.example.com"); !strings.Contains(err.Error(), "xn--") {
		t.Errorf("a name in letters beyond ASCII gives %v, want a hint at its ASCII form", err)
	}
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("%d look-ups were sent, want none", n)
	}
}

func ask(t *testing.T, c *Client, field, value string) (err error) {
	t.Helper()
	switch field {
	case "domain":
		_, err = c.DomainReport(t.Context(), DomainReportInput{Domain: value})
	case "ip":
		_, err = c.IPReport(t.Context(), IPReportInput{IP: value})
	case "url":
		_, err = c.URLReport(t.Context(), URLReportInput{URL: value})
	default:
		_, err = c.FileReport(t.Context(), FileReportInput{Hash: value})
	}
	return err
}

// TestNotAsked: what belongs to a local network stays inside, and its verdict is
// unknown because nobody was asked.
func TestNotAsked(t *testing.T) {
	t.Parallel()
	fake := virustotalfake.New(virustotalfake.Options{})
	c := client(t, fake)
	for value, detail := range map[string]string{
		"10.1.2.3": "a private address", "172.31.255.255": "a private address", "192.168.0.1": "a private address", "fd00::1": "a private address",
		"::ffff:10.1.2.3": "a private address", "127.0.0.1": "a loopback address", "127.255.0.9": "a loopback address", "::1": "a loopback address",
		"169.254.169.254": "a link-local address", "fe80::1": "a link-local address", "224.0.0.251": "a multicast address", "ff02::1": "a multicast address",
		"0.0.0.0": "a reserved address", "::": "a reserved address", "100.64.0.1": "a reserved address", "192.0.2.1": "a reserved address",
		"198.18.0.1": "a reserved address", "198.51.100.7": "a reserved address", "203.0.113.9": "a reserved address", "240.0.0.1": "a reserved address",
		"255.255.255.255": "a reserved address", "2001:db8::1": "a reserved address", "fec0::1": "a reserved address", "64:ff9b::a00:1": "a reserved address",
	} {
		r, err := c.IPReport(t.Context(), IPReportInput{IP: value})
		notAskedVerdict(t, value, r.Found, r.Verdict, r.Permalink, detail, err)
		host := value
		if strings.Contains(value, ":") {
			host = "[" + value + "]:8443"
		}
		u, err := c.URLReport(t.Context(), URLReportInput{URL: "https://admin:hunter2@" + host + "/x"})
		notAskedVerdict(t, u.URL, u.Found, u.Verdict, u.Permalink, detail, err)
		if u.URL != "https://"+host+"/x" {
			t.Errorf("the result's URL is %q", u.URL)
		}
	}
	for _, host := range []string{"intranet", "localhost", "nas.local", "Wiki.Corp.Internal", "router.home.arpa.", "x.localhost"} {
		u, err := c.URLReport(t.Context(), URLReportInput{URL: "http://" + host + "/"})
		notAskedVerdict(t, host, u.Found, u.Verdict, u.Permalink, "a name", err)
		if strings.Contains(host, ".") {
			d, err := c.DomainReport(t.Context(), DomainReportInput{Domain: host})
			notAskedVerdict(t, host, d.Found, d.Verdict, d.Permalink, "a name of a local network", err)
		}
	}
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("%d look-ups were sent, want none: %v", n, fake.Journal())
	}
}

func notAskedVerdict(t *testing.T, what string, found bool, v funnel.Verdict, permalink, detail string, err error) {
	t.Helper()
	if err != nil || found || v.Rating != funnel.Unknown || v.Why != funnel.NotAsked || permalink != "" || !strings.Contains(v.Detail, detail) {
		t.Errorf("%s gives found %t, verdict %+v, error %v; want unknown, not asked for being %s", what, found, v, err, detail)
	}
}

// TestPublic: addresses next to the special blocks are asked about.
func TestPublic(t *testing.T) {
	t.Parallel()
	fake := virustotalfake.New(virustotalfake.Options{})
	c := client(t, fake)
	for value, want := range map[string]string{
		"9.255.255.255": "9.255.255.255", "172.32.0.0": "172.32.0.0", "100.128.0.0": "100.128.0.0", "192.0.3.0": "192.0.3.0", "198.20.0.0": "198.20.0.0",
		"::ffff:8.8.8.8": "8.8.8.8", "2001:4860:0:0::8888": "2001:4860::8888", "2606:4700::1111": "2606:4700::1111",
	} {
		r, err := c.IPReport(t.Context(), IPReportInput{IP: value})
		if err != nil || r.Verdict.Why != funnel.NotFoundThere || r.IP != want {
			t.Errorf("%s gives %+v, error %v; want not found there", value, r, err)
		}
	}
	if n := len(fake.Journal()); n != 8 {
		t.Errorf("%d look-ups were sent, want 8", n)
	}
}

func TestSameURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		asked, theirs string
		want          bool
	}{
		{"http://Example.com", "http://example.com/", true},
		{"http://example.com:80/a", "http://example.com/a", true},
		{"https://example.com:443/a", "https://example.com/a", true},
		{"http://example.com./a%20b?q=%41#top", "http://example.com/a b?q=A", true},
		{"http://example.com/a/../b", "http://example.com/b", true},
		{"http://example.com/a%252e", "http://example.com/a.", true},
		{"http://example.com/a", "https://example.com/a", false},
		{"http://example.com/a", "http://example.com:8080/a", false},
		{"http://example.com/a", "http://example.com/a/", false},
		{"http://example.com/a", "http://example.com/b", false},
		{"http://example.com/a", "http://example.com.evil.example/a", false},
		{"http://example.com/a?x=1", "http://example.com/a", false},
		{"http://example.com/", "", false},
	} {
		a, err := url.Parse(test.asked)
		if err != nil {
			t.Fatal(err)
		}
		b, err := url.Parse(test.theirs)
		if err != nil {
			t.Fatal(err)
		}
		if got := sameURL(a, b); got != test.want {
			t.Errorf("%s and %s: same is %t, want %t", test.asked, test.theirs, got, test.want)
		}
	}
}
