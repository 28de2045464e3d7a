package activedirectory

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// maxSearched is how many groups or members are read at most; an outcome lists
// fewer and counts all of them.
const maxSearched = 5000

func isDC(attribute string) bool { return strings.EqualFold(attribute, "DC") }

// group is a group that something is in.
type group struct{ dn, name, sid string }

// groupsOf returns all groups that the objects are in, directly or through other
// groups, sorted by name, and whether there are more than were read. It is asked
// for from the groups' side, which has no limit as memberOf has.
func (c *Client) groupsOf(ctx context.Context, dns ...string) ([]group, bool, error) {
	links := make([]filter, len(dns))
	for i, dn := range dns {
		links[i] = inChain("member", dn)
	}
	return c.groups(ctx, or(links...))
}

// groupsWith returns the groups that have the object as a member themselves.
func (c *Client) groupsWith(ctx context.Context, dn string) ([]group, bool, error) {
	return c.groups(ctx, equal("member", dn))
}

func (c *Client) groups(ctx context.Context, which filter) (found []group, more bool, err error) {
	domain, err := c.domainDN()
	if err != nil {
		return nil, false, err
	}
	entries, more, err := c.searchAll(ctx, domain, maxSearched, and(equal("objectCategory", "group"), which), []string{"objectSid"})
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		found = append(found, group{e.DN, groupName(e.DN), sid(e.GetEqualFoldRawAttributeValue("objectSid"))})
	}
	slices.SortFunc(found, func(a, b group) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)), strings.Compare(a.dn, b.dn))
	})
	return found, more, nil
}

// namesOf returns the names of groups.
func namesOf(groups []group) []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
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

// memberships are the groups of a user or a computer, its primary group
// included. That one stands in no memberOf and in no member, whatever power it
// gives: it is looked up by its SID, and so are the groups that it is in.
type memberships struct {
	all     []group // without the primary group
	primary group   // without a DN if it cannot be read
	more    bool
}

func (c *Client) memberships(ctx context.Context, e *ldap.Entry) (m memberships, err error) {
	dns := []string{e.DN}
	if m.primary, err = c.primaryGroup(ctx, e); err != nil {
		return m, err
	}
	if m.primary.dn != "" {
		dns = append(dns, m.primary.dn)
	}
	if m.all, m.more, err = c.groupsOf(ctx, dns...); err != nil {
		return m, err
	}
	m.all = slices.DeleteFunc(m.all, func(g group) bool { return strings.EqualFold(g.dn, m.primary.dn) })
	return m, nil
}

// privileged returns the names of the groups that have power over the domain.
func (m memberships) privileged() []string {
	return privileged(append([]group{m.primary}, m.all...))
}

// primaryGroup returns an object's primary group: its SID is the object's own
// with another end (MS-ADA3, attribute primaryGroupID).
func (c *Client) primaryGroup(ctx context.Context, e *ldap.Entry) (group, error) {
	rid, ok := number(e, "primaryGroupID")
	own := e.GetEqualFoldRawAttributeValue("objectSid")
	if !ok || rid < 0 || rid > 1<<32-1 {
		return group{}, nil
	}
	known := group{name: wellKnown(rid)}
	if sid(own) == "" || len(own) < 12 {
		return known, nil
	}
	whole := binary.LittleEndian.AppendUint32(slices.Clone(own[:len(own)-4]), uint32(rid))
	known.sid = sid(whole)
	domain, err := c.domainDN()
	if err != nil {
		return known, err
	}
	found, err := c.search(ctx, domain, ldap.ScopeWholeSubtree, 1, and(equal("objectCategory", "group"), equal("objectSid", string(whole))), []string{"1.1"})
	if err != nil || len(found) == 0 {
		return known, err
	}
	return group{found[0].DN, groupName(found[0].DN), known.sid}, nil
}

// wellKnown names a primary group that cannot be read by the end of its SID
// (MS-DTYP 2.4.2.4).
func wellKnown(rid int64) string {
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
	return "the group whose SID ends in -" + strconv.FormatInt(rid, 10)
}

// privileged returns the names of those groups whose members have, or can take,
// power over the domain, at most as many as an outcome holds. They are told by
// their SIDs: names depend on the language and anybody can make a group of that
// name. The list is that of the protected groups (MS-ADTS 3.1.1.6.1.2), with
// those that control group policy and keys (MS-DTYP 2.4.2.4).
func privileged(groups []group) []string {
	var names []string
	for _, g := range groups {
		if hasPower(g.sid) {
			names = append(names, g.name)
		}
	}
	sortNames(names)
	return names[:min(len(names), maxGroups)]
}

func hasPower(sid string) bool {
	if rid, ok := strings.CutPrefix(sid, "S-1-5-32-"); ok { // BUILTIN
		switch rid {
		case "544", "548", "549", "550", "551": // Administrators; Account, Server, Print and Backup Operators
			return true
		}
		return false
	}
	rest, ok := strings.CutPrefix(sid, "S-1-5-21-")
	if !ok {
		return false
	}
	switch rest[strings.LastIndexByte(rest, '-')+1:] {
	case "512", "516", "518", "519", "520", "521", "526", "527": // Domain Admins and Controllers; Schema and Enterprise Admins; policy owners; read-only controllers; Key Admins
		return true
	}
	return false
}
