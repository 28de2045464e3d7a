package splunk

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/funnelsec/funnel"
)

// maxParam bounds a parameter's value in bytes.
const maxParam = 1024

// bind puts values into the places $name$ of a search. Each becomes one string in
// quotes, so that nothing in it is a command, an operator or a subsearch: data
// from events reaches a search in no other way.
//
// A place stands where a value can stand, apart from other words: not in quotes
// ("$user$" would end them) and not in a macro. $$ is a dollar sign. A value that
// Splunk would not take literally even in quotes is refused, see literal.
func bind(search string, params map[string]string) (string, error) {
	fail := func(format string, args ...any) (string, error) {
		return "", funnel.Errorf(funnel.Invalid, "reading the search: "+format, args...)
	}
	if !utf8.ValidString(search) || strings.ContainsFunc(search, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' }) {
		return fail("it is not text")
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !isParam(name) {
			return fail("the name of a parameter is not made of lower-case letters, digits and _")
		}
		if why := literal(params[name]); why != "" {
			return fail("the value of %s %s", name, why)
		}
	}
	var b strings.Builder
	used := map[string]bool{}
	var q quotes
	for i := 0; i < len(search); i++ {
		if c := search[i]; c != '$' {
			if why := q.read(c); why != "" {
				return fail("%s", why)
			}
			b.WriteByte(c)
			continue
		}
		if strings.HasPrefix(search[i:], "$$") {
			b.WriteByte('$')
			i++
			continue
		}
		name, rest, closed := strings.Cut(search[i+1:], "$")
		value, known := params[name]
		switch {
		case !closed || !isParam(name):
			return fail("a place for a parameter is written $name$; a dollar sign is written $$")
		case !known:
			return fail("there is no value for $%s$", name)
		case q.open != 0:
			return fail("$%s$ stands in quotes or in a macro: write it without, it is quoted by itself", name)
		case i > 0 && !border(search[i-1]) || rest != "" && !border(rest[0]):
			return fail("$%s$ stands in the middle of a word", name)
		}
		b.WriteString(quoted(value))
		used[name] = true
		i += len(name) + 1
	}
	if q.open != 0 {
		return fail("the quotes that are opened by %c are not closed", q.open)
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !used[name] {
			return fail("there is no place $%s$ for the value of %s", name, name)
		}
	}
	return b.String(), nil
}

// quotes knows whether a place in a search is in quotes. Splunk's commands do not
// agree about single quotes and about backslashes outside of quotes, so what some
// of them would read otherwise is refused.
type quotes struct {
	open     byte // the mark that opened them: ", ' or `; 0 outside
	last     byte
	doubles  int // of " in a macro
	escaping bool
}

func (q *quotes) read(c byte) (why string) {
	last := q.last
	q.last = c
	switch {
	case q.escaping:
		q.escaping = false
	case q.open == '"' && c == '\\':
		q.escaping = true
	case c != '"' && c != '\'' && c != '`':
	case last == '\\' && q.open != '"':
		return "a backslash stands before a quotation mark outside of double quotes"
	case q.open == '"' && c != '"', q.open == '`' && c == '\'':
	case q.open == '`' && c == '"':
		q.doubles++
	case q.open == '\'' && c != '\'':
		return "a quotation mark stands in single quotes"
	case q.open == c:
		if q.doubles%2 != 0 {
			return "a macro holds quotes that are not closed"
		}
		q.open, q.doubles = 0, 0
	default:
		q.open = c
	}
	return ""
}

func isParam(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// border reports whether a value may end or begin beside the byte.
func border(c byte) bool {
	return strings.IndexByte(" \t\r\n=<>,()[]|", c) >= 0
}

// literal says why Splunk would not take a value literally, "" if it would. In
// the search command * is a wildcard in quotes too and cannot be escaped
// (help.splunk.com, Search Reference, "search"); a macro is written in backquotes,
// and the map command puts fields into $…$.
func literal(value string) string {
	switch {
	case len(value) > maxParam:
		return "is longer than 1024 bytes"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }):
		return "holds control characters"
	case strings.Contains(value, "*"):
		return "holds *, which a search takes for anything"
	case strings.Contains(value, "`"):
		return "holds a backquote, which begins a macro"
	case strings.Count(value, "$") > 1:
		return "holds two dollar signs, between which stands the name of a field"
	}
	return ""
}

// quoted returns a value as a string of SPL.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
