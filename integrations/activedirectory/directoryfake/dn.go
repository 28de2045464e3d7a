package directoryfake

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// maxRDNs bounds the parts of a distinguished name.
const maxRDNs = 100

// dn is a distinguished name, normalised for comparing: one string per RDN,
// the leaf first.
type dn []string

// parseDN reads RFC 4514 text. Types and values compare without case, as in AD.
func parseDN(s string) (dn, error) {
	bad := func() (dn, error) { return nil, fmt.Errorf("distinguished name %q is malformed", s) }
	if strings.TrimSpace(s) == "" {
		return dn{}, nil
	}
	var name dn
	for _, rdn := range splitUnescaped(s, ',') {
		if len(name) == maxRDNs {
			return bad()
		}
		var parts []string
		for _, ava := range splitUnescaped(rdn, '+') {
			typ, val, ok := strings.Cut(ava, "=")
			typ = strings.ToLower(strings.TrimSpace(typ))
			if !ok || typ == "" || strings.ContainsAny(typ, "\\\" ") {
				return bad()
			}
			plain, ok := unescapeValue(val)
			if !ok {
				return bad()
			}
			parts = append(parts, typ+"="+strings.ToLower(plain))
		}
		slices.Sort(parts)
		name = append(name, strings.Join(parts, "+"))
	}
	return name, nil
}

// splitUnescaped splits at separators that no backslash precedes.
func splitUnescaped(s string, sep byte) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unescapeValue undoes the escapes of RFC 4514 section 2.4 and trims blanks that
// are not escaped.
func unescapeValue(s string) (string, bool) {
	s = strings.TrimLeft(s, " ")
	var b strings.Builder
	keep := 0 // length up to the last byte that may not be trimmed
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			if s[i] != ' ' {
				keep = b.Len()
			}
			continue
		}
		if i+2 < len(s) {
			if v, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(v[0])
				keep = b.Len()
				i += 2
				continue
			}
		}
		if i++; i == len(s) {
			return "", false
		}
		b.WriteByte(s[i])
		keep = b.Len()
	}
	return b.String()[:keep], true
}

// key returns the name as a map key.
func (d dn) key() string { return strings.Join(d, "\x00") }

// under reports whether d is base or below it.
func (d dn) under(base dn) bool {
	return len(d) >= len(base) && slices.Equal(d[len(d)-len(base):], base)
}

// inScope reports whether d is in the search scope: 0 base, 1 one level, 2 all.
func (d dn) inScope(base dn, scope int64) bool {
	switch scope {
	case 0:
		return slices.Equal(d, base)
	case 1:
		return len(d) == len(base)+1 && d.under(base)
	default:
		return d.under(base)
	}
}
