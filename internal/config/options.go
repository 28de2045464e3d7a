package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/schema"
	"github.com/funnelsec/funnel/internal/secret"
)

// Options is what stands under an `options:` key, for its owner to judge. Places in it are JSON pointers (RFC 6901) that start at
// the options: "/url", "/priority/critical", "/labels/0". The zero Options holds nothing.
type Options struct {
	doc   *document
	node  *node  // nil if the key is absent
	label string // such as "connections.jira.options"
}

func (o *object) options(key string) Options {
	n := o.get(key)
	label := o.path(key)
	if n == nil || n.kind == null {
		// Positions of what is missing point at the owner.
		return Options{doc: o.r.doc, node: &node{kind: mapping, line: max(o.n.line, 1), column: max(o.n.column, 1)}, label: label}
	}
	if n.kind != mapping {
		o.r.fail(n, fmt.Sprintf("%s must be a mapping (key: value), not %s", label, n.kind), "")
		n = &node{kind: mapping, line: n.line, column: n.column}
	}
	return Options{doc: o.r.doc, node: n, label: label}
}

// IsEmpty reports whether there are no options.
func (o Options) IsEmpty() bool { return o.node == nil || len(o.node.entries) == 0 }

// JSON returns the options as a JSON object, keys in the order of the file, numbers as they are written. Every reference is replaced
// by what resolve returns for it; nil keeps references as they are. An error of resolve comes back as an *Error at the reference.
func (o Options) JSON(resolve func(ref string) (string, error)) ([]byte, error) {
	if o.node == nil {
		return []byte("{}"), nil
	}
	var b bytes.Buffer
	if err := o.write(&b, o.node, resolve); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (o Options) write(b *bytes.Buffer, n *node, resolve func(string) (string, error)) error {
	switch n.kind {
	case mapping:
		b.WriteByte('{')
		for i, e := range n.entries {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, e.key)
			b.WriteByte(':')
			if err := o.write(b, e.value, resolve); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := o.write(b, item, resolve); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case text:
		s := n.text
		if resolve != nil && secret.IsRef(s) {
			v, err := resolve(s)
			if err != nil {
				return o.doc.err(n.line, n.column, err.Error(), "")
			}
			s = v
		}
		writeText(b, s)
	case number, boolean:
		b.WriteString(n.text)
	default:
		b.WriteString("null")
	}
	return nil
}

func writeText(b *bytes.Buffer, s string) {
	quoted, _ := json.Marshal(s) // of a string: never fails
	b.Write(quoted)
}

// Decode decodes the options into what into points to, by its json tags: unknown keys and wrong types are errors. References stay
// as they are written. The error is an *Error at the place in the file.
func (o Options) Decode(into any) error {
	raw, err := o.JSON(nil)
	if err != nil {
		return err
	}
	return o.explain(schema.DecodeInto(raw, schema.Limits{}, false, into))
}

// explain turns an error that a decoder of the options' JSON gave into one at the place in the file, if it is a *schema.SyntaxError;
// others are returned as they are.
func (o Options) explain(err error) error {
	se, ok := errors.AsType[*schema.SyntaxError](err)
	if !ok {
		return err
	}
	hint := ""
	if len(se.Known) > 0 {
		hint = "known here: " + strings.Join(se.Known, ", ")
		if s := Suggest(se.Path[strings.LastIndexByte(se.Path, '/')+1:], se.Known); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
	}
	return o.ErrorAt(se.Path, se.What, hint)
}

// Check reports whether the options fit a type, whether every field of type funnel.Secret is given by a reference, and every field
// with a tag enum by one of its values: without reading a secret, for `funnel check`. Fields that must be there are their owner's business. The error is an Errors.
func (o Options) Check(t reflect.Type) error {
	var errs Errors
	if err := o.Decode(reflect.New(t).Interface()); err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return err
		}
		errs = append(errs, e)
	}
	if o.node != nil {
		o.literals(o.node, t, &errs)
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// choice finds a value that is none of those that its field takes.
func (o Options) choice(n *node, values []string, errs *Errors) {
	if slices.Contains(values, n.text) {
		return
	}
	hint := "one of: " + strings.Join(values, ", ")
	if s := Suggest(n.text, values); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	*errs = append(*errs, o.doc.err(n.line, n.column, "the value is not one that can stand here", hint))
}

// literals finds secrets that are written out, and values that their fields do not take.
func (o Options) literals(n *node, t reflect.Type, errs *Errors) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[funnel.Secret]() {
		if n.kind != null && !secret.IsRef(n.text) {
			*errs = append(*errs, o.doc.hidden(n.line, n.column, secret.ErrLiteral.Error(), ""))
		}
		return
	}
	switch {
	case t.Kind() == reflect.Struct && n.kind == mapping:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous && name == "" {
				o.literals(n, f.Type, errs)
				continue
			}
			if name == "" {
				name = f.Name
			}
			if child := n.child(name); child != nil {
				o.literals(child, f.Type, errs)
				if enum := f.Tag.Get("enum"); enum != "" && child.kind == text {
					o.choice(child, strings.Split(enum, ","), errs)
				}
			}
		}
	case t.Kind() == reflect.Map && n.kind == mapping:
		for _, e := range n.entries {
			o.literals(e.value, t.Elem(), errs)
		}
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && n.kind == list:
		for _, item := range n.items {
			o.literals(item, t.Elem(), errs)
		}
	}
}

// Position returns where the value at a pointer stands: its key for a value in a mapping. For a pointer to nothing it is the
// nearest value above.
func (o Options) Position(pointer string) (line, column int) {
	if o.node == nil {
		return 0, 0
	}
	n := o.node
	line, column = n.line, n.column
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		next := (*node)(nil)
		for _, e := range n.entries {
			if e.key == part {
				next, line, column = e.value, e.line, e.column
			}
		}
		if i, err := strconv.Atoi(part); n.kind == list && err == nil && 0 <= i && i < len(n.items) {
			next = n.items[i]
			line, column = next.line, next.column
		}
		if next == nil {
			break
		}
		n = next
	}
	return line, column
}

// SecretPaths returns the pointers at which references stand, in the order of the file.
func (o Options) SecretPaths() []string {
	var out []string
	var walk func(n *node, at string)
	walk = func(n *node, at string) {
		if n.kind == text && secret.IsRef(n.text) {
			out = append(out, at)
		}
		for i, item := range n.items {
			walk(item, at+"/"+strconv.Itoa(i))
		}
		for _, e := range n.entries {
			walk(e.value, at+"/"+strings.ReplaceAll(strings.ReplaceAll(e.key, "~", "~0"), "/", "~1"))
		}
	}
	if o.node != nil {
		walk(o.node, "")
	}
	return out
}

// ErrorAt makes an error about the value at a pointer, with its place in the file. hint may be empty.
func (o Options) ErrorAt(pointer, what, hint string) *Error {
	label := o.label + strings.ReplaceAll(pointer, "/", ".")
	if o.doc == nil {
		return &Error{What: label + ": " + what, Hint: hint}
	}
	line, column := o.Position(pointer)
	return o.doc.err(line, column, label+": "+what, hint)
}
