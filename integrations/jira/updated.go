package jira

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// IssueUpdate is a change of an issue that somebody else made than Funnel. Its
// texts were written by people: show them as data.
type IssueUpdate struct {
	ID             string        `json:"id" doc:"Numeric ID of the issue" example:"10001"`
	Key            string        `json:"key" doc:"Key of the issue" example:"SIRT-1"`
	Project        string        `json:"project" doc:"Key of the project" example:"SIRT"`
	Summary        string        `json:"summary" doc:"Summary after the change"`
	Status         string        `json:"status,omitempty" doc:"Name of the status after the change" example:"Done"`
	StatusWas      string        `json:"status_was,omitempty" doc:"Name of the status before; absent if the change is not one of the status" example:"To Do"`
	StatusCategory string        `json:"status_category,omitempty" doc:"What the status means: new, indeterminate (in progress), done or undefined" example:"done"`
	Done           bool          `json:"done" doc:"The status means that the work is done"`
	Labels         []string      `json:"labels" doc:"Labels after the change"`
	Reason         string        `json:"reason,omitempty" doc:"Jira's name for the change, such as issue_updated, issue_assigned or issue_closed" example:"issue_generic"`
	Changes        []FieldChange `json:"changes" doc:"The fields that changed, at most 100"`
	By             Person        `json:"by,omitzero" doc:"Who changed it"`
	At             *time.Time    `json:"at,omitempty" doc:"When"`
	URL            string        `json:"url" doc:"Page for people"`
}

// FieldChange is the change of one field, with texts for people and, where the
// field has values with IDs, these too.
type FieldChange struct {
	Field  string `json:"field" doc:"ID of the field, such as status or customfield_10050; Jira Data Center tells the name only, which stands here in lower case" example:"status"`
	Name   string `json:"name" doc:"Name of the field" example:"Status"`
	From   string `json:"from,omitempty" doc:"What it was, cut to 1000 characters" example:"To Do"`
	To     string `json:"to,omitempty" doc:"What it is, cut to 1000 characters" example:"Done"`
	FromID string `json:"from_id,omitempty" doc:"ID of what it was" example:"10000"`
	ToID   string `json:"to_id,omitempty" doc:"ID of what it is" example:"10002"`
}

// Change returns the change of the field with the ID or the name, in any letter
// case.
func (u IssueUpdate) Change(field string) (FieldChange, bool) {
	for _, c := range u.Changes {
		if strings.EqualFold(c.Field, field) || strings.EqualFold(c.Name, field) {
			return c, true
		}
	}
	return FieldChange{}, false
}

// StatusChanged reports whether the issue was moved to another status.
func (u IssueUpdate) StatusChanged() bool { return u.StatusWas != "" }

// maxChanges is how many changed fields an event takes from a webhook.
const maxChanges = 100

// decodeIssueUpdated reads the webhook jira:issue_updated. Its key is that of the
// entry in the issue's history.
func decodeIssueUpdated(req funnel.Request) ([]funnel.Arrival[IssueUpdate], error) {
	body, err := readHook(req, "jira:issue_updated")
	if err != nil {
		return nil, err
	}
	var issue struct {
		hookIssue
		Fields struct {
			Summary string
			Project struct{ Key string }
			Labels  []string
			Status  struct {
				Name           string
				StatusCategory struct{ Key string }
			}
		}
	}
	var log struct {
		ID    json.RawMessage
		Items []changeBean
	}
	if err := readPart(body.Issue, &issue); err != nil {
		return nil, err
	}
	if err := readPart(body.Changelog, &log); err != nil {
		return nil, err
	}
	if err := issue.check(); err != nil {
		return nil, err
	}
	if len(log.Items) == 0 {
		return nil, funnel.Ignored("no field changed; comments are for jira.comment_created")
	}
	f := issue.Fields
	e := IssueUpdate{
		ID: issue.ID, Key: issue.Key, Project: issue.project(f.Project.Key), Summary: shorten(oneLine(f.Summary), maxEventText),
		Status: shorten(oneLine(f.Status.Name), 255), StatusCategory: shorten(oneLine(f.Status.StatusCategory.Key), 60), Done: f.Status.StatusCategory.Key == "done",
		Labels: eventLabels(f.Labels), Reason: shorten(oneLine(body.IssueEventTypeName), 100), Changes: []FieldChange{},
		By: body.User.person(), At: body.at(), URL: pageOf(issue.Self, issue.Key),
	}
	for _, item := range log.Items[:min(len(log.Items), maxChanges)] {
		e.Changes = append(e.Changes, item.change())
	}
	if c, ok := e.Change("status"); ok && (c.FromID != c.ToID || c.From != c.To) {
		e.StatusWas = c.From
	}
	arrival := funnel.Arrival[IssueUpdate]{Scope: "jira.issue_updated:" + req.Connection, Actor: body.User.id(), Event: e}
	if id := loose(log.ID); isID(id) {
		arrival.Key = id
	}
	return []funnel.Arrival[IssueUpdate]{arrival}, nil
}

// changeBean is an item of Jira's changelog. Values are text or null, and of some
// fields other JSON.
type changeBean struct {
	Field, FieldID                 string
	From, FromString, To, ToString json.RawMessage
}

func (b changeBean) change() FieldChange {
	c := FieldChange{
		Field: b.FieldID, Name: shorten(oneLine(b.Field), 255), From: shorten(visible(loose(b.FromString)), maxEventText), To: shorten(visible(loose(b.ToString)), maxEventText),
		FromID: shorten(oneLine(loose(b.From)), 255), ToID: shorten(oneLine(loose(b.To)), 255),
	}
	if c.Field = shorten(oneLine(c.Field), 255); c.Field == "" {
		c.Field = strings.ToLower(c.Name)
	}
	return c
}

// loose returns JSON text as text, null as "" and other JSON as it is.
func loose(raw json.RawMessage) string {
	var text *string
	if json.Unmarshal(raw, &text) != nil {
		return string(raw)
	}
	if text == nil {
		return ""
	}
	return *text
}

func eventLabels(labels []string) []string {
	list := []string{}
	for _, l := range labels[:min(len(labels), maxEventLabels)] {
		list = append(list, shorten(l, 255))
	}
	return list
}
