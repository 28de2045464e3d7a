package config

import (
	"fmt"
	"net/netip"

	"github.com/funnelsec/funnel/internal/observables"
)

func (r *reader) observables(n *node, into *Observables) {
	o := r.object(n, "observables")
	o.items("own_domains", "own_domains: [corp.example.com]", func(n *node, label string) {
		if what, hint := observables.CheckOwnDomain(n.text); what != "" {
			r.fail(n, label+": "+what, hint)
			return
		}
		into.OwnDomains = append(into.OwnDomains, n.text)
	})
	if v := o.get("own_networks"); v != nil && v.kind == list {
		into.OwnNetworks = []netip.Prefix{} // not the default, also if it is empty
	}
	o.items("own_networks", "own_networks: [10.0.0.0/8, 192.0.2.17]", func(n *node, label string) {
		if p, ok := r.network(n, label); ok {
			into.OwnNetworks = append(into.OwnNetworks, p)
		}
	})
	o.done()
}

// items reads a list of texts, each by a function of its own. The list may be
// empty.
func (o *object) items(key, example string, read func(n *node, label string)) {
	var names []string
	o.textsOrNone(key, example, &names)
	if len(names) == 0 {
		return
	}
	n := o.get(key)
	if n.kind != list {
		read(n, o.path(key))
		return
	}
	for _, item := range n.items {
		if item.kind == text {
			read(item, o.path(key))
		}
	}
}

// network reads a network, or an address for a network of one.
func (r *reader) network(n *node, label string) (netip.Prefix, bool) {
	const hint = "write a network such as 10.0.0.0/8, or an address"
	if addr, err := netip.ParseAddr(n.text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(n.text)
	switch {
	case err != nil || p.Addr().Is4In6():
		r.fail(n, fmt.Sprintf("%s: %q is no network", label, clip(n.text)), hint)
	case p.Masked() != p:
		r.fail(n, fmt.Sprintf("%s: %s has bits behind its prefix length", label, p), fmt.Sprintf("write %s for the network, or %s for the address", p.Masked(), p.Addr()))
	case p.Bits() == 0:
		r.fail(n, label+": "+p.String()+" is every address", "nothing would be looked up; "+hint)
	default:
		return p, true
	}
	return netip.Prefix{}, false
}
