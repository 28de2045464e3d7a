package activedirectory

import (
	"context"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/funnelsec/funnel"
)

// maxSPNs is how many service principal names an outcome holds.
const maxSPNs = 50

// Bits of userAccountControl that only computers have (MS-ADTS 2.2.16).
const (
	bitDomainController = 0x2000
	bitReadOnlyDC       = 0x04000000
)

// LookupHostInput is the input of activedirectory.lookup_host.
type LookupHostInput struct {
	Host string `json:"host" doc:"Computer as the alert names it: WS-0142, WS-0142$, CORP\\WS-0142 or ws-0142.corp.example.com" example:"FIN-LAPTOP-07"`
}

// Host is the outcome of activedirectory.lookup_host. All times are UTC.
type Host struct {
	Found bool   `json:"found" doc:"Whether there is exactly one such computer"`
	Why   string `json:"why,omitempty" doc:"Why none was found"`

	Name             string  `json:"name,omitempty" doc:"Short name, without the $" example:"FIN-LAPTOP-07"`
	DNSName          string  `json:"dns_name,omitempty" doc:"Full name" example:"fin-laptop-07.corp.example.com"`
	System           string  `json:"system,omitempty" doc:"Operating system" example:"Windows 11 Enterprise"`
	SystemVersion    string  `json:"system_version,omitempty" doc:"Its version" example:"10.0 (22631)"`
	Description      string  `json:"description,omitempty" doc:"Description"`
	Location         string  `json:"location,omitempty" doc:"Location"`
	ManagedBy        Manager `json:"managed_by,omitzero" doc:"Who is responsible for it"`
	Unit             string  `json:"unit,omitempty" doc:"DN of the unit that it lies in"`
	DomainController bool    `json:"domain_controller" doc:"It is a domain controller"`

	Groups       []string `json:"groups,omitempty" doc:"Names of the groups that it is in, directly or through others, sorted, at most 100; without its primary group"`
	GroupsTotal  int      `json:"groups_total" doc:"How many such groups there are"`
	PrimaryGroup string   `json:"primary_group,omitempty" doc:"Its primary group" example:"Domain Computers"`
	MoreGroups   bool     `json:"more_groups,omitempty" doc:"Not all groups could be read: there may be others, and others with power"`
	Privileged   []string `json:"privileged,omitempty" doc:"Names of those of all these groups that have power over the domain, told by their SIDs; a domain controller's primary group is one"`

	SPNs      []string `json:"spns,omitempty" doc:"Service principal names: what runs there under its account, at most 50"`
	SPNsTotal int      `json:"spns_total" doc:"How many there are"`

	Enabled      bool            `json:"enabled" doc:"The account is not disabled"`
	LastLogon    *time.Time      `json:"last_logon,omitempty" doc:"Last logon of the computer to the domain, none if never"`
	LastLogonLag funnel.Duration `json:"last_logon_lag,omitzero" doc:"By how much the true last logon may be later: AD spreads it to all controllers only when it is that old"`
	PasswordSet  *time.Time      `json:"password_set,omitempty" doc:"When its password changed; a living computer does that every 30 days"`
	Created      *time.Time      `json:"created,omitempty" doc:"When it was joined to the domain"`

	SID  string `json:"sid,omitempty" doc:"Security identifier"`
	GUID string `json:"guid,omitempty" doc:"Object GUID; stays when the computer is renamed or moved"`

	Unread []string `json:"unread,omitempty" doc:"Attributes that the service account may not read: the states made from them are unknown, not false"`
}

// logonLag is how much later a last logon may be than lastLogonTimestamp says: it
// is renewed when it is 9 to 14 days old (MS-ADA1 2.351, ms-DS-Logon-Time-Sync-Interval).
const logonLag = funnel.Duration(14 * 24 * time.Hour)

// hostAttributes are all that is ever asked for about a computer.
func hostAttributes() []string {
	return []string{
		"sAMAccountName", "dNSHostName", "operatingSystem", "operatingSystemVersion", "description", "location", "managedBy",
		"userAccountControl", "lastLogonTimestamp", "logonCount", "pwdLastSet", "whenCreated", "objectSid", "objectGUID", "primaryGroupID", "servicePrincipalName",
	}
}

