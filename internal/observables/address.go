package observables

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/funnelsec/funnel"
)

// ipv6 finds an address that begins at i and returns where to go on, 0 if there
// is none. A network is passed over.
func (s *scanner) ipv6(i int) int {
	c, before := s.tok[i], s.byteAt(i-1)
	switch {
	case i < s.noIPv6:
		return 0
	case isHex(c): // "ip:2001:db8::1" begins in the middle, "std::face::1" does not
		if s.prev == 'a' || before == ':' && s.byteAt(i-2) == ':' {
			return 0
		}
	case c == ':' && s.byteAt(i+1) == ':':
		if s.prev == 'a' || before == ':' {
			return 0
		}
	default:
		return 0
	}
	end := i
	for end < len(s.tok) && (isHex(s.tok[end]) || s.tok[end] == ':' || s.tok[end] == '.') {
		end++
	}
	s.work += end - i
	s.noIPv6 = end
	if end < len(s.tok) && (s.begins(end) || s.tok[end] == '-') {
		return 0
	}
	for end > i && s.tok[end-1] == '.' {
		end--
	}
	if end-i > 2 && s.tok[end-1] == ':' && s.tok[end-2] != ':' {
		end--
	}
	const longest = 45 // ffff:…:255.255.255.255
	if end-i > longest || bytes.Count(s.tok[i:end], []byte(":")) < 2 {
		return 0
	}
	value := string(s.tok[i:end])
	addr, err := netip.ParseAddr(value)
	if err != nil || !likelyIPv6(value) {
		return 0
	}
	if !s.network(addr, end) {
		s.hit(funnel.IP, value, i, end)
	}
	return end
}

// likelyIPv6 sorts out what parses and is something else: "a::b" of a program,
// and the eight bytes of a hardware address.
func likelyIPv6(value string) bool {
	groups := strings.FieldsFunc(value, func(r rune) bool { return r == ':' })
	if !strings.ContainsAny(value, "0123456789") || len(groups) == 0 {
		return false
	}
	if len(groups) == 8 {
		pairs := 0
		for _, g := range groups {
			if len(g) == 2 {
				pairs++
			}
		}
		return pairs < 8
	}
	return len(groups) >= 3 || len(groups[0]) == 4 || value[0] == ':'
}

// ipv4 finds an address that is the whole word, or two with a "-" between them.
func (s *scanner) ipv4(i, j int) bool {
	const longest = 15
	if j-i > 2*longest+1 || !isDigit(s.tok[i]) || s.version || s.product(i) {
		return false
	}
	from, to, isRange := strings.Cut(string(s.tok[i:j]), "-")
	first, ok := fourParts(from)
	if !ok {
		return false
	}
	if !isRange {
		if !s.network(first, j) {
			s.hit(funnel.IP, from, i, j)
		}
		return true
	}
	if _, ok := fourParts(to); !ok {
		return false
	}
	s.hit(funnel.IP, from, i, i+len(from))
	s.hit(funnel.IP, to, i+len(from)+1, j)
	return true
}

func fourParts(value string) (netip.Addr, bool) {
	if strings.Count(value, ".") != 3 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(value)
	return addr, err == nil
}

// network reports whether the prefix length of a network follows an address at
// j: 192.0.2.0/24. Of "192.0.2.1/22" that is a port, or a machine in its network.
func (s *scanner) network(addr netip.Addr, j int) bool {
	if s.byteAt(j) != '/' || !isDigit(s.byteAt(j+1)) {
		return false
	}
	bits, end := 0, j+1
	for ; isDigit(s.byteAt(end)) && end < j+5; end++ {
		bits = 10*bits + int(s.tok[end]-'0')
	}
	if c := s.byteAt(end); isAlnum(c) || c == '/' || bits >= addr.BitLen() {
		return false
	}
	prefix, err := addr.Prefix(bits)
	return err == nil && prefix.Addr() == addr
}

// product reports whether the version of a product stands at i, as in a user
// agent: a slash, and before it a name that begins with a capital and is none of
// a log's codes, such as DIRECT.
func (s *scanner) product(i int) bool {
	if s.byteAt(i-1) != '/' {
		return false
	}
	k := i - 1
	for k > 0 && k > i-40 && (isAlnum(s.tok[k-1]) || s.tok[k-1] == '-' || s.tok[k-1] == '_') {
		k--
	}
	s.work += i - k
	name := string(s.tok[k : i-1])
	return name != "" && 'A' <= name[0] && name[0] <= 'Z' && (name == "OPR" || strings.ToUpper(name) != name) && s.byteAt(k-1) != '.' && s.byteAt(k-1) != '/'
}

// isVersionWord reports whether a version follows the word.
func isVersionWord(word []byte) bool {
	const longest = 40
	if len(word) > longest {
		return false
	}
	w := strings.ToLower(string(word))
	switch w {
	case "v", "ver", "vers", "versions", "build", "release", "firmware", "rev", "revision":
		return true
	}
	return strings.HasSuffix(w, "version")
}
