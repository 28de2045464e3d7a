package observables

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/funnelsec/funnel"
)

// walk finds the observables of the token.
func (s *scanner) walk() {
	for i := 0; i < len(s.tok) && len(s.hits) < MaxHits; {
		if end := s.ipv6(i); end > 0 {
			i = s.past(end)
			continue
		}
		if s.begins(i) {
			i = s.word(i, s.wordEnd(i))
			continue
		}
		i = s.gap(i)
	}
}

// past goes on behind a finding or a word.
func (s *scanner) past(i int) int {
	s.prev, s.version = s.tok[i-1], false
	return i
}

// gap goes over what is between words.
func (s *scanner) gap(i int) int {
	s.work++
	c, size := s.tok[i], 1
	switch {
	case c == '%' && i+2 < len(s.tok) && isHex(s.tok[i+1]) && isHex(s.tok[i+2]):
		size = 3
	case c >= utf8.RuneSelf:
		_, size = utf8.DecodeRune(s.tok[i:])
	}
	if bytes.IndexByte([]byte(":=\"'("), c) < 0 {
		s.version = false
	}
	s.prev = c
	return i + size
}

// begins reports whether a word begins at i: a letter, a digit or "_".
func (s *scanner) begins(i int) bool {
	c := s.tok[i]
	if c < utf8.RuneSelf {
		return isAlnum(c) || c == '_'
	}
	r, size := utf8.DecodeRune(s.tok[i:])
	return size > 1 && isWord(r)
}

// isWord reports whether a character beyond ASCII can be part of a name.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// wordEnd returns where the word ends that begins at i: letters, digits, "_",
// "-" and dots that are followed by one of these.
func (s *scanner) wordEnd(i int) int {
	from := i
	for i < len(s.tok) {
		switch c := s.tok[i]; {
		case isAlnum(c), c == '_', c == '-':
			i++
			continue
		case c == '.' && i+1 < len(s.tok) && s.tok[i+1] != '.' && (s.tok[i+1] == '-' || s.begins(i+1)):
			i++
			continue
		case c >= utf8.RuneSelf && s.begins(i):
			_, size := utf8.DecodeRune(s.tok[i:])
			i += size
			continue
		}
		break
	}
	s.work += i - from
	return i
}

// word judges the word tok[i:j] and what belongs to it, and returns where to go
// on.
func (s *scanner) word(i, j int) int {
	if bytes.HasPrefix(s.tok[j:], []byte("://")) {
		return s.scheme(i, j)
	}
	if end := s.email(i); end > 0 {
		return end
	}
	trimmed := j
	for trimmed > i && (s.tok[trimmed-1] == '-' || s.tok[trimmed-1] == '_') {
		trimmed--
	}
	switch {
	case s.ipv4(i, trimmed):
	case s.domain(i, trimmed):
	default:
		s.hashes(i, trimmed)
	}
	s.prev, s.version = 'a', isVersionWord(s.tok[i:j])
	return j
}

// hit adds a finding at tok[i:j].
func (s *scanner) hit(kind funnel.Kind, value string, i, j int) {
	s.hits = append(s.hits, Hit{Kind: kind, Value: value, Start: int(s.from[i]), End: int(s.from[j])})
}

// byteAt returns a byte of the token, 0 beyond its ends.
func (s *scanner) byteAt(i int) byte {
	if i < 0 || i >= len(s.tok) {
		return 0
	}
	return s.tok[i]
}

// hashes finds file hashes among the parts of a word: letters and digits only.
func (s *scanner) hashes(i, j int) {
	if j-i < 32 {
		return
	}
	s.work += j - i
	for i < j {
		k := i
		for k < j && isAlnum(s.tok[k]) {
			k++
		}
		if k-i >= 32 && k-i <= 64 && (i == 0 || s.tok[i-1] < utf8.RuneSelf) && s.byteAt(k) < utf8.RuneSelf {
			value := string(s.tok[i:k])
			if kind, ok := funnel.HashKind(value); ok && mixed(value) {
				s.hit(kind, value, i, k)
			}
		}
		i = k + 1
	}
}

// mixed reports whether there is a letter and a digit: a number is no hash, and
// neither is a row of zeros.
func mixed(value string) bool {
	letter, digit := false, false
	for i := range len(value) {
		letter = letter || isLetter(value[i])
		digit = digit || isDigit(value[i])
	}
	return letter && digit
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
