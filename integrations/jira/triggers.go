package jira

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"github.com/funnelsec/funnel"
)

// IssueEvent is an issue that was created. For one that Funnel opened, Alert
// says why and Observables are those of the alert; for one that a person
// created Alert is absent, and Observables are what its summary and description
// name.
type IssueEvent struct {
	ID       string    `json:"id" doc:"Numeric ID of the issue" example:"10001"`
	Key      string    `json:"key" doc:"Key of the issue" example:"SIRT-1"`
	Project  string    `json:"project" doc:"Key of the project" example:"SIRT"`
	Summary  string    `json:"summary" doc:"Summary"`
	Creator  Person    `json:"creator,omitzero" doc:"Who created it; absent if Funnel opened it"`
	Reporter Person    `json:"reporter,omitzero" doc:"Who is named as its reporter"`
	Labels   []string  `json:"labels" doc:"Labels"`
	URL      string    `json:"url" doc:"Page for people"`
	Alert    *AlertRef `json:"alert,omitempty" doc:"The alert that Funnel opened the issue for"`
	funnel.Observables
}

// AlertRef names the alert behind an issue.
type AlertRef struct {
	funnel.Origin
	Search string `json:"search,omitempty" doc:"Name of the search that raised the alert"`
	SID    string `json:"sid,omitempty" doc:"ID of the search job that raised it"`
}

// issueScope is what the IDs of created issues are unique in: the connection.
func issueScope(connection string) string { return "jira.issue_created:" + connection }

// issueKey is the de-duplication key of the event that an issue was created. The
// intake joins an arrival's scope and key by a colon, so the webhook about our
// own issue has the key of the event that opening it was.
func issueKey(connection, id string) string { return issueScope(connection) + ":" + id }

func ticketKey(connection string, t Ticket) string { return issueKey(connection, t.ID) }

// ticketEvent is the event that a ticket was opened. What there is to look up is
// taken from the alert's event itself, never from the text of the issue.
func ticketEvent(origin funnel.Origin, in OpenTicketInput, t Ticket) IssueEvent {
	var alert struct {
		Search string `json:"search"`
		SID    string `json:"sid"`
		funnel.Observables
	}
	if json.Unmarshal(origin.Data, &alert) != nil { // an event without these, from another trigger
		alert.Search, alert.SID, alert.Observables.Observables = "", "", nil
	}
	labels, err := ticketLabels(in)
	if err != nil {
		labels = nil
	}
	e := IssueEvent{
		ID: t.ID, Key: t.Key, Project: t.Project, Summary: summary(in.Summary), Labels: labels, URL: t.URL,
		Alert: &AlertRef{Origin: origin, Search: alert.Search, SID: alert.SID}, Observables: alert.Observables,
	}
	if e.Observables.Observables == nil {
		e.Observables.Observables = []funnel.Observable{}
	}
	return e
}

var effectLabel = regexp.MustCompile(`^funnel-([a-z2-7]{26})$`)

// Bounds of what an event takes from a webhook.
const (
	maxEventLabels = 200
	maxEventText   = 1000
)

// decodeIssueCreated reads the webhook jira:issue_created
// (developer.atlassian.com/cloud/jira/platform/webhooks). Its body has the shape
// of REST API version 2; only what never differs between versions is read.
//
// An issue with the label of an effect key is evidence that the effect was made.
// Labels can be copied, so the intake believes it only of our own account.
func decodeIssueCreated(req funnel.Request) ([]funnel.Arrival[IssueEvent], error) {
	var issue struct {
		hookIssue
		Fields struct {
			Summary           string
			Description       json.RawMessage // wiki markup, or a document
			Project           struct{ Key string }
			Labels            []string
			Creator, Reporter person
		}
	}
	body, err := readHook(req, "jira:issue_created")
	if err == nil {
		err = readPart(body.Issue, &issue)
	}
	if err == nil {
		err = issue.check()
	}
	if err != nil {
		return nil, err
	}
	creator := issue.Fields.Creator
	if creator.id() == "" {
		creator = body.User // who caused the event: the same for this one
	}
	project := issue.project(issue.Fields.Project.Key)
	e := IssueEvent{
		ID: issue.ID, Key: issue.Key, Project: project, Summary: shorten(oneLine(issue.Fields.Summary), maxEventText),
		Creator: creator.person(), Reporter: issue.Fields.Reporter.person(),
		Labels: eventLabels(issue.Fields.Labels), URL: pageOf(issue.Self, issue.Key),
	}
	e.Observables.Observables = []funnel.Observable{}
	arrival := funnel.Arrival[IssueEvent]{Scope: issueScope(req.Connection), Key: issue.ID, Actor: creator.id()}
	for _, l := range issue.Fields.Labels {
		if m := effectLabel.FindStringSubmatch(l); m != nil && arrival.Evidence == nil {
			arrival.Evidence = &funnel.Evidence{
				Key: funnel.EffectKey(m[1]), Actor: creator.id(), Scope: project,
				Outcome: Ticket{ID: issue.ID, Key: issue.Key, Project: project, URL: e.URL, Seen: 1},
			}
		}
	}
	if arrival.Evidence != nil && req.Account == "" {
		return nil, funnel.ErrAccountUnknown
	}
	if arrival.Evidence == nil { // of our own ticket the alert says what there is
		arrival.Text = issue.Fields.Summary + "\n" + writtenText(issue.Fields.Description)
	}
	arrival.Event = e
	return []funnel.Arrival[IssueEvent]{arrival}, nil
}

// pageOf returns the page for people of an issue whose REST address is known, ""
// if that is none.
func pageOf(self, key string) string {
	site, _, found := strings.Cut(self, "/rest/api/")
	u, err := url.Parse(site)
	if !found || err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.JoinPath("browse", key).String()
}
