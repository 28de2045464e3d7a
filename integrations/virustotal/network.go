package virustotal

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// DomainReportInput is the input of virustotal.domain_report.
type DomainReportInput struct {
	Domain string `json:"domain" doc:"Domain or host name, in ASCII" example:"www.example.org" minLength:"3" maxLength:"254"`
}

// DomainResult is what VirusTotal knows about a domain. Its texts were written by
// strangers: show them as data.
type DomainResult struct {
	Domain  string         `json:"domain" doc:"The domain that was asked for, in lower case"`
	Found   bool           `json:"found" doc:"Whether VirusTotal knows the domain"`
	Verdict funnel.Verdict `json:"verdict" doc:"The engines' votes in one word"`
	Votes
	Asked      *time.Time `json:"asked,omitempty" doc:"When VirusTotal was asked; runs share an answer. Absent: it was not"`
	Registrar  string     `json:"registrar,omitempty" doc:"Where the domain was registered"`
	Created    *time.Time `json:"created,omitempty" doc:"When the domain was registered"`
	Categories []string   `json:"categories,omitempty" doc:"What categorisers say the domain is for, at most ten"`
	FirstSeen  *time.Time `json:"first_seen,omitempty" doc:"When VirusTotal first saw the domain"`
	LastChange *time.Time `json:"last_change,omitempty" doc:"When VirusTotal last learned something about the domain"`
	Permalink  string     `json:"permalink,omitempty" doc:"Page for people at VirusTotal"`
}

// DomainReport looks a domain up. One that VirusTotal does not know is an answer,
// not an error; about names of local networks it is not asked.
func (c *Client) DomainReport(ctx context.Context, in DomainReportInput) (DomainResult, error) {
	name, err := domainName(in.Domain)
	if err != nil {
		return DomainResult{}, err
	}
	if what := private(name); what != "" {
		return DomainResult{Domain: name, Verdict: notAsked(what)}, nil
	}
	asked := c.now()
	var answer object[domainAttributes]
	found, err := c.get(ctx, &answer, "api/v3/domains", name)
	switch {
	case err != nil:
		return DomainResult{}, err
	case !found:
		return DomainResult{Domain: name, Asked: asked, Verdict: neverSeen("domain")}, nil
	case answer.Data.Type != "domain":
		return DomainResult{}, unreadable("is not the report of a domain")
	case !strings.EqualFold(answer.Data.ID, name):
		return DomainResult{}, unreadable("is about another domain than the one asked for")
	}
	a := answer.Data.Attributes
	votes, verdict, err := c.judge("domain", a.judged)
	if err != nil {
		return DomainResult{}, err
	}
	return DomainResult{
		Domain: name, Found: true, Asked: asked, Verdict: verdict, Votes: votes, Permalink: pages + "domain/" + name,
		Registrar: short(a.Registrar), Created: instant(a.Created), Categories: opinions(a.Categories),
		FirstSeen: instant(a.First), LastChange: instant(a.Changed),
	}, nil
}

// domainAttributes is the part of a domain object that is read
// (docs.virustotal.com/reference/domains-object). Times are seconds since 1970.
type domainAttributes struct {
	judged
	Registrar  string            `json:"registrar"`
	Created    int64             `json:"creation_date"`
	Categories map[string]string `json:"categories"` // by partner
	First      int64             `json:"first_seen_date"`
	Changed    int64             `json:"last_modification_date"`
}

// IPReportInput is the input of virustotal.ip_report.
type IPReportInput struct {
	IP string `json:"ip" doc:"IPv4 or IPv6 address" example:"8.8.8.8" minLength:"2" maxLength:"45"`
}

// IPResult is what VirusTotal knows about an IP address. Its texts were written
// by strangers: show them as data.
type IPResult struct {
	IP      string         `json:"ip" doc:"The address that was asked for, in its usual form"`
	Found   bool           `json:"found" doc:"Whether VirusTotal knows the address"`
	Verdict funnel.Verdict `json:"verdict" doc:"The engines' votes in one word"`
	Votes
	Asked      *time.Time `json:"asked,omitempty" doc:"When VirusTotal was asked; runs share an answer. Absent: it was not"`
	Network    string     `json:"network,omitempty" doc:"The block that holds the address" example:"8.8.8.0/24"`
	ASN        int64      `json:"asn,omitempty" doc:"Number of the autonomous system that announces it" example:"15169"`
	ASOwner    string     `json:"as_owner,omitempty" doc:"Who runs that autonomous system" example:"GOOGLE"`
	Country    string     `json:"country,omitempty" doc:"Country, two letters (ISO 3166)" example:"US"`
	FirstSeen  *time.Time `json:"first_seen,omitempty" doc:"When VirusTotal first saw the address"`
	LastChange *time.Time `json:"last_change,omitempty" doc:"When VirusTotal last learned something about the address"`
	Permalink  string     `json:"permalink,omitempty" doc:"Page for people at VirusTotal"`
}

// IPReport looks an IP address up. One that VirusTotal does not know is an
// answer, not an error; about private, loopback, link-local, multicast and
// reserved addresses it is not asked.
func (c *Client) IPReport(ctx context.Context, in IPReportInput) (IPResult, error) {
	ip, err := address(in.IP)
	if err != nil {
		return IPResult{}, err
	}
	text := ip.String()
	if what := special(ip); what != "" {
		return IPResult{IP: text, Verdict: notAsked(what)}, nil
	}
	asked := c.now()
	var answer object[ipAttributes]
	found, err := c.get(ctx, &answer, "api/v3/ip_addresses", text)
	switch {
	case err != nil:
		return IPResult{}, err
	case !found:
		return IPResult{IP: text, Asked: asked, Verdict: neverSeen("address")}, nil
	case answer.Data.Type != "ip_address":
		return IPResult{}, unreadable("is not the report of an IP address")
	}
	a := answer.Data.Attributes
	if theirs, err := netip.ParseAddr(answer.Data.ID); err != nil || theirs.Unmap() != ip {
		return IPResult{}, unreadable("is about another IP address than the one asked for")
	}
	if a.ASN < 0 || a.ASN > 1<<32-1 {
		return IPResult{}, unreadable("names an autonomous system by a number that cannot be")
	}
	votes, verdict, err := c.judge("address", a.judged)
	if err != nil {
		return IPResult{}, err
	}
	result := IPResult{
		IP: text, Found: true, Asked: asked, Verdict: verdict, Votes: votes, Permalink: pages + "ip-address/" + text,
		ASN: a.ASN, ASOwner: short(a.ASOwner), FirstSeen: instant(a.First), LastChange: instant(a.Changed),
	}
	if network, err := netip.ParsePrefix(a.Network); err == nil && network.Contains(ip) { // anything else is no fact about this address
		result.Network = network.String()
	}
	if len(a.Country) == 2 && strings.Trim(a.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		result.Country = a.Country
	}
	return result, nil
}

// ipAttributes is the part of an IP address object that is read
// (docs.virustotal.com/reference/ip-object). Times are seconds since 1970.
type ipAttributes struct {
	judged
	Network string `json:"network"`
	ASN     int64  `json:"asn"`
	ASOwner string `json:"as_owner"`
	Country string `json:"country"`
	First   int64  `json:"first_seen_date"`
	Changed int64  `json:"last_modification_date"`
}
