package jira

import (
	"context"
	"encoding/json"

	"github.com/funnelsec/funnel"
)

// UpdateFieldsInput is the input of jira.update_fields. What is left out stays as
// it is.
type UpdateFieldsInput struct {
	Issue        string                     `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Summary      string                     `json:"summary,omitempty" doc:"One line; cut to 255 characters"`
	Description  *funnel.Document           `json:"description,omitempty" doc:"What it is about; replaces the text that is there"`
	Priority     string                     `json:"priority,omitempty" doc:"Name of the priority" example:"High"`
	AddLabels    []string                   `json:"add_labels,omitempty" doc:"Labels to add; white space in them becomes a hyphen" example:"[\"phishing\"]"`
	RemoveLabels []string                   `json:"remove_labels,omitempty" doc:"Labels to remove"`
	Fields       map[string]json.RawMessage `json:"fields,omitempty" doc:"Custom fields by their ID, such as customfield_10050, with values in Jira's own JSON"`
}

// UpdatedIssue is the outcome of actions that change an issue.
type UpdatedIssue struct {
	Issue string `json:"issue" doc:"Key of the issue" example:"SIRT-1"`
	URL   string `json:"url" doc:"Page for people"`
}

// UpdateFields changes fields of an issue. Labels are added and removed one by
// one, so that labels of others stay.
func (c *Client) UpdateFields(ctx context.Context, in UpdateFieldsInput) (UpdatedIssue, error) {
	what := "changing fields"
	if err := checkIssue(what, in.Issue); err != nil {
		return UpdatedIssue{}, err
	}
	fields, err := customFields(what, in.Fields)
	if err != nil {
		return UpdatedIssue{}, err
	}
	if in.Summary != "" {
		fields["summary"] = summary(in.Summary)
	}
	if in.Description != nil {
		fields["description"] = c.dialect.text(*in.Description)
	}
	if in.Priority != "" {
		fields["priority"] = map[string]string{"name": in.Priority}
	}
	var changes []any
	for _, verb := range []struct {
		name   string
		labels []string
	}{{"add", in.AddLabels}, {"remove", in.RemoveLabels}} {
		labels, err := plainLabels(what, verb.labels)
		if err != nil {
			return UpdatedIssue{}, err
		}
		for _, l := range labels {
			changes = append(changes, map[string]string{verb.name: l})
		}
	}
	body := map[string]any{}
	if len(fields) > 0 {
		body["fields"] = fields
	}
	if len(changes) > 0 {
		body["update"] = map[string]any{"labels": changes}
	}
	if len(body) == 0 {
		return UpdatedIssue{}, funnel.Errorf(funnel.Invalid, "%s of %s: there is nothing to change: give at least one field", what, in.Issue)
	}
	if err := c.editIssue(ctx, what+" of "+in.Issue, in.Issue, body); err != nil {
		return UpdatedIssue{}, err
	}
	return UpdatedIssue{Issue: in.Issue, URL: c.issueURL(in.Issue)}, nil
}
