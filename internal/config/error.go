package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is one thing that is wrong with a configuration file, and where.
type Error struct {
	File    string // as it was named to Load or Parse
	Line    int    // from 1
	Column  int    // in characters, from 1
	What    string // what is wrong and what is expected
	Hint    string // what to do about it, "" if What says it all
	excerpt string // the line with a caret below; literal values of secrets are masked
}

// Error gives the place, what is wrong, the line with a caret, and the hint, on several lines without a line break at the end.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": " + e.What)
	b.WriteString(e.excerpt)
	if e.Hint != "" {
		b.WriteString("\n    = " + e.Hint)
	}
	return b.String()
}

// Errors is everything that is wrong with a file, in the order of the file.
type Errors []*Error

// maxShown is how many errors are written out.
const maxShown = 20

// Error joins the errors with empty lines and counts them.
func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i == maxShown {
			fmt.Fprintf(&b, "and %d more\n\n", len(es)-i)
			break
		}
		b.WriteString(e.Error() + "\n\n")
	}
	if len(es) == 1 {
		return b.String() + "1 error"
	}
	fmt.Fprintf(&b, "%d errors", len(es))
	return b.String()
}

// Unwrap lets errors.Is and errors.AsType look into each.
func (es Errors) Unwrap() []error {
	list := make([]error, len(es))
	for i, e := range es {
		list[i] = e
	}
	return list
}

// source is the text of a file, for quoting lines.
type source struct {
	name  string
	lines []string
	keys  *regexp.Regexp // a key whose value is a secret, up to the value
	user  *regexp.Regexp // user name and password in a URL
}

func newSource(name, text string) *source {
	return &source{
		name:  name,
		lines: strings.Split(text, "\n"),
		keys:  regexp.MustCompile(`(?i)(secret|token|passw|pwd|bearer|credential|key)[\w.-]*["']?\s*:(\s|$)`),
		user:  regexp.MustCompile(`://[^/\s@]*@`),
	}
}

func (s *source) err(line, column int, what, hint string) *Error {
	return &Error{File: s.name, Line: line, Column: column, What: what, Hint: hint, excerpt: s.excerpt(line, column, false)}
}

// hidden is err for a place where a secret stands in plain text: nothing of the line is shown from there on.
func (s *source) hidden(line, column int, what, hint string) *Error {
	return &Error{File: s.name, Line: line, Column: column, What: what, Hint: hint, excerpt: s.excerpt(line, column, true)}
}

const (
	maxLine  = 4096 // bytes of a line; longer ones are not quoted at all
	maxWidth = 100  // characters of a line that are shown
)

// excerpt quotes a line and marks a column in it.
func (s *source) excerpt(line, column int, hide bool) string {
	if line < 1 || line > len(s.lines) || len(s.lines[line-1]) > maxLine {
		return ""
	}
	shown := []rune(s.masked(line - 1))
	if at := column - 1; hide && at < len([]rune(s.lines[line-1])) {
		shown = append(shown[:min(at, len(shown)):min(at, len(shown))], []rune(mask)...)
	}
	at := min(max(column-1, 0), len(shown))
	for i, r := range shown {
		switch {
		case r == '\t':
			shown[i] = ' '
		case !unicode.IsPrint(r):
			shown[i] = '?'
		}
	}
	if len(shown) > maxWidth {
		from := max(0, min(at-maxWidth/2, len(shown)-maxWidth))
		cut := append([]rune{}, shown[from:from+maxWidth]...)
		if from > 0 {
			cut[0] = '…'
		}
		if from+maxWidth < len(shown) {
			cut[maxWidth-1] = '…'
		}
		shown, at = cut, at-from
	}
	number := fmt.Sprintf("%3d", line)
	return fmt.Sprintf("\n%s | %s\n%s | %s^", number, string(shown), strings.Repeat(" ", len(number)), strings.Repeat(" ", at))
}

const mask = "********"

// masked returns a line without the literal values of secrets. It judges by the text alone, so it also works on a file that is not
// YAML, and rather hides too much: what is hidden is only missing from an excerpt.
func (s *source) masked(i int) string {
	// As many stars as letters, so that the caret below still points where it should.
	line := s.user.ReplaceAllStringFunc(s.lines[i], func(m string) string {
		return "://" + strings.Repeat("*", utf8.RuneCountInString(m)-4) + "@"
	})
	if !looksLikeEntry(line) && s.underSecret(i) {
		body := strings.TrimLeft(line, " \t-")
		if v := strings.Trim(body, "\"'[]{}, "); v == "" || onlyReferences(v) || strings.HasPrefix(body, "#") {
			return line
		}
		return line[:len(line)-len(body)] + mask
	}
	from := 0
	for {
		loc := s.keys.FindStringIndex(line[from:])
		if loc == nil {
			return line
		}
		literal, end := secretEnd(line, from+loc[1])
		if literal {
			return line[:end] + mask
		}
		from = end
	}
}

// secretEnd walks over the value that starts at i and returns where it ends, or where a literal starts in it.
func secretEnd(line string, i int) (literal bool, end int) {
	depth := 0
	for i < len(line) {
		switch c := line[i]; {
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth <= 0:
			return false, i
		case c == '#', strings.IndexByte(" \t\r\"',|>-+", c) >= 0:
			if c == '#' {
				return false, len(line)
			}
		default:
			n := reference(line[i:])
			if n == 0 {
				if depth > 0 && looksLikeEntry(line[i:]) { // {kind: {secret: x}}: the key inside decides
					return false, i
				}
				return true, i
			}
			i += n
			continue
		}
		i++
	}
	return false, len(line)
}

// reference returns the length of the "${...}" at the start of s, 0 if there is none.
func reference(s string) int {
	if !strings.HasPrefix(s, "${") {
		return 0
	}
	return strings.IndexByte(s, '}') + 1
}

func onlyReferences(s string) bool {
	for s != "" {
		n := reference(s)
		if n == 0 {
			return false
		}
		s = strings.TrimLeft(s[n:], "\"', ")
	}
	return true
}

// looksLikeEntry reports whether a line starts with "key:" or "- key:".
func looksLikeEntry(line string) bool {
	body := strings.TrimLeft(line, " \t-")
	end := strings.IndexFunc(body, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(`_-."'`, r))
	})
	return end > 0 && body[end] == ':' && (end+1 == len(body) || strings.IndexByte(" \t\r", body[end+1]) >= 0)
}

// underSecret reports whether a line continues the value of a secret's key above it.
func (s *source) underSecret(i int) bool {
	limit := indent(s.lines[i])
	for i--; i >= 0 && limit > 0; i-- {
		if n := indent(s.lines[i]); n >= 0 && n < limit {
			limit = n
			if s.keys.MatchString(s.lines[i]) {
				return true
			}
		}
	}
	return false
}

// indent returns how deep a line stands, -1 if it is blank or a comment. An item of a list counts as deeper than a key of the same column.
func indent(line string) int {
	body := strings.TrimLeft(line, " \t")
	if body == "" || body[0] == '#' {
		return -1
	}
	n := 2 * (len(line) - len(body))
	if strings.HasPrefix(body, "-") && !looksLikeEntry(line) {
		n++
	}
	if strings.HasPrefix(body, "]") || strings.HasPrefix(body, "}") {
		n++
	}
	return n
}
