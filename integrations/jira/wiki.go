package jira

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/funnelsec/funnel"
)

// wiki renders a document in Jira's wiki markup, the format of Data Center. What
// comes after the first characters of maxText, counted in markup, is left out,
// and a note says so; the notes and the tail, which is markup of ours, are never
// cut.
//
// Every character of a text that could mean something to Jira is written as an
// HTML entity, which Jira shows as the character and looks for no markup in
// (atlassian-renderer, HtmlEscaper). A backslash would do for some of them only
// (BackslashEscapeRendererComponent), and cannot escape itself: two of them are a
// line break. So no text contains markup, whichever version of the renderer or of
// its plugins reads it.
func wiki(doc funnel.Document, tail string, notes ...string) string {
	const gap = "\n\n"
	left := maxText - units(italic(cutNote)) - len(gap)
	for _, note := range notes {
		left -= units(italic(note)) + len(gap)
	}
	if tail != "" {
		left -= units(tail) + len(gap)
	}
	var parts []string
	for _, b := range doc.Blocks {
		w := wikiWriter{left: left - len(gap)}
		if w.block(b); w.b.Len() > 0 {
			parts, left = append(parts, w.b.String()), w.left
		}
		if w.full {
			parts = append(parts, italic(cutNote))
			break
		}
	}
	for _, note := range notes {
		parts = append(parts, italic(note))
	}
	if tail != "" {
		parts = append(parts, tail)
	}
	return strings.Join(parts, gap)
}

func italic(text string) string { return "{_}" + escapeWiki(text) + "{_}" }

// wikiWriter renders a block as long as there is room.
type wikiWriter struct {
	b    strings.Builder
	left int // UTF-16 units
	full bool
}

// fixed writes markup of ours as a whole, or nothing.
func (w *wikiWriter) fixed(markup string) bool {
	if w.reserve(len(markup)) {
		w.b.WriteString(markup)
	}
	return !w.full
}

// reserve takes room for markup, or says that there is none.
func (w *wikiWriter) reserve(n int) bool {
	if w.full || n > w.left {
		w.full = true
		return false
	}
	w.left -= n
	return true
}

func (w *wikiWriter) block(b funnel.Block) {
	switch b.Type {
	case funnel.ParagraphBlock:
		if !blank(b.Text) {
			w.inlines(b.Text)
		}
	case funnel.HeadingBlock:
		if !blank(b.Text) && w.fixed(fmt.Sprintf("h%d. ", min(max(b.Level, 1), 6))) {
			w.inlines(b.Text)
		}
	case funnel.ListBlock:
		w.list(b)
	case funnel.TableBlock:
		w.table(b)
	case funnel.CodeBlock:
		w.code(b.Code)
	}
}

func blank(text []funnel.Inline) bool {
	for _, i := range text {
		if strings.TrimSpace(flat(i.Text)) != "" {
			return false
		}
	}
	return true
}

func (w *wikiWriter) list(b funnel.Block) {
	mark := "* "
	if b.Ordered {
		mark = "# "
	}
	for i, item := range b.Items {
		if i == 1 {
			mark = "\n" + mark
		}
		if blank(item) {
			item = []funnel.Inline{{Text: "\u00a0"}} // without a text it is no item
		}
		if w.fixed(mark) {
			w.inlines(item)
		}
	}
}

// table writes a table. A row has as many cells as the widest; one that does not
// fit keeps the cells that do, and the others are empty.
func (w *wikiWriter) table(b funnel.Block) {
	width := len(b.Header)
	for _, row := range b.Rows {
		width = max(width, len(row))
	}
	add := func(sep string, cells [][]funnel.Inline) {
		if !w.reserve((len(sep)+1)*(width+1)) || width == 0 { // with a space or a line break each
			return
		}
		if w.b.Len() > 0 {
			w.b.WriteString("\n")
		}
		for i := range width {
			w.b.WriteString(sep)
			start := w.b.Len()
			if i < len(cells) {
				w.inlines(cells[i])
			}
			if w.b.Len() == start {
				w.b.WriteString(" ") // or it is the beginning of a header
			}
		}
		w.b.WriteString(sep)
	}
	if len(b.Header) > 0 {
		add("||", b.Header)
	}
	for _, row := range b.Rows {
		add("|", row)
	}
}

const fence = "{noformat}"

// inFence are the beginnings of what Jira could still see in preformatted text:
// the end of it, and the mention of a person.
var inFence = regexp.MustCompile(`(?i)\{\s*noformat|\[\s*~`)

