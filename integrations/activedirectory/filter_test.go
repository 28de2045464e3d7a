package activedirectory

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"pgregory.net/rapid"
)

func testClient() *Client { return &Client{short: "CORP", dns: "corp.example.test"} }

// shape writes the structure of a compiled filter without the values behind
// account attributes.
func shape(p *ber.Packet) string {
	if p.ClassType == ber.ClassContext && p.Tag == ldap.FilterEqualityMatch {
		name := p.Children[0].Data.String()
		if name == "objectClass" || name == "objectCategory" {
			return name + "=" + p.Children[1].Data.String()
		}
		return name + "=?"
	}
	var parts []string
	for _, c := range p.Children {
		parts = append(parts, shape(c))
	}
	return fmt.Sprintf("%d(%s)", p.Tag, strings.Join(parts, " "))
}

// values returns the asserted account values.
func values(p *ber.Packet) []string {
	if p.ClassType == ber.ClassContext && p.Tag == ldap.FilterEqualityMatch {
		return []string{p.Children[1].Data.String()}
	}
	var list []string
	for _, c := range p.Children {
		list = append(list, values(c)...)
	}
	return list
}

const person = "0(objectCategory=person objectClass=user 1("

var shapes = map[[2]bool]string{ // by whether there is a name and an address
	{true, false}: person + "sAMAccountName=?))",
	{false, true}: person + "userPrincipalName=? mail=?))",
	{true, true}:  person + "sAMAccountName=? userPrincipalName=? mail=?))",
}

// No value changes the structure of the filter, and every value arrives as it
// was given.
func TestFilterShapeIsConstant(t *testing.T) {
	t.Parallel()
	nasty := rapid.SampledFrom([]string{"*", "(", ")", "\\", "\x00", "*)(uid=*", "\\2a", "|(", "&", "!", "=", "\xff", "\xc3", "ü", "\uFFFD", "@", "corp\\", "@corp.example.test", " ", "\n"})
	anyText := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(nasty, 1, 8), func(s []string) string { return strings.Join(s, "") }),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		q := query{name: anyText.Draw(t, "name"), address: anyText.Draw(t, "address")}
		if rapid.Bool().Draw(t, "parsed") { // the way of an alert, else any value at all
			var why string
			if q, why = testClient().parse(anyText.Draw(t, "account")); why != "" {
				return
			}
		}
		if q == (query{}) {
			return
		}
		p, err := ldap.CompileFilter(string(q.filter()))
		if err != nil {
			t.Fatalf("%q: %v", q, err)
		}
		if got, want := shape(p), shapes[[2]bool{q.name != "", q.address != ""}]; got != want {
			t.Fatalf("%q has the shape\n%s, want\n%s", q, got, want)
		}
		want := []string{"person", "user"}
		if q.name != "" {
			want = append(want, q.name)
		}
		if q.address != "" {
			want = append(want, q.address, q.address)
		}
		if got := values(p); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("values are %q, want %q", got, want)
		}
	})
}

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]query{
		"jdoe":                       {name: "jdoe"},
		"  jdoe\n":                   {name: "jdoe"},
		`CORP\jdoe`:                  {name: "jdoe"},
		`corp.example.test\jdoe`:     {name: "jdoe"},
		`CORP\jdoe@x`:                {name: "jdoe@x"},
		"jdoe@example.test":          {address: "jdoe@example.test"},
		"jdoe@CORP.example.test":     {name: "jdoe", address: "jdoe@CORP.example.test"},
		"@corp.example.test":         {address: "@corp.example.test"},
		"*)(uid=*":                   {name: "*)(uid=*"},
		"CN=Jane Doe,OU=People,DC=x": {name: "CN=Jane Doe,OU=People,DC=x"},
	} {
		if got, why := testClient().parse(in); got != want || why != "" {
			t.Errorf("%q is %q (%s), want %q", in, got, why, want)
		}
	}
	for in, want := range map[string]string{
		"":                        "no account name was given",
		" \t":                     "no account name was given",
		`CORP\`:                   "no account name was given",
		`FIN-LAPTOP-07\jdoe`:      "another domain or to one machine",
		`.\administrator`:         "another domain or to one machine",
		`NT AUTHORITY\SYSTEM`:     "another domain or to one machine",
		`\jdoe`:                   "another domain or to one machine",
		"jd\x00oe":                "control characters",
		"jd\xffoe":                "not valid UTF-8",
		strings.Repeat("x", 2000): "too long",
	} {
		if got, why := testClient().parse(in); got != (query{}) || !strings.Contains(why, want) {
			t.Errorf("%.20q is %q (%s), want %s", in, got, why, want)
		}
	}
}

// The reason never repeats the value, which may be anything.
func TestParseDoesNotEcho(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := "QZ" + rapid.String().Draw(t, "rest")
		_, why := testClient().parse(in)
		if strings.Contains(why, "QZ") || !utf8.ValidString(why) || strings.ContainsFunc(why, unicode.IsControl) {
			t.Fatalf("%q: %q", in, why)
		}
	})
}

func entry(sam, upn, mail string) *ldap.Entry {
	return ldap.NewEntry("CN="+sam, map[string][]string{"sAMAccountName": {sam}, "userPrincipalName": {upn}, "mail": {mail}})
}

func TestChoose(t *testing.T) {
	t.Parallel()
	jane := entry("jdoe", "jane@example.test", "jane.doe@example.test")
	other := entry("jane", "other@example.test", "jane@example.test")
	shared := entry("desk", "desk@example.test", "jane.doe@example.test")
	for name, tt := range map[string]struct {
		q     query
		found []*ldap.Entry
		want  *ldap.Entry
		why   string
	}{
		"one":                     {query{name: "JDOE"}, []*ldap.Entry{jane}, jane, ""},
		"logon name beats mail":   {query{address: "jane@example.test"}, []*ldap.Entry{other, jane}, jane, ""},
		"logon name beats name":   {query{name: "jane", address: "jane@example.test"}, []*ldap.Entry{other, jane}, jane, ""},
		"one mail for two":        {query{address: "jane.doe@example.test"}, []*ldap.Entry{jane, shared}, nil, "several accounts match"},
		"two of one name":         {query{name: "jdoe"}, []*ldap.Entry{jane, entry("jdoe", "", "")}, nil, "several accounts match"},
		"none":                    {query{name: "x"}, nil, nil, "no user account of that name in the directory"},
		"a computer":              {query{name: "fin-laptop-07$"}, nil, nil, "computers and managed service accounts"},
		"only without the accent": {query{name: "jdöe"}, []*ldap.Entry{jane}, nil, "spelt differently"},
	} {
		got, why := tt.q.choose(tt.found)
		if got != tt.want || !strings.Contains(why, tt.why) || (why == "") != (got != nil) {
			t.Errorf("%s: %v, %q", name, got, why)
		}
	}
}
