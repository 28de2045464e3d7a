package observables

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/funnelsec/funnel"
)

// MaxObservables is how many observables an event gets: those of free text only
// fill up what its fields leave.
const MaxObservables = 100

// Ours tells what belongs to us, so that no outside service is asked about it.
type Ours struct {
	domains  []string // in ASCII and lower case
	networks []netip.Prefix
}

// PrivateNetworks returns the networks that are ours if none are named: RFC 1918,
// RFC 6598 and RFC 4193.
func PrivateNetworks() []netip.Prefix {
	return prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
}

// nobodys are networks that no outside service knows, whoever asks: this machine,
// the same link, multicast, and addresses that say nothing.
func nobodys() []netip.Prefix {
	return prefixes("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8", "0.0.0.0/8", "::/128", "255.255.255.255/32")
}

// localNames are domains that no outside service knows (RFC 6761, RFC 6762, RFC
// 8375, and ICANN's resolution of 2024 about internal).
func localNames() []string { return []string{"localhost", "local", "home.arpa", "internal"} }

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// NewOurs returns what belongs to us: the domains with all names below them, the
// networks, nil for the private ones, and what is nobody's.
func NewOurs(domains []string, networks []netip.Prefix) *Ours {
	if networks == nil {
		networks = PrivateNetworks()
	}
	o := &Ours{domains: localNames(), networks: slices.Concat(networks, nobodys())}
	for _, d := range domains {
		o.domains = append(o.domains, plainName(d))
	}
	return o
}

// CheckOwnDomain says what is wrong with the name of a domain of ours and what to
// do about it, "" if nothing.
func CheckOwnDomain(name string) (what, hint string) {
	const example = "write a domain such as corp.example.com; the names below it count, too"
	plain := plainName(name)
	s := scanner{tok: []byte(plain)}
	switch {
	case s.ascii(0, len(plain)) == "":
		return strconv.Quote(shorten(name)) + " is no domain", example
	case addressLike(plain):
		return name + " is an address", "addresses and networks belong to own_networks"
	}
	if suffix, icann := publicsuffix.PublicSuffix(plain); icann && suffix == plain {
		return "everybody's domains are below " + name, example
	}
	return "", ""
}

func addressLike(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

func shorten(text string) string {
	if len(text) <= maxName {
		return text
	}
	return strings.ToValidUTF8(text[:maxName], "") + "…"
}

// plainName returns a name in lower case and ASCII, without a dot at its end.
func plainName(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return name
	}
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		return ascii
	}
	return name
}

// Has reports whether an observable belongs to us: an address in one of our
// networks, a domain or a host that is one of our domains or below one, a mail
// address there, and a URL whose host is any of these or a name without a dot.
// Users and file hashes belong to nobody.
func (o *Ours) Has(x funnel.Observable) bool {
	switch x.Kind {
	case funnel.IP:
		addr, err := netip.ParseAddr(x.Value)
		return err == nil && o.addr(addr)
	case funnel.Domain, funnel.Host:
		return o.name(x.Value)
	case funnel.Email:
		return o.name(x.Value[strings.LastIndexByte(x.Value, '@')+1:])
	case funnel.URL:
		u, err := url.Parse(x.Value)
		if err != nil {
			return false
		}
		host := u.Hostname()
		if addr, err := netip.ParseAddr(host); err == nil {
			return o.addr(addr)
		}
		return host != "" && (o.name(host) || !strings.Contains(host, ".") && !isNumber(host))
	}
	return false
}

// isNumber reports whether a host is an address in disguise: browsers take
// http://3221226081/ for one.
func isNumber(host string) bool { return host != "" && isDigit(host[0]) }

func (o *Ours) addr(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(o.networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (o *Ours) name(name string) bool {
	name = plainName(name)
	return slices.ContainsFunc(o.domains, func(d string) bool {
		rest, below := strings.CutSuffix(name, d)
		return below && (rest == "" || rest[len(rest)-1] == '.')
	})
}

// Observe returns an event's observables: those of its fields, what is ours
// marked, and behind them those that only its text names, with the field "text".
// Of the text, what is ours is left out: it is in every text. It fits
// funnel.Request.
func (o *Ours) Observe(mapped []funnel.Observable, text string) []funnel.Observable {
	for i := range mapped {
		mapped[i].Own = o.Has(mapped[i])
	}
	if text == "" || len(mapped) >= MaxObservables {
		return mapped
	}
	hits := Extract(text)
	if len(hits) == 0 {
		return mapped
	}
	known := make(map[string]bool, len(mapped))
	for _, m := range mapped {
		known[m.Identity()] = true
	}
	for _, h := range hits {
		x := funnel.Observable{Kind: h.Kind, Value: h.Value, Field: "text"}
		if id := x.Identity(); !known[id] && !o.Has(x) && len(mapped) < MaxObservables {
			known[id] = true
			mapped = append(mapped, x)
		}
	}
	return mapped
}
