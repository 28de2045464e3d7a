package observables

import (
	"bytes"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/funnelsec/funnel"
)

// scheme judges the word tok[i:j] before "://" and what follows.
func (s *scanner) scheme(i, j int) int {
	from := j
	for from > i && isAlnum(s.tok[from-1]) {
		from--
	}
	if from > i && s.tok[from-1] >= utf8.RuneSelf {
		from = j // in the middle of a word
	}
	if isWeb(s.tok[from:j]) {
		return s.url(from, j+len("://"))
	}
	// Of another scheme the host counts, and never what stands before the @.
	begin := j + len("://")
	_, host := s.userinfo(begin)
	s.authority = host
	s.prev, s.version = '/', false
	return host
}

// isWeb reports whether a scheme is http, https, ftp or ftps, or what people
// make of them so that they are inert.
func isWeb(scheme []byte) bool {
	n := len(scheme)
	if n > 3 && scheme[n-1]|0x20 == 's' {
		n--
	}
	isT := func(c byte) bool { return c|0x20 == 't' || c|0x20 == 'x' }
	switch n {
	case 4:
		return scheme[0]|0x20 == 'h' && isT(scheme[1]) && isT(scheme[2]) && scheme[3]|0x20 == 'p'
	case 3:
		return scheme[0]|0x20 == 'f' && isT(scheme[1]) && scheme[2]|0x20 == 'p'
	}
	return false
}

// userinfo returns where the authority that begins at i ends, and where the host
// in it begins.
func (s *scanner) userinfo(i int) (end, host int) {
	host = i
	size := 0
	for end = i; end < len(s.tok); end += size {
		c := s.tok[end]
		size = 1
		if c >= utf8.RuneSelf {
			_, size = utf8.DecodeRune(s.tok[end:])
		}
		if !s.begins(end) && bytes.IndexByte([]byte("-.:@[]%~!$*+=&"), c) < 0 {
			break
		}
		if c == '@' {
			host = end + 1
		}
	}
	s.work += end - i
	return end, host
}

// url finds a URL whose scheme begins at start and whose authority begins at i.
// What cannot be one is passed over up to its path.
func (s *scanner) url(start, i int) int {
	end, from := s.userinfo(i)
	host, hostEnd, ok := s.host(from)
	if !ok {
		s.prev, s.version = '/', false
		return max(end, i)
	}
	at := hostEnd
	if s.byteAt(at) == ':' && isDigit(s.byteAt(at+1)) {
		port, k := 0, at+1
		for ; isDigit(s.byteAt(k)) && k < at+7; k++ {
			port = 10*port + int(s.tok[k]-'0')
		}
		if port > 65535 || k < len(s.tok) && s.begins(k) {
			return s.past(max(end, k))
		}
		at = k
	}
	stop := at
	switch c := s.byteAt(at); {
	case c == '/' || c == '?' || c == '#':
		stop = s.tail(at)
	case bytes.IndexByte([]byte("$%=+~@[-_"), c) >= 0 && c != 0, c == '&' && !s.entity(at):
		return s.past(end) // the host goes on with what is none
	}
	if stop-start > MaxURL {
		return s.past(stop)
	}
	user := string(s.tok[i:from])
	if strings.ContainsRune(user, ':') { // a password is nobody's business
		user = ""
	}
	value := string(s.tok[start:i]) + user + host + string(s.tok[hostEnd:stop])
	s.hit(funnel.URL, funnel.Refang(value), start, stop)
	return s.past(stop)
}

// host reads a host at i, with its port if it is in brackets, and returns it in
// ASCII and where it ends.
func (s *scanner) host(i int) (host string, end int, ok bool) {
	if s.byteAt(i) == '[' {
		const longest = 47
		n := bytes.IndexByte(s.tok[i:min(len(s.tok), i+longest)], ']')
		if n < 0 {
			return "", 0, false
		}
		addr, err := netip.ParseAddr(string(s.tok[i+1 : i+n]))
		return string(s.tok[i : i+n+1]), i + n + 1, err == nil && addr.Is6() && addr.Zone() == ""
	}
	if i >= len(s.tok) || !s.begins(i) {
		return "", 0, false
	}
	end = s.wordEnd(i)
	for s.tok[end-1] == '-' || s.tok[end-1] == '_' {
		if end--; end == i {
			return "", 0, false
		}
	}
	host = s.ascii(i, end)
	if host == "" {
		return "", 0, false
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if len(last) < len(host) && strings.Trim(last, "0123456789") == "" {
		if _, ok := fourParts(host); !ok {
			return "", 0, false
		}
	}
	return host, end, true
}

// tail returns where the path, the query and the fragment end that begin at i. A
// closing bracket that was not opened ends them, and so does a comma with another
// URL behind it; punctuation at the end is the sentence's.
func (s *scanner) tail(i int) int {
	begin, round, square := i, 0, 0
loop:
	for i < len(s.tok) {
		size := 1
		switch c := s.tok[i]; c {
		case '(':
			round++
		case ')':
			if round--; round < 0 {
				break loop
			}
		case '[':
			square++
		case ']':
			if square--; square < 0 {
				break loop
			}
		case '"', '<', '>', '`', '|', '{', '}', '^', '\\':
			break loop
		case '\'':
			if !isAlnum(s.tok[i-1]) || !isAlnum(s.byteAt(i+1)) {
				break loop
			}
		case ',', ';':
			if s.another(i + 1) {
				break loop
			}
		case '&':
			if s.entity(i) {
				break loop
			}
		default:
			if c >= utf8.RuneSelf {
				if !s.begins(i) {
					break loop
				}
				_, size = utf8.DecodeRune(s.tok[i:])
			}
		}
		i += size
	}
	s.work += i - begin
	for i > begin && bytes.IndexByte([]byte(".,;:!?*'"), s.tok[i-1]) >= 0 {
		i--
	}
	return i
}

// another reports whether a URL begins at i.
func (s *scanner) another(i int) bool {
	const longest = len("https")
	for k := i; k <= i+longest && k < len(s.tok); k++ {
		if s.tok[k] == ':' {
			return isWeb(s.tok[i:k]) && bytes.HasPrefix(s.tok[k:], []byte("://"))
		}
	}
	return false
}

// entity reports whether HTML's name for a bracket or a quote stands at i: it
// ends a URL.
func (s *scanner) entity(i int) bool {
	for _, name := range []string{"&lt;", "&gt;", "&quot;", "&apos;", "&#39;"} {
		if bytes.HasPrefix(s.tok[i:], []byte(name)) {
			return true
		}
	}
	return false
}
