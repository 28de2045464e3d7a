package activedirectory

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// skeleton writes the structure of a compiled filter: attributes, rules and
// choices, with a ? for each asserted value, and returns the values beside it.
func skeleton(p *ber.Packet) (structure string, values []string) {
	if p.ClassType != ber.ClassContext {
		return "not a filter", nil
	}
	switch p.Tag {
	case ldap.FilterEqualityMatch:
		return p.Children[0].Data.String() + "=?", []string{p.Children[1].Data.String()}
	case ldap.FilterExtensibleMatch:
		var parts []string
		for _, c := range p.Children {
			if c.Tag == ldap.MatchingRuleAssertionMatchValue {
				values = append(values, c.Data.String())
				continue
			}
			parts = append(parts, c.Data.String())
		}
		return strings.Join(parts, ":") + ":=?", values
	}
	parts := []string{}
	for _, c := range p.Children {
		s, v := skeleton(c)
		parts, values = append(parts, s), append(values, v...)
	}
	return fmt.Sprintf("%s(%s)", ldap.FilterMap[uint64(p.Tag)], strings.Join(parts, " ")), values
}

// injection are the filters that hold a value from outside, with their structure
// and the values that go in for one value.
func injection(v string) []struct {
	f      filter
	shape  string
	values []string
} {
	chain := "1.2.840.113556.1.4.1941"
	return []struct {
		f      filter
		shape  string
		values []string
	}{
		{query{name: v}.filter(), "And(objectCategory=? objectClass=? Or(sAMAccountName=?))", []string{"person", "user", v}},
		{query{address: v}.filter(), "And(objectCategory=? objectClass=? Or(userPrincipalName=? mail=?))", []string{"person", "user", v, v}},
		{hostFilter(v, ""), "And(objectCategory=? Or(sAMAccountName=?))", []string{"computer", v + "$"}},
		{hostFilter(v, v), "And(objectCategory=? Or(sAMAccountName=? dNSHostName=?))", []string{"computer", v + "$", v}},
		{groupFilter(v), "And(objectCategory=? Or(sAMAccountName=? cn=?))", []string{"group", v, v}},
		{membersFilter(v, ""), "And(Or(objectCategory=? objectCategory=?) Or(" + chain + ":memberOf:=?))", []string{"person", "computer", v}},
		{membersFilter(v, v), "And(Or(objectCategory=? objectCategory=?) Or(" + chain + ":memberOf:=? primaryGroupID=?))", []string{"person", "computer", v, v}},
		{and(equal("objectCategory", "group"), or(inChain("member", v), inChain("member", v))), "And(objectCategory=? Or(" + chain + ":member:=? " + chain + ":member:=?))", []string{"group", v, v}},
		{equal("objectSid", v), "objectSid=?", []string{v}},
	}
}

func checkInjection(t *testing.T, v string) {
	t.Helper()
	if v == "" {
		return
	}
	for _, in := range injection(v) {
		p, err := ldap.CompileFilter(string(in.f))
		if err != nil {
			t.Fatalf("%q: %s: %v", v, in.f, err)
		}
		shape, values := skeleton(p)
		if shape != in.shape {
			t.Fatalf("%q has the structure\n%s, want\n%s", v, shape, in.shape)
		}
		if fmt.Sprintf("%q", values) != fmt.Sprintf("%q", in.values) {
			t.Fatalf("%q: the values are %q, want %q", v, values, in.values)
		}
		if again, err := ldap.DecompileFilter(p); err != nil {
			t.Fatalf("%q: %v", v, err)
		} else if second, err := ldap.CompileFilter(again); err != nil || string(second.Bytes()) != string(p.Bytes()) {
			t.Fatalf("%q: written and read again it is another filter: %s, %v", v, again, err)
		}
	}
}

func seeds() []string {
	return []string{
		"jdoe", "*", "*)(uid=*", "jdoe)(|(uid=*", `\`, `\2a`, `\5c2a`, "\x00", "a\x00b", "(", ")", "&", "|", "!", "=", "~=", ">=", ":=", ":dn:=", ":1.2.840.113556.1.4.803:=2",
		"\xff", "\xc3\x28", "jdöe", "\u202e", "*)(objectClass=*))(|(cn=*", " ", "\n", strings.Repeat("(", 300), "CN=a\\,b,DC=x", "CN=x+OU=y,DC=z", "\x01\x05\x00\x00*()\\",
	}
}

// Any value at all goes into the filters as a value: their structure stays, and
// the directory gets the value as it was.
func FuzzLDAPFilter(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	c := testClient()
	f.Fuzz(func(t *testing.T, v string) {
		checkInjection(t, v)
		for _, why := range []string{second(c.parse(v)), third(c.hostName(v))} {
			if !utf8.ValidString(why) || len(why) > 200 {
				t.Fatalf("%q: the reason is %q", v, why)
			}
		}
	})
}

func second(_ query, why string) string    { return why }
func third(_, _ string, why string) string { return why }
func bounded(s string) bool                { return len(s) <= maxText+len("…") && utf8.ValidString(s) }

// A DN that a directory sends may be anything. What is shown of it is bounded
// text, and it goes back to the directory as one value.
func FuzzDN(f *testing.F) {
	for _, s := range append(seeds(), "CN=Jane Doe,OU=People,DC=corp,DC=example,DC=test", `CN=Doe\, Jane,OU=P,DC=x`, `CN=\4a\c3\b6,DC=x`, "CN=,DC=x", "=,=", "DC=x", "DC=", "DC=.,DC=", "CN=#04024869,DC=x",
		strings.Repeat("CN=x,", 2000)+"DC=x", "CN="+strings.Repeat("é", 2000)) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		if name := groupName(dn); !bounded(name) {
			t.Fatalf("%q is shown as %q", dn, name)
		}
		if u := unit(dn); !bounded(u) || !strings.HasSuffix(strings.ToValidUTF8(dn, "\uFFFD"), strings.TrimSuffix(u, "…")) && !strings.HasSuffix(u, "…") {
			t.Fatalf("%q lies in %q", dn, u)
		}
		if domain, err := domainOf(dn); (err == nil) == (domain == "") {
			t.Fatalf("%q is in the domain %q, %v", dn, domain, err)
		}
		checkInjection(t, dn)
	})
}

// Filters are made in one file only, by functions that escape.
func TestFiltersAreMadeInOnePlace(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "filter" {
				if made++; name != "filter.go" {
					t.Errorf("%s makes a filter of text", set.Position(n.Pos()))
				}
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "NewSearchRequest" {
				arg, ok := call.Args[6].(*ast.CallExpr)
				if made++; !ok || len(arg.Args) != 1 {
					t.Errorf("%s: the filter of a search is not string(f)", set.Position(n.Pos()))
				} else if id, ok := arg.Args[0].(*ast.Ident); !ok || id.Name != "f" {
					t.Errorf("%s: the filter of a search is not string(f)", set.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if made < 5 {
		t.Errorf("only %d places are seen: the check is blind", made)
	}
}