// LookupHost looks up a computer. One that does not exist is an answer (Found is
// false and Why says why), not an error.
func (c *Client) LookupHost(ctx context.Context, in LookupHostInput) (Host, error) {
	short, dns, why := c.hostName(in.Host)
	if why != "" {
		return Host{Why: why}, nil
	}
	found, err := c.search(ctx, c.baseDN, ldap.ScopeWholeSubtree, 3, hostFilter(short, dns), hostAttributes())
	if err != nil {
		return Host{}, err
	}
	var match []*ldap.Entry
	for _, e := range found {
		if short != "" && strings.EqualFold(text(e, "sAMAccountName"), short+"$") || dns != "" && strings.EqualFold(text(e, "dNSHostName"), dns) {
			match = append(match, e)
		}
	}
	switch {
	case len(match) > 1:
		return Host{Why: "several computers match"}, nil
	case len(match) == 0:
		return Host{Why: "no computer of that name in the directory"}, nil
	}
	h := readHost(match[0])
	m, err := c.memberships(ctx, match[0])
	if err != nil {
		return Host{}, err
	}
	all := namesOf(m.all)
	h.Groups, h.GroupsTotal, h.MoreGroups = all[:min(len(all), maxGroups)], len(all), m.more
	h.PrimaryGroup, h.Privileged = m.primary.name, m.privileged()
	if dn := text(match[0], "managedBy"); dn != "" {
		if h.ManagedBy, err = c.manager(ctx, dn); err != nil {
			return Host{}, err
		}
	}
	return h, nil
}

// hostName reads a computer's name as alerts have it. It returns why there is
// nothing to ask for; that text never repeats the name.
func (c *Client) hostName(host string) (short, dns, why string) {
	q, why := c.parse(strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(host), "."), "$"))
	switch {
	case why != "":
		return "", "", strings.ReplaceAll(why, "account name", "computer name")
	case q.address != "":
		return "", "", "the value is the name of a person, not of a computer"
	case !strings.Contains(q.name, "."):
		return q.name, "", ""
	}
	label, domain, _ := strings.Cut(q.name, ".")
	if strings.EqualFold(domain, c.dns) {
		short = label
	}
	return short, q.name, ""
}

// hostFilter returns the search for a computer; one of the names may be empty.
func hostFilter(short, dns string) filter {
	var names []filter
	if short != "" {
		names = append(names, equal("sAMAccountName", short+"$"))
	}
	if dns != "" {
		names = append(names, equal("dNSHostName", dns))
	}
	return and(equal("objectCategory", "computer"), or(names...))
}

// readHost makes a Host from a directory entry.
func readHost(e *ldap.Entry) Host {
	h := Host{
		Found: true, Name: strings.TrimSuffix(text(e, "sAMAccountName"), "$"), DNSName: text(e, "dNSHostName"),
		System: text(e, "operatingSystem"), SystemVersion: text(e, "operatingSystemVersion"),
		Description: text(e, "description"), Location: text(e, "location"), Unit: unit(e.DN),
		LastLogon: fileTime(text(e, "lastLogonTimestamp")), PasswordSet: fileTime(text(e, "pwdLastSet")), Created: generalizedTime(text(e, "whenCreated")),
		SID: sid(e.GetEqualFoldRawAttributeValue("objectSid")), GUID: guid(e.GetEqualFoldRawAttributeValue("objectGUID")),
	}
	if h.LastLogon != nil {
		h.LastLogonLag = logonLag
	} else if neverLoggedOnIsHidden(e) {
		h.Unread = append(h.Unread, "lastLogonTimestamp")
	}
	spns := e.GetEqualFoldAttributeValues("servicePrincipalName")
	h.SPNsTotal = len(spns)
	for _, s := range spns[:min(len(spns), maxSPNs)] {
		h.SPNs = append(h.SPNs, clip(s))
	}
	flags, ok := number(e, "userAccountControl")
	h.Enabled, h.DomainController = ok && flags&bitDisabled == 0, flags&(bitDomainController|bitReadOnlyDC) != 0
	if !ok {
		h.Unread = append(h.Unread, "userAccountControl")
	}
	return h
}

// unit returns the DN that an entry lies in, as the directory writes it.
func unit(dn string) string {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\': // the next character stands for itself
			i++
		case ',':
			return clip(dn[i+1:])
		}
	}
	return ""
}
