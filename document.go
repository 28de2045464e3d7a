package funnel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Document is a small rich text: what Funnel writes on tickets and into
// messages. It is rendered by each integration in its own format. Text from
// events is data: it can never become markup, a mention or a link.
type Document struct {
	Blocks []Block
}

// BlockType tells the blocks of a document apart.
type BlockType string

// The types of blocks.
const (
	ParagraphBlock BlockType = "paragraph"
	HeadingBlock   BlockType = "heading"
	ListBlock      BlockType = "list"
	TableBlock     BlockType = "table"
	CodeBlock      BlockType = "code"
)

// Block is one block of a document; which fields count depends on its type.
type Block struct {
	Type    BlockType    `json:"type"`
	Level   int          `json:"level,omitempty"`   // heading: 1 to 6
	Text    []Inline     `json:"text,omitempty"`    // paragraph, heading
	Ordered bool         `json:"ordered,omitempty"` // list
	Items   [][]Inline   `json:"items,omitempty"`   // list
	Header  [][]Inline   `json:"header,omitempty"`  // table: cells of the first row, may be empty
	Rows    [][][]Inline `json:"rows,omitempty"`    // table: rows of cells
	Code    string       `json:"code,omitempty"`    // code: shown as it is, a defanged copy of data
}

// Inline is a span of text in a block.
type Inline struct {
	Text     string `json:"text"`
	Strong   bool   `json:"strong,omitempty"`
	Emphasis bool   `json:"emphasis,omitempty"`
	Code     bool   `json:"code,omitempty"`
	// URL makes the span a link. Only Link and LinkWithin set it.
	URL string `json:"url,omitempty"`
}

// Plain returns a document of plain text that came from outside: an empty line
// begins a new paragraph, the lines of one stand in a row. Nothing in it becomes
// markup.
func Plain(text string) Document {
	var d Document
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			d.Blocks = append(d.Blocks, Paragraph(Data(strings.Join(paragraph, " "))))
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			flush()
			continue
		}
		paragraph = append(paragraph, line)
	}
	flush()
	return d
}

// NewDocument returns a document of the blocks.
func NewDocument(blocks ...Block) Document { return Document{Blocks: blocks} }

// literal is a string that only a constant in the author's code can be: other
// packages cannot name the type, so no value read from an event converts to it.
type literal string

// Text is text of the playbook's author.
func Text(text string) Inline { return Inline{Text: clean(text)} }

// Data is text that came from outside: an alert's field, an answer. URLs in it
// are defanged.
func Data(text string) Inline { return Inline{Text: Defang(clean(text))} }

// Strong returns the span in bold.
func Strong(i Inline) Inline { i.Strong = true; return i }

// Emphasis returns the span in italics.
func Emphasis(i Inline) Inline { i.Emphasis = true; return i }

// Fixed returns the span in a fixed-width face.
func Fixed(i Inline) Inline { i.Code = true; return i }

// Link is a link of the author: base is a constant, such as
// "https://www.example.com/search/", and the path segments behind it are
// escaped, so that data in them cannot change where the link leads.
func Link(text string, base literal, path ...string) Inline {
	u := string(base)
	for i, p := range path {
		if i > 0 {
			u += "/"
		}
		u += url.PathEscape(p)
	}
	return Inline{Text: clean(text), URL: u}
}

// LinkWithin links to an address that came from outside only if it lies at the
// origin that the author or the configuration trusts (scheme, host and port).
// Otherwise it is the text followed by the defanged address.
func LinkWithin(text, origin, address string) Inline {
	o, err1 := url.Parse(origin)
	a, err2 := url.Parse(address)
	if err1 == nil && err2 == nil && o.Host != "" && o.Scheme == a.Scheme && o.Host == a.Host && a.User == nil &&
		(a.Scheme == "https" || a.Scheme == "http") && !strings.ContainsFunc(address, notInURL) {
		return Inline{Text: clean(text), URL: a.String()}
	}
	return Data(text + ": " + address)
}

func notInURL(r rune) bool { return r <= ' ' || r == '\\' || unicode.Is(unicode.Cf, r) }

// Paragraph returns a paragraph.
func Paragraph(text ...Inline) Block { return Block{Type: ParagraphBlock, Text: text} }

// Heading returns a heading of a level from 1 to 6.
func Heading(level int, text ...Inline) Block {
	return Block{Type: HeadingBlock, Level: min(max(level, 1), 6), Text: text}
}

// List returns a bulleted list of one-line items.
func List(items ...[]Inline) Block { return Block{Type: ListBlock, Items: items} }

