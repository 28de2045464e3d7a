package jira

import (
	"strings"

	"github.com/funnelsec/funnel"
)

// maxText is how many characters Jira takes in a description or a comment.
const maxText = 32767

// cutNote stands at the end of a text that was cut.
const cutNote = "The text was longer than Jira takes, and was cut here."

// node is a node of an Atlassian document
// (developer.atlassian.com/cloud/jira/platform/apis/document/structure). Only
// the types and marks in this file are ever written.
type node struct {
	Type    string         `json:"type"`
	Attrs   map[string]any `json:"attrs,omitempty"`
	Content []node         `json:"content,omitempty"`
	Text    string         `json:"text,omitempty"` // of type text, never empty
	Marks   []mark         `json:"marks,omitempty"`
}

type mark struct {
	Type  string            `json:"type"`
	Attrs map[string]string `json:"attrs,omitempty"`
}

// adfDocument is the root of an Atlassian document. It needs a content, if only
// an empty one.
type adfDocument struct {
	Version int    `json:"version"`
	Type    string `json:"type"`
	Content []node `json:"content"`
}

// adf renders a document. What comes after maxText characters is left out, and a
// note says so; the notes are never cut.
func adf(doc funnel.Document, notes ...string) adfDocument {
	w := adfWriter{left: maxText - units(cutNote) - separator}
	for _, note := range notes {
		w.left -= units(note) + separator
	}
	root := adfDocument{Version: 1, Type: "doc", Content: []node{}}
	for _, b := range doc.Blocks {
		if n, ok := w.block(b); ok {
			root.Content = append(root.Content, n)
		}
		if w.full {
			notes = append([]string{cutNote}, notes...)
			break
		}
	}
	for _, note := range notes {
		root.Content = append(root.Content, node{Type: "paragraph", Content: []node{{Type: "text", Text: note, Marks: []mark{{Type: "em"}}}}})
	}
	return root
}

// separator is counted for every block, list item and table cell, as Jira may
// count the characters that stand between them.
const separator = 3

// adfWriter renders blocks as long as there is room.
type adfWriter struct {
	left int // characters
	full bool
}

// take returns as much of the text as there is room for.
func (w *adfWriter) take(text string) string {
	if w.full {
		return ""
	}
	part := fitting(text, w.left)
	w.left -= units(part)
	w.full = len(part) < len(text)
	return part
}

// room makes room for a separator, or says that there is none.
func (w *adfWriter) room() bool {
	w.full = w.full || w.left < separator
	w.left -= separator
	return !w.full
}

// block renders a block; false if there is nothing in it to show.
func (w *adfWriter) block(b funnel.Block) (node, bool) {
	switch b.Type {
	case funnel.ParagraphBlock:
		return w.paragraph(b.Text)
	case funnel.HeadingBlock:
		n, ok := w.paragraph(b.Text)
		n.Type, n.Attrs = "heading", map[string]any{"level": min(max(b.Level, 1), 6)}
		return n, ok
	case funnel.ListBlock:
		return w.list(b)
	case funnel.TableBlock:
		return w.table(b)
	case funnel.CodeBlock:
		n := node{Type: "codeBlock"}
		if !w.room() {
			return n, false
		}
		if code := w.take(visible(b.Code)); code != "" {
			n.Content = []node{{Type: "text", Text: code}}
		}
		return n, true
	}
	return node{}, false
}

func (w *adfWriter) paragraph(text []funnel.Inline) (node, bool) {
	n := node{Type: "paragraph"}
	if !w.room() {
		return n, false
	}
	n.Content = w.inlines(text)
	return n, true
}

func (w *adfWriter) list(b funnel.Block) (node, bool) {
	n := node{Type: "bulletList"}
	if b.Ordered {
		n.Type = "orderedList"
	}
	for _, item := range b.Items {
		if p, ok := w.paragraph(item); ok {
			n.Content = append(n.Content, node{Type: "listItem", Content: []node{p}})
		}
	}
	return n, len(n.Content) > 0
}

// table renders a table. Its rows get the same number of cells, and a row that
// no longer fits as a whole keeps what does.
func (w *adfWriter) table(b funnel.Block) (node, bool) {
	n := node{Type: "table"}
	width := len(b.Header)
	for _, row := range b.Rows {
		width = max(width, len(row))
	}
	add := func(kind string, cells [][]funnel.Inline) {
		if w.full || width == 0 {
			return
		}
		row := node{Type: "tableRow"}
		for i := range width {
			cell := node{Type: kind, Content: []node{{Type: "paragraph"}}}
			if i < len(cells) && w.room() {
				cell.Content[0].Content = w.inlines(cells[i])
			}
			row.Content = append(row.Content, cell)
		}
		n.Content = append(n.Content, row)
	}
	if len(b.Header) > 0 {
		add("tableHeader", b.Header)
	}
	for _, row := range b.Rows {
		add("tableCell", row)
	}
	return n, len(n.Content) > 0
}

func (w *adfWriter) inlines(text []funnel.Inline) []node {
	var nodes []node
	for _, i := range text {
		if part := w.take(flat(i.Text)); part != "" {
			nodes = append(nodes, node{Type: "text", Text: part, Marks: marks(i)})
		}
	}
	return nodes
}

// marks returns the marks of a span. The format forbids code together with
// strong and em; code wins.
func marks(i funnel.Inline) []mark {
	var list []mark
	switch {
	case i.Code:
		list = append(list, mark{Type: "code"})
	default:
		if i.Strong {
			list = append(list, mark{Type: "strong"})
		}
		if i.Emphasis {
			list = append(list, mark{Type: "em"})
		}
	}
	if strings.HasPrefix(i.URL, "https://") || strings.HasPrefix(i.URL, "http://") {
		list = append(list, mark{Type: "link", Attrs: map[string]string{"href": i.URL}})
	}
	return list
}

// flat is visible text with line breaks, Unicode's own too, and tabs as spaces.
func flat(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ", "\u2028", " ", "\u2029", " ").Replace(visible(s))
}
