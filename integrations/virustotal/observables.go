package virustotal

import (
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/funnelsec/funnel"
)

// maxURL bounds a URL that is asked for, in bytes: its identifier, a third
// longer, has to fit into a request's line.
const maxURL = 4096

// domainName returns a domain in lower case and without the dot at its end.
// Labels are as in RFC 1035, and may hold underscores, as names in use do.
// What passes holds no slash and no empty label: it is safe in a path.
func domainName(value string) (string, error) {
	invalid := func(why string) (string, error) {
		return "", funnel.Errorf(funnel.Invalid, "asking VirusTotal: domain %s", why)
	}
	name := strings.ToLower(strings.TrimSuffix(value, "."))
	if !ascii(value) {
		return invalid("holds letters beyond ASCII: give its ASCII form, which begins with xn--")
	}
	labels := strings.Split(name, ".")
	if len(name) > 253 || len(labels) < 2 {
		return invalid("is not a domain: want at least two labels such as example.com, and at most 253 characters")
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return invalid("is not a domain: a label has 1 to 63 letters, digits, hyphens and underscores, and no hyphen at its ends")
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return invalid("is not a domain: its last label is a number; is it an IP address?")
	}
	return name, nil
}

func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e })
}

// address returns an IP address in its usual form; an IPv4 address that is
// written as an IPv6 one becomes an IPv4 one.
func address(value string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(value)
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, funnel.Errorf(funnel.Invalid, "asking VirusTotal: ip is not an IPv4 or IPv6 address; write it without port, prefix length and zone")
	}
	return ip.Unmap(), nil
}

// webAddress returns the URL without user and password, which are nobody
// else's business.
func webAddress(value string) (*url.URL, error) {
	invalid := func(why string) (*url.URL, error) {
		return nil, funnel.Errorf(funnel.Invalid, "asking VirusTotal: url %s", why)
	}
	if len(value) > maxURL {
		return invalid("is longer than 4096 bytes")
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return invalid("is not a URL") // the cause would repeat the value
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("needs the scheme http or https")
	case u.Opaque != "" || u.Hostname() == "":
		return invalid("has no host")
	case !ascii(u.Host):
		return invalid("has a host with letters beyond ASCII: give the host's ASCII form, which begins with xn--")
	case strings.Contains(u.Host, "%"):
		return invalid("has a host with a zone or an escape")
	}
	u.User = nil
	return u, nil
}

// urlKey and ipKey name what is looked up, the same for spellings of the same.
func urlKey(in URLReportInput) string {
	u, err := webAddress(in.URL)
	if err != nil {
		return in.URL
	}
	return u.String()
}

func ipKey(in IPReportInput) string {
	ip, err := address(in.IP)
	if err != nil {
		return in.IP
	}
	return ip.String()
}

// private returns why a host is known to nobody outside, or "". Asking would
// tell a stranger about a network's inside and learn nothing.
func private(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return special(ip.Unmap())
	}
	if !strings.Contains(host, ".") {
		return "a name without a domain"
	}
	for _, suffix := range []string{".localhost", ".local", ".internal", ".home.arpa"} { // RFC 6761, 6762, 8375; ICANN 2024 for .internal
		if strings.HasSuffix(host, suffix) {
			return "a name of a local network"
		}
	}
	return ""
}

// special returns what an address is that is not one of the public internet's,
// or "".
func special(ip netip.Addr) string {
	switch {
	case ip.IsLoopback():
		return "a loopback address"
	case ip.IsPrivate():
		return "a private address"
	case ip.IsLinkLocalUnicast():
		return "a link-local address"
	case ip.IsMulticast():
		return "a multicast address"
	case ip.Is6() && !netip.MustParsePrefix("2000::/3").Contains(ip): // all other blocks are kept for special use or for later
		return "a reserved address"
	}
	for _, block := range reserved {
		if netip.MustParsePrefix(block).Contains(ip) {
			return "a reserved address"
		}
	}
	return ""
}

// reserved are blocks that are not reachable from everywhere (IANA's
// special-purpose address registries, RFC 6890).
var reserved = [...]string{
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20",
}

// sameURL reports whether two URLs differ at most in what VirusTotal unifies:
// case of scheme and host, default port, escapes, dots in the path, fragment.
func sameURL(a, b *url.URL) bool { return unified(a) == unified(b) }

func unified(u *url.URL) [3]string {
	scheme, host := strings.ToLower(u.Scheme), strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[scheme] {
		host += ":" + port
	}
	p := unescaped(u.Path)
	way := path.Clean("/" + p)
	if strings.HasSuffix(p, "/") && way != "/" {
		way += "/"
	}
	return [3]string{scheme + "://" + host, way, unescaped(u.RawQuery)}
}

// unescaped undoes escapes, and escapes of escapes, a few times.
func unescaped(text string) string {
	for range 4 {
		plain, err := url.PathUnescape(text)
		if err != nil || plain == text {
			return text
		}
		text = plain
	}
	return text
}
