package activedirectory

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// filter is a search filter (RFC 4515). It is made only by the functions here,
// which escape every value.
type filter string

const anything filter = "(objectClass=*)"

// equal matches an attribute's value.
func equal(attribute, value string) filter {
	return filter("(" + attribute + "=" + ldap.EscapeFilter(value) + ")")
}

// inChain follows membership through groups in groups; AD ends at cycles (MS-ADTS
// 3.1.1.3.4.4.3, LDAP_MATCHING_RULE_TRANSITIVE_EVAL).
func inChain(attribute, dn string) filter {
	return filter("(" + attribute + ":1.2.840.113556.1.4.1941:=" + ldap.EscapeFilter(dn) + ")")
}

func and(fs ...filter) filter { return join("&", fs) }
func or(fs ...filter) filter  { return join("|", fs) }

func join(op string, fs []filter) filter {
	var b strings.Builder
	b.WriteString("(" + op)
	for _, f := range fs {
		b.WriteString(string(f))
	}
	b.WriteString(")")
	return filter(b.String())
}

// maxAccount is longer than any account name: a user principal name has at most
// 1,024 characters (MS-ADA3 2.349).
const maxAccount = 1024

// query is an account name, read.
type query struct {
	name    string // value of sAMAccountName, may be empty
	address string // value of userPrincipalName or mail, may be empty
}

// parse reads an account name as alerts have it: name, DOMAIN\name,
// user@domain. It returns why there is nothing to ask for; that text never
// repeats the name.
func (c *Client) parse(account string) (q query, why string) {
	account = strings.TrimSpace(account)
	switch {
	case account == "":
		return q, "no account name was given"
	case len(account) > maxAccount:
		return q, "the value is too long for an account name"
	case !utf8.ValidString(account) || strings.ContainsFunc(account, unicode.IsControl):
		return q, "the value is no account name: it has control characters or is not valid UTF-8"
	}
	if domain, name, ok := strings.Cut(account, `\`); ok {
		if !strings.EqualFold(domain, c.short) && !strings.EqualFold(domain, c.dns) {
			return q, "the account belongs to another domain or to one machine, not to " + c.dns
		}
		if name == "" {
			return q, "no account name was given"
		}
		return query{name: name}, ""
	}
	at := strings.LastIndexByte(account, '@')
	if at < 0 {
		return query{name: account}, ""
	}
	q.address = account
	// AD takes name@domain for the account whatever its userPrincipalName says
	// (the implicit UPN, MS-ADTS 5.1.1.1.1).
	if strings.EqualFold(account[at+1:], c.dns) {
		q.name = account[:at]
	}
	return q, ""
}

// filter returns the search for the query. Its shape depends only on which
// fields are set, never on what they hold.
func (q query) filter() filter {
	var names []filter
	if q.name != "" {
		names = append(names, equal("sAMAccountName", q.name))
	}
	if q.address != "" {
		names = append(names, equal("userPrincipalName", q.address), equal("mail", q.address))
	}
	return and(equal("objectCategory", "person"), equal("objectClass", "user"), or(names...))
}

// choose returns the account that the query means, or why there is none. A user
// principal name is the name that people log on with and beats a mail address
// that somebody else has. AD compares without accents, so that jdöe finds jdoe:
// that is not the account that was asked for.
func (q query) choose(found []*ldap.Entry) (e *ldap.Entry, why string) {
	for _, match := range []struct{ attribute, value string }{
		{"userPrincipalName", q.address}, {"sAMAccountName", q.name}, {"mail", q.address},
	} {
		if match.value == "" {
			continue
		}
		for _, candidate := range found {
			if !strings.EqualFold(candidate.GetEqualFoldAttributeValue(match.attribute), match.value) {
				continue
			}
			if e != nil {
				return nil, "several accounts match"
			}
			e = candidate
		}
		if e != nil {
			return e, ""
		}
	}
	switch {
	case len(found) > 0:
		return nil, "only accounts that are spelt differently match"
	case strings.HasSuffix(q.name, "$"):
		return nil, "no user account of that name: names that end in $ belong to computers and managed service accounts"
	default:
		return nil, "no user account of that name in the directory"
	}
}
