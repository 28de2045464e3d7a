// Package activedirectory reads users, computers and groups from Microsoft
// Active Directory over LDAP, so that a ticket says who the user of an alert is,
// whom to call and in what state the account is.
//
// It only reads, over verified TLS, with a service account that needs no
// rights beyond those of every user. See README.md for the set-up.
package activedirectory

import (
	"time"

	"github.com/funnelsec/funnel"
)

// Config is what a connection to one domain needs.
type Config struct {
	URL      string        `json:"url" doc:"Address of a domain controller, or of the domain: ldaps://host[:636], or ldap://host[:389] with start_tls" example:"ldaps://dc1.corp.example.com"`
	StartTLS bool          `json:"start_tls,omitempty" doc:"Start TLS on an ldap:// address; there is no connection without TLS"`
	BaseDN   string        `json:"base_dn" doc:"Where to look for users: the domain or a unit in it" example:"DC=corp,DC=example,DC=com"`
	Domain   string        `json:"domain,omitempty" doc:"Short (NetBIOS) name of the domain, as in CORP\\jdoe; the first label of base_dn's domain if empty" example:"CORP"`
	BindName string        `json:"bind_name" doc:"The read-only service account: user principal name, DOMAIN\\name or DN" example:"svc-funnel@corp.example.com"`
	Password funnel.Secret `json:"password" doc:"Its password"`
	CAFile   string        `json:"ca_file,omitempty" doc:"PEM file with the authority that signed the controller's certificate; the system's authorities if neither this nor ca is set"`
	CA       string        `json:"ca,omitempty" doc:"The same as PEM text"`
}

// Actions of the integration.
var (
	LookupUser  = funnel.NewAction("activedirectory.lookup_user", "Look up a user account.", funnel.Reads, (*Client).LookupUser)
	LookupHost  = funnel.NewAction("activedirectory.lookup_host", "Look up a computer.", funnel.Reads, (*Client).LookupHost)
	LookupGroup = funnel.NewAction("activedirectory.lookup_group", "Look up a group with everybody in it.", funnel.Reads, (*Client).LookupGroup)
)

// Integration returns the integration's description.
func Integration() funnel.Integration {
	return funnel.Integration{
		Name:    "activedirectory",
		Summary: "Users, computers and groups of a Microsoft Active Directory domain.",
		Connect: funnel.Connect(Connect),
		Limits:  funnel.Limits{Concurrency: maxIdle, Timeout: 10 * time.Second},
		Actions: []funnel.AnyAction{LookupUser, LookupHost, LookupGroup},
		Docs:    docs(),
	}
}
