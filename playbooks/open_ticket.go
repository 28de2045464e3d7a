package playbooks

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/splunk"
)

// OpenTicketSettings are the settings of open_ticket.
type OpenTicketSettings struct {
	Project   string            `json:"project,omitempty" doc:"Key of the Jira project" example:"SIRT"`
	IssueType string            `json:"issue_type,omitempty" doc:"Name of the issue type" example:"Task"`
	Priority  map[string]string `json:"priority,omitempty" doc:"Severity of the alert to name of the priority in Jira; an empty name leaves the project's default"`
	Labels    []string          `json:"labels,omitempty" doc:"Labels of each ticket, beside Funnel's own"`
	Window    funnel.Duration   `json:"window,omitzero" doc:"How long a ticket stands for repeats of its alert" example:"24h"`
	SplunkURL string            `json:"splunk_url,omitempty" doc:"Address of Splunk for people; only addresses there become links in tickets" example:"https://splunk.example.com"`
	LinkType  string            `json:"link_type,omitempty" doc:"Name of the link from a ticket to the done one that it follows" example:"Relates"`
	Verify    bool              `json:"verify,omitempty" doc:"Act only on an alert whose search job Splunk knows; the source needs a connection"`
	Rules     []Rule            `json:"rules,omitempty" doc:"Severity, assignee and labels by what an alert is like; for each of them the first rule that fits and sets it counts"`
}

// Validate checks the settings that are configured. The others have defaults.
func (s *OpenTicketSettings) Validate() error {
	for severity := range s.Priority {
		if !slices.Contains(severities(), severity) {
			return funnel.Errorf(funnel.Invalid, "priority: a severity is critical, high, medium, low or info")
		}
	}
	if u, err := url.Parse(s.SplunkURL); s.SplunkURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return funnel.Errorf(funnel.Invalid, "splunk_url: want an address such as https://splunk.example.com")
	}
	if s.Window < 0 {
		return funnel.Errorf(funnel.Invalid, "window: want a duration such as 24h")
	}
	return checkRules(s.Rules)
}

// Uses returns what the settings name in Jira.
func (s *OpenTicketSettings) Uses() []funnel.Use {
	uses := []funnel.Use{
		jira.Use("project", jira.UseProject, s.Project), jira.Use("issue_type", jira.UseIssueType, s.IssueType, s.Project),
		jira.Use("link_type", jira.UseLinkType, s.LinkType),
	}
	for _, severity := range severities() {
		uses = append(uses, jira.Use("priority."+severity, jira.UsePriority, s.Priority[severity], s.Project, s.IssueType))
	}
	for i, rule := range s.Rules {
		uses = append(uses, jira.Use(fmt.Sprintf("rules.%d.assignee", i+1), jira.UseAssignee, rule.Assignee, s.Project))
	}
	return uses
}

// openTicketDefaults returns new defaults: the settings of a run are read into
// the map, which must not be shared.
func openTicketDefaults() OpenTicketSettings {
	return OpenTicketSettings{
		Project: "SIRT", IssueType: "Task", Window: funnel.Duration(24 * time.Hour), LinkType: "Relates",
		Priority: map[string]string{"critical": "Highest", "high": "High", "medium": "Medium", "low": "Low", "info": "Lowest"},
	}
}

// OpenTicket opens a ticket for an alert. A repeat within the window is counted in
// a comment of the ticket; a repeat of one that is done opens a new ticket and
// links the two. The settings can ask Splunk first whether it knows the alert. Rules
// of the settings decide about severity, assignee and labels.
var OpenTicket = funnel.NewPlaybook("open_ticket", "Open a ticket for an alert.", splunk.Alert, openTicket,
	funnel.Settings(openTicketDefaults()), funnel.Saves(8*time.Minute))

// maxChain bounds how many done tickets about one thing are followed in a run.
const maxChain = 10

func openTicket(r *funnel.Run, e splunk.AlertEvent) error {
	settings, err := funnel.SettingsOf(r, openTicketDefaults())
	if err != nil {
		return err
	}
	if settings.Verify {
		// A failure is final, visible and a person's to skip: the alert is not lost.
		// While Splunk is down, the step waits like any other.
		if _, err := funnel.Step(r, "verify", splunk.GetJob, splunk.GetJobInput{SID: e.SID, Required: true}); err != nil {
			return err
		}
	}
	decided := decide(settings.Rules, r.Info().Source, e)
	in := jira.OpenTicketInput{
		Project: settings.Project, IssueType: settings.IssueType, Labels: slices.Concat(settings.Labels, decided.labels), Window: settings.Window,
		Priority: settings.Priority[decided.severity], Fingerprint: e.Fingerprint, Observables: e.Observables.Observables,
		Summary: alertSummary(e), Description: alertDescription(e, decided, settings.SplunkURL),
	}
	ticket, err := funnel.Step(r, "ticket", jira.OpenTicket, in)
	for n := 1; err == nil && ticket.Repeat; n++ {
		state, err := funnel.Step(r, nth("state", n), jira.GetIssue, jira.GetIssueInput{Issue: ticket.Key})
		if err != nil {
			return err
		}
		if state.Found && !state.Done || r.Skipped(nth("state", n)) {
			return sayRepeat(r, ticket)
		}
		if n == maxChain {
			return funnel.Errorf(funnel.Conflict, "%d tickets about this alert are done already, the last is %s: open one by hand", n, ticket.Key)
		}
		in.Follows = ticket.Key
		next, err := funnel.Step(r, nth("ticket", n+1), jira.OpenTicket, in)
		if err != nil {
			return err
		}
		if !next.Repeat && next.Key != "" && state.Found { // a deleted ticket cannot be linked
			link := jira.LinkIssuesInput{Type: settings.LinkType, Inward: next.Key, Outward: ticket.Key}
			if _, err := funnel.Step(r, nth("link", n+1), jira.LinkIssues, link); err != nil {
				return err
			}
		}
		ticket = next
	}
	if err != nil || decided.assignee == "" || ticket.Key == "" {
		return err
	}
	_, err = funnel.Step(r, "assign", jira.AssignIssue, jira.AssignIssueInput{Issue: ticket.Key, Assignee: decided.assignee})
	return err
}

