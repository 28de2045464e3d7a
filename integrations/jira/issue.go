package jira

import (
	"context"
	"encoding/json"
	"time"

	"github.com/funnelsec/funnel"
)

// GetIssueInput is the input of jira.get_issue.
type GetIssueInput struct {
	Issue string `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^([A-Z][A-Z0-9_]+-)?[0-9]+$"`
}

// Issue is an issue in Jira. Its texts were written by people: show them as data.
type Issue struct {
	Found          bool       `json:"found" doc:"Whether there is such an issue that the account may see"`
	ID             string     `json:"id,omitempty" doc:"Numeric ID" example:"10001"`
	Key            string     `json:"key,omitempty" doc:"Key; changes when the issue is moved to another project" example:"SIRT-1"`
	Project        string     `json:"project,omitempty" doc:"Key of the project" example:"SIRT"`
	Summary        string     `json:"summary,omitempty" doc:"Summary"`
	Status         string     `json:"status,omitempty" doc:"Name of the status" example:"To Do"`
	StatusCategory string     `json:"status_category,omitempty" doc:"What the status means, in any language of the site: new, indeterminate (in progress), done or undefined" example:"new"`
	Done           bool       `json:"done" doc:"The status means that the work is done"`
	Priority       string     `json:"priority,omitempty" doc:"Name of the priority"`
	Labels         []string   `json:"labels,omitempty" doc:"Labels"`
	Assignee       Person     `json:"assignee,omitzero" doc:"Who works on it, nobody if absent"`
	Reporter       Person     `json:"reporter,omitzero" doc:"Who reported it"`
	Created        *time.Time `json:"created,omitempty" doc:"When it was created"`
	Updated        *time.Time `json:"updated,omitempty" doc:"When it last changed"`
	URL            string     `json:"url,omitempty" doc:"Page for people"`
}

// Person is an account in Jira.
type Person struct {
	Account string `json:"account" doc:"The account's ID"`
	Name    string `json:"name" doc:"Name for people"`
}

// GetIssue reads an issue. An issue that does not exist, or that the account may
// not see, is an answer: Found is false.
func (c *Client) GetIssue(ctx context.Context, in GetIssueInput) (Issue, error) {
	if err := checkIssue("reading an issue", in.Issue); err != nil {
		return Issue{}, err
	}
	bean, err := c.readIssue(ctx, "reading issue "+in.Issue, in.Issue, issueFields())
	switch {
	case funnel.CodeOf(err) == funnel.NotFound:
		return Issue{}, nil
	case err != nil:
		return Issue{}, err
	}
	return c.issue(bean), nil
}

func checkIssue(what, issue string) error {
	if !isIssue(issue) {
		return funnel.Errorf(funnel.Invalid, "%s: issue is not the key of an issue such as SIRT-42", what)
	}
	return nil
}

// issueFields are all that is ever asked for about an issue, links and files excepted.
func issueFields() []string {
	return []string{"summary", "project", "status", "priority", "labels", "assignee", "reporter", "creator", "created", "updated"}
}

// issueBean is the part of Jira's issue that is read.
type issueBean struct {
	ID     string
	Key    string
	Fields struct {
		Summary string
		Project struct{ Key string }
		Status  struct {
			Name           string
			StatusCategory struct{ Key string }
		}
		Priority   struct{ Name string }
		Labels     []string
		Assignee   person
		Reporter   person
		Creator    person
		Created    string
		Updated    string
		IssueLinks []linkBean
		Attachment []attachmentBean
	}
	Properties map[string]json.RawMessage
}

// person is the part of Jira's user that is read. In Data Center, Key takes the
// place of AccountID; Name is the login name there, and requests name people by it.
type person struct {
	AccountID   string
	Key, Name   string
	DisplayName string
}

func (p person) id() string {
	if p.AccountID != "" {
		return p.AccountID
	}
	return p.Key
}

func (p person) person() Person { return Person{Account: p.id(), Name: shorten(p.DisplayName, 255)} }

func (c *Client) issue(bean issueBean) Issue {
	f := bean.Fields
	return Issue{
		Found: true, ID: bean.ID, Key: bean.Key, Project: f.Project.Key, Summary: f.Summary, Status: f.Status.Name,
		StatusCategory: f.Status.StatusCategory.Key, Done: f.Status.StatusCategory.Key == "done",
		Priority: f.Priority.Name, Labels: f.Labels, Assignee: f.Assignee.person(), Reporter: f.Reporter.person(),
		Created: instant(f.Created), Updated: instant(f.Updated), URL: c.issueURL(bean.Key),
	}
}

// instant reads Jira's form of a time, with milliseconds and a zone without a
// colon; nil if it is none.
func instant(s string) *time.Time {
	t, err := time.Parse("2006-01-02T15:04:05.000-0700", s)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}
