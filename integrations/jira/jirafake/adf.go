package jirafake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits of a document. maxText is Jira's limit for descriptions and comments in characters; maxDepth is ours.
const (
	maxText  = 32767
	maxDepth = 100
)

// node is a node of an Atlassian document.
type node struct {
	Type    string         `json:"type"`
	Version int            `json:"version,omitempty"`
	Content []node         `json:"content,omitempty"`
	Text    *string        `json:"text,omitempty"`
	Marks   []mark         `json:"marks,omitempty"`
	Attrs   map[string]any `json:"attrs,omitempty"`
}

type mark struct {
	Type  string         `json:"type"`
	Attrs map[string]any `json:"attrs,omitempty"`
}

func (n *node) attr(name string) string {
	s, _ := n.Attrs[name].(string)
	return s
}

func (m *mark) attr(name string) string {
	s, _ := m.Attrs[name].(string)
	return s
}

// document is a checked text and what a reader could click on in it.
type document struct {
	raw      json.RawMessage // an Atlassian document, or in Data Center a string of wiki markup
	text     string          // as Text gives it
	mentions int
	links    int
	media    int
	macros   int
	targets  []string
}

// rule says what a type of node may hold.
type rule struct {
	children []string
	needs    int      // least number of children
	attrs    []string // required attributes
	inline   bool     // may carry marks
}

var (
	inlines    = []string{"text", "hardBreak", "mention", "emoji", "date", "status", "inlineCard", "placeholder", "mediaInline"}
	listBlocks = []string{"paragraph", "bulletList", "orderedList", "taskList", "mediaSingle", "codeBlock"}
	someBlocks = []string{"paragraph", "heading", "bulletList", "orderedList", "codeBlock", "rule", "mediaGroup", "mediaSingle", "taskList", "decisionList", "blockCard"}
	cellBlocks = append([]string{"panel", "blockquote", "embedCard", "nestedExpand"}, someBlocks...)
	allBlocks  = append([]string{"panel", "blockquote", "embedCard", "nestedExpand", "table"}, someBlocks...)
)

// rules is the part of Atlassian's JSON schema for documents that decides where a node may stand
// (https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/). It leaves out extensions and layouts.
var rules = map[string]rule{
	"doc":          {children: append([]string{"expand"}, slices.DeleteFunc(slices.Clone(allBlocks), func(s string) bool { return s == "nestedExpand" })...)},
	"paragraph":    {children: inlines},
	"heading":      {children: inlines, attrs: []string{"level"}},
	"bulletList":   {children: []string{"listItem"}, needs: 1},
	"orderedList":  {children: []string{"listItem"}, needs: 1},
	"listItem":     {children: listBlocks, needs: 1},
	"blockquote":   {children: []string{"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle", "mediaGroup"}, needs: 1},
	"codeBlock":    {children: []string{"text"}},
	"panel":        {children: someBlocks, needs: 1, attrs: []string{"panelType"}},
	"expand":       {children: allBlocks, needs: 1},
	"nestedExpand": {children: someBlocks, needs: 1},
	"table":        {children: []string{"tableRow"}, needs: 1},
	"tableRow":     {children: []string{"tableCell", "tableHeader"}},
	"tableCell":    {children: cellBlocks, needs: 1},
	"tableHeader":  {children: cellBlocks, needs: 1},
	"taskList":     {children: []string{"taskItem", "taskList"}, needs: 1, attrs: []string{"localId"}},
	"taskItem":     {children: inlines, attrs: []string{"localId", "state"}},
	"decisionList": {children: []string{"decisionItem"}, needs: 1, attrs: []string{"localId"}},
	"decisionItem": {children: inlines, attrs: []string{"localId", "state"}},
	"mediaSingle":  {children: []string{"media"}, needs: 1},
	"mediaGroup":   {children: []string{"media"}, needs: 1},
	"media":        {attrs: []string{"type"}, inline: true},
	"mediaInline":  {attrs: []string{"id"}, inline: true},
	"rule":         {},
	"blockCard":    {},
	"embedCard":    {attrs: []string{"url", "layout"}},
	"text":         {inline: true},
	"hardBreak":    {},
	"mention":      {attrs: []string{"id"}, inline: true},
	"emoji":        {attrs: []string{"shortName"}, inline: true},
	"date":         {attrs: []string{"timestamp"}, inline: true},
	"status":       {attrs: []string{"text", "color"}, inline: true},
	"inlineCard":   {inline: true},
	"placeholder":  {attrs: []string{"text"}, inline: true},
}

