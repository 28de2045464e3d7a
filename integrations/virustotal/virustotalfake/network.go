package virustotalfake

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// Votes are how many engines say what.
type Votes struct{ Malicious, Suspicious, Harmless, Undetected int }

// URL is a URL that a server knows.
type URL struct {
	URL      string
	FinalURL string // where redirects lead; the URL itself if empty
	Title    string
	Status   int // with which the site answered; 200 if 0
	Threat   string
	Category string // empty: nobody has categorised it
	Votes
}

// Domain is a domain that a server knows.
type Domain struct {
	Name      string
	Registrar string
	Created   time.Time
	Category  string // empty: nobody has categorised it
	Votes
}

// IP is an IP address that a server knows.
type IP struct {
	IP      string // in its usual form
	Network string
	ASN     int
	ASOwner string
	Country string // two letters
	Votes
}

// DemoURLs returns made-up URLs: phishing behind a redirect, a download that few
// engines dislike, a harmless page, and one that no engine has judged.
func DemoURLs() []URL {
	return []URL{
		{URL: "http://login-update.example.com/invoice?id=417", FinalURL: "https://accounts.login-update.example.com/sign-in", Title: "Sign in to your account", Threat: "Phish.Generic", Category: "phishing", Votes: Votes{14, 2, 60, 15}},
		{URL: "https://files.example.net/tools/remote_helpdesk.exe", Category: "file sharing", Status: 404, Votes: Votes{1, 1, 70, 20}},
		{URL: "https://www.example.org/", Title: "Example Domain", Category: "information technology", Votes: Votes{0, 0, 75, 17}},
		{URL: "https://new.example.net/"},
	}
}

// DemoDomains returns made-up domains, in the order of DemoURLs.
func DemoDomains() []Domain {
	return []Domain{
		{Name: "login-update.example.com", Registrar: "Registrar of the Demo, Inc.", Created: time.Date(2026, 2, 3, 10, 0, 0, 0, time.UTC), Category: "newly registered websites", Votes: Votes{11, 1, 58, 22}},
		{Name: "files.example.net", Registrar: "Registrar of the Demo, Inc.", Created: time.Date(2015, 6, 1, 0, 0, 0, 0, time.UTC), Category: "file sharing", Votes: Votes{1, 0, 68, 23}},
		{Name: "www.example.org", Registrar: "Registrar of the Demo, Inc.", Created: time.Date(1995, 8, 31, 4, 0, 0, 0, time.UTC), Category: "information technology", Votes: Votes{0, 0, 72, 20}},
		{Name: "new.example.net", Registrar: "Registrar of the Demo, Inc."},
	}
}

// DemoIPs returns made-up facts about IP addresses. The bad ones are from a block
// that nobody has used since RFC 7526 but that is not reserved: about reserved
// ones nobody is asked.
func DemoIPs() []IP {
	const owner = "Network of the Demo"
	return []IP{
		{IP: "192.88.99.66", Network: "192.88.99.0/24", ASN: 64_500, ASOwner: owner, Country: "NL", Votes: Votes{17, 1, 50, 24}},
		{IP: "192.88.99.7", Network: "192.88.99.0/24", ASN: 64_500, ASOwner: owner, Country: "NL", Votes: Votes{2, 0, 62, 28}},
		{IP: "8.8.8.8", Network: "8.8.8.0/24", ASN: 15_169, ASOwner: "GOOGLE", Country: "US", Votes: Votes{0, 0, 66, 26}},
		{IP: "2002:c058:6342::1", Network: "2002:c058:6342::/48", ASN: 4_200_000_001, ASOwner: owner, Country: "NL", Votes: Votes{3, 0, 60, 29}},
	}
}

// id is the identifier that a server gives: the URL's SHA-256. A real server
// unifies the URL before.
func (u *URL) id() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(u.URL))) }

// names are what the URL may be asked for by.
func (u *URL) names() []string {
	return []string{u.id(), base64.RawURLEncoding.EncodeToString([]byte(u.URL))}
}

func (u *URL) object(now time.Time) map[string]any {
	final, status := u.FinalURL, u.Status
	if final == "" {
		final = u.URL
	}
	if status == 0 {
		status = 200
	}
	a := u.attributes(now, u.Threat, u.Category)
	a["url"], a["last_final_url"], a["title"], a["last_http_response_code"] = u.URL, final, u.Title, status
	a["first_submission_date"], a["last_submission_date"], a["times_submitted"] = seen(now, 40), seen(now, 2), 3+u.Malicious
	a["threat_names"] = []string{}
	if u.Threat != "" {
		a["threat_names"] = []string{u.Threat}
	}
	return object("url", "urls", u.id(), a)
}

func (d *Domain) object(now time.Time) map[string]any {
	a := d.attributes(now, "malicious", d.Category)
	a["registrar"], a["tld"], a["first_seen_date"] = d.Registrar, d.Name[strings.LastIndex(d.Name, ".")+1:], seen(now, 60)
	if !d.Created.IsZero() {
		a["creation_date"] = d.Created.Unix()
	}
	return object("domain", "domains", d.Name, a)
}

func (i *IP) object(now time.Time) map[string]any {
	a := i.attributes(now, "malicious", "")
	delete(a, "categories") // an address has none
	a["network"], a["asn"], a["as_owner"], a["country"], a["first_seen_date"] = i.Network, i.ASN, i.ASOwner, i.Country, seen(now, 60)
	return object("ip_address", "ip_addresses", i.IP, a)
}

// attributes returns what objects of the three kinds have in common.
func (v Votes) attributes(now time.Time, threat, category string) map[string]any {
	categories := map[string]string{}
	if category != "" {
		categories = map[string]string{"Categoriser A": category, "Categoriser B": category}
	}
	a := map[string]any{
		"reputation": -v.Malicious, "tags": []string{}, "categories": categories, "last_modification_date": seen(now, 1),
		"total_votes":           map[string]int{"harmless": 0, "malicious": v.Malicious / 10},
		"last_analysis_stats":   map[string]int{"malicious": v.Malicious, "suspicious": v.Suspicious, "harmless": v.Harmless, "undetected": v.Undetected, "timeout": 0},
		"last_analysis_results": v.results(threat),
	}
	if v != (Votes{}) {
		a["last_analysis_date"] = seen(now, 1)
	}
	return a
}

// results returns what each of the made-up engines says.
func (v Votes) results(threat string) map[string]any {
	results := map[string]any{}
	for _, vote := range []struct {
		category, result string
		engines          int
	}{{"malicious", threat, v.Malicious}, {"suspicious", "suspicious", v.Suspicious}, {"harmless", "clean", v.Harmless}, {"undetected", "unrated", v.Undetected}} {
		for range vote.engines {
			engine := fmt.Sprintf("Engine%02d", len(results)+1)
			results[engine] = map[string]string{"category": vote.category, "engine_name": engine, "result": vote.result, "method": "blacklist"}
		}
	}
	return results
}

// object wraps attributes as API v3 does.
func object(kind, collection, id string, attributes map[string]any) map[string]any {
	return map[string]any{
		"type": kind, "id": id, "attributes": attributes,
		"links": map[string]string{"self": "https://www.virustotal.com/api/v3/" + collection + "/" + id},
	}
}

// seen returns 09:00 UTC of a day before now, in seconds since 1970.
func seen(now time.Time, daysAgo int) int64 {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -daysAgo).Add(9 * time.Hour).Unix()
}