// OrderedList returns a numbered list of one-line items.
func OrderedList(items ...[]Inline) Block { return Block{Type: ListBlock, Ordered: true, Items: items} }

// Item returns the content of a list item or a table cell.
func Item(text ...Inline) []Inline { return text }

// Table returns a table; header may be nil.
func Table(header [][]Inline, rows ...[][]Inline) Block {
	return Block{Type: TableBlock, Header: header, Rows: rows}
}

// Row returns a table row or header.
func Row(cells ...[]Inline) [][]Inline { return cells }

// Preformatted returns a block of text that is shown as it is.
func Preformatted(text string) Block { return Block{Type: CodeBlock, Code: Defang(cleanLines(text))} }

const documentVersion = 1

type documentJSON struct {
	Version int     `json:"version"`
	Blocks  []Block `json:"blocks"`
}

// MarshalJSON writes {"version":1,"blocks":[…]}.
func (d Document) MarshalJSON() ([]byte, error) {
	blocks := d.Blocks
	if blocks == nil {
		blocks = []Block{}
	}
	return json.Marshal(documentJSON{Version: documentVersion, Blocks: blocks})
}

// UnmarshalJSON reads what MarshalJSON wrote and refuses unknown versions, block
// types and links that are not http or https. A JSON string is plain text, as
// Plain reads it.
func (d *Document) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return fmt.Errorf("reading a document: %w", err)
		}
		*d = Plain(text)
		return nil
	}
	var j documentJSON
	if err := unmarshalStrict(b, &j); err != nil {
		return fmt.Errorf("reading a document: %w", err)
	}
	if j.Version != documentVersion {
		return fmt.Errorf("reading a document: version %d is not known, want %d", j.Version, documentVersion)
	}
	for i, block := range j.Blocks {
		if err := block.check(); err != nil {
			return fmt.Errorf("reading block %d of a document: %w", i+1, err)
		}
	}
	d.Blocks = j.Blocks
	return nil
}

func (b Block) check() error {
	switch b.Type {
	case ParagraphBlock, ListBlock, TableBlock, CodeBlock:
	case HeadingBlock:
		if b.Level < 1 || b.Level > 6 {
			return fmt.Errorf("a heading has a level from 1 to 6")
		}
	default:
		return fmt.Errorf("unknown block type")
	}
	var err error
	b.spans(func(i Inline) {
		if u, e := url.Parse(i.URL); i.URL != "" && (e != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			err = fmt.Errorf("a link needs an http or https address")
		}
	})
	return err
}

// spans calls fn for every inline of the block.
func (b Block) spans(fn func(Inline)) {
	each := func(text []Inline) {
		for _, i := range text {
			fn(i)
		}
	}
	each(b.Text)
	for _, item := range b.Items {
		each(item)
	}
	for _, cell := range b.Header {
		each(cell)
	}
	for _, row := range b.Rows {
		for _, cell := range row {
			each(cell)
		}
	}
}

// String returns the document as plain text: lists with "- ", table cells with
// " | ", blocks apart by an empty line.
func (d Document) String() string {
	var blocks []string
	for _, b := range d.Blocks {
		var lines []string
		switch b.Type {
		case ListBlock:
			for i, item := range b.Items {
				mark := "- "
				if b.Ordered {
					mark = fmt.Sprintf("%d. ", i+1)
				}
				lines = append(lines, mark+plain(item))
			}
		case TableBlock:
			rows := b.Rows
			if len(b.Header) > 0 {
				rows = append([][][]Inline{b.Header}, rows...)
			}
			for _, row := range rows {
				cells := make([]string, len(row))
				for i, cell := range row {
					cells[i] = plain(cell)
				}
				lines = append(lines, strings.Join(cells, " | "))
			}
		case CodeBlock:
			lines = append(lines, b.Code)
		default:
			lines = append(lines, plain(b.Text))
		}
		blocks = append(blocks, strings.Join(lines, "\n"))
	}
	return strings.Join(blocks, "\n\n")
}

func plain(text []Inline) string {
	var b strings.Builder
	for _, i := range text {
		b.WriteString(i.Text)
		if i.URL != "" && i.URL != i.Text {
			b.WriteString(" <" + i.URL + ">")
		}
	}
	return b.String()
}

// clean makes text fit for one line: control and bidirectional characters,
// which could hide or reorder what is shown, become spaces or vanish.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case hides(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}

func cleanLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && hides(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}

func hides(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r)
}
