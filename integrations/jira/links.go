package jira

import (
	"context"
	"strings"

	"github.com/funnelsec/funnel"
)

// LinkIssuesInput is the input of jira.link_issues. Mind Jira's names: with the
// type Blocks, the inward issue blocks the outward issue.
type LinkIssuesInput struct {
	Type    string `json:"type" doc:"Name of the link type" example:"Relates"`
	Inward  string `json:"inward" doc:"Key of the issue that the link leads from" example:"SIRT-2" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Outward string `json:"outward" doc:"Key of the issue that the link leads to" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
}

// Link is the outcome of jira.link_issues.
type Link struct {
	Type    string `json:"type" doc:"Name of the link type"`
	Inward  string `json:"inward" doc:"Key of the issue that the link leads from"`
	Outward string `json:"outward" doc:"Key of the issue that the link leads to"`
	Existed bool   `json:"existed" doc:"The issues were linked so already"`
}

// linkBean is the part of Jira's issue link that is read.
type linkBean struct {
	Type struct {
		Name, Inward, Outward string
	}
	InwardIssue, OutwardIssue struct{ Key string }
}

// LinkIssues links two issues, unless they are linked so already: Jira takes a
// link twice.
func (c *Client) LinkIssues(ctx context.Context, in LinkIssuesInput) (Link, error) {
	what := "linking issues"
	if !isIssueKey(in.Inward) || !isIssueKey(in.Outward) || in.Inward == in.Outward {
		return Link{}, funnel.Errorf(funnel.Invalid, "%s: inward and outward are not the keys of two issues such as SIRT-42", what)
	}
	link, linked, err := c.findLink(ctx, "", in)
	if err != nil || linked {
		return link, err
	}
	err = c.createLink(ctx, what+" "+in.Inward+" and "+in.Outward, in.Type, in.Inward, in.Outward)
	return Link{Type: in.Type, Inward: in.Inward, Outward: in.Outward}, err
}

// findLink reads the inward issue's links. A type whose two names are the same,
// such as "relates to", has no direction.
func (c *Client) findLink(ctx context.Context, _ funnel.EffectKey, in LinkIssuesInput) (Link, bool, error) {
	bean, err := c.readIssue(ctx, "reading the links of issue "+in.Inward, in.Inward, []string{"issuelinks"})
	if err != nil {
		return Link{}, false, err
	}
	for _, l := range bean.Fields.IssueLinks {
		there := l.OutwardIssue.Key == in.Outward || l.InwardIssue.Key == in.Outward && l.Type.Inward == l.Type.Outward
		if there && strings.EqualFold(l.Type.Name, in.Type) {
			return Link{Type: l.Type.Name, Inward: in.Inward, Outward: in.Outward, Existed: true}, true, nil
		}
	}
	return Link{}, false, nil
}
