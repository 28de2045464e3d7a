package upstream

import "net/netip"

// denied returns why an address must not be dialled, "" if it may. Source of the
// ranges: IANA's special-purpose address registries (RFC 6890 and its updates)
// and the providers' documentation of their metadata services. netip's own
// predicates do not do: they call the NAT64 and 6to4 forms of 127.0.0.1 global
// unicast addresses.
func denied(addr netip.Addr, publicOnly bool) string {
	if !addr.IsValid() {
		return "it is not an address"
	}
	// A prefix contains no address with a zone, so the zone goes first.
	addr = addr.Unmap().WithZone("")
	for _, r := range neverDialled {
		if r.Contains(addr) {
			return r.why
		}
	}
	if addr.IsLoopback() || addr.IsPrivate() || sharedSpace.Contains(addr) {
		if publicOnly {
			return "loopback and private addresses are not allowed here"
		}
		return ""
	}
	for _, r := range reserved {
		if r.Contains(addr) {
			return r.why
		}
	}
	return ""
}

type addressRange struct {
	netip.Prefix
	why string
}

func rangeOf(prefix, why string) addressRange {
	return addressRange{Prefix: netip.MustParsePrefix(prefix), why: why}
}

// sharedSpace is the carriers' and overlay networks' private range (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// neverDialled comes before the private ranges, in some of which it lies.
var neverDialled = []addressRange{
	rangeOf("169.254.0.0/16", "it is link-local, where clouds keep their metadata service"),
	rangeOf("fe80::/10", "it is link-local"),
	rangeOf("fec0::/10", "it is site-local, which is no longer in use"),
	rangeOf("fd00:ec2::/32", "it is the metadata service of AWS"),
	rangeOf("fd20:ce::254/128", "it is the metadata service of Google Cloud"),
	rangeOf("100.100.100.200/32", "it is the metadata service of Alibaba Cloud"),
	rangeOf("168.63.129.16/32", "it is the platform service of Azure"),
	rangeOf("192.0.0.0/24", "it is reserved; the metadata service of Oracle Cloud is among it"),
}

// reserved comes after loopback, for ::1 lies in ::/96.
var reserved = []addressRange{
	rangeOf("0.0.0.0/8", "it is unspecified"),
	rangeOf("::/96", "it is unspecified, or an IPv4 address in a form that is no longer in use"),
	rangeOf("::ffff:0:0:0/96", "it is a translated IPv4 address"),
	rangeOf("64:ff9b::/96", "it is a NAT64 form of an IPv4 address; give the IPv4 address"),
	rangeOf("64:ff9b:1::/48", "it is a NAT64 form of an IPv4 address; give the IPv4 address"),
	rangeOf("2002::/16", "it is a 6to4 form of an IPv4 address"),
	rangeOf("2001::/32", "it is a Teredo form of an IPv4 address"),
	rangeOf("192.88.99.0/24", "it is a 6to4 relay"),
	rangeOf("100::/64", "it is the discard prefix"),
	rangeOf("224.0.0.0/4", "it is multicast"),
	rangeOf("ff00::/8", "it is multicast"),
	rangeOf("240.0.0.0/4", "it is reserved or broadcast"),
}
