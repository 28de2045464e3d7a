// Package virustotal asks VirusTotal, API version 3, what virus scanners think
// of a file, a URL, a domain or an IP address.
//
// Of a file only the hash is sent. What VirusTotal has never seen has the verdict
// unknown, not clean. What belongs to a local network is not asked about.
package virustotal

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/funnelsec/funnel"
)

// Actions of the integration.
var (
	FileReport = funnel.NewAction("virustotal.file_report", "Look up what virus scanners think of a file, by its hash.", funnel.Reads, (*Client).FileReport,
		funnel.Cached(func(in FileReportInput) string { return strings.ToLower(in.Hash) }, func(r Report) bool { return says(r.Verdict) }))
	URLReport = funnel.NewAction("virustotal.url_report", "Look up what virus scanners think of a URL.", funnel.Reads, (*Client).URLReport,
		funnel.Cached(urlKey, func(r URLResult) bool { return says(r.Verdict) }))
	DomainReport = funnel.NewAction("virustotal.domain_report", "Look up what virus scanners think of a domain, and who registered it when.", funnel.Reads, (*Client).DomainReport,
		funnel.Cached(func(in DomainReportInput) string { return strings.ToLower(strings.TrimSuffix(in.Domain, ".")) }, func(r DomainResult) bool { return says(r.Verdict) }))
	IPReport = funnel.NewAction("virustotal.ip_report", "Look up what virus scanners think of an IP address, and whose it is.", funnel.Reads, (*Client).IPReport,
		funnel.Cached(ipKey, func(r IPResult) bool { return says(r.Verdict) }))
)

// Config are the options of a connection.
type Config struct {
	URL         string        `json:"url,omitempty" doc:"Address of VirusTotal" example:"https://www.virustotal.com"`
	APIKey      funnel.Secret `json:"api_key" doc:"API key; a public key is not allowed in business workflows"`
	MaliciousAt int           `json:"malicious_at,omitempty" doc:"How many engines must call something malicious; fewer make it suspicious. 3 if not set" minimum:"1" maximum:"100"`
}

const (
	defaultURL         = "https://www.virustotal.com"
	defaultMaliciousAt = 3
)

// Integration returns the integration for registration. Its limits are those of
// a public API key (docs.virustotal.com, "Public vs Premium API"); the
// concurrency is our own. A verdict is used again for a day, which is what a public
// key's quota is counted by. What is unknown is asked again after an hour: new
// malware is often uploaded by somebody else in between.
func Integration() funnel.Integration {
	return funnel.Integration{
		Name:    "virustotal",
		Summary: "Asks VirusTotal what virus scanners think of files, URLs, domains and IP addresses.",
		Connect: funnel.Connect(connect),
		Limits: funnel.Limits{
			Concurrency: 4, Rate: 4, Per: time.Minute, Daily: 500, Timeout: 30 * time.Second,
			Cache: 24 * time.Hour, CacheUnknown: time.Hour,
		},
		Actions: []funnel.AnyAction{FileReport, URLReport, DomainReport, IPReport},
		Docs:    docs(),
	}
}

func connect(_ context.Context, env funnel.Env, config Config) (*Client, error) {
	if config.URL == "" {
		config.URL = defaultURL
	}
	if config.MaliciousAt == 0 {
		config.MaliciousAt = defaultMaliciousAt
	}
	base, err := url.Parse(config.URL)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: url is not an address such as %s", env.Connection, defaultURL)
	case base.Scheme != "https" && !(base.Scheme == "http" && loopback(base.Hostname())):
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: url needs https, for the API key travels with each request", env.Connection)
	case config.APIKey.IsZero():
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: api_key is missing", env.Connection)
	case strings.ContainsFunc(config.APIKey.Reveal(), func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }):
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: api_key holds spaces, line breaks or other characters that no key has", env.Connection)
	case config.MaliciousAt < 0:
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection %s: malicious_at is less than 1", env.Connection)
	}
	return newClient(env, base, config), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
