package directoryfake

import (
	"fmt"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// The choices of a filter (RFC 4511 section 4.5.1).
const (
	filterAnd ber.Tag = iota
	filterOr
	filterNot
	filterEqual
	filterSubstrings
	filterGreater
	filterLess
	filterPresent
	filterApprox
	filterExtensible
)

// maxFilterDepth bounds the nesting of a filter.
const maxFilterDepth = 32

// filter is a decoded search filter.
type filter struct {
	kind  ber.Tag
	subs  []filter // and, or, not
	attr  string
	value string // equality, ordering, approx, extensible
	parts []part // substrings
	rule  string // extensible
	dn    bool   // extensible: also match the DN's attributes
}

// part is one piece of a substrings filter: 0 initial, 1 any, 2 final.
type part struct {
	place ber.Tag
	value string
}

// parseFilter decodes a filter.
func parseFilter(p *ber.Packet, depth int) (filter, error) {
	f := filter{kind: p.Tag}
	if p.ClassType != ber.ClassContext || p.Tag > filterExtensible {
		return f, fmt.Errorf("%w: filter choice", errProtocol)
	}
	if depth == 0 {
		return f, fmt.Errorf("%w: filter nested too deeply", errProtocol)
	}
	if f.kind == filterPresent {
		name, ok := octets(p)
		if !ok {
			return f, fmt.Errorf("%w: presence filter", errProtocol)
		}
		f.attr = name
		return f, nil
	}
	if p.TagType != ber.TypeConstructed {
		return f, fmt.Errorf("%w: filter form", errProtocol)
	}
	switch f.kind {
	case filterAnd, filterOr, filterNot:
		if f.kind == filterNot && len(p.Children) != 1 {
			return f, fmt.Errorf("%w: not filter", errProtocol)
		}
		for _, c := range p.Children {
			sub, err := parseFilter(c, depth-1)
			if err != nil {
				return f, err
			}
			f.subs = append(f.subs, sub)
		}
		return f, nil
	case filterExtensible:
		return parseExtensible(p)
	}
	if len(p.Children) != 2 {
		return f, fmt.Errorf("%w: filter assertion", errProtocol)
	}
	name, ok := octets(p.Children[0])
	if !ok {
		return f, fmt.Errorf("%w: filter attribute", errProtocol)
	}
	f.attr = name
	if f.kind == filterSubstrings {
		for _, c := range p.Children[1].Children {
			v, ok := octets(c)
			if !ok || c.ClassType != ber.ClassContext || c.Tag > 2 {
				return f, fmt.Errorf("%w: substrings filter", errProtocol)
			}
			f.parts = append(f.parts, part{c.Tag, v})
		}
		if len(f.parts) == 0 {
			return f, fmt.Errorf("%w: substrings filter", errProtocol)
		}
		return f, nil
	}
	if f.value, ok = octets(p.Children[1]); !ok {
		return f, fmt.Errorf("%w: filter value", errProtocol)
	}
	return f, nil
}

// parseExtensible decodes a MatchingRuleAssertion.
func parseExtensible(p *ber.Packet) (filter, error) {
	f := filter{kind: filterExtensible}
	for _, c := range p.Children {
		v, ok := octets(c)
		if !ok || c.ClassType != ber.ClassContext {
			return f, fmt.Errorf("%w: extensible filter", errProtocol)
		}
		switch c.Tag {
		case 1:
			f.rule = v
		case 2:
			f.attr = v
		case 3:
			f.value = v
		case 4:
			f.dn = v != "\x00"
		default:
			return f, fmt.Errorf("%w: extensible filter", errProtocol)
		}
	}
	return f, nil
}

// String returns the filter as RFC 4515 text; every byte that is special there,
// a control character or not ASCII is written as \xx.
func (f filter) String() string {
	var b strings.Builder
	f.write(&b)
	return b.String()
}

func (f filter) write(b *strings.Builder) {
	b.WriteByte('(')
	defer b.WriteByte(')')
	switch f.kind {
	case filterAnd, filterOr, filterNot:
		b.WriteByte("&|!"[f.kind])
		for _, s := range f.subs {
			s.write(b)
		}
		return
	}
	b.WriteString(escape(f.attr))
	switch f.kind {
	case filterPresent:
		b.WriteString("=*")
		return
	case filterSubstrings:
		b.WriteByte('=')
		for i, p := range f.parts {
			if i == 0 && p.place != 0 {
				b.WriteByte('*')
			}
			b.WriteString(escape(p.value))
			if p.place != 2 {
				b.WriteByte('*')
			}
		}
		return
	case filterGreater:
		b.WriteString(">=")
	case filterLess:
		b.WriteString("<=")
	case filterApprox:
		b.WriteString("~=")
	case filterExtensible:
		if f.dn {
			b.WriteString(":dn")
		}
		if f.rule != "" {
			b.WriteString(":" + escape(f.rule))
		}
		b.WriteString(":=")
	default:
		b.WriteByte('=')
	}
	b.WriteString(escape(f.value))
}

// escape writes a value for a filter (RFC 4515 section 3).
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || strings.IndexByte(`*()\`, c) >= 0 {
			fmt.Fprintf(&b, `\%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
