// Package observables finds what can be looked up in free text, and knows what
// of it belongs to us.
//
// [Extract] reads a text once, from the beginning to the end. White space divides
// it into tokens; a token is freed of what people and JSON do to addresses
// (hxxp, [.], (dot), {at}, \/, \u002f, &amp;) while it is read, and then walked
// over once. No step looks back further than a bounded number of bytes, so the
// time grows with the length of the text, whatever is in it.
//
// What is found is what a person would look up, and rather nothing than
// nonsense:
//
//   - url: http, https, ftp and ftps. Of an address with another scheme, the host
//     counts. A password in it is left out.
//   - domain: below a suffix of the public suffix list, so neither "corp.local"
//     nor "co.uk". One whose last part is also the ending of a file's name
//     (readme.md, setup.py, tools.zip) needs a sign that it is none: it is
//     inert, begins with www., follows "//", or its suffix has several parts. A
//     part of a path is none.
//   - email: with such a domain.
//   - ip: IPv4 in four decimal parts and IPv6. A network with its prefix length is
//     none, nor is what the text calls a version ("version 1.2.3.4", "v1.2.3.4",
//     "Chrome/120.0.0.0"); other numbers in four parts are addresses.
//   - md5, sha1, sha256: hexadecimal digits of that very length with a letter and
//     a digit among them. Nothing tells a commit's hash from a file's.
//
// Findings never overlap: the host of a URL and the domain of a mail address are
// no findings of their own. A name with letters beyond ASCII is given in the form
// that the DNS is asked for (xn--…), in which look-alikes show.
package observables

import (
	"unicode/utf8"

	"github.com/funnelsec/funnel"
)

// Bounds.
const (
	MaxText = 256 << 10 // bytes of a text that are read; a token that is cut there does not count
	MaxHits = 1000      // findings in a text; the rest is not looked for
	MaxURL  = 2048      // bytes of a URL; a longer one is none

	maxName = 253 // bytes of a domain name, RFC 1035
)

// Hit is an observable in a text.
type Hit struct {
	Kind       funnel.Kind
	Value      string // as it is looked up: not inert
	Start, End int    // text[Start:End] is how it is written
}

// Extract returns the observables in a text, in their order and each as often as
// it is there. They do not overlap.
func Extract(text string) []Hit {
	s := scan(text)
	return s.hits
}

func scan(text string) *scanner {
	whole := len(text) <= MaxText
	if !whole {
		end := MaxText
		for end > MaxText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		whole = isSpace(text[end])
		text = text[:end]
	}
	s := &scanner{text: text}
	for len(s.hits) < MaxHits && s.next() {
		if !whole && s.at == len(text) {
			break
		}
		s.walk()
	}
	s.hits = s.hits[:min(len(s.hits), MaxHits)]
	return s
}
