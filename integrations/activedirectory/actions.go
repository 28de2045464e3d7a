package activedirectory

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/funnelsec/funnel"
)

// Bounds of what an outcome holds.
const (
	maxGroups = 100
	maxText   = 1024 // bytes of one value
)

// Bits of userAccountControl and msDS-User-Account-Control-Computed (MS-ADTS
// 2.2.16 and 3.1.1.4.5.17). AD keeps the last two only in the computed one.
const (
	bitDisabled        = 0x2
	bitNeverExpires    = 0x10000
	bitLocked          = 0x10
	bitPasswordExpired = 0x800000
)

// LookupUserInput is the input of activedirectory.lookup_user.
type LookupUserInput struct {
	Account string `json:"account" doc:"Account as the alert names it: jdoe, CORP\\jdoe, jdoe@corp.example.com or a mail address" example:"CORP\\jdoe"`
}

// User is the outcome of activedirectory.lookup_user. All times are UTC.
type User struct {
	Found bool   `json:"found" doc:"Whether there is exactly one such account"`
	Why   string `json:"why,omitempty" doc:"Why none was found"`

	Account     string  `json:"account,omitempty" doc:"Short account name (sAMAccountName)" example:"jdoe"`
	UPN         string  `json:"upn,omitempty" doc:"User principal name" example:"jdoe@corp.example.com"`
	DisplayName string  `json:"display_name,omitempty" doc:"Name for people" example:"Jane Doe"`
	Mail        string  `json:"mail,omitempty" doc:"Mail address"`
	Title       string  `json:"title,omitempty" doc:"Job title"`
	Department  string  `json:"department,omitempty" doc:"Department"`
	Company     string  `json:"company,omitempty" doc:"Company"`
	Location    string  `json:"location,omitempty" doc:"City"`
	EmployeeID  string  `json:"employee_id,omitempty" doc:"Employee number"`
	Manager     Manager `json:"manager,omitzero" doc:"Whom the user reports to"`

	Groups      []string `json:"groups,omitempty" doc:"Names of the groups that the account is directly in, sorted, at most 100; without its primary group (usually Domain Users)"`
	GroupsTotal int      `json:"groups_total" doc:"How many such groups there are"`

	NestedGroups      []string `json:"nested_groups,omitempty" doc:"Names of the groups that the account is in only through other groups, sorted, at most 100"`
	NestedGroupsTotal int      `json:"nested_groups_total" doc:"How many such groups there are"`
	PrimaryGroup      string   `json:"primary_group,omitempty" doc:"The account's primary group" example:"Domain Users"`
	MoreGroups        bool     `json:"more_groups,omitempty" doc:"Not all groups could be read: there may be others, and others with power"`
	Privileged        []string `json:"privileged,omitempty" doc:"Names of those of all these groups that have power over the domain, such as Domain Admins or Account Operators; told by their SIDs"`

	Enabled            bool `json:"enabled" doc:"The account is not disabled"`
	Locked             bool `json:"locked" doc:"Locked out after wrong passwords"`
	PasswordExpired    bool `json:"password_expired" doc:"The password has expired"`
	MustChangePassword bool `json:"must_change_password" doc:"The password must be changed at the next logon"`
	Expired            bool `json:"expired" doc:"The account has ended: account_expires has passed"`

	LastLogon      *time.Time      `json:"last_logon,omitempty" doc:"Last logon to the domain, none if never; AD updates it (lastLogonTimestamp) only when it is 9 to 14 days old, so the true one may be that much later"`
	LastLogonLag   funnel.Duration `json:"last_logon_lag,omitzero" doc:"By how much the true last logon may be later"`
	PasswordSet    *time.Time      `json:"password_set,omitempty" doc:"When the password was set"`
	AccountExpires *time.Time      `json:"account_expires,omitempty" doc:"When the account ends, none if never"`
	Created        *time.Time      `json:"created,omitempty" doc:"When the account was made"`

	SID  string `json:"sid,omitempty" doc:"Security identifier" example:"S-1-5-21-1004336348-1177238915-682003330-1107"`
	GUID string `json:"guid,omitempty" doc:"Object GUID; stays when the account is renamed or moved"`

	Unread []string `json:"unread,omitempty" doc:"Attributes that the service account may not read: the states made from them are unknown, not false"`
}

// Manager is whom a user reports to. DisplayName and Mail are empty when the
// manager's own entry cannot be read.
type Manager struct {
	DN          string `json:"dn" doc:"Distinguished name"`
	DisplayName string `json:"display_name,omitempty" doc:"Name for people"`
	Mail        string `json:"mail,omitempty" doc:"Mail address"`
}

// userAttributes are all that is ever asked for about a user.
func userAttributes() []string {
	return []string{
		"sAMAccountName", "userPrincipalName", "displayName", "mail", "title", "department", "company", "l", "employeeID",
		"manager", "memberOf", "userAccountControl", "msDS-User-Account-Control-Computed",
		"lastLogonTimestamp", "logonCount", "pwdLastSet", "accountExpires", "whenCreated", "objectSid", "objectGUID", "primaryGroupID",
	}
}