func nth(name string, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, n)
}

// sayRepeat counts the repeat in the ticket's living comment. The count is the
// comment's revision, so that a run that comes late does not count backwards.
func sayRepeat(r *funnel.Run, ticket jira.Ticket) error {
	text := fmt.Sprintf("Seen %d times", ticket.Seen)
	if ticket.FirstSeen != nil && ticket.LastSeen != nil {
		text += fmt.Sprintf(", first at %s, last at %s", instant(*ticket.FirstSeen), instant(*ticket.LastSeen))
	}
	_, err := funnel.Step(r, "seen", jira.KeepComment, jira.KeepCommentInput{
		Issue: ticket.Key, Name: "seen", Revision: ticket.Seen,
		Body: funnel.NewDocument(funnel.Paragraph(funnel.Text(text + "."))),
	})
	return err
}

func alertSummary(e splunk.AlertEvent) string {
	summary := e.Search
	if strings.TrimSpace(summary) == "" {
		summary = "Splunk alert"
	}
	if len(e.Observables.Observables) > 0 {
		summary += ": " + e.Observables.Observables[0].Value
	}
	return funnel.Data(clip(summary, 255)).Text
}

// Bounds of a description.
const (
	maxFields = 50
	maxValue  = 500  // characters
	maxRaw    = 4000 // characters
)

func alertDescription(e splunk.AlertEvent, decided decision, splunkURL string) funnel.Document {
	blocks := []funnel.Block{funnel.Paragraph(whatFired(e, decided)...)}
	if e.ResultsLink != "" {
		blocks = append(blocks, funnel.Paragraph(funnel.LinkWithin("Open the search in Splunk", splunkURL, e.ResultsLink)))
	}
	if list := e.Observables.Observables; len(list) > 0 {
		var items [][]funnel.Inline
		for _, o := range list[:min(len(list), maxFields)] {
			item := funnel.Item(funnel.Text(string(o.Kind)+": "), funnel.Fixed(funnel.Data(clip(o.Value, maxValue))))
			switch {
			case o.Own:
				item = append(item, funnel.Text(" (ours)"))
			case o.Field == "text":
				item = append(item, funnel.Text(" (named in the text)"))
			}
			items = append(items, item)
		}
		blocks = append(blocks, funnel.Heading(3, funnel.Text("What can be looked up")), funnel.List(items...))
		blocks = append(blocks, andMore(len(list), "values")...)
	}
	if fields := e.Row.Public(); len(fields) > 0 {
		var rows [][][]funnel.Inline
		for _, f := range fields[:min(len(fields), maxFields)] {
			rows = append(rows, funnel.Row(funnel.Item(funnel.Data(clip(f.Name, maxValue))), funnel.Item(funnel.Data(clip(f.String(), maxValue)))))
		}
		header := funnel.Row(funnel.Item(funnel.Text("Field")), funnel.Item(funnel.Text("Value")))
		blocks = append(blocks, funnel.Heading(3, funnel.Text("Fields")), funnel.Table(header, rows...))
		blocks = append(blocks, andMore(len(fields), "fields")...)
	}
	if raw := e.Row.Get("_raw"); raw != "" {
		blocks = append(blocks, funnel.Heading(3, funnel.Text("Event")), funnel.Preformatted(clip(raw, maxRaw)))
	}
	return funnel.NewDocument(blocks...)
}

// andMore says that a list was cut to maxFields.
func andMore(n int, what string) []funnel.Block {
	if n <= maxFields {
		return nil
	}
	return []funnel.Block{funnel.Paragraph(funnel.Emphasis(funnel.Text(fmt.Sprintf("%d more %s are not shown.", n-maxFields, what))))}
}

// whatFired says which search fired and when.
func whatFired(e splunk.AlertEvent, decided decision) []funnel.Inline {
	text := []funnel.Inline{funnel.Text("A search without a name")}
	if e.Search != "" {
		text = []funnel.Inline{funnel.Text("The search "), funnel.Strong(funnel.Data(clip(e.Search, maxValue)))}
	}
	more := func(before, value string) {
		if value != "" {
			text = append(text, funnel.Text(before), funnel.Data(clip(value, maxValue)))
		}
	}
	more(" of the app ", e.App)
	more(", owned by ", e.Owner)
	text = append(text, funnel.Text(" fired in Splunk. "))
	arrived := "The alert arrived at " + instant(e.Received) + "."
	if e.Read {
		arrived = "The alert never arrived, so Funnel read it from Splunk at " + instant(e.Received) + "."
	}
	if e.Time != nil {
		arrived = "It happened at " + instant(*e.Time) + "; t" + arrived[1:]
	}
	text = append(text, funnel.Text(arrived))
	if e.Gone != "" {
		text = append(text, funnel.Text(fmt.Sprintf(" Its content cannot be shown: %s. It stands for up to %d alerts.", e.Gone, e.Missed)))
	}
	more(" Severity: ", decided.severity)
	if decided.severityBy > 0 && decided.severity != e.Severity {
		was := "; the alert names none"
		if e.Severity != "" {
			was = "; the alert says " + e.Severity
		}
		text = append(text, funnel.Text(fmt.Sprintf(" (rule %d%s)", decided.severityBy, was)))
	}
	return text
}
