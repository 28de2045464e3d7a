package observables

import (
	"strings"
)

// scanner walks over a text, token by token.
type scanner struct {
	text string
	at   int // where the next token begins in text
	hits []Hit
	work int // bytes that were looked at, each time; for a test

	// The token.
	tok  []byte  // not inert
	from []int32 // where in text each byte of tok comes from, and where the token ends
	path bool    // a backslash is in it that escapes nothing

	// Where we are in the token.
	prev      byte // what stands before the word, 0 at the token's beginning, '%' for an escape
	authority int  // where a host is expected, since "//" stands before it
	noIPv6    int  // up to here is no IPv6 address
	localFrom int  // from here to localTo is what can stand before an @
	localTo   int
	version   bool // the word before says that a version follows; across tokens
}

// next reads the next token and reports whether there is one.
func (s *scanner) next() bool {
	for s.at < len(s.text) && isSpace(s.text[s.at]) {
		s.at++
		s.work++
	}
	if s.at == len(s.text) {
		return false
	}
	s.tok, s.from, s.path = s.tok[:0], s.from[:0], false
	end := -1
	for s.at < len(s.text) && !isSpace(s.text[s.at]) {
		if size := s.escape(); size > 0 {
			end = s.at
			s.at += size
			break
		}
	}
	if end < 0 {
		end = s.at
	}
	s.from = append(s.from, int32(end))
	s.prev, s.authority, s.noIPv6, s.localFrom, s.localTo = 0, -1, 0, 0, 0
	return true
}

// isSpace reports whether a byte ends a token. Other control characters do, too.
func isSpace(c byte) bool { return c <= ' ' || c == 0x7f }

// escape reads a byte, or what a JSON string writes for one. For an escaped end
// of line or tab it returns its size and reads nothing.
func (s *scanner) escape() int {
	c, rest := s.text[s.at], s.text[s.at:]
	s.work++
	if c != '\\' || len(rest) == 1 {
		s.put(c, 1)
		return 0
	}
	switch rest[1] {
	case '/', '"':
		s.put(rest[1], 2)
	case 'n', 'r', 't':
		if !s.inPath() {
			return 2
		}
		s.backslash()
	case 'u':
		if c, ok := unicodeEscape(rest); ok {
			s.put(c, 6)
			return 0
		}
		s.backslash()
	case '\\':
		s.backslash()
		s.backslash()
	default:
		s.backslash()
	}
	return 0
}

func (s *scanner) backslash() {
	s.path = true
	s.put('\\', 1)
}

// inPath reports whether a backslash goes on a path of Windows, such as "C:" or
// "C:\Users".
func (s *scanner) inPath() bool {
	n := len(s.tok)
	return s.path || n >= 2 && s.tok[n-1] == ':' && isLetter(s.tok[n-2]) && (n == 2 || !isAlnum(s.tok[n-3]))
}

// unicodeEscape reads \u0021 to \u007e.
func unicodeEscape(text string) (byte, bool) {
	if len(text) < 6 || text[2] != '0' || text[3] != '0' || !isHex(text[4]) || !isHex(text[5]) {
		return 0, false
	}
	c := unhex(text[4])<<4 | unhex(text[5])
	return c, ' ' < c && c < 0x7f
}

// put appends a byte that takes so many in the text. What it completes is
// replaced by what it stands for, as funnel.Refang does: "[.]" by a dot. Where a
// dot takes more than a byte in the text, the name is inert.
func (s *scanner) put(c byte, size int) {
	s.tok, s.from = append(s.tok, c), append(s.from, int32(s.at))
	s.at += size
	switch c {
	case ']':
		s.close('[')
	case ')':
		s.close('(')
	case '}':
		s.close('{')
	case ';':
		if n := len(s.tok); n >= 5 && string(s.tok[n-5:]) == "&amp;" {
			s.tok, s.from = s.tok[:n-4], s.from[:n-4]
		}
	}
}

func (s *scanner) close(open byte) {
	last := len(s.tok) - 1
	for i := last - 2; i >= 0 && i >= last-4; i-- {
		if s.tok[i] != open {
			continue
		}
		plain := ""
		switch inner := string(s.tok[i+1 : last]); {
		case inner == "." || strings.EqualFold(inner, "dot"):
			plain = "."
		case inner == "@" || strings.EqualFold(inner, "at"):
			plain = "@"
		case inner == ":" || inner == "://" || inner == "/" && open == '[':
			plain = inner
		default:
			return
		}
		s.tok = append(s.tok[:i], plain...)
		// The first byte takes the bracket with it, the last one what is left.
		for k := 1; k < len(plain); k++ {
			s.from[i+k] = s.from[i+k+1]
		}
		s.from = s.from[:len(s.tok)]
		return
	}
}

// inert reports whether a dot in a part of the token was written otherwise.
func (s *scanner) inert(from, to int) bool {
	for i := from; i < to; i++ {
		if s.tok[i] == '.' && s.from[i+1]-s.from[i] > 1 {
			return true
		}
	}
	return false
}
