package observables

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/funnelsec/funnel"
)

// ascii returns the name tok[i:j] in the form that the DNS is asked for, "" if it
// cannot be the name of a host: 1 to 63 letters, digits, "-" and "_" in a label,
// at most 253 in all.
func (s *scanner) ascii(i, j int) string {
	s.work += j - i
	if j-i > 4*maxName { // no letter takes more than four bytes
		return ""
	}
	name := string(s.tok[i:j])
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return ""
		}
	}
	if len(name) > maxName {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return ""
		}
		for k := range len(label) {
			if c := label[k]; !isAlnum(c) && c != '-' && c != '_' {
				return ""
			}
		}
	}
	return name
}

// registered returns the public suffix of a name in ASCII that can be registered
// below it, "" if there is none.
func registered(name string) string {
	if last := strings.LastIndexByte(name, '.'); last < 0 || isDigit(name[len(name)-1]) && strings.Trim(name[last+1:], "0123456789") == "" {
		return ""
	}
	lower := strings.ToLower(name)
	suffix, icann := publicsuffix.PublicSuffix(lower)
	if !icann && !strings.Contains(suffix, ".") {
		return "" // nobody runs such a domain
	}
	if lower == suffix {
		if icann {
			return ""
		}
		return suffix // such as github.io, which is somebody's domain
	}
	rest := strings.TrimSuffix(lower, "."+suffix)
	if strings.ContainsRune(rest[strings.LastIndexByte(rest, '.')+1:], '_') {
		return "" // there are services with a "_" in the name, but no domains
	}
	return suffix
}

// domain finds a domain that is the word tok[i:j].
func (s *scanner) domain(i, j int) bool {
	if j-i < 4 || bytes.IndexByte(s.tok[i:j], '.') < 0 || !s.placed(i) {
		return false
	}
	name := s.ascii(i, j)
	suffix := registered(name)
	if suffix == "" {
		return false
	}
	before := s.byteAt(i - 1) // a slash that is allowed there is one of two
	sure := i == s.authority || before == '/' || before == '\\' || s.inert(i, j) || strings.HasPrefix(strings.ToLower(name), "www.")
	if !sure && s.looksOtherwise(name, suffix, j) {
		return false
	}
	s.hit(funnel.Domain, name, i, j)
	return true
}

// placed reports whether a domain can stand at i: not in a path, not as the name
// of a variable, and not behind an @ with something before it.
func (s *scanner) placed(i int) bool {
	switch s.byteAt(i - 1) {
	case '/':
		return i == s.authority || s.doubled(i, '/')
	case '\\':
		return s.doubled(i, '\\')
	case '$':
		return false
	case '{':
		return s.byteAt(i-2) != '$' && s.byteAt(i-2) != '%'
	case '@':
		return s.prev != '@' || !isAlnum(s.byteAt(i-2)) && s.byteAt(i-2) != '@'
	}
	return true
}

// doubled reports whether slashes stand before i that begin an address: two or
// more, and before them no word and no drive.
func (s *scanner) doubled(i int, slash byte) bool {
	const most = 4 // a JSON string writes \\server as \\\\server
	k := i
	for k > 0 && i-k < most && s.tok[k-1] == slash {
		k--
	}
	before := s.byteAt(k - 1)
	return i-k >= 2 && before != slash && !isAlnum(before) && before < utf8.RuneSelf && (slash == '/' || before != ':') &&
		before != '_' && before != '-' && before != '.'
}

// looksOtherwise reports whether a word that could be a domain is rather a file,
// a field, a call or the end of a sentence without a space behind it.
func (s *scanner) looksOtherwise(name, suffix string, j int) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last[0] <= 'Z' && strings.ToLower(last[1:]) == last[1:] { // done.So we
		return true
	}
	if strings.Contains(suffix, ".") {
		return false
	}
	if isEnding(suffix) {
		return true
	}
	switch c, next := s.byteAt(j), s.byteAt(j+1); {
	case c == '(' && next == ')':
		return true
	case c == '=', (c == '"' || c == '\'') && next == ':': // user.id=7
		return suffix != "com" && suffix != "net" && suffix != "org"
	}
	return false
}

// isEnding reports whether a suffix is better known as the ending of a file's
// name or of a field's.
func isEnding(suffix string) bool {
	switch suffix {
	case "zip", "mov", "sh", "md", "py", "rs", "ps", "so", "pm", "pub", "bz", "tf", "cab", "dot", "inc", "map", "data", "prof", "properties", "name", "am", "ac":
		return true
	}
	return false
}

// email finds a mail address that begins with the word at i, and returns where to
// go on, 0 if no @ follows.
func (s *scanner) email(i int) int {
	if i >= s.localTo {
		s.localFrom, s.localTo = i, s.localEnd(i)
	}
	at := s.localTo
	if i != s.localFrom || s.byteAt(at) != '@' {
		return 0
	}
	from, prev := i, s.prev
	for at-from > 2 && s.tok[from+1] == '\'' && (s.tok[from] == 'u' || s.tok[from] == 'b') { // u'…' of Python
		from += 2
	}
	on := at + 1
	s.prev, s.version = '@', false
	if on == len(s.tok) || !s.begins(on) {
		return on
	}
	end := s.wordEnd(on)
	for end > on && (s.tok[end-1] == '-' || s.tok[end-1] == '_') {
		end--
	}
	local, name := string(s.tok[from:min(at, from+65)]), s.ascii(on, end)
	switch {
	case prev == '@', s.byteAt(end) == '@', registered(name) == "":
		return on
	case len(local) > 64:
		return on
	case local == "git": // git@example.com:owner/name is where a repository is
		s.hit(funnel.Domain, name, on, end)
	default:
		s.hit(funnel.Email, local+"@"+name, from, end)
	}
	s.prev = 'a'
	return end
}

// localEnd returns where the part of a mail address before the @ ends that begins
// at i.
func (s *scanner) localEnd(i int) int {
	from := i
	for i < len(s.tok) {
		end := s.wordEnd(i)
		if end == i {
			c, next := s.tok[i], s.byteAt(i+1)
			if c != '+' && (c != '\'' || i == from || !isAlnum(s.tok[i-1]) || !isAlnum(next)) {
				break
			}
			end++
		}
		i = end
	}
	return i
}
