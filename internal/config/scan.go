package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

const (
	maxBytes = 256 << 10 // of a file
	maxDepth = 32        // of mappings and lists inside one another
	maxKeys  = 4000      // in a file: the parser's time and memory grow with the square of a mapping's keys (2.6 GB for 25,000)
	maxItems = 20_000    // in the lists of a file
)

// clean checks the bytes of a file before a YAML library sees them, and gives its lines one kind of ending.
func clean(name string, src []byte) (string, *Error) {
	if len(src) > maxBytes {
		return "", &Error{File: name, What: fmt.Sprintf("the file has %d KiB, more than the %d KiB that are allowed", len(src)>>10, maxBytes>>10)}
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n")
	for i, line := 0, 1; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		what := ""
		switch {
		case r == utf8.RuneError && n == 1:
			what = "the file is not UTF-8 text"
		case r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r <= 0x9f:
			what = fmt.Sprintf("the file holds the control character U+%04X", r)
		case r == '\u2028' || r == '\u2029' || r == '\ufeff':
			what = fmt.Sprintf("the file holds the invisible character U+%04X", r)
		case r == '\n':
			line++
		}
		if what != "" {
			column := 1 + utf8.RuneCountInString(text[strings.LastIndexByte(text[:i], '\n')+1:i])
			s := newSource(name, strings.ToValidUTF8(text, "?"))
			return "", s.err(line, column, what, "")
		}
		i += n
	}
	return text, nil
}

// scan splits a file into tokens and refuses, before anything is built from them, what is too deep (the parser behind needs 641 MB
// for 20,000 levels) and the parts of YAML by which a file means something else than it shows.
func (s *source) scan(text string) (token.Tokens, Errors) {
	tokens := lexer.Tokenize(text)
	var (
		errs    Errors
		columns []int // of the block mappings and lists that are open
		flow    int
		content bool
		keys    int
		items   int
	)
	refuse := func(tk *token.Token, what, hint string) {
		errs = append(errs, s.err(tk.Position.Line, tk.Position.Column, what, hint))
	}
	enter := func(column int) {
		for len(columns) > 0 && columns[len(columns)-1] > column {
			columns = columns[:len(columns)-1]
		}
		if len(columns) == 0 || columns[len(columns)-1] < column {
			columns = append(columns, column)
		}
	}
	var previous *token.Token
	for _, tk := range tokens {
		switch tk.Type {
		case token.AnchorType, token.AliasType:
			refuse(tk, "anchors (&name) and aliases (*name) are not allowed", `write the value out; put text that starts with & or * in quotes`)
		case token.TagType:
			refuse(tk, "tags (!name) are not allowed", "put text that starts with ! in quotes")
		case token.MergeKeyType:
			refuse(tk, "merge keys (<<) are not allowed", "write the keys out")
		case token.MappingKeyType:
			refuse(tk, `keys written with "?" are not allowed`, "write key: value")
		case token.DirectiveType:
			refuse(tk, "directives (%) are not allowed", "remove the line")
		case token.DocumentHeaderType:
			if content {
				refuse(tk, "a second document starts here; one is expected", "remove the --- and what follows")
			}
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.CollectEntryType:
			items++
		case token.SequenceEntryType:
			items++
			enter(tk.Position.Column)
		case token.MappingValueType:
			keys++
			if previous != nil && flow == 0 {
				enter(previous.Position.Column)
			}
		}
		if len(columns)+flow > maxDepth {
			refuse(tk, fmt.Sprintf("mappings and lists are nested deeper than %d", maxDepth), "")
			return nil, errs
		}
		if keys > maxKeys || items > maxItems {
			refuse(tk, fmt.Sprintf("the file has more than %d keys or %d list items", maxKeys, maxItems), "")
			return nil, errs
		}
		if len(errs) >= maxShown {
			return nil, errs
		}
		if tk.Type != token.CommentType {
			content = content || tk.Type != token.DocumentHeaderType
			previous = tk
		}
	}
	return tokens, errs
}
