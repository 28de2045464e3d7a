package playbooks

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/jira"
)

// TestRules tries one rule at a time on the alert of TestOpenTicket, which has the
// severity high.
func TestRules(t *testing.T) {
	t.Parallel()
	for condition, fit := range map[string]bool{
		`{}`:                                                 true,
		`{"search":["*dumping*"]}`:                           true,
		`{"search":["DUMPING"]}`:                             false, // the whole text
		`{"search":["x","mockscan: ?red*tool"]}`:             true,
		`{"source":["splunk-emea"]}`:                         true,
		`{"source":["splunk"]}`:                              false,
		`{"app":["search"],"search":["*"]}`:                  true,
		`{"app":["other"],"search":["*"]}`:                   false, // all of them
		`{"severity":["critical","high"]}`:                   true,
		`{"severity":["low"]}`:                               false,
		`{"observables":{"user":["corp\\jd*"]}}`:             true,
		`{"observables":{"host":["*"]}}`:                     false, // it has none
		`{"observables":{"ip":["10.0.0.0/8"]}}`:              true,
		`{"observables":{"ip":["*10.1.2.?"]}}`:               true,
		`{"observables":{"ip":["11.0.0.0/8"]}}`:              false,
		`{"fields":{"user":["j.doe"]}}`:                      true, // any of its values
		`{"fields":{"User":["j.doe"]}}`:                      false,
		`{"fields":{"file_hash":["44*"],"user":["nobody"]}}`: false,
	} {
		e := alert()
		e.Observables.Observables = append(e.Observables.Observables, funnel.Observable{Kind: funnel.IP, Value: "::ffff:10.1.2.3"})
		r := funneltest.Run(t, OpenTicket, e, answersOfRules(), funneltest.WithInfo(funnel.RunInfo{Source: "splunk-emea"}),
			funneltest.WithSettings(`{"rules":[{"if":`+condition+`,"severity":"critical"}]}`))
		want := map[bool]string{true: "Highest", false: "High"}[fit]
		if in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket"); in.Priority != want {
			t.Errorf("%s: priority %q, want %q", condition, in.Priority, want)
		}
	}
}

func answersOfRules() funneltest.Answers {
	return funneltest.Answers{
		"jira.open_ticket":  funneltest.Always(jira.Ticket{Key: "SIRT-1", Seen: 1}),
		"jira.assign_issue": funneltest.Always(jira.Assigned{Issue: "SIRT-1"}),
	}
}

// TestRulesInTurn: of each thing the first rule that sets it counts, and labels add up.
func TestRulesInTurn(t *testing.T) {
	t.Parallel()
	r := funneltest.Run(t, OpenTicket, alert(), answersOfRules(), funneltest.WithSettings(`{"labels":["soc"],"rules":[
		{"if":{"search":["nothing"]},"severity":"info","assignee":"nobody@example.com","labels":["never"]},
		{"if":{"observables":{"user":["*jdoe"]}},"severity":"critical","labels":["vip"]},
		{"if":{"search":["*"]},"severity":"low","assignee":"soc@example.com","labels":["mockscan"]},
		{"assignee":"later@example.com"}]}`))
	wantPaths(t, r, "ticket assign")
	in := funneltest.Input[jira.OpenTicketInput](t, r, "ticket")
	if in.Priority != "Highest" || fmt.Sprint(in.Labels) != "[soc vip mockscan]" {
		t.Errorf("priority %q, labels %v", in.Priority, in.Labels)
	}
	if text := in.Description.String(); !strings.Contains(text, "Severity: critical (rule 2; the alert says high)") {
		t.Errorf("the description does not say who decided about the severity:\n%s", text)
	}
	if in := funneltest.Input[jira.AssignIssueInput](t, r, "assign"); in.Issue != "SIRT-1" || in.Assignee != "soc@example.com" {
		t.Errorf("assigned %+v", in)
	}
}

// TestRepeatIsNotAssigned: who took a ticket over keeps it when the alert comes again.
func TestRepeatIsNotAssigned(t *testing.T) {
	t.Parallel()
	answers := answersOfRules()
	answers["jira.open_ticket"] = funneltest.Always(jira.Ticket{Key: "SIRT-1", Seen: 2, Repeat: true})
	answers["jira.get_issue"] = funneltest.Always(jira.Issue{Found: true, Key: "SIRT-1"})
	answers["jira.keep_comment"] = funneltest.Always(jira.Comment{ID: "1"})
	r := funneltest.Run(t, OpenTicket, alert(), answers, funneltest.WithSettings(`{"rules":[{"assignee":"soc@example.com"}]}`))
	wantPaths(t, r, "ticket state seen")
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		`{"severity":"urgent"}`:                                                   "rules: number 1: severity: want one of critical, high, medium, low, info",
		`{"if":{"search":["x"]}}`:                                                 "it sets nothing",
		`{"severity":"low","if":{"search":[]}}`:                                   "search: the list of patterns is empty",
		`{"severity":"low","if":{"observables":{"usr":["x"]}}}`:                   `there is no kind "usr"`,
		`{"severity":"low","if":{"fields":{"user":[]}}}`:                          "fields: user: the list of patterns is empty",
		`{"severity":"low","if":{"serach":["x"]}}`:                                "serach",
		`{"severity":"low","if":{"search":"x"}}`:                                  "search",
		`{"severity":"low","if":{"search":["` + strings.Repeat("x", 257) + `"]}}`: "longer than 256 bytes",
	} {
		if err := OpenTicket.CheckSettings([]byte(`{"rules":[` + rule + `]}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("rule %s: %v, want %q", rule, err, want)
		}
	}
	if err := OpenTicket.CheckSettings([]byte(`{"rules":[{"if":{"search":["*"]},"severity":"low"},{"assignee":"x"},{"labels":["y"]}]}`)); err != nil {
		t.Error(err)
	}
}

// TestPattern compares with the matcher of the standard library, on texts that
// mean nothing special to it.
func TestPattern(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern, text := rapid.StringMatching(`[ab*?]{0,12}`).Draw(t, "pattern"), rapid.StringMatching(`[abAB]{0,16}`).Draw(t, "text")
		want, err := path.Match(pattern, strings.ToLower(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := anyFits([]string{pattern}, text); got != want {
			t.Errorf("pattern %q on %q: %v, want %v", pattern, text, got, want)
		}
	})
}