// preformatted returns text for between two fences, where an entity would be shown
// as it stands. Its brackets before "noformat" and "~" become the wide ones of
// Unicode, and Unicode's own line breaks plain ones.
func preformatted(code string) string {
	code = strings.NewReplacer("\u2028", "\n", "\u2029", "\n").Replace(visible(code))
	return inFence.ReplaceAllStringFunc(code, func(s string) string {
		if s[0] == '{' {
			return "\uff5b" + s[1:]
		}
		return "\uff3b" + s[1:]
	})
}

func (w *wikiWriter) code(code string) {
	if !w.reserve(2*len(fence) + 2) {
		return
	}
	code = preformatted(code)
	part := fitting(code, w.left)
	w.left -= units(part)
	w.full = len(part) < len(code)
	w.b.WriteString(fence + "\n" + part + "\n" + fence)
}

// inlines writes spans. White space at the ends of a marked one stands outside the
// marks, as Jira wants it.
func (w *wikiWriter) inlines(text []funnel.Inline) {
	for _, i := range text {
		s := flat(i.Text)
		inner := strings.TrimSpace(s)
		before, after := wikiMarks(i)
		if inner == "" || before == "" {
			w.text(s)
			continue
		}
		at := strings.Index(s, inner)
		w.text(s[:at])
		const first = 10 // room for a first character, for marks need something between them
		if !w.reserve(len(before) + len(after) + first) {
			return
		}
		w.left += first
		w.b.WriteString(before)
		w.text(inner)
		w.b.WriteString(after)
		w.text(s[at+len(inner):])
	}
}

// text writes as much of a text, escaped, as there is room for.
func (w *wikiWriter) text(s string) {
	for n, r := range s {
		part := escapeAt(s, n, r)
		if !w.reserve(units(part)) {
			return
		}
		w.b.WriteString(part)
	}
}

// wikiMarks returns what makes a span bold, italic, fixed or a link; as in the
// Atlassian document format, fixed goes with neither of the first two. The form
// in braces works in the middle of a word, too.
func wikiMarks(i funnel.Inline) (before, after string) {
	switch {
	case strings.ContainsFunc(flat(i.Text), notInPhrase):
	case i.Code:
		before, after = "{{", "}}"
	default:
		if i.Strong {
			before, after = before+"{*}", "{*}"+after
		}
		if i.Emphasis {
			before, after = before+"{_}", "{_}"+after
		}
	}
	if to := wikiTarget(i.URL); to != "" {
		before, after = before+"[", "|"+to+"]"+after
	}
	return before, after
}

// notInPhrase are characters that keep Jira from seeing the marks around a text,
// so that it would show them (atlassian-renderer, PhraseRendererComponent).
func notInPhrase(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.Nd, unicode.Z, unicode.S, unicode.M, unicode.P)
}

// wikiTarget returns an address as the target of a link, "" if it is none. What
// is not plain in it is written with percent signs; an address whose host would
// need that is no target.
func wikiTarget(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found || scheme != "https" && scheme != "http" {
		return ""
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if host == "" || strings.ContainsFunc(host, func(r rune) bool { return !alnum(r) && !strings.ContainsRune(".-:", r) }) {
		return ""
	}
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; alnum(rune(c)) || strings.IndexByte("/?#&=.-_~:@%+,$", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return scheme + "://" + host + b.String()
}

func alnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// escapeWiki makes a text inert.
func escapeWiki(s string) string {
	var b strings.Builder
	for n, r := range s {
		b.WriteString(escapeAt(s, n, r))
	}
	return b.String()
}

// escapeAt returns the character at offset n of the text as markup. Letters,
// digits, white space, everything beyond ASCII and six marks stand for
// themselves. A full stop does unless it could end "h1." or "bq.", which may have
// begun in the span before.
func escapeAt(s string, n int, r rune) string {
	switch {
	case r > '~' || r <= ' ' || alnum(r) || strings.ContainsRune(`,/'"=;`, r):
		return string(r)
	case r == '.' && n >= 2 && !blockMark.MatchString(s[n-2:n]):
		return "."
	case r == '&':
		return "&amp;"
	case r == '<':
		return "&lt;"
	case r == '>':
		return "&gt;"
	}
	return fmt.Sprintf("&#%d;", r)
}

var blockMark = regexp.MustCompile(`(?i)^(h[1-6]|bq)$`)
