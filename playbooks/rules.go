package playbooks

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk"
)

// Rule decides about the tickets of the alerts that it fits. What it does not set
// is left to later rules, and then to the alert and the project.
type Rule struct {
	If       Conditions `json:"if,omitzero" doc:"What an alert must be like; a rule without conditions fits every alert"`
	Severity string     `json:"severity,omitempty" enum:"critical,high,medium,low,info" doc:"Severity, instead of the alert's own"`
	Assignee string     `json:"assignee,omitempty" doc:"Who works on a new ticket: mail address, account ID, or the whole name as Jira shows it" example:"soc@example.com"`
	Labels   []string   `json:"labels,omitempty" doc:"Further labels; those of all rules that fit are added"`
}

// Conditions are what an alert must be like, all of them. Each has a list of
// patterns of which one must fit the whole text: "*" stands for any characters,
// "?" for one, and letter case does not matter.
type Conditions struct {
	Source      []string                 `json:"source,omitempty" doc:"Name of the source in this configuration"`
	Search      []string                 `json:"search,omitempty" doc:"Name of the search that fired" example:"[\"*credential dumping*\"]"`
	App         []string                 `json:"app,omitempty" doc:"Splunk app that holds the search"`
	Severity    []string                 `json:"severity,omitempty" doc:"Severity that the alert has itself; empty if it has none" example:"[\"critical\", \"high\"]"`
	Observables map[funnel.Kind][]string `json:"observables,omitempty" doc:"Kind of observable to patterns; an address may also be given as a network such as 10.0.0.0/8"`
	Fields      map[string][]string      `json:"fields,omitempty" doc:"Field of the alert's row to patterns"`
}

// Bounds of what rules may hold.
const (
	maxRules   = 200
	maxPattern = 256 // bytes
)

// checkRules reports what is wrong with configured rules.
func checkRules(rules []Rule) error {
	if len(rules) > maxRules {
		return funnel.Errorf(funnel.Invalid, "rules: at most %d are taken", maxRules)
	}
	for i, rule := range rules {
		if err := rule.check(); err != nil {
			return funnel.Errorf(funnel.Invalid, "rules: number %d: %w", i+1, err)
		}
	}
	return nil
}

func (r Rule) check() error {
	if r.Severity == "" && r.Assignee == "" && len(r.Labels) == 0 {
		return fmt.Errorf("it sets nothing: give it a severity, an assignee or labels")
	}
	if r.Severity != "" && !slices.Contains(severities(), r.Severity) {
		return fmt.Errorf("severity: want one of %s", strings.Join(severities(), ", "))
	}
	for _, named := range r.If.lists() {
		if len(named.patterns) == 0 {
			return fmt.Errorf("%s: the list of patterns is empty, so nothing would fit; leave the condition out", named.name)
		}
		for _, p := range named.patterns {
			if len(p) > maxPattern {
				return fmt.Errorf("%s: a pattern is longer than %d bytes", named.name, maxPattern)
			}
		}
	}
	for kind := range r.If.Observables {
		if !slices.Contains(funnel.Kinds(), kind) {
			return fmt.Errorf("observables: there is no kind %q; the kinds are %s", clip(string(kind), 40), join(funnel.Kinds()))
		}
	}
	return nil
}

func severities() []string { return []string{"critical", "high", "medium", "low", "info"} }

func join(kinds []funnel.Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

type namedList struct {
	name     string
	patterns []string
}

// lists returns the conditions that are there, under their names.
func (c Conditions) lists() []namedList {
	var lists []namedList
	add := func(name string, patterns []string) {
		if patterns != nil {
			lists = append(lists, namedList{name, patterns})
		}
	}
	add("source", c.Source)
	add("search", c.Search)
	add("app", c.App)
	add("severity", c.Severity)
	for kind, patterns := range c.Observables {
		lists = append(lists, namedList{"observables: " + clip(string(kind), 40), patterns})
	}
	for field, patterns := range c.Fields {
		lists = append(lists, namedList{"fields: " + clip(field, 40), patterns})
	}
	return lists
}

// fit reports whether the alert of the source is as the conditions say.
func (c Conditions) fit(source string, e splunk.AlertEvent) bool {
	one := func(patterns []string, text string) bool { return patterns == nil || anyFits(patterns, text) }
	if !one(c.Source, source) || !one(c.Search, e.Search) || !one(c.App, e.App) || !one(c.Severity, e.Severity) {
		return false
	}
	for kind, patterns := range c.Observables {
		if !slices.ContainsFunc(e.Observables.Observables, func(o funnel.Observable) bool {
			return o.Kind == kind && (anyFits(patterns, o.Value) || kind == funnel.IP && anyHolds(patterns, o.Value))
		}) {
			return false
		}
	}
	for field, patterns := range c.Fields {
		if !slices.ContainsFunc(e.Row.Values(field), func(v string) bool { return anyFits(patterns, v) }) {
			return false
		}
	}
	return true
}

// decision is what the rules say about an alert.
type decision struct {
	severity, assignee string
	severityBy         int // number of the rule that set it, 0: the alert itself
	labels             []string
}

// decide asks the rules in their order; the first that sets something has set it.
func decide(rules []Rule, source string, e splunk.AlertEvent) decision {
	d := decision{}
	for i, rule := range rules {
		if !rule.If.fit(source, e) {
			continue
		}
		if d.severity == "" && rule.Severity != "" {
			d.severity, d.severityBy = rule.Severity, i+1
		}
		if d.assignee == "" {
			d.assignee = rule.Assignee
		}
		d.labels = append(d.labels, rule.Labels...)
	}
	if d.severity == "" {
		d.severity = e.Severity
	}
	return d
}

func anyFits(patterns []string, text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(patterns, func(p string) bool { return fits([]rune(strings.ToLower(p)), []rune(text)) })
}

// fits matches a whole text. It goes back only to the last star, so its time is
// at most the product of the lengths.
func fits(pattern, text []rune) bool {
	p, t, star, from := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// anyHolds reports whether one of the patterns is a network with the address.
func anyHolds(patterns []string, address string) bool {
	addr, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(patterns, func(p string) bool {
		network, err := netip.ParsePrefix(p)
		return err == nil && network.Contains(addr.Unmap())
	})
}
