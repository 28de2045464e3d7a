package jira

import (
	"context"
	"net/http"
	"strings"

	"github.com/funnelsec/funnel"
)

// TransitionIssueInput is the input of jira.transition_issue.
type TransitionIssueInput struct {
	Issue string `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	To    string `json:"to" minLength:"1" maxLength:"255" doc:"Name of the status to reach, or of the transition, in any letter case. Prefer the status: a transition's name does not tell afterwards whether it was made" example:"In Progress"`
}

// Transitioned is the outcome of jira.transition_issue.
type Transitioned struct {
	Issue  string `json:"issue" doc:"Key of the issue" example:"SIRT-1"`
	Status string `json:"status" doc:"Name of the status that it has now" example:"In Progress"`
	Was    string `json:"was,omitempty" doc:"Name of the status before; absent if it had the status already"`
	URL    string `json:"url" doc:"Page for people"`
}

// transitionBean is the part of Jira's transition that is read.
type transitionBean struct {
	ID   string
	Name string
	To   struct{ Name string }
}

// TransitionIssue moves an issue to a status. Which transitions there are depends
// on the status and on the account's rights, so they are asked for each time. An
// issue that has the status already is left alone.
func (c *Client) TransitionIssue(ctx context.Context, in TransitionIssueInput) (Transitioned, error) {
	what := "moving"
	if err := checkIssue(what, in.Issue); err != nil {
		return Transitioned{}, err
	}
	return c.move(ctx, what+" "+in.Issue, in, "")
}

// move makes the transition, and sets the resolution on the way if there is one.
func (c *Client) move(ctx context.Context, what string, in TransitionIssueInput, resolution string) (Transitioned, error) {
	bean, err := c.readIssue(ctx, what, in.Issue, []string{"status"})
	if err != nil {
		return Transitioned{}, err
	}
	now := bean.Fields.Status.Name
	if strings.EqualFold(now, in.To) {
		return c.transitioned(in, now, ""), nil
	}
	all, err := c.readTransitions(ctx, what, in.Issue)
	if err != nil {
		return Transitioned{}, err
	}
	chosen, ok := choose(all, in.To)
	if !ok {
		return Transitioned{}, funnel.Errorf(funnel.Conflict, "%s: from its present status there is no way to the one that is wanted, or the account may not take it; there is %s", what, ways(all))
	}
	body := map[string]any{"transition": map[string]string{"id": chosen.ID}}
	if resolution != "" {
		body["fields"] = map[string]any{"resolution": map[string]string{"name": resolution}}
	}
	err = c.do(ctx, call{what: what, method: http.MethodPost, path: []string{"issue", in.Issue, "transitions"}, want: http.StatusNoContent, body: body})
	if err != nil {
		return Transitioned{}, err
	}
	return c.transitioned(in, chosen.To.Name, now), nil
}

func (c *Client) transitioned(in TransitionIssueInput, status, was string) Transitioned {
	return Transitioned{Issue: in.Issue, Status: shorten(oneLine(status), 255), Was: shorten(oneLine(was), 255), URL: c.issueURL(in.Issue)}
}

// findTransitioned reads the status, which is the truth and no index.
func (c *Client) findTransitioned(ctx context.Context, _ funnel.EffectKey, in TransitionIssueInput) (Transitioned, bool, error) {
	bean, err := c.readIssue(ctx, "reading the status of "+in.Issue, in.Issue, []string{"status"})
	if err != nil || !strings.EqualFold(bean.Fields.Status.Name, in.To) {
		return Transitioned{}, false, err
	}
	return c.transitioned(in, bean.Fields.Status.Name, ""), true, nil
}

func (c *Client) readTransitions(ctx context.Context, what, issue string) ([]transitionBean, error) {
	var page struct{ Transitions []transitionBean }
	k := call{what: what, method: http.MethodGet, path: []string{"issue", issue, "transitions"}, want: http.StatusOK, into: &page}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	if page.Transitions == nil {
		return nil, k.unreadable("it has no transitions")
	}
	for _, t := range page.Transitions {
		if !isID(t.ID) {
			return nil, k.unreadable("a transition has no id")
		}
	}
	return page.Transitions, nil
}

// choose returns the transition that leads to the status of the name, else the
// one of the name.
func choose(all []transitionBean, to string) (transitionBean, bool) {
	for _, t := range all {
		if strings.EqualFold(t.To.Name, to) {
			return t, true
		}
	}
	for _, t := range all {
		if strings.EqualFold(t.Name, to) {
			return t, true
		}
	}
	return transitionBean{}, false
}

// ways names where an issue can go.
func ways(all []transitionBean) string {
	if len(all) == 0 {
		return "none at all"
	}
	var names []string
	for _, t := range all[:min(len(all), 20)] {
		names = append(names, shorten(oneLine(t.To.Name), 60))
	}
	return "a way to " + strings.Join(names, ", ")
}
