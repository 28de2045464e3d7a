package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/funnelsec/funnel/internal/secret"
)

type kind string

const (
	null    kind = "nothing"
	boolean kind = "true or false"
	number  kind = "a number"
	text    kind = "text"
	list    kind = "a list"
	mapping kind = "a mapping (key: value)"
)

// node is a value in the file.
type node struct {
	kind    kind
	line    int
	column  int
	text    string // of a scalar; numbers as they are written, which is as JSON writes them
	items   []*node
	entries []entry
}

// entry is a key and its value.
type entry struct {
	key          string
	line, column int // of the key
	value        *node
}

func (n *node) child(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// document is a parsed file.
type document struct {
	*source
	root *node
}

// parseTree reads YAML into nodes. A file without content has an empty mapping as its root.
func parseTree(name string, src []byte) (_ *document, errs Errors) {
	text, bad := clean(name, src)
	if bad != nil {
		return nil, Errors{bad}
	}
	doc := &document{source: newSource(name, text)}
	defer func() { // the library is fenced: a file must never take the server down on reload
		if recover() != nil {
			errs = Errors{{File: name, What: "the file is not YAML that can be read"}}
		}
	}()
	tokens, errs := doc.scan(text)
	if len(errs) > 0 {
		return nil, errs
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Errors{doc.syntax(err)}
	}
	doc.root = &node{kind: mapping, line: 1, column: 1}
	b := builder{source: doc.source, number: regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)}
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		switch n := b.build(d.Body, 0); {
		case n.kind == mapping:
			doc.root = n
		case n.kind != null:
			b.fail(n.line, n.column, "the file must be a mapping of keys to values", `start with a section such as "server:"`)
		}
	}
	return doc, b.errs
}

// syntax turns an error of the YAML library into ours.
func (d *document) syntax(err error) *Error {
	ye, ok := errors.AsType[yaml.Error](err)
	if !ok || ye.GetToken() == nil {
		return &Error{File: d.name, What: "the file is not YAML that can be read"}
	}
	what, hint := ye.GetMessage(), ""
	at := ye.GetToken().Position
	switch {
	case strings.Contains(what, "tab character"), strings.Contains(what, "\t"):
		what, hint = "a tab stands where spaces are expected", "indent with spaces"
	case strings.Contains(what, "pre-defined"), strings.Contains(what, "non-map value"), strings.Contains(what, "unexpected key name"),
		strings.Contains(what, "not allowed in this context"):
		what, hint = "this does not belong here", `check the indentation, and that each key is followed by ": "; put text that holds ": " or " #" in quotes`
	case strings.Contains(what, "reserved character"):
		what, hint = "text must not start with this character", "put the text in quotes"
	case strings.Contains(what, "end character"):
		what, hint = "the quotes that open here are not closed", ""
	case strings.Contains(what, `'}'`), strings.Contains(what, `']'`):
		what, hint = "the brackets are not closed, or a comma is missing", ""
	case strings.Contains(what, "escape"):
		what, hint = "the text in double quotes holds an unknown escape", `write \\ for a backslash, or use single quotes`
	default:
		what = "this is not YAML" // the library's own words may quote the text
	}
	return d.err(at.Line, max(at.Column, 1), what, hint)
}

// builder turns the library's tree into nodes and collects what is wrong.
type builder struct {
	*source
	number *regexp.Regexp
	errs   Errors
}

func (b *builder) fail(line, column int, what, hint string) {
	b.errs = append(b.errs, b.err(line, column, what, hint))
}

func (b *builder) build(n ast.Node, depth int) *node {
	out := &node{kind: null}
	if n == nil {
		return out
	}
	tk := n.GetToken()
	out.line, out.column = tk.Position.Line, tk.Position.Column
	if depth > maxDepth {
		b.fail(out.line, out.column, fmt.Sprintf("mappings and lists are nested deeper than %d", maxDepth), "")
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		out.kind = mapping
		if !n.IsFlowStyle && len(n.Values) > 0 {
			first := n.Values[0].Key.GetToken().Position
			out.line, out.column = first.Line, first.Column
		}
		b.entries(out, n.Values, depth)
	case *ast.MappingValueNode:
		out.kind = mapping
		first := n.Key.GetToken().Position
		out.line, out.column = first.Line, first.Column
		b.entries(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = list
		for _, v := range n.Values {
			out.items = append(out.items, b.build(v, depth+1))
		}
	case *ast.NullNode:
	case *ast.BoolNode:
		out.kind, out.text = boolean, "false"
		if n.Value {
			out.text = "true"
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		b.numeral(out, tk)
	case *ast.LiteralNode:
		out.kind, out.text = text, n.Value.Value
	case *ast.StringNode:
		out.kind, out.text = text, n.Value
		if tk.Type == token.StringType {
			b.plain(out)
		}
	default:
		b.fail(out.line, out.column, "this is not expected here", "")
	}
	if out.kind == text && secret.IsRef(out.text) {
		b.reference(out)
	} else if out.kind == text && strings.Contains(strings.ReplaceAll(out.text, "${{", ""), "${") {
		b.errs = append(b.errs, b.hidden(out.line, out.column, `"${" opens a reference, which must be the whole value`, "write nothing but the reference: ${env:NAME}, ${file:PATH} or ${credential:NAME}"))
	}
	return out
}

const (
	ambiguous   = "this number can be read in several ways"
	plainDigits = "write it in plain decimal digits; put it in quotes if it is text"
)

// numeral takes numbers that look the same to everybody: no octal, hexadecimal, underscores, infinity.
func (b *builder) numeral(out *node, tk *token.Token) {
	out.kind, out.text = number, strings.TrimSpace(tk.Value)
	if !b.number.MatchString(out.text) {
		b.fail(out.line, out.column, ambiguous, plainDigits)
		out.text = "0"
	}
}

// plain refuses unquoted words that other YAML readers take for something else.
func (b *builder) plain(out *node) {
	switch strings.ToLower(out.text) {
	case "yes", "no", "on", "off":
		b.fail(out.line, out.column, "this word is text to some YAML readers and a truth value to others", `write true or false; put it in quotes if it is text`)
	}
	switch {
	case !b.number.MatchString(out.text):
	case strings.ContainsAny(out.text, "eE"):
		b.fail(out.line, out.column, ambiguous, plainDigits)
	default:
		b.fail(out.line, out.column, "this number is too large", "put it in quotes if it is text")
	}
}

func (b *builder) reference(out *node) {
	if _, err := secret.Parse(out.text); err != nil {
		b.errs = append(b.errs, b.hidden(out.line, out.column, err.Error(), ""))
	}
}

func (b *builder) entries(out *node, values []*ast.MappingValueNode, depth int) {
	seen := map[string]int{}
	for _, v := range values {
		tk := v.Key.GetToken()
		line, column := tk.Position.Line, tk.Position.Column
		switch v.Key.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		default:
			b.fail(line, column, "a key must be a word or a number", "put other keys in quotes")
			continue
		}
		if first, ok := seen[tk.Value]; ok {
			b.fail(line, column, fmt.Sprintf("key %q is here twice, first on line %d", clip(tk.Value), first), "keep one of them")
			continue
		}
		seen[tk.Value] = line
		value := b.build(v.Value, depth+1)
		if value.kind == null {
			value.line, value.column = line, column
		}
		out.entries = append(out.entries, entry{key: tk.Value, line: line, column: column, value: value})
	}
}

// clip shortens text of the file for a message.
func clip(s string) string { return secret.Clip(s, 64) }
