package jira

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"github.com/funnelsec/funnel"
)

// CreateIssueInput is the input of jira.create_issue.
type CreateIssueInput struct {
	Project     string                     `json:"project" doc:"Key of the project" example:"SIRT" pattern:"^[A-Z][A-Z0-9_]+$"`
	IssueType   string                     `json:"issue_type" minLength:"1" doc:"Name of the issue type" example:"Task"`
	Summary     string                     `json:"summary" doc:"One line; cut to 255 characters" example:"Reset the password of jdoe"`
	Description funnel.Document            `json:"description,omitzero" doc:"What it is about"`
	Labels      []string                   `json:"labels,omitempty" doc:"Labels; white space in them becomes a hyphen" example:"[\"follow-up\"]"`
	Priority    string                     `json:"priority,omitempty" doc:"Name of the priority; the project's default if empty" example:"High"`
	Fields      map[string]json.RawMessage `json:"fields,omitempty" doc:"Custom fields by their ID, such as customfield_10050, with values in Jira's own JSON"`
}

// CreatedIssue is the outcome of jira.create_issue.
type CreatedIssue struct {
	ID  string `json:"id" doc:"Numeric ID of the issue" example:"10001"`
	Key string `json:"key" doc:"Key of the issue" example:"SIRT-1"`
	URL string `json:"url" doc:"Page for people"`
}

// CreateIssue creates an issue, each time it is asked to: a ticket that all alerts
// about the same thing share is made by jira.open_ticket. The issue carries the
// effect key as a label and as a property, so that a lost answer makes no second
// one.
func (c *Client) CreateIssue(ctx context.Context, in CreateIssueInput) (CreatedIssue, error) {
	what := "creating an issue"
	switch {
	case !isProject(in.Project):
		return CreatedIssue{}, funnel.Errorf(funnel.Invalid, "%s: project is not the key of a project such as SIRT", what)
	case in.IssueType == "":
		return CreatedIssue{}, funnel.Errorf(funnel.Invalid, "%s: issue_type is empty", what)
	}
	labels, err := plainLabels(what, in.Labels)
	if err != nil {
		return CreatedIssue{}, err
	}
	fields, err := customFields(what, in.Fields)
	if err != nil {
		return CreatedIssue{}, err
	}
	attempt := funnel.AttemptFrom(ctx)
	body := map[string]any{"fields": fields}
	var notes []string
	if attempt.Unproven {
		notes = append(notes, unprovenNote)
	}
	if attempt.Key != "" {
		labels = append([]string{labelOurs, labelEffect + string(attempt.Key)}, labels...)
		body["properties"] = []property{{propertyEffect, effectMark{attempt.Key, attempt.Number}}}
	}
	fields["project"] = map[string]string{"key": in.Project}
	fields["issuetype"] = map[string]string{"name": in.IssueType}
	fields["summary"] = summary(in.Summary)
	if len(in.Description.Blocks) > 0 || len(notes) > 0 {
		fields["description"] = c.dialect.text(in.Description, notes...)
	}
	if len(labels) > 0 {
		fields["labels"] = labels
	}
	if in.Priority != "" {
		fields["priority"] = map[string]string{"name": in.Priority}
	}
	id, key, err := c.createIssue(ctx, what+" in "+in.Project, body)
	if err != nil {
		return CreatedIssue{}, err
	}
	return CreatedIssue{ID: id, Key: key, URL: c.issueURL(key)}, nil
}

// findCreated looks an unsure issue up as a ticket is.
func (c *Client) findCreated(ctx context.Context, key funnel.EffectKey, in CreateIssueInput) (CreatedIssue, bool, error) {
	t, found, err := c.findTicket(ctx, key, OpenTicketInput{Project: in.Project})
	return CreatedIssue{ID: t.ID, Key: t.Key, URL: t.URL}, found, err
}

func (c *Client) createdFresh(ctx context.Context, key funnel.EffectKey, in CreateIssueInput, since time.Time) (bool, error) {
	return c.indexFresh(ctx, key, OpenTicketInput{Project: in.Project}, since)
}

// plainLabels returns labels in the form that Jira takes, each once. Those that
// Funnel itself reads are refused: a copy would be taken for evidence.
func plainLabels(what string, labels []string) ([]string, error) {
	var list []string
	for _, l := range labels {
		l = labelText(l)
		if l == labelOurs || reservedLabel.MatchString(l) {
			return nil, funnel.Errorf(funnel.Invalid, "%s: the label %s and labels such as funnel-fp-… are Funnel's own: choose another", what, labelOurs)
		}
		if l != "" && !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return list, nil
}

var customField = regexp.MustCompile(`^customfield_[0-9]{1,10}$`)

const maxCustom = 64 << 10 // bytes of all custom fields together

// customFields returns the fields as a request takes them.
func customFields(what string, in map[string]json.RawMessage) (map[string]any, error) {
	fields, size := map[string]any{}, 0
	for name, value := range in {
		if !customField.MatchString(name) {
			return nil, funnel.Errorf(funnel.Invalid, "%s: fields has a name that is not the ID of a custom field such as customfield_10050", what)
		}
		fields[name] = value
		size += len(value)
	}
	if size > maxCustom {
		return nil, funnel.Errorf(funnel.Invalid, "%s: fields is larger than %d bytes", what, maxCustom)
	}
	return fields, nil
}
