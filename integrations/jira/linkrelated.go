package jira

import (
	"context"
	"strconv"
	"strings"

	"github.com/funnelsec/funnel"
)

// maxLinked is how many issues jira.link_related links at a time.
const maxLinked = 20

// LinkRelatedInput is the input of jira.link_related.
type LinkRelatedInput struct {
	Issue   string   `json:"issue" doc:"Key of the issue" example:"SIRT-2" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Related []string `json:"related" minItems:"1" maxItems:"20" doc:"Keys of the issues to link it with" example:"[\"SIRT-1\"]"`
	Type    string   `json:"type,omitempty" maxLength:"255" doc:"Name of the link type; Relates if empty" example:"Relates"`
}

// LinkedIssues is the outcome of jira.link_related.
type LinkedIssues struct {
	Issue   string   `json:"issue" doc:"Key of the issue" example:"SIRT-2"`
	Linked  []string `json:"linked" doc:"The issues that it is linked with now"`
	Missing []string `json:"missing,omitempty" doc:"Those that do not exist any more or that the account may not see"`
}

// LinkRelated links an issue with others, those excepted that it is linked with in
// any way already. The link leads from the newer issue to the older one, so that
// two that are linked with one another at the same time get the same link.
func (c *Client) LinkRelated(ctx context.Context, in LinkRelatedInput) (LinkedIssues, error) {
	what := "linking related issues"
	if err := in.check(what); err != nil {
		return LinkedIssues{}, err
	}
	linked, err := c.linkedWith(ctx, what, in.Issue)
	if err != nil {
		return LinkedIssues{}, err
	}
	out := LinkedIssues{Issue: in.Issue, Linked: []string{}}
	for _, key := range in.Related {
		if !linked[key] {
			if _, err := c.readIssue(ctx, what, key, []string{"status"}); funnel.CodeOf(err) == funnel.NotFound {
				out.Missing = append(out.Missing, key) // deleted since it was found
				continue
			} else if err != nil {
				return LinkedIssues{}, err
			}
			from, to := newerFirst(in.Issue, key)
			if err := c.createLink(ctx, what+" "+from+" and "+to, in.linkType(), from, to); err != nil {
				return LinkedIssues{}, err
			}
		}
		out.Linked = append(out.Linked, key)
	}
	return out, nil
}

// findLinked looks unsure links up: all of them, for else the action makes those
// that are missing. An issue that is gone cannot be linked.
func (c *Client) findLinked(ctx context.Context, _ funnel.EffectKey, in LinkRelatedInput) (LinkedIssues, bool, error) {
	what := "looking links up"
	if err := in.check(what); err != nil {
		return LinkedIssues{}, false, err
	}
	linked, err := c.linkedWith(ctx, what, in.Issue)
	if err != nil {
		return LinkedIssues{}, false, err
	}
	for _, key := range in.Related {
		if !linked[key] {
			return LinkedIssues{}, false, nil
		}
	}
	return LinkedIssues{Issue: in.Issue, Linked: in.Related}, true, nil
}

func (in LinkRelatedInput) check(what string) error {
	ok := isIssueKey(in.Issue) && len(in.Related) > 0 && len(in.Related) <= maxLinked
	seen := map[string]bool{in.Issue: true}
	for _, key := range in.Related {
		ok = ok && isIssueKey(key) && !seen[key]
		seen[key] = true
	}
	if !ok {
		return funnel.Errorf(funnel.Invalid, "%s: issue and related are not the keys of an issue and of 1 to %d others such as SIRT-42", what, maxLinked)
	}
	return nil
}

func (in LinkRelatedInput) linkType() string {
	if in.Type == "" {
		return "Relates"
	}
	return in.Type
}

// linkedWith returns the keys of the issues that the issue is linked with.
func (c *Client) linkedWith(ctx context.Context, what, issue string) (map[string]bool, error) {
	bean, err := c.readIssue(ctx, what, issue, []string{"issuelinks"})
	if err != nil {
		return nil, err
	}
	linked := map[string]bool{}
	for _, l := range bean.Fields.IssueLinks {
		linked[l.InwardIssue.Key], linked[l.OutwardIssue.Key] = true, true
	}
	delete(linked, "")
	return linked, nil
}

// newerFirst orders two keys: within a project by number.
func newerFirst(a, b string) (newer, older string) {
	p, m, _ := strings.Cut(a, "-")
	q, n, _ := strings.Cut(b, "-")
	i, err1 := strconv.ParseInt(m, 10, 64)
	j, err2 := strconv.ParseInt(n, 10, 64)
	if p > q || p == q && err1 == nil && err2 == nil && i > j {
		return a, b
	}
	return b, a
}