var (
	markTypes  = []string{"strong", "em", "strike", "code", "underline", "link", "textColor", "backgroundColor", "subsup", "annotation", "border"}
	panelTypes = []string{"info", "note", "tip", "warning", "error", "success", "custom"}
)

// parseADF checks that raw is a legal Atlassian document.
func parseADF(raw json.RawMessage) (document, error) {
	var root node
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&root); err != nil {
		return document{}, fmt.Errorf("decoding the document: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return document{}, fmt.Errorf("decoding the document: something follows it")
	}
	if root.Type != "doc" || root.Version != 1 {
		return document{}, fmt.Errorf("the root must be a doc of version 1, not a %q of version %d", root.Type, root.Version)
	}
	d := document{raw: slices.Clone(raw)}
	if err := d.check(&root, "doc", 0); err != nil {
		return document{}, err
	}
	d.text = plain(&root)
	return d, nil
}

// check walks the document. The path in its errors names the place, as in doc.table[0].tableRow[2].
func (d *document) check(n *node, path string, depth int) error {
	r, known := rules[n.Type]
	switch {
	case !known:
		return fmt.Errorf("%s: unknown node %q", path, n.Type)
	case depth > maxDepth:
		return fmt.Errorf("%s: nested deeper than %d", path, maxDepth)
	case len(n.Content) < r.needs:
		return fmt.Errorf("%s: needs content", path)
	case len(n.Marks) > 0 && !r.inline:
		return fmt.Errorf("%s: a %s carries no marks", path, n.Type)
	case (n.Type == "text") != (n.Text != nil):
		return fmt.Errorf("%s: exactly text nodes carry text", path)
	case n.Type == "text" && *n.Text == "":
		return fmt.Errorf("%s: a text must not be empty", path)
	case n.Type == "doc" && n.Content == nil:
		return fmt.Errorf("%s: needs a content, if only an empty one", path)
	case n.Type != "doc" && n.Version != 0:
		return fmt.Errorf("%s: only the doc has a version", path)
	}
	for _, a := range r.attrs {
		if _, ok := n.Attrs[a]; !ok {
			return fmt.Errorf("%s: attribute %s is missing", path, a)
		}
	}
	if err := d.checkAttrs(n, path); err != nil {
		return err
	}
	if err := d.checkMarks(n, path); err != nil {
		return err
	}
	d.count(n)
	for i := range n.Content {
		child := &n.Content[i]
		at := fmt.Sprintf("%s.%s[%d]", path, child.Type, i)
		if !slices.Contains(r.children, child.Type) {
			return fmt.Errorf("%s: a %s must not hold a %q", at, n.Type, child.Type)
		}
		if n.Type == "codeBlock" && len(child.Marks) > 0 {
			return fmt.Errorf("%s: text in a codeBlock carries no marks", at)
		}
		if n.Type == "listItem" && i == 0 && !slices.Contains([]string{"paragraph", "mediaSingle", "codeBlock"}, child.Type) {
			return fmt.Errorf("%s: a listItem begins with a paragraph, a codeBlock or a mediaSingle", at)
		}
		if err := d.check(child, at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) checkAttrs(n *node, path string) error {
	switch n.Type {
	case "heading":
		if l, ok := n.Attrs["level"].(float64); !ok || l < 1 || l > 6 || l != float64(int(l)) {
			return fmt.Errorf("%s: level must be a whole number from 1 to 6", path)
		}
	case "panel":
		if !slices.Contains(panelTypes, n.attr("panelType")) {
			return fmt.Errorf("%s: unknown panelType %q", path, n.attr("panelType"))
		}
	case "codeBlock":
		if l, ok := n.Attrs["language"]; ok {
			if _, isText := l.(string); !isText {
				return fmt.Errorf("%s: language must be a string", path)
			}
		}
	case "inlineCard", "blockCard":
		_, url := n.Attrs["url"]
		_, data := n.Attrs["data"]
		if url == data {
			return fmt.Errorf("%s: needs either url or data", path)
		}
	case "status":
		if !slices.Contains([]string{"neutral", "purple", "blue", "red", "yellow", "green"}, n.attr("color")) || n.attr("text") == "" {
			return fmt.Errorf("%s: needs a text and a known color", path)
		}
	case "tableCell", "tableHeader":
		for _, a := range []string{"colspan", "rowspan"} {
			if v, ok := n.Attrs[a]; ok {
				if f, number := v.(float64); !number || f < 1 {
					return fmt.Errorf("%s: %s must be a positive number", path, a)
				}
			}
		}
	}
	return nil
}

func (d *document) checkMarks(n *node, path string) error {
	seen := map[string]bool{}
	for i := range n.Marks {
		m := &n.Marks[i]
		if !slices.Contains(markTypes, m.Type) {
			return fmt.Errorf("%s: unknown mark %q", path, m.Type)
		}
		if seen[m.Type] {
			return fmt.Errorf("%s: mark %s stands twice", path, m.Type)
		}
		seen[m.Type] = true
		switch m.Type {
		case "link":
			if m.attr("href") == "" {
				return fmt.Errorf("%s: a link needs a href", path)
			}
			d.links++
			d.targets = append(d.targets, m.attr("href"))
		case "subsup":
			if t := m.attr("type"); t != "sub" && t != "sup" {
				return fmt.Errorf("%s: subsup needs the type sub or sup", path)
			}
		}
	}
	if seen["code"] {
		for t := range seen {
			if t != "code" && t != "link" && t != "annotation" {
				return fmt.Errorf("%s: the mark code does not go with %s", path, t)
			}
		}
	}
	return nil
}

func (d *document) count(n *node) {
	switch n.Type {
	case "mention":
		d.mentions++
		d.targets = append(d.targets, n.attr("id"))
	case "inlineCard", "blockCard", "embedCard":
		d.links++
		d.targets = append(d.targets, n.attr("url"))
	case "media", "mediaInline":
		d.media++
	case "macro":
		d.macros++
	}
}

// Text returns the plain text of an Atlassian document or, from a JSON string, of wiki markup: a line per block, "* "
// before list items, " | " between cells. What is neither gives "".
func Text(raw json.RawMessage) string {
	root, ok := readText(raw)
	if !ok {
		return ""
	}
	return plain(root)
}

func plain(root *node) string {
	var b strings.Builder
	writeText(&b, root, "")
	return strings.TrimRight(b.String(), "\n")
}

// textADF is a document of one paragraph per line of text, as a person would type it.
func textADF(text string) json.RawMessage {
	root := node{Type: "doc", Version: 1, Content: []node{}}
	for line := range strings.Lines(text) {
		p := node{Type: "paragraph"}
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			p.Content = []node{{Type: "text", Text: &line}}
		}
		root.Content = append(root.Content, p)
	}
	raw, err := json.Marshal(root)
	if err != nil {
		panic(err) // strings only
	}
	return raw
}

// writeText writes a block and its line end; prefix stands before its first line.
func writeText(b *strings.Builder, n *node, prefix string) {
	switch n.Type {
	case "paragraph", "heading", "codeBlock", "taskItem", "decisionItem":
		b.WriteString(prefix + inlineText(n) + "\n")
	case "rule":
		b.WriteString(prefix + "----\n")
	case "blockCard", "embedCard":
		b.WriteString(prefix + n.attr("url") + "\n")
	case "tableRow":
		cells := make([]string, len(n.Content))
		for i := range n.Content {
			var cell strings.Builder
			for j := range n.Content[i].Content {
				writeText(&cell, &n.Content[i].Content[j], "")
			}
			cells[i] = strings.TrimRight(cell.String(), "\n")
		}
		b.WriteString(prefix + strings.Join(cells, " | ") + "\n")
	case "bulletList", "orderedList":
		for i := range n.Content {
			for j := range n.Content[i].Content {
				bullet := prefix
				if j == 0 {
					bullet += "* "
				}
				writeText(b, &n.Content[i].Content[j], bullet)
			}
		}
	default:
		for i := range n.Content {
			writeText(b, &n.Content[i], prefix)
		}
	}
}

func inlineText(n *node) string {
	var b strings.Builder
	for i := range n.Content {
		c := &n.Content[i]
		switch c.Type {
		case "text":
			if c.Text != nil {
				b.WriteString(*c.Text)
			}
		case "hardBreak":
			b.WriteByte('\n')
		case "mention":
			b.WriteString("@" + strings.TrimPrefix(c.attr("text"), "@"))
		case "inlineCard":
			b.WriteString(c.attr("url"))
		case "emoji":
			b.WriteString(c.attr("shortName"))
		case "date":
			b.WriteString(c.attr("timestamp"))
		default:
			b.WriteString(c.attr("text"))
		}
	}
	return b.String()
}
