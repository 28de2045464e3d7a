package playbooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/splunk"
)

// OpenTicketSettings are the options of the playbook open_ticket.
type OpenTicketSettings struct {
	Project   string            `json:"project,omitempty" doc:"Key of the Jira project; SIRT if not set" example:"SIRT"`
	IssueType string            `json:"issue_type,omitempty" doc:"Name of the issue type; Task if not set" example:"Task"`
	Priority  map[string]string `json:"priority,omitempty" doc:"Name of the priority for each severity (critical, high, medium, low, info)"`
	Labels    []string          `json:"labels,omitempty" doc:"Further labels of each ticket"`
	Window    funnel.Duration   `json:"window,omitzero" doc:"How long an open ticket stands for repeats of its alert; 24h if not set" example:"24h"`
	SplunkURL string            `json:"splunk_url,omitempty" doc:"Address of Splunk's pages; a ticket links only to searches there" example:"https://splunk.example.com:8000"`
}

func openTicketDefaults() OpenTicketSettings {
	return OpenTicketSettings{
		Project: "SIRT", IssueType: "Task", Window: funnel.Duration(24 * time.Hour),
		Priority: map[string]string{"critical": "Highest", "high": "High", "medium": "Medium", "low": "Low", "info": "Lowest"},
	}
}

// OpenTicket opens one ticket for an alert, or counts it on the ticket that is
// open for the same thing.
var OpenTicket = funnel.NewPlaybook("open_ticket", "Open one ticket for an alert.", splunk.Alert, openTicket,
	funnel.Settings(openTicketDefaults()), funnel.Saves(4*time.Minute))

// maxFollowers bounds how many done tickets about the same thing are passed over
// within one window.
const maxFollowers = 20

func openTicket(r *funnel.Run, e splunk.AlertEvent) error {
	settings, err := funnel.SettingsOf(r, openTicketDefaults())
	if err != nil {
		return err
	}
	in := jira.OpenTicketInput{
		Project: settings.Project, IssueType: settings.IssueType, Summary: summary(e), Description: description(e, settings),
		Labels: settings.Labels, Priority: settings.Priority[e.Severity], Fingerprint: e.Fingerprint, Window: settings.Window,
	}
	for n := 1; n <= maxFollowers; n++ {
		ticket, err := funnel.Step(r, numbered("ticket", n), jira.OpenTicket, in)
		if err != nil {
			return err
		}
		if !ticket.Repeat {
			return follow(r, ticket, in.Follows)
		}
		issue, err := funnel.Step(r, numbered("state", n), jira.GetIssue, jira.GetIssueInput{Issue: ticket.Key})
		if err != nil {
			return err
		}
		if issue.Found && !issue.Done {
			return countRepeat(r, ticket)
		}
		in.Follows = ticket.Key // done or gone: the same thing again is a new ticket
	}
	return funnel.Errorf(funnel.Conflict, "%d tickets about the same thing were done within %s: look at the search", maxFollowers, settings.Window)
}

func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, n)
}

// follow links a ticket to the done one that it follows.
func follow(r *funnel.Run, ticket jira.Ticket, followed string) error {
	if followed == "" {
		return nil
	}
	_, err := funnel.Step(r, "link", jira.LinkIssues, jira.LinkIssuesInput{Type: "Relates", Inward: ticket.Key, Outward: followed})
	if funnel.CodeOf(err) == funnel.NotFound || funnel.CodeOf(err) == funnel.Invalid {
		return nil // the older ticket is gone, or the site has no such links: the new ticket stands
	}
	return err
}

// countRepeat says on the ticket how often the thing was seen.
func countRepeat(r *funnel.Run, t jira.Ticket) error {
	text := fmt.Sprintf("Seen %d times", t.Seen)
	if t.FirstSeen != nil {
		text += ", first " + when(*t.FirstSeen)
	}
	if t.LastSeen != nil {
		text += ", last " + when(*t.LastSeen)
	}
	_, err := funnel.Step(r, "seen", jira.KeepComment, jira.KeepCommentInput{
		Issue: t.Key, Name: "seen", Revision: t.Seen, Body: funnel.NewDocument(funnel.Paragraph(funnel.Text(text + "."))),
	})
	return err
}

// summary is the name of the search and what it is about.
func summary(e splunk.AlertEvent) string {
	name := e.Search
	if name == "" {
		name = "Splunk alert"
	}
	var about []string
	for _, kind := range []funnel.Kind{funnel.User, funnel.Host, funnel.IP} {
		if v := e.Observable(kind); v != "" && len(about) < 2 {
			about = append(about, v)
		}
	}
	if len(about) > 0 {
		name += ": " + strings.Join(about, " on ")
	}
	return name
}

const (
	maxRows  = 60
	maxValue = 500
)

// description is what the alert says: all of it as data.
func description(e splunk.AlertEvent, s OpenTicketSettings) funnel.Document {
	what := []funnel.Inline{funnel.Text("Splunk alert "), funnel.Strong(funnel.Data(orNone(e.Search)))}
	if e.Severity != "" {
		what = append(what, funnel.Text(", severity "), funnel.Strong(funnel.Data(e.Severity)))
	}
	at := e.Received
	if e.Time != nil {
		at = *e.Time
	}
	what = append(what, funnel.Text(", "+when(at)+"."))
	blocks := []funnel.Block{funnel.Paragraph(what...)}

	row := e.Row.Public()
	var f facts
	for _, field := range row[:min(len(row), maxRows)] {
		if field.Name != "_raw" {
			f.rows = append(f.rows, funnel.Row(funnel.Item(funnel.Data(cut(field.Name, 100))), funnel.Item(funnel.Data(cut(field.String(), maxValue)))))
		}
	}
	if len(f.rows) > 0 {
		blocks = append(blocks, f.table())
	}
	if len(row) > maxRows {
		blocks = append(blocks, funnel.Paragraph(funnel.Emphasis(funnel.Text(fmt.Sprintf("%d more fields are in Splunk.", len(row)-maxRows)))))
	}
	if raw := e.Row.Get("_raw"); raw != "" {
		blocks = append(blocks, funnel.Preformatted(cut(raw, 2000)))
	}
	if e.ResultsLink != "" {
		blocks = append(blocks, funnel.Paragraph(funnel.LinkWithin("Open the search in Splunk", s.SplunkURL, e.ResultsLink)))
	}
	return funnel.NewDocument(blocks...)
}

func orNone(name string) string {
	if name == "" {
		return "without a name"
	}
	return name
}
