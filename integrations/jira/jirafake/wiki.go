package jirafake

import (
	"encoding/json"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// WikiToADF reads wiki markup as Jira Data Center shows it, and returns what is in it as an Atlassian document. It looks for
// all of the markup that Jira's renderer knows, so that a test can tell whether data became any: what is not text, a list
// or a table comes out as a node of its own, a macro that is not simulated as a node "macro" with its name.
//
// The notation is Jira's "Text Formatting Notation Help"; what a backslash escapes, what may stand beside a mark of bold
// text and which entities survive follows the open source of atlassian-renderer.
func WikiToADF(text string) json.RawMessage {
	raw, err := json.Marshal(readWiki(text))
	if err != nil {
		panic(err) // strings and numbers only
	}
	return raw
}

func readWiki(text string) *node {
	root := &node{Type: "doc", Version: 1, Content: []node{}}
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n").Replace(text) // as Java's ^ sees lines
	root.Content = append(root.Content, wikiBlocks(text, 0)...)
	return root
}

// macroStart is the beginning of a macro. Jira does not see one behind a backslash.
var macroStart = regexp.MustCompile(`\{([A-Za-z][A-Za-z0-9_\-]*)(?::([^}\n]*))?\}`)

// wikiBlocks cuts macros out first, as Jira does; what is between them are blocks of lines.
func wikiBlocks(text string, depth int) []node {
	var out []node
	var plain strings.Builder
	flush := func() {
		out = append(out, wikiLines(plain.String())...)
		plain.Reset()
	}
	for text != "" {
		m := macroStart.FindStringSubmatchIndex(text)
		if m == nil || depth > 20 {
			plain.WriteString(text)
			break
		}
		before := text[:m[0]]
		name := strings.ToLower(text[m[2]:m[3]])
		if strings.HasSuffix(before, `\`) || strings.HasSuffix(before, "{") || name == "color" { // escaped, {{fixed}}, or a span
			plain.WriteString(text[:m[1]])
			text = text[m[1]:]
			continue
		}
		param := ""
		if m[4] >= 0 {
			param = text[m[4]:m[5]]
		}
		body, rest, closed := macroBody(name, text[m[1]:])
		text = rest
		plain.WriteString(before)
		flush()
		out = append(out, macroNode(name, param, body, closed, depth))
	}
	flush()
	return out
}

// macroBody returns what stands up to the end of the macro, if it has an end.
func macroBody(name, text string) (body, rest string, closed bool) {
	end := regexp.MustCompile(`(?i)\{` + regexp.QuoteMeta(name) + `(:[^}\n]*)?\}`).FindStringIndex(text)
	if end == nil {
		return "", text, false
	}
	return text[:end[0]], text[end[1]:], true
}

func macroNode(name, param, body string, closed bool, depth int) node {
	switch {
	case (name == "noformat" || name == "code") && closed:
		body = strings.TrimSuffix(strings.TrimPrefix(body, "\n"), "\n")
		n := node{Type: "codeBlock"}
		if body != "" {
			n.Content = []node{textNode(body)}
		}
		return n
	case name == "quote" && closed:
		return node{Type: "blockquote", Content: wikiBlocks(body, depth+1)}
	case closed && (name == "panel" || name == "info" || name == "note" || name == "tip" || name == "warning"):
		kind := name
		if kind == "panel" {
			kind = "info"
		}
		return node{Type: "panel", Attrs: map[string]any{"panelType": kind}, Content: wikiBlocks(body, depth+1)}
	}
	n := node{Type: "macro", Attrs: map[string]any{"name": name, "parameters": param}}
	if closed {
		n.Content = wikiBlocks(body, depth+1)
	}
	return n
}

var (
	headingLine = regexp.MustCompile(`^\s*[hH]([1-6])\.\s+(.*)$`)
	quoteLine   = regexp.MustCompile(`^\s*[bB][qQ]\.\s+(.*)$`)
	ruleLine    = regexp.MustCompile(`^\s*-{4,5}\s*$`)
	listLine    = regexp.MustCompile(`^\s*([*#-]+)\s+(.*)$`)
	rowLine     = regexp.MustCompile(`^\s*\|`)
)

func wikiLines(text string) []node {
	var out []node
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, node{Type: "paragraph", Content: wikiInline(strings.Join(paragraph, "\n"))})
			paragraph = nil
		}
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.TrimSpace(line) == "":
			flush()
		case headingLine.MatchString(line):
			flush()
			m := headingLine.FindStringSubmatch(line)
			out = append(out, node{Type: "heading", Attrs: map[string]any{"level": float64(m[1][0] - '0')}, Content: wikiInline(m[2])})
		case quoteLine.MatchString(line):
			flush()
			out = append(out, node{Type: "blockquote", Content: []node{{Type: "paragraph", Content: wikiInline(quoteLine.FindStringSubmatch(line)[1])}}})
		case ruleLine.MatchString(line):
			flush()
			out = append(out, node{Type: "rule"})
		case listLine.MatchString(line):
			flush()
			var items [][]string
			for ; i < len(lines) && listLine.MatchString(lines[i]); i++ {
				items = append(items, listLine.FindStringSubmatch(lines[i])[1:])
			}
			i--
			out = append(out, wikiList(items, 1)...)
		case rowLine.MatchString(line):
			flush()
			table := node{Type: "table"}
			for ; i < len(lines) && rowLine.MatchString(lines[i]); i++ {
				table.Content = append(table.Content, wikiRow(lines[i]))
			}
			i--
			out = append(out, table)
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return out
}

// wikiList nests items by the length of their marks; the last mark says which kind of list it is.
func wikiList(items [][]string, depth int) []node {
	var out []node
	for len(items) > 0 {
		marks := items[0][0]
		kind := "bulletList"
		if at := min(depth, len(marks)); marks[at-1] == '#' {
			kind = "orderedList"
		}
		n := 1
		for n < len(items) && len(items[n][0]) > depth {
			n++
		}
		item := node{Type: "listItem", Content: []node{{Type: "paragraph", Content: wikiInline(items[0][1])}}}
		item.Content = append(item.Content, wikiList(items[1:n], depth+1)...)
		if last := len(out) - 1; last >= 0 && out[last].Type == kind {
			out[last].Content = append(out[last].Content, item)
		} else {
			out = append(out, node{Type: kind, Content: []node{item}})
		}
		items = items[n:]
	}
	return out
}

// wikiRow cuts a row at its bars, but not at the bar inside of a link. Two bars before a cell make it a header.
func wikiRow(line string) node {
	row := node{Type: "tableRow"}
	line = strings.TrimSpace(line)
	var cell strings.Builder
	kind, inLink := "tableCell", false
	add := func() {
		row.Content = append(row.Content, node{Type: kind, Content: []node{{Type: "paragraph", Content: wikiInline(cell.String())}}})
		cell.Reset()
		kind = "tableCell"
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			cell.WriteString(line[i : i+2])
			i++
		case c == '|' && !inLink:
			if i > 0 && line[i-1] == '|' {
				kind = "tableHeader"
			} else if i > 0 {
				add()
			}
		default:
			inLink = c == '[' && strings.Contains(line[i:], "]") || inLink && c != ']'
			cell.WriteByte(c)
		}
	}
	if strings.TrimSpace(cell.String()) != "" {
		add()
	}
	return row
}

func textNode(s string, marks ...mark) node {
	return node{Type: "text", Text: &s, Marks: append([]mark(nil), marks...)}
}

// inliner reads one block's text.
type inliner struct {
	out   []node
	text  strings.Builder
	marks []mark
}

func wikiInline(s string) []node {
	var in inliner
	in.read(strings.TrimSpace(s), utf8.RuneError)
	in.flush()
	return in.out
}

func (in *inliner) flush() {
	if in.text.Len() > 0 {
		in.out = append(in.out, textNode(in.text.String(), in.marks...))
		in.text.Reset()
	}
}

func (in *inliner) add(n node) {
	in.flush()
	in.out = append(in.out, n)
}

// within reads an inner text with one more mark; bare, as the text of an address is, it holds no markup.
func (in *inliner) within(m mark, s string, bare bool) {
	in.flush()
	in.marks = append(in.marks, m)
	if bare {
		in.text.WriteString(s)
	} else {
		in.read(s, utf8.RuneError)
	}
	in.flush()
	in.marks = in.marks[:len(in.marks)-1]
}

var (
	colored    = regexp.MustCompile(`^(?is)\{color:([^}\n]*)\}(.*?)\{color\}`)
	wikiEntity = regexp.MustCompile(`^&[#A-Za-z0-9][A-Za-z0-9]{1,7};`)
	wikiURL    = regexp.MustCompile(`^(?i:https?://|ftps?://|mailto:|nntp://|news://|irc://|file:)[-_.!~*';/?:@#&=%+$,\pL\pN\[\]()\\]+`)
	issueKey   = regexp.MustCompile(`^[A-Z][A-Z0-9_]+-[1-9][0-9]*`)
	linkText   = regexp.MustCompile(`^\[([^\[\]\n]+)\]`)
	image      = regexp.MustCompile(`^!([^\s!][^!\n]*)!`)
	dashes     = regexp.MustCompile(`^---?(\s|$)`)
	emoticon   = regexp.MustCompile(`^(:-?\)|:-?\(|:[PpD]|;-?\)|\((y|n|i|/|x|!|\+|-|\?|on|off|\*[rgby]?|flag|flagoff)\)|</?3)`)
)

// phrases are the marks around a text in the order in which Jira looks for them.
var phrases = []struct{ delimiter, mark string }{
	{"??", "em"}, {"*", "strong"}, {"^", "subsup"}, {"~", "subsup"}, {"_", "em"}, {"-", "strike"}, {"+", "underline"},
}

const escapable = `-#*_+?^~|%{}[]()!@`

func (in *inliner) read(s string, before rune) {
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		n := in.markup(s, before)
		if n == 0 {
			in.text.WriteString(s[:size])
			n = size
		}
		before, _ = utf8.DecodeLastRuneInString(s[:n])
		if n == size {
			before = r
		}
		s = s[n:]
	}
}

