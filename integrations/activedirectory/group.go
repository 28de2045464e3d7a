package activedirectory

import (
	"context"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Bits of groupType (MS-ADTS 2.2.12).
const (
	groupGlobal    = 0x2
	groupLocal     = 0x4
	groupUniversal = 0x8
	groupSecurity  = 0x80000000
)

// LookupGroupInput is the input of activedirectory.lookup_group.
type LookupGroupInput struct {
	Group string `json:"group" doc:"Name of the group: Payments Approvers or CORP\\Payments Approvers" example:"Payments Approvers"`
}

// Group is the outcome of activedirectory.lookup_group. All times are UTC.
type Group struct {
	Found bool   `json:"found" doc:"Whether there is exactly one such group"`
	Why   string `json:"why,omitempty" doc:"Why none was found"`

	Name        string  `json:"name,omitempty" doc:"Name" example:"Payments Approvers"`
	Description string  `json:"description,omitempty" doc:"Description"`
	Mail        string  `json:"mail,omitempty" doc:"Mail address"`
	Kind        string  `json:"kind,omitempty" enum:"security,distribution" doc:"Whether it gives rights or is a list for mail"`
	Scope       string  `json:"scope,omitempty" enum:"global,domain_local,universal" doc:"Where it counts"`
	ManagedBy   Manager `json:"managed_by,omitzero" doc:"Who is responsible for it"`
	Unit        string  `json:"unit,omitempty" doc:"DN of the unit that it lies in"`

	Members      []Member `json:"members,omitempty" doc:"Users and computers in it, directly, through other groups or because it is their primary group, sorted, at most 100"`
	MembersTotal int      `json:"members_total" doc:"How many there are"`
	More         bool     `json:"more" doc:"There are more members than were counted"`
	Subgroups    []string `json:"subgroups,omitempty" doc:"Names of the groups in it, directly or through others, sorted, at most 100"`
	MemberOf     []string `json:"member_of,omitempty" doc:"Names of the groups that it is in, directly or through others, sorted, at most 100"`
	Privileged   []string `json:"privileged,omitempty" doc:"Names of the groups with power over the domain that it is or is in, told by their SIDs"`

	Created *time.Time `json:"created,omitempty" doc:"When it was made"`
	SID     string     `json:"sid,omitempty" doc:"Security identifier"`
	GUID    string     `json:"guid,omitempty" doc:"Object GUID; stays when the group is renamed or moved"`

	Unread []string `json:"unread,omitempty" doc:"Attributes that the service account may not read: what is made from them is unknown"`
}

// Member is a user or a computer in a group.
type Member struct {
	Account  string `json:"account" doc:"Short account name; a computer's ends in $" example:"jdoe"`
	Name     string `json:"name,omitempty" doc:"Name for people" example:"Jane Doe"`
	Disabled bool   `json:"disabled,omitempty" doc:"The account is disabled"`
}

// LookupGroup looks up a group with everybody in it. One that does not exist is an
// answer (Found is false and Why says why), not an error.
func (c *Client) LookupGroup(ctx context.Context, in LookupGroupInput) (Group, error) {
	q, why := c.parse(in.Group)
	switch {
	case why != "":
		return Group{Why: strings.ReplaceAll(why, "account name", "group name")}, nil
	case q.name == "":
		q.name = q.address // a group may have an @ in its name
	}
	attributes := []string{"sAMAccountName", "cn", "description", "mail", "groupType", "managedBy", "whenCreated", "objectSid", "objectGUID"}
	found, err := c.search(ctx, c.baseDN, ldap.ScopeWholeSubtree, 3, groupFilter(q.name), attributes)
	if err != nil {
		return Group{}, err
	}
	e, why := chooseGroup(found, q.name)
	if e == nil {
		return Group{Why: why}, nil
	}
	g := readGroup(e)
	if dn := text(e, "managedBy"); dn != "" {
		if g.ManagedBy, err = c.manager(ctx, dn); err != nil {
			return Group{}, err
		}
	}
	if err := c.members(ctx, e, &g); err != nil {
		return Group{}, err
	}
	of, _, err := c.groupsOf(ctx, e.DN)
	if err != nil {
		return Group{}, err
	}
	names := namesOf(of)
	g.MemberOf = names[:min(len(names), maxGroups)]
	g.Privileged = privileged(append([]group{{e.DN, g.Name, g.SID}}, of...))
	return g, nil
}

func groupFilter(name string) filter {
	return and(equal("objectCategory", "group"), or(equal("sAMAccountName", name), equal("cn", name)))
}

// chooseGroup returns the group that is meant: the one whose account name it is,
// else the one whose common name it is.
func chooseGroup(found []*ldap.Entry, name string) (*ldap.Entry, string) {
	for _, attribute := range []string{"sAMAccountName", "cn"} {
		var match []*ldap.Entry
		for _, e := range found {
			if strings.EqualFold(e.GetEqualFoldAttributeValue(attribute), name) {
				match = append(match, e)
			}
		}
		switch {
		case len(match) == 1:
			return match[0], ""
		case len(match) > 1:
			return nil, "several groups match"
		}
	}
	return nil, "no group of that name in the directory"
}

// members fills in who is in the group, through other groups too. The members of
// a primary group, such as Domain Users, do not stand in memberOf.
func (c *Client) members(ctx context.Context, group *ldap.Entry, g *Group) error {
	domain, err := c.domainDN()
	if err != nil {
		return err
	}
	found, more, err := c.searchAll(ctx, domain, maxSearched, membersFilter(group.DN, primaryID(group)), []string{"sAMAccountName", "displayName", "userAccountControl"})
	if err != nil {
		return err
	}
	byAccount, accounts := map[string]Member{}, []string{}
	for _, e := range found {
		flags, _ := number(e, "userAccountControl")
		m := Member{Account: text(e, "sAMAccountName"), Name: text(e, "displayName"), Disabled: flags&bitDisabled != 0}
		if m.Account == "" {
			m.Account = groupName(e.DN)
		}
		byAccount[m.Account] = m
		accounts = append(accounts, m.Account)
	}
	sortNames(accounts)
	for _, a := range accounts[:min(len(accounts), maxGroups)] {
		g.Members = append(g.Members, byAccount[a])
	}
	g.MembersTotal, g.More = len(accounts), more
	groups, _, err := c.searchAll(ctx, domain, maxSearched, and(equal("objectCategory", "group"), inChain("memberOf", group.DN)), []string{"1.1"})
	if err != nil {
		return err
	}
	for _, e := range groups {
		g.Subgroups = append(g.Subgroups, groupName(e.DN))
	}
	sortNames(g.Subgroups)
	g.Subgroups = g.Subgroups[:min(len(g.Subgroups), maxGroups)]
	return nil
}

// membersFilter returns the search for users and computers in a group; rid is
// what stands in primaryGroupID of those whose primary group it is, or "".
func membersFilter(dn, rid string) filter {
	ways := []filter{inChain("memberOf", dn)}
	if rid != "" {
		ways = append(ways, equal("primaryGroupID", rid))
	}
	return and(or(equal("objectCategory", "person"), equal("objectCategory", "computer")), or(ways...))
}

// primaryID returns what stands in primaryGroupID of those whose primary group it
// is: the end of its SID. Groups of BUILTIN are nobody's.
func primaryID(group *ldap.Entry) string {
	s, ok := strings.CutPrefix(sid(group.GetEqualFoldRawAttributeValue("objectSid")), "S-1-5-21-")
	if !ok {
		return ""
	}
	return s[strings.LastIndexByte(s, '-')+1:]
}

// readGroup makes a Group from a directory entry.
func readGroup(e *ldap.Entry) Group {
	g := Group{
		Found: true, Name: text(e, "sAMAccountName"), Description: text(e, "description"), Mail: text(e, "mail"), Unit: unit(e.DN),
		Created: generalizedTime(text(e, "whenCreated")), SID: sid(e.GetEqualFoldRawAttributeValue("objectSid")), GUID: guid(e.GetEqualFoldRawAttributeValue("objectGUID")),
	}
	if g.Name == "" {
		g.Name = text(e, "cn")
	}
	flags, ok := number(e, "groupType")
	if !ok {
		g.Unread = append(g.Unread, "groupType")
		return g
	}
	g.Kind = "distribution"
	if flags&groupSecurity != 0 {
		g.Kind = "security"
	}
	for bit, scope := range map[int64]string{groupGlobal: "global", groupLocal: "domain_local", groupUniversal: "universal"} {
		if flags&bit != 0 {
			g.Scope = scope
		}
	}
	return g
}
