package jira

import (
	"strings"
	"testing"
	"unicode"
)

// FuzzJQLQuote: a value stays one value, whatever is in it: read by JQL's rules, the
// query has the same terms, and the value is the same but for control characters.
func FuzzJQLQuote(f *testing.F) {
	for _, s := range []string{"", "plain", `" OR project = HR --`, `\`, `\"`, `a" ORDER BY created`, "a\nb", "ü\u202e", `"`, `\\"`, "' OR 1=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		q := search{}.where(projectField, "SIRT").where(labelsField, value).newestFirst().String()
		rest, ok := strings.CutPrefix(q, `project = "SIRT" AND labels = `)
		if !ok {
			t.Fatalf("the query is %q", q)
		}
		got, rest := readJQLString(t, rest)
		if rest != " ORDER BY created DESC" {
			t.Fatalf("after the value %q comes %q", value, rest)
		}
		want := strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return -1
			}
			return r
		}, strings.ToValidUTF8(value, ""))
		if strip(got) != strip(want) {
			t.Errorf("%q is read as %q", value, got)
		}
	})
}

// strip takes out what may be dropped or written as a space.
func strip(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return -1
		}
		return r
	}, s)
}

// readJQLString reads a quoted string as JQL does, and returns what follows it.
func readJQLString(t *testing.T, s string) (value, rest string) {
	t.Helper()
	if !strings.HasPrefix(s, `"`) {
		t.Fatalf("no quoted string: %q", s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				t.Fatalf("an escape that JQL has not in %q", s)
			}
		}
		b.WriteByte(s[i])
	}
	t.Fatalf("the string does not end: %q", s)
	return "", ""
}
