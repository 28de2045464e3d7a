package activedirectory

import (
	"context"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// maxSearched is how many groups or members are read at most; an outcome lists
// fewer and counts all of them.
const maxSearched = 5000

func isDC(attribute string) bool { return strings.EqualFold(attribute, "DC") }

// groupsOf returns the names of all groups that an object is in, directly or
// through other groups, and whether there are more than were read. It is asked
// for from the groups' side, which has no limit as memberOf has.
func (c *Client) groupsOf(ctx context.Context, dn string) (names []string, more bool, err error) {
	domain, err := c.domainDN()
	if err != nil {
		return nil, false, err
	}
	found, more, err := c.searchAll(ctx, domain, maxSearched, and(equal("objectCategory", "group"), inChain("member", dn)), []string{"1.1"})
	if err != nil {
		return nil, false, err
	}
	for _, e := range found {
		names = append(names, groupName(e.DN))
	}
	sortNames(names)
	return names, more, nil
}

// groupsWith returns the names of the groups that have the object as a member
// themselves, sorted.
func (c *Client) groupsWith(ctx context.Context, dn string) ([]string, error) {
	domain, err := c.domainDN()
	if err != nil {
		return nil, err
	}
	found, _, err := c.searchAll(ctx, domain, maxSearched, and(equal("objectCategory", "group"), equal("member", dn)), []string{"1.1"})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range found {
		names = append(names, groupName(e.DN))
	}
	sortNames(names)
	return names, nil
}

func sortNames(names []string) {
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
}

// through returns which of all groups are not among the direct ones.
func through(all, direct []string) []string {
	left := map[string]int{}
	for _, name := range direct {
		left[name]++
	}
	var names []string
	for _, name := range all {
		if left[name] > 0 {
			left[name]--
			continue
		}
		names = append(names, name)
	}
	return names
}

// ranged reports whether a list of values was cut: AD returns at most 1,500 of
// an attribute and names it "memberOf;range=0-1499" (MS-ADTS 3.1.1.3.1.3.3).
func ranged(e *ldap.Entry, attribute string) bool {
	for _, a := range e.Attributes {
		base, options, cut := strings.Cut(a.Name, ";")
		if cut && strings.EqualFold(base, attribute) && strings.HasPrefix(strings.ToLower(options), "range=") && !strings.HasSuffix(options, "*") {
			return true
		}
	}
	return false
}

// primaryGroup names an object's primary group, which stands in no memberOf, by
// the well-known ends of a SID (MS-DTYP 2.4.2.4).
func primaryGroup(e *ldap.Entry) string {
	rid, ok := number(e, "primaryGroupID")
	if !ok {
		return ""
	}
	switch rid {
	case 512:
		return "Domain Admins"
	case 513:
		return "Domain Users"
	case 514:
		return "Domain Guests"
	case 515:
		return "Domain Computers"
	case 516:
		return "Domain Controllers"
	case 521:
		return "Read-only Domain Controllers"
	}
	return "the group whose SID ends in -" + text(e, "primaryGroupID")
}