// LookupUser looks up a user account. An account that does not exist is an
// answer (Found is false and Why says why), not an error.
func (c *Client) LookupUser(ctx context.Context, in LookupUserInput) (User, error) {
	q, why := c.parse(in.Account)
	if why != "" {
		return User{Why: why}, nil
	}
	// Four: one for each attribute that may match, and one that tells of more.
	found, err := c.search(ctx, c.baseDN, ldap.ScopeWholeSubtree, 4, q.filter(), userAttributes())
	if err != nil {
		return User{}, err
	}
	e, why := q.choose(found)
	if e == nil {
		return User{Why: why}, nil
	}
	u := readUser(e)
	u.Expired = u.AccountExpires != nil && !u.AccountExpires.After(c.env.Clock())
	m, err := c.memberships(ctx, e)
	if err != nil {
		return User{}, err
	}
	u.PrimaryGroup, u.Privileged, u.MoreGroups = m.primary.name, m.privileged(), m.more
	direct := directGroups(e)
	if ranged(e, "memberOf") { // the rest of the list is told from the groups' side only
		told, more, err := c.groupsWith(ctx, e.DN)
		if err != nil {
			return User{}, err
		}
		if len(told) > len(direct) { // fewer if the account may not read the groups
			direct = namesOf(told)
		} else {
			more = true
		}
		u.MoreGroups = u.MoreGroups || more
	}
	if len(through(direct, namesOf(m.all))) > 0 { // a name in memberOf, but not to be read: its SID and what it is in are unknown
		u.MoreGroups = true
	}
	u.Groups, u.GroupsTotal = direct[:min(len(direct), maxGroups)], len(direct)
	nested := through(namesOf(m.all), direct)
	u.NestedGroups, u.NestedGroupsTotal = nested[:min(len(nested), maxGroups)], len(nested)
	if dn := text(e, "manager"); dn != "" {
		if u.Manager, err = c.manager(ctx, dn); err != nil {
			return User{}, err
		}
	}
	return u, nil
}

// manager reads a manager's name and mail. A manager who was deleted, lies in
// another domain or may not be read keeps the name alone.
func (c *Client) manager(ctx context.Context, dn string) (Manager, error) {
	m := Manager{DN: dn}
	found, err := c.search(ctx, dn, ldap.ScopeBaseObject, 1, anything, []string{"displayName", "mail"})
	switch funnel.CodeOf(err) {
	case "":
		if len(found) > 0 {
			m.DisplayName, m.Mail = text(found[0], "displayName"), text(found[0], "mail")
		}
		return m, nil
	case funnel.NotFound, funnel.Invalid:
		return m, nil
	default:
		return m, err
	}
}

// readUser makes a User from a directory entry.
func readUser(e *ldap.Entry) User {
	u := User{
		Found:       true,
		Account:     text(e, "sAMAccountName"),
		UPN:         text(e, "userPrincipalName"),
		DisplayName: text(e, "displayName"),
		Mail:        text(e, "mail"),
		Title:       text(e, "title"),
		Department:  text(e, "department"),
		Company:     text(e, "company"),
		Location:    text(e, "l"),
		EmployeeID:  text(e, "employeeID"),

		LastLogon:      fileTime(text(e, "lastLogonTimestamp")),
		PasswordSet:    fileTime(text(e, "pwdLastSet")),
		AccountExpires: fileTime(text(e, "accountExpires")),
		Created:        generalizedTime(text(e, "whenCreated")),

		SID:  sid(e.GetEqualFoldRawAttributeValue("objectSid")),
		GUID: guid(e.GetEqualFoldRawAttributeValue("objectGUID")),
	}
	if u.LastLogon != nil {
		u.LastLogonLag = logonLag
	} else if neverLoggedOnIsHidden(e) {
		u.Unread = append(u.Unread, "lastLogonTimestamp")
	}
	if e.GetEqualFoldAttributeValue("accountExpires") == "" { // every user has it
		u.Unread = append(u.Unread, "accountExpires")
	}
	flags, ok := number(e, "userAccountControl")
	if u.Enabled = ok && flags&bitDisabled == 0; !ok {
		u.Unread = append(u.Unread, "userAccountControl")
	}
	computed, ok := number(e, "msDS-User-Account-Control-Computed")
	if !ok {
		u.Unread = append(u.Unread, "msDS-User-Account-Control-Computed")
	}
	u.Locked = computed&bitLocked != 0
	u.PasswordExpired = computed&bitPasswordExpired != 0
	set, ok := number(e, "pwdLastSet")
	if !ok {
		u.Unread = append(u.Unread, "pwdLastSet")
	}
	u.MustChangePassword = ok && set == 0 && flags&bitNeverExpires == 0
	return u
}

// neverLoggedOnIsHidden reports whether an absent lastLogonTimestamp says nothing:
// it is absent until the first logon, but so is what may not be read. logonCount
// is in the same property set (Logon Information) and every account has it.
func neverLoggedOnIsHidden(e *ldap.Entry) bool {
	return e.GetEqualFoldAttributeValue("logonCount") == ""
}

// text returns the first value of an attribute, clean and bounded.
func text(e *ldap.Entry, attribute string) string {
	return clip(e.GetEqualFoldAttributeValue(attribute))
}

// clip bounds a text and replaces what is not UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// number returns an integer attribute, 0 and false if it is absent or none.
func number(e *ldap.Entry, attribute string) (int64, bool) {
	v, err := strconv.ParseInt(e.GetEqualFoldAttributeValue(attribute), 10, 64)
	if err != nil { // v is the greatest number, with all bits set, if the text is a greater one
		return 0, false
	}
	return v, true
}

// directGroups returns the names of the groups in memberOf, sorted.
func directGroups(e *ldap.Entry) []string {
	var names []string
	for _, a := range e.Attributes {
		base, _, _ := strings.Cut(a.Name, ";")
		if !strings.EqualFold(base, "memberOf") {
			continue
		}
		for _, dn := range a.Values {
			names = append(names, groupName(dn))
		}
	}
	sortNames(names)
	return names
}

// groupName returns the leaf of a group's DN.
func groupName(dn string) string {
	parsed, err := ldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return clip(dn)
	}
	return clip(parsed.RDNs[0].Attributes[0].Value)
}