// markup reads what the text begins with, if that is markup, and returns how long it is.
func (in *inliner) markup(s string, before rune) int {
	word := before != utf8.RuneError && (unicode.IsLetter(before) || unicode.IsDigit(before))
	switch {
	case strings.HasPrefix(s, `\\`) || s[0] == '\n':
		in.add(node{Type: "hardBreak"})
		return 1 + strings.Count(s[:1], `\`)
	case s[0] == '\\' && len(s) > 1 && strings.IndexByte(escapable, s[1]) >= 0:
		in.text.WriteByte(s[1])
		return 2
	}
	if m := colored.FindStringSubmatch(s); m != nil {
		in.within(mark{Type: "textColor", Attrs: map[string]any{"color": m[1]}}, m[2], false)
		return len(m[0])
	}
	if m := wikiEntity.FindString(s); m != "" {
		if plain := html.UnescapeString(m); plain != m {
			in.text.WriteString(plain)
			return len(m)
		}
	}
	if m := linkText.FindStringSubmatch(s); m != nil {
		in.link(m[1])
		return len(m[0])
	}
	if m := image.FindStringSubmatch(s); m != nil && !word {
		in.add(node{Type: "mediaInline", Attrs: map[string]any{"id": m[1]}})
		return len(m[0])
	}
	if m := wikiURL.FindString(s); m != "" && !word {
		in.within(mark{Type: "link", Attrs: map[string]any{"href": m}}, m, true)
		return len(m)
	}
	if m := issueKey.FindString(s); m != "" && !word {
		in.within(mark{Type: "link", Attrs: map[string]any{"href": "/browse/" + m}}, m, true)
		return len(m)
	}
	if m := emoticon.FindString(s); m != "" {
		in.add(node{Type: "emoji", Attrs: map[string]any{"shortName": m}})
		return len(m)
	}
	if strings.HasPrefix(s, "{{") {
		if end := strings.Index(s[2:], "}}"); end > 0 && !strings.Contains(s[2:2+end], "\n") {
			in.within(mark{Type: "code"}, s[2:2+end], false)
			return end + 4
		}
	}
	if m := dashes.FindString(s); m != "" && (before == utf8.RuneError || unicode.IsSpace(before)) {
		in.text.WriteString("–")
		return len(strings.TrimSpace(m))
	}
	return in.phrase(s, word)
}

// phrase reads a text between two marks: *bold* beside no letter or digit, {*}bold{*} anywhere.
func (in *inliner) phrase(s string, word bool) int {
	for _, p := range phrases {
		for _, d := range []string{"{" + p.delimiter + "}", p.delimiter} {
			braces := len(d) > len(p.delimiter)
			if !strings.HasPrefix(s, d) || word && !braces {
				continue
			}
			rest := s[len(d):]
			for at := 1; at < len(rest); at++ {
				end := strings.Index(rest[at:], d)
				if end < 0 {
					break
				}
				at += end
				inner, after := rest[:at], rest[at+len(d):]
				next, _ := utf8.DecodeRuneInString(after)
				if strings.Contains(inner, "\n") || strings.TrimSpace(inner) != inner {
					break
				}
				if !braces && after != "" && (unicode.IsLetter(next) || unicode.IsDigit(next)) || strings.HasSuffix(inner, `\`) {
					continue
				}
				m := mark{Type: p.mark}
				if p.mark == "subsup" {
					m.Attrs = map[string]any{"type": map[string]string{"^": "sup", "~": "sub"}[p.delimiter]}
				}
				in.within(m, inner, false)
				return at + 2*len(d)
			}
		}
	}
	return 0
}

// link reads what stands between square brackets: [~user], [text|target], [target].
func (in *inliner) link(inner string) {
	text, target, found := strings.Cut(inner, "|")
	if !found {
		target = text
	}
	target, _, _ = strings.Cut(target, "|") // a third part is a hint
	if user, mention := strings.CutPrefix(strings.TrimSpace(target), "~"); mention {
		in.add(node{Type: "mention", Attrs: map[string]any{"id": user, "text": "@" + user}})
		return
	}
	m := mark{Type: "link", Attrs: map[string]any{"href": strings.TrimSpace(target)}}
	in.within(m, text, !found)
}

// parseWiki reads wiki markup that a request or a person wrote. raw is a JSON string.
func parseWiki(text string) document {
	root := readWiki(text)
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string
	}
	d := document{raw: raw, text: plain(root)}
	d.countAll(root)
	return d
}

func (d *document) countAll(n *node) {
	d.count(n)
	for _, m := range n.Marks {
		if m.Type == "link" {
			d.links++
			d.targets = append(d.targets, m.attr("href"))
		}
	}
	for i := range n.Content {
		d.countAll(&n.Content[i])
	}
}

// readText decodes what the site keeps of a text: an Atlassian document, or in Data Center a string of wiki markup.
func readText(raw json.RawMessage) (*node, bool) {
	if len(raw) > 0 && raw[0] == '"' {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, false
		}
		return readWiki(text), true
	}
	var root node
	return &root, len(raw) > 0 && json.Unmarshal(raw, &root) == nil
}
