package playbooks

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/virustotal"
)

// EnrichNetwork comments what the virus scanners think of the URLs, domains and
// public IP addresses that the ticket is about: of its alert, or those that a
// person wrote. A ticket without any gets no comment. What belongs to us is not
// asked about.
var EnrichNetwork = funnel.NewPlaybook("enrich_network", "Comment what the scanners know about URLs, domains and IP addresses.", jira.IssueCreated, enrichNetwork,
	aboutNetwork().tells(), funnel.Settings(NetworkSettings{Most: 10}), funnel.Saves(8*time.Minute))

// NetworkSettings are the options of enrich_network.
type NetworkSettings struct {
	Most int `json:"most,omitempty" doc:"At most so many look-ups for one ticket, 1 to 50; each costs quota" example:"10"`
}

// Validate reports what is wrong with the settings.
func (s NetworkSettings) Validate() error {
	if s.Most < 1 || s.Most > 50 {
		return funnel.Errorf(funnel.Invalid, "most is %d, want 1 to 50", s.Most)
	}
	return nil
}

func aboutNetwork() enrichment {
	return enrichment{name: "enrich_network", title: "Network", asks: func(e jira.IssueEvent) bool {
		wanted, _ := onTheNetwork(e.Observables.Observables)
		return len(wanted) > 0
	}}
}

// seen is what is said of one observable.
type seen struct {
	funnel.Observable
	verdict funnel.Verdict
	about   []string // what else is known, in a few words each
}

func enrichNetwork(r *funnel.Run, e jira.IssueEvent) error {
	wanted, own := onTheNetwork(e.Observables.Observables)
	if len(wanted) == 0 {
		return nil
	}
	settings, err := funnel.SettingsOf(r, NetworkSettings{Most: 10})
	if err != nil {
		return err
	}
	left := max(len(wanted)-settings.Most, 0)
	var list []seen
	err = funnel.Each(r, "look", wanted[:len(wanted)-left], keyOf, func(r *funnel.Run, o funnel.Observable) error {
		s, err := ask(r, o)
		switch {
		case funnel.CodeOf(err) == funnel.Invalid: // this value cannot be looked up; the others can
			s = seen{Observable: o, verdict: funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotAsked}, about: []string{"it cannot be looked up as it is"}}
		case err != nil:
			return err
		case r.Skipped("report"):
			s = seen{Observable: o, verdict: funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotAsked}, about: []string{"a person skipped the look-up"}}
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		return err
	}
	return aboutNetwork().comment(r, e, networkNote(list, left, own)...)
}

// onTheNetwork returns what can be asked about, URLs first, and how many are left
// out because they belong to us or are known to nobody outside.
func onTheNetwork(all []funnel.Observable) (wanted []funnel.Observable, own int) {
	for _, kind := range []funnel.Kind{funnel.URL, funnel.Domain, funnel.IP} {
		for _, o := range all {
			switch {
			case o.Kind != kind:
			case o.Own || isLocal(o):
				own++
			default:
				wanted = append(wanted, o)
			}
		}
	}
	return wanted, own
}

// isLocal reports whether an address is one of a private network, whatever the
// configuration says is ours. What else is not public, the look-up itself says.
func isLocal(o funnel.Observable) bool {
	host := o.Value
	if o.Kind == funnel.URL {
		u, err := url.Parse(o.Value)
		if err != nil {
			return false
		}
		host = u.Hostname()
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified())
}

// keyOf names an observable in a step's path: a URL can be longer than a path.
func keyOf(o funnel.Observable) string {
	return string(o.Kind) + "-" + funnel.Fingerprint(string(o.Kind), o.Value)
}

// ask looks one observable up.
func ask(r *funnel.Run, o funnel.Observable) (seen, error) {
	s := seen{Observable: o}
	switch o.Kind {
	case funnel.URL:
		report, err := funnel.Step(r, "report", virustotal.URLReport, virustotal.URLReportInput{URL: o.Value})
		s.verdict = report.Verdict
		s.add("leads to", differing(report.FinalURL, o.Value))
		s.add("title", report.Title)
		s.add("called", strings.Join(report.Names, ", "))
		s.add("category", strings.Join(report.Categories, ", "))
		return s, err
	case funnel.Domain:
		report, err := funnel.Step(r, "report", virustotal.DomainReport, virustotal.DomainReportInput{Domain: o.Value})
		s.verdict = report.Verdict
		s.since("registered", report.Created)
		s.add("registrar", report.Registrar)
		s.add("category", strings.Join(report.Categories, ", "))
		return s, err
	default:
		report, err := funnel.Step(r, "report", virustotal.IPReport, virustotal.IPReportInput{IP: o.Value})
		s.verdict = report.Verdict
		s.add("network", report.Network)
		s.add("of", report.ASOwner)
		s.add("country", report.Country)
		return s, err
	}
}

func (s *seen) add(name, value string) {
	if value != "" {
		s.about = append(s.about, name+" "+clip(value, 120))
	}
}

func (s *seen) since(name string, at *time.Time) {
	if at != nil {
		s.about = append(s.about, name+" "+at.UTC().Format(time.DateOnly))
	}
}

func differing(value, from string) string {
	if value == from {
		return ""
	}
	return value
}

// networkNote is a table of the verdicts; its title is the worst of them.
func networkNote(list []seen, left, own int) []funnel.Block {
	rows := make([][][]funnel.Inline, len(list))
	worst := funnel.Verdict{}
	for i, s := range list {
		if badness(s.verdict) > badness(worst) {
			worst = s.verdict
		}
		rows[i] = funnel.Row(
			funnel.Item(funnel.Text(string(s.Kind))), funnel.Item(funnel.Fixed(funnel.Data(clip(s.Value, maxValue)))),
			funnel.Item(funnel.Text(verdictText(s.verdict))), funnel.Item(funnel.Data(strings.Join(s.about, "; "))),
		)
	}
	header := funnel.Row(
		funnel.Item(funnel.Text("Kind")), funnel.Item(funnel.Text("Value")), funnel.Item(funnel.Text("VirusTotal")), funnel.Item(funnel.Text("Known")),
	)
	title := "Network: clean"
	switch {
	case badness(worst) > 1:
		title = "Network: " + string(worst.Rating)
	case badness(worst) == 1 || left > 0:
		title = "Network: unknown, nothing is known to be bad"
	}
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text(title)), funnel.Table(header, rows...)}
	var notes []string
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%d more were not looked up: the playbook's limit for one ticket is reached.", left))
	}
	if own > 0 {
		notes = append(notes, fmt.Sprintf("What belongs to us is not asked about: %d.", own))
	}
	if len(notes) > 0 {
		blocks = append(blocks, funnel.Paragraph(funnel.Text(strings.Join(notes, " "))))
	}
	return blocks
}

func badness(v funnel.Verdict) int {
	switch v.Rating {
	case funnel.Malicious:
		return 3
	case funnel.Suspicious:
		return 2
	case funnel.Unknown:
		return 1
	}
	return 0
}
