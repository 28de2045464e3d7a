// Package schema decodes JSON strictly.
//
// The standard decoder takes the last of duplicate keys, matches field names without regard to case, replaces bad UTF-8 silently
// and builds maps of any depth and width. A body that means one thing to a policy and another to the code behind it, or that costs
// twenty times its size in memory, is refused here before anything is built from it.
//
// Check looks only at the bytes, Decode also at the Go type they are meant for. Whatever is accepted here is accepted by
// encoding/json; the reverse does not hold.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits bounds what a document may cost. A zero field means its default.
type Limits struct {
	Bytes     int // size of the whole body in bytes
	Depth     int // objects and arrays inside one another
	Nodes     int // values in all: objects, arrays, strings, numbers, true, false, null
	NumberLen int // characters of one number literal

	// FreeKeys lets the keys of inner objects differ in letter case only, where they are data, such as the field names of a
	// Splunk row. Equal keys are refused all the same.
	FreeKeys bool
}

// maxDepth is where encoding/json itself gives up; a larger Limits.Depth has no effect.
const maxDepth = 10_000

// DefaultLimits returns 1 MiB, depth 64, 20,000 nodes, numbers of 64 characters.
func DefaultLimits() Limits {
	return Limits{Bytes: 1 << 20, Depth: 64, Nodes: 20_000, NumberLen: 64}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Bytes <= 0 {
		l.Bytes = d.Bytes
	}
	if l.Depth <= 0 {
		l.Depth = d.Depth
	}
	if l.Nodes <= 0 {
		l.Nodes = d.Nodes
	}
	if l.NumberLen <= 0 {
		l.NumberLen = d.NumberLen
	}
	l.Depth = min(l.Depth, maxDepth)
	return l
}

// Kind says which sort of fault a SyntaxError is, so that a caller can choose a status code.
type Kind int

// The kinds of SyntaxError.
const (
	Malformed  Kind = iota // not JSON, or JSON that readers disagree about (400)
	TooLarge               // more bytes than allowed (413)
	TooDeep                // more depth, nodes or number characters than allowed (400)
	WrongShape             // good JSON that does not fit the wanted type (422)
)

// SyntaxError is a refused document: where, and what is wrong with it. It never holds a value of the document; the names of keys
// appear in Path only.
type SyntaxError struct {
	Kind   Kind
	Offset int    // in bytes, from 0
	Line   int    // from 1
	Column int    // in characters, from 1
	Path   string // JSON pointer (RFC 6901), "" for the whole document; each key clipped to 64 printable characters
	What   string
	Known  []string // the keys that are known where an unknown one stands, sorted; for suggestions
}

// Error tells what is wrong and where, without any value of the document.
func (e *SyntaxError) Error() string {
	where := e.Path
	if where == "" {
		where = "the document"
	}
	return fmt.Sprintf("reading JSON: line %d, column %d, at %s: %s", e.Line, e.Column, where, e.What)
}

// newError places an error at an offset; path is filled by the caller.
func newError(raw []byte, kind Kind, offset int, path, what string) *SyntaxError {
	offset = min(offset, len(raw))
	before := raw[:offset]
	return &SyntaxError{
		Kind:   kind,
		Offset: offset,
		Line:   1 + bytes.Count(before, []byte{'\n'}),
		Column: 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]),
		Path:   path,
		What:   what,
	}
}

const (
	maxKeyShown  = 64  // characters of one key in a path
	maxPathShown = 512 // bytes of a whole path
)

// appendKey appends a key to a JSON pointer: clipped, with what cannot be printed replaced by "?".
func appendKey(path *strings.Builder, key string) {
	path.WriteByte('/')
	n := 0
	for _, r := range key {
		if n++; n > maxKeyShown {
			path.WriteString("…")
			return
		}
		switch {
		case r == '~':
			path.WriteString("~0")
		case r == '/':
			path.WriteString("~1")
		case r == utf8.RuneError || !unicode.IsPrint(r):
			path.WriteByte('?')
		default:
			path.WriteRune(r)
		}
	}
}

// clipPath shortens a path in its middle: the start and the end are what helps a reader.
func clipPath(path string) string {
	if len(path) <= maxPathShown {
		return path
	}
	half := maxPathShown / 2
	return strings.ToValidUTF8(path[:half], "") + "…" + strings.ToValidUTF8(path[len(path)-half:], "")
}

// unquoteKey decodes the inside of a string literal that was found to be well formed.
func unquoteKey(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside)
	}
	quoted := make([]byte, 0, len(inside)+2)
	quoted = append(append(append(quoted, '"'), inside...), '"')
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}
