package jira

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/funnelsec/funnel"
)

// AssignIssueInput is the input of jira.assign_issue.
type AssignIssueInput struct {
	Issue    string `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Assignee string `json:"assignee,omitempty" maxLength:"255" doc:"Who works on it: mail address, account ID (in Data Center login name or user key), or the whole name as Jira shows it. Empty: nobody" example:"funnel@example.com"`
}

// Assigned is the outcome of jira.assign_issue.
type Assigned struct {
	Issue    string `json:"issue" doc:"Key of the issue" example:"SIRT-1"`
	Assignee Person `json:"assignee,omitzero" doc:"Who works on it; absent: nobody"`
	URL      string `json:"url" doc:"Page for people"`
}

// userBean is the part of Jira's user that tells people apart.
type userBean struct {
	person
	EmailAddress string
}

// AssignIssue gives an issue to one person, who has to be assignable in its
// project, or to nobody. A name that fits several people is refused.
func (c *Client) AssignIssue(ctx context.Context, in AssignIssueInput) (Assigned, error) {
	what := "assigning"
	if err := checkIssue(what, in.Issue); err != nil {
		return Assigned{}, err
	}
	what += " " + in.Issue
	out := Assigned{Issue: in.Issue, URL: c.issueURL(in.Issue)}
	var chosen *userBean // nil takes the issue from whoever has it
	if wanted := strings.TrimSpace(in.Assignee); wanted != "" {
		who, err := c.assignable(ctx, what, in.Issue, wanted)
		if err != nil {
			return Assigned{}, err
		}
		chosen, out.Assignee = &who, who.person.person()
	}
	return out, c.do(ctx, call{
		what: what, method: http.MethodPut, path: []string{"issue", in.Issue, "assignee"}, want: http.StatusNoContent,
		body: c.dialect.assignee(chosen),
	})
}

// assignable finds the one person whom the text names exactly; Jira's own search
// takes any part of a name.
func (c *Client) assignable(ctx context.Context, what, issue, text string) (userBean, error) {
	return c.assignableBy(ctx, what, text, c.dialect.assignable(issue, text))
}

func (c *Client) assignableBy(ctx context.Context, what, text string, query url.Values) (userBean, error) {
	var found []userBean
	k := call{what: what, method: http.MethodGet, path: []string{"user", "assignable", "search"}, query: query, want: http.StatusOK, into: &found}
	if err := c.do(ctx, k); err != nil {
		return userBean{}, err
	}
	var exact []userBean
	for _, u := range found {
		if c.dialect.names(u, text) {
			exact = append(exact, u)
		}
	}
	switch {
	case len(exact) == 1:
		return exact[0], nil
	case len(exact) == 0 && len(found) == 1 && found[0].id() != "" && strings.Contains(text, "@") && found[0].EmailAddress == "":
		return found[0], nil // Jira finds by mail addresses that it does not show
	case len(exact) == 0:
		return userBean{}, funnel.Errorf(funnel.Invalid, "%s: the project has no assignable person whom the assignee names exactly; use a mail address or %s", what, c.dialect.accounts())
	}
	return userBean{}, funnel.Errorf(funnel.Invalid, "%s: %d people are named so; use a mail address or %s", what, len(exact), c.dialect.accounts())
}
