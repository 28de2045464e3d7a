package playbooks

import (
	"fmt"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/virustotal"
)

func observable(kind funnel.Kind, value string) funnel.Observable {
	return funnel.Observable{Kind: kind, Value: value}
}

// networked are answers of all three look-ups; each rates as wanted.
func networked(rating funnel.Rating) funneltest.Answers {
	v := funnel.Verdict{Rating: rating, Score: 9, Total: 70, Source: "VirusTotal"}
	return funneltest.Answers{
		"virustotal.url_report": funneltest.Always(virustotal.URLResult{
			Found: true, Verdict: v, FinalURL: "https://end.example.net/", Title: "[~admin] http://x.test/\u202e", Categories: []string{"phishing"},
		}),
		"virustotal.domain_report": funneltest.Always(virustotal.DomainResult{Found: true, Verdict: v, Registrar: "R", Created: at("2026-02-03T10:00:00Z")}),
		"virustotal.ip_report":     funneltest.Always(virustotal.IPResult{Found: true, Verdict: v, Network: "192.0.2.0/24", ASOwner: "O", Country: "NL"}),
		"jira.keep_comment":        funneltest.Always(jira.Comment{ID: "1"}),
	}
}

func TestEnrichNetwork(t *testing.T) {
	t.Parallel()
	event := created(
		observable(funnel.IP, "10.20.1.2"), observable(funnel.IP, "192.88.99.66"), observable(funnel.Domain, "a.example.net"), user("jdoe"),
		observable(funnel.URL, "http://a.example.net/x?y=1"), observable(funnel.URL, "http://10.1.1.1/"),
	)
	ours := observable(funnel.Domain, "corp.example.com")
	ours.Own = true
	event.Observables.Observables = append(event.Observables.Observables, ours)
	r := funneltest.Run(t, EnrichNetwork, event, networked(funnel.Suspicious))
	if paths := r.Paths(); len(paths) != 4 || !strings.HasPrefix(paths[0], "look/url-") || !strings.HasPrefix(paths[1], "look/domain-") || !strings.HasPrefix(paths[2], "look/ip-") {
		t.Fatalf("steps %v", paths)
	}
	wantText(t, "the comment", comment(t, r, "enrich_network"), `
Network: suspicious

Kind | Value | VirusTotal | Known
url | hxxp://a[.]example[.]net/x?y=1 | suspicious (9 of 70) | leads to hxxps://end[.]example[.]net/; title [~admin] hxxp://x[.]test/; category phishing
domain | a.example.net | suspicious (9 of 70) | registered 2026-02-03; registrar R
ip | 192.88.99.66 | suspicious (9 of 70) | network 192.0.2.0/24; of O; country NL

What belongs to us is not asked about: 3.
`)
}

// Unknown is not clean, in the title too; and nothing to ask about is no comment.
func TestEnrichNetworkTitles(t *testing.T) {
	t.Parallel()
	ip := observable(funnel.IP, "192.88.99.66")
	for rating, want := range map[funnel.Rating]string{
		funnel.Malicious: "Network: malicious", funnel.Clean: "Network: clean", funnel.Unknown: "Network: unknown, nothing is known to be bad",
	} {
		r := funneltest.Run(t, EnrichNetwork, created(ip), networked(rating))
		if got, _, _ := strings.Cut(comment(t, r, "enrich_network").String(), "\n"); got != want {
			t.Errorf("%s: title %q, want %q", rating, got, want)
		}
	}
	mixed := networked(funnel.Clean)
	mixed["virustotal.url_report"] = funneltest.Fails(funnel.Invalid, "url has no host")
	r := funneltest.Run(t, EnrichNetwork, created(ip, observable(funnel.URL, "nonsense")), mixed)
	got := comment(t, r, "enrich_network").String()
	if !strings.HasPrefix(got, "Network: unknown") || !strings.Contains(got, "unknown (not asked) | it cannot be looked up as it is") {
		t.Errorf("with a value that cannot be looked up:\n%s", got)
	}
	for _, event := range []jira.IssueEvent{created(), created(user("jdoe"), hash()), created(observable(funnel.IP, "10.0.0.1"), observable(funnel.IP, "fe80::1"))} {
		wantPaths(t, funneltest.Run(t, EnrichNetwork, event, nil), "")
	}
	failed := networked(funnel.Clean)
	failed["virustotal.ip_report"] = funneltest.Fails(funnel.Unauthorized, "the key is wrong")
	if r := funneltest.Run(t, EnrichNetwork, created(ip), failed); funnel.CodeOf(r.Err) != funnel.Unauthorized || len(r.Calls) != 1 {
		t.Errorf("error %v, steps %v", r.Err, r.Paths())
	}
}

// No ticket uses up the quota of all others.
func TestEnrichNetworkLimit(t *testing.T) {
	t.Parallel()
	var many []funnel.Observable
	for i := range 30 {
		many = append(many, observable(funnel.IP, fmt.Sprintf("192.88.99.%d", i+1)))
	}
	r := funneltest.Run(t, EnrichNetwork, created(many...), networked(funnel.Clean), funneltest.WithSettings(`{"most":3}`))
	if got := comment(t, r, "enrich_network").String(); len(r.Calls) != 4 || !strings.Contains(got, "27 more were not looked up") || !strings.HasPrefix(got, "Network: unknown") {
		t.Errorf("%d steps:\n%s", len(r.Calls), got)
	}
	for settings, ok := range map[string]bool{`{"most":0}`: false, `{"most":51}`: false, `{"most":50}`: true, `{"least":1}`: false} {
		if err := EnrichNetwork.CheckSettings([]byte(settings)); (err == nil) != ok {
			t.Errorf("settings %s: %v", settings, err)
		}
	}
}
