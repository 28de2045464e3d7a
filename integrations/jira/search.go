package jira

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// field is a field of JQL. Only these constants name one: a value from outside
// can never be a field, an operator or an order.
type field string

const (
	projectField field = "project"
	labelsField  field = "labels"
	statusField  field = "status"
	createdField field = "created"
)

// search is a JQL query: conditions that all hold, and an order. Values are
// quoted; see quote.
type search struct {
	terms []string
	order string
	raw   string // a query that the operator wrote; replaces the rest
}

// where adds a condition.
func (q search) where(f field, value string) search {
	q.terms = append(q.terms[:len(q.terms):len(q.terms)], string(f)+" = "+quote(value))
	return q
}

// whereAny adds the condition that the field has one of the values.
func (q search) whereAny(f field, values []string) search {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	q.terms = append(q.terms[:len(q.terms):len(q.terms)], string(f)+" IN ("+strings.Join(quoted, ", ")+")")
	return q
}

// createdWithin adds the condition that the issue was created at most so long ago,
// in whole minutes. The time is built here; it is never text from outside.
func (q search) createdWithin(d time.Duration) search {
	minutes := int64((d + time.Minute - 1) / time.Minute)
	q.terms = append(q.terms[:len(q.terms):len(q.terms)], string(createdField)+` >= "-`+strconv.FormatInt(minutes, 10)+`m"`)
	return q
}

func (q search) oldestFirst() search { q.order = " ORDER BY created ASC"; return q }
func (q search) newestFirst() search { q.order = " ORDER BY created DESC"; return q }

// String returns the query in JQL.
func (q search) String() string {
	if q.raw != "" {
		return q.raw
	}
	return strings.Join(q.terms, " AND ") + q.order
}

// quote returns the value as a JQL string. Quotation marks and backslashes are
// escaped; control characters, which JQL could read as the end of a line, are
// dropped.
func quote(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(flat(value)) + `"`
}

// SearchIssuesInput is the input of jira.search_issues.
type SearchIssuesInput struct {
	Project string   `json:"project,omitempty" doc:"Key of the project" example:"SIRT"`
	Labels  []string `json:"labels,omitempty" doc:"Labels that an issue must all have" example:"[\"funnel\"]"`
	Status  string   `json:"status,omitempty" doc:"Name of the status" example:"To Do"`
	JQL     string   `json:"jql,omitempty" doc:"A query in JQL instead of the other conditions. Never build it from an event's values: use the other conditions for these"`
	Limit   int      `json:"limit,omitempty" minimum:"0" maximum:"100" doc:"At most so many issues; 50 if not set"`
}

// FoundIssues is the outcome of jira.search_issues.
type FoundIssues struct {
	Issues []Issue `json:"issues" doc:"The issues, newest first unless the query orders them"`
	More   bool    `json:"more" doc:"There are more than the limit"`
}

// SearchIssues searches for issues. Jira's search index lags behind its issues
// by seconds to minutes.
func (c *Client) SearchIssues(ctx context.Context, in SearchIssuesInput) (FoundIssues, error) {
	q := search{raw: in.JQL}.newestFirst()
	structured := in.Project != "" || len(in.Labels) > 0 || in.Status != ""
	if in.Project != "" {
		q = q.where(projectField, in.Project)
	}
	for _, l := range in.Labels {
		q = q.where(labelsField, l)
	}
	if in.Status != "" {
		q = q.where(statusField, in.Status)
	}
	switch {
	case structured && in.JQL != "":
		return FoundIssues{}, funnel.Errorf(funnel.Invalid, "searching for issues: jql stands beside project, labels or status: give one or the other")
	case !structured && strings.TrimSpace(in.JQL) == "":
		return FoundIssues{}, funnel.Errorf(funnel.Invalid, "searching for issues: there is no condition: give project, labels, status or jql")
	case in.Limit < 0 || in.Limit > 100:
		return FoundIssues{}, funnel.Errorf(funnel.Invalid, "searching for issues: limit is not between 1 and 100")
	case in.Limit == 0:
		in.Limit = 50
	}
	beans, more, err := c.find(ctx, "searching for issues", q, in.Limit)
	if err != nil {
		return FoundIssues{}, err
	}
	out := FoundIssues{Issues: make([]Issue, len(beans)), More: more}
	for i, bean := range beans {
		out.Issues[i] = c.issue(bean)
	}
	return out, nil
}

// find pages through a search until it has limit issues. A page may be shorter
// than asked for; a hundred of them are more than a limit needs.
func (c *Client) find(ctx context.Context, what string, q search, limit int) (found []issueBean, more bool, err error) {
	cursor := ""
	for range 100 {
		page, next, err := c.dialect.search(ctx, c, what, q, limit-len(found), cursor)
		if err != nil {
			return nil, false, err
		}
		found = append(found, page...)
		if len(found) >= limit || next == "" || next == cursor {
			return found[:min(len(found), limit)], next != "" || len(found) > limit, nil
		}
		cursor = next
	}
	return found, true, nil
}
