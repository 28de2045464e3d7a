package jira

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// labelObservable begins the label of an observable on a ticket. What follows is
// a hash, so that tickets about the same thing are found by the equality of
// labels and no value from outside ever stands in a query.
const labelObservable = "funnel-ob-"

// maxMarked is how many observables of a ticket get a label, and how many are
// looked for.
const maxMarked = 20

// observableLabel returns the label of an observable. 80 bits of a hash are enough
// to tell apart what one tracker will ever hold.
func observableLabel(o funnel.Observable) string {
	return labelObservable + funnel.Fingerprint(o.Identity())[:16]
}

// observableLabels returns the labels of the first maxMarked different
// observables.
func observableLabels(list []funnel.Observable) []string {
	var labels []string
	for _, o := range list {
		l := observableLabel(o)
		if len(labels) < maxMarked && !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	return labels
}

// fingerprintLabel returns the label of a ticket's fingerprint.
func fingerprintLabel(fingerprint string) string {
	if !plainFingerprint.MatchString(fingerprint) {
		fingerprint = funnel.Fingerprint(fingerprint)
	}
	return labelFingerprint + fingerprint
}

// Fingerprint returns the fingerprint of a ticket that Funnel opened, in the form
// that its label has, and "" of other issues.
func (e IssueEvent) Fingerprint() string {
	for _, l := range e.Labels {
		if f, ok := strings.CutPrefix(l, labelFingerprint); ok {
			return f
		}
	}
	return ""
}

// defaultWithin is how far back related issues are looked for.
const (
	defaultWithin = 14 * 24 * time.Hour
	mostWithin    = 366 * 24 * time.Hour
)

// FindRelatedInput is the input of jira.find_related.
type FindRelatedInput struct {
	Issue       string              `json:"issue" doc:"Key of the issue that others are related to; it is not among the results" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Project     string              `json:"project,omitempty" doc:"Key of the project to look in; that of the issue if empty" example:"SIRT"`
	Observables []funnel.Observable `json:"observables,omitempty" doc:"What the issue is about; the first 20 are looked for" example:"[{\"kind\":\"user\",\"value\":\"jdoe\"}]"`
	Fingerprint string              `json:"fingerprint,omitempty" doc:"Fingerprint of the issue, as jira.open_ticket got it"`
	Within      funnel.Duration     `json:"within,omitzero" doc:"How long ago an issue may have been created: up to 8784h, 336h if not set" example:"336h"`
	Limit       int                 `json:"limit,omitempty" minimum:"0" maximum:"50" doc:"At most so many issues; 20 if not set"`
}

// RelatedIssues is the outcome of jira.find_related.
type RelatedIssues struct {
	Issues []RelatedIssue `json:"issues" doc:"The related issues, newest first"`
	More   bool           `json:"more" doc:"There are more than the limit"`
}

// RelatedIssue is an issue and why it is related.
type RelatedIssue struct {
	Issue
	Shared          []funnel.Observable `json:"shared" doc:"The observables that both are about"`
	SameObservables bool                `json:"same_observables,omitempty" doc:"Both are about the same observables and no others"`
	SameFingerprint bool                `json:"same_fingerprint,omitempty" doc:"Both have the same fingerprint"`
	Ours            bool                `json:"ours,omitempty" doc:"Funnel opened it"`
}

// FindRelated finds the issues of a project that are about the same observables or
// have the same fingerprint. It finds tickets that jira.open_ticket marked: each
// observable of theirs is there as the label funnel-ob-… with a hash. Jira's
// search index lags, so that an issue of the last minute may be missing.
func (c *Client) FindRelated(ctx context.Context, in FindRelatedInput) (RelatedIssues, error) {
	what := "looking for related issues"
	if in.Project == "" {
		in.Project, _, _ = strings.Cut(in.Issue, "-")
	}
	labels := observableLabels(in.Observables)
	ours := len(labels)
	if in.Fingerprint != "" {
		labels = append(labels, fingerprintLabel(in.Fingerprint))
	}
	if in.Within == 0 {
		in.Within = funnel.Duration(defaultWithin)
	}
	if in.Limit == 0 {
		in.Limit = 20
	}
	switch {
	case !isIssueKey(in.Issue):
		return RelatedIssues{}, funnel.Errorf(funnel.Invalid, "%s: issue is not the key of an issue such as SIRT-42", what)
	case !isProject(in.Project):
		return RelatedIssues{}, funnel.Errorf(funnel.Invalid, "%s: project is not the key of a project such as SIRT", what)
	case in.Within.Std() < time.Minute || in.Within.Std() > mostWithin:
		return RelatedIssues{}, funnel.Errorf(funnel.Invalid, "%s: within is not between 1m and %dh", what, int(mostWithin.Hours()))
	case in.Limit < 1 || in.Limit > 50:
		return RelatedIssues{}, funnel.Errorf(funnel.Invalid, "%s: limit is not between 1 and 50", what)
	case len(labels) == 0:
		return RelatedIssues{Issues: []RelatedIssue{}}, nil // nothing that an issue could share
	}
	account, err := c.Account(ctx)
	if err != nil {
		return RelatedIssues{}, err
	}
	q := search{}.where(projectField, in.Project).whereAny(labelsField, labels).createdWithin(in.Within.Std()).newestFirst()
	beans, more, err := c.find(ctx, what, q, in.Limit+1) // the issue itself is among them
	if err != nil {
		return RelatedIssues{}, err
	}
	out := RelatedIssues{Issues: []RelatedIssue{}, More: more}
	for _, bean := range beans {
		r, related := c.related(bean, in, labels[:ours])
		r.Ours = bean.Fields.Creator.id() == account && slices.Contains(bean.Fields.Labels, labelOurs)
		switch {
		case bean.Key == in.Issue || !related:
		case len(out.Issues) == in.Limit:
			out.More = true
		default:
			out.Issues = append(out.Issues, r)
		}
	}
	return out, nil
}

// related says what an issue has in common with the one of the input: its labels
// tell, not its texts.
func (c *Client) related(bean issueBean, in FindRelatedInput, labels []string) (RelatedIssue, bool) {
	r := RelatedIssue{Issue: c.issue(bean), Shared: []funnel.Observable{}}
	r.SameFingerprint = in.Fingerprint != "" && slices.Contains(bean.Fields.Labels, fingerprintLabel(in.Fingerprint))
	seen := map[string]bool{}
	for _, o := range in.Observables {
		if l := observableLabel(o); !seen[l] && slices.Contains(labels, l) && slices.Contains(bean.Fields.Labels, l) {
			seen[l] = true
			r.Shared = append(r.Shared, o)
		}
	}
	has := 0
	for _, l := range bean.Fields.Labels {
		if strings.HasPrefix(l, labelObservable) {
			has++
		}
	}
	// With maxMarked labels either may be about more than its labels say.
	r.SameObservables = len(r.Shared) > 0 && len(r.Shared) == len(labels) && has == len(labels) && has < maxMarked
	return r, len(r.Shared) > 0 || r.SameFingerprint
}
