package jira

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/funnelsec/funnel"
)

// CloseDuplicateInput is the input of jira.close_duplicate.
type CloseDuplicateInput struct {
	Issue      string          `json:"issue" doc:"Key of the issue to close" example:"SIRT-2" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Of         string          `json:"of" doc:"Key of the issue that it duplicates" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Comment    funnel.Document `json:"comment,omitzero" doc:"What the comment says beside that it is a duplicate, and of what"`
	To         string          `json:"to,omitempty" maxLength:"255" doc:"Name of the status to reach, or of the transition; Done if empty" example:"Done"`
	Resolution string          `json:"resolution,omitempty" maxLength:"255" doc:"Name of the resolution to set on the way, such as Duplicate, where the transition has that field"`
	LinkType   string          `json:"link_type,omitempty" maxLength:"255" doc:"Name of the link type; Duplicate if empty" example:"Duplicate"`
	Anyway     bool            `json:"anyway,omitempty" doc:"Close it even if Funnel did not open it, or a person has worked on it"`
}

// DuplicateClosed is the outcome of jira.close_duplicate.
type DuplicateClosed struct {
	Issue   string `json:"issue" doc:"Key of the issue" example:"SIRT-2"`
	Of      string `json:"of" doc:"Key of the issue that it duplicates" example:"SIRT-1"`
	Closed  bool   `json:"closed" doc:"It has the comment, the link and the status now"`
	Why     string `json:"why,omitempty" doc:"Why it was left alone, if it was"`
	Status  string `json:"status" doc:"Name of the status that it has now" example:"Done"`
	Comment string `json:"comment,omitempty" doc:"ID of the comment" example:"20001"`
	URL     string `json:"url" doc:"Page for people"`
}

// duplicate is what there is of a duplicate's three parts, and who worked on it.
type duplicate struct {
	status  string
	done    bool
	comment string // ID of our comment about it, "" if there is none
	linked  bool
	ours    bool
	touched string // who else changed it or commented on it, "" if nobody
}

// complete reports whether all three parts are there.
func (d duplicate) complete(in CloseDuplicateInput) bool {
	return d.comment != "" && d.linked && (d.done || strings.EqualFold(d.status, in.to()))
}

// CloseDuplicate comments on an issue that it is a duplicate, links it and closes
// it. Each of the three is looked up before it is made, so that a repetition makes
// only what is missing. An issue that Funnel did not open, or that anybody else
// has changed or commented on, is left alone, unless told otherwise.
func (c *Client) CloseDuplicate(ctx context.Context, in CloseDuplicateInput) (DuplicateClosed, error) {
	what := "closing a duplicate"
	if !isIssueKey(in.Issue) || !isIssueKey(in.Of) || in.Issue == in.Of {
		return DuplicateClosed{}, funnel.Errorf(funnel.Invalid, "%s: issue and of are not the keys of two issues such as SIRT-42", what)
	}
	what = "closing " + in.Issue + " as a duplicate"
	d, err := c.readDuplicate(ctx, what, in)
	if err != nil {
		return DuplicateClosed{}, err
	}
	out := DuplicateClosed{Issue: in.Issue, Of: in.Of, Status: d.status, Comment: d.comment, URL: c.issueURL(in.Issue)}
	if out.Why = d.keepOpen(in); out.Why != "" {
		return out, nil
	}
	if d.comment == "" {
		if out.Comment, err = c.keepDuplicateComment(ctx, in); err != nil {
			return DuplicateClosed{}, err
		}
	}
	if !d.linked {
		if err := c.createLink(ctx, what, in.linkType(), in.Issue, in.Of); err != nil {
			return DuplicateClosed{}, err
		}
	}
	if !d.done && !strings.EqualFold(d.status, in.to()) {
		moved, err := c.move(ctx, what, TransitionIssueInput{Issue: in.Issue, To: in.to()}, in.Resolution)
		if err != nil {
			return DuplicateClosed{}, err
		}
		out.Status = moved.Status
	}
	out.Closed = true
	return out, nil
}

// findDuplicate looks an unsure duplicate up: it is closed if all three parts are
// there.
func (c *Client) findDuplicate(ctx context.Context, _ funnel.EffectKey, in CloseDuplicateInput) (DuplicateClosed, bool, error) {
	d, err := c.readDuplicate(ctx, "looking up whether "+in.Issue+" was closed", in)
	if err != nil || !d.complete(in) {
		return DuplicateClosed{}, false, err
	}
	return DuplicateClosed{Issue: in.Issue, Of: in.Of, Closed: true, Status: d.status, Comment: d.comment, URL: c.issueURL(in.Issue)}, true, nil
}

// keepOpen says why the issue is left alone, "" if it is not.
func (d duplicate) keepOpen(in CloseDuplicateInput) string {
	switch {
	case d.done && d.comment == "":
		return "it is done already"
	case in.Anyway:
		return ""
	case !d.ours:
		return "Funnel did not open it"
	case d.touched != "":
		return d.touched + " has worked on it"
	}
	return ""
}

// readDuplicate reads what there is.
func (c *Client) readDuplicate(ctx context.Context, what string, in CloseDuplicateInput) (duplicate, error) {
	account, err := c.Account(ctx)
	if err != nil {
		return duplicate{}, err
	}
	if _, err := c.readIssue(ctx, what, in.Of, []string{"status"}); err != nil {
		return duplicate{}, err // what it duplicates has to exist
	}
	bean, err := c.readHistory(ctx, what, in.Issue)
	if err != nil {
		return duplicate{}, err
	}
	f := bean.Fields
	d := duplicate{
		status: shorten(oneLine(f.Status.Name), 255), done: f.Status.StatusCategory.Key == "done",
		ours: f.Creator.id() == account && slices.Contains(f.Labels, labelOurs), touched: bean.touchedBy(account),
	}
	for _, l := range f.IssueLinks {
		d.linked = d.linked || l.OutwardIssue.Key == in.Of && strings.EqualFold(l.Type.Name, in.linkType())
	}
	comments, err := c.comments(ctx, in.Issue)
	for _, b := range comments {
		if b.Author.id() != account {
			if d.touched == "" {
				d.touched = nameOf(b.Author)
			}
			continue
		}
		var m keptMark
		found, err := c.mark(ctx, b, propertyComment, duplicateName(in.Of), &m)
		if err != nil {
			return d, err
		}
		if found && m.Name == duplicateName(in.Of) {
			d.comment = b.ID
		}
	}
	return d, err
}

// duplicateName is the name of the living comment that says what an issue
// duplicates.
func duplicateName(of string) string { return "duplicate of " + of }

func (c *Client) keepDuplicateComment(ctx context.Context, in CloseDuplicateInput) (string, error) {
	body := funnel.NewDocument(append([]funnel.Block{funnel.Paragraph(
		funnel.Text("This is a duplicate of "), funnel.LinkWithin(in.Of, c.base.String(), c.issueURL(in.Of)), funnel.Text(", which goes on. Funnel closed it."),
	)}, in.Comment.Blocks...)...)
	kept, err := c.KeepComment(ctx, KeepCommentInput{Issue: in.Issue, Name: duplicateName(in.Of), Revision: Final, Body: body})
	return kept.ID, err
}

// serialDuplicate is what only one step may work on: each part is read before it
// is made.
func serialDuplicate(in CloseDuplicateInput) string { return in.Issue }

func (in CloseDuplicateInput) to() string {
	if in.To == "" {
		return "Done"
	}
	return in.To
}

func (in CloseDuplicateInput) linkType() string {
	if in.LinkType == "" {
		return "Duplicate"
	}
	return in.LinkType
}

// historyBean is an issue with its history, of which Jira answers the newest
// hundred entries or so.
type historyBean struct {
	issueBean
	Changelog *struct {
		Total     int
		Histories []struct{ Author person }
	}
}

// touchedBy returns who else than the account has changed the issue. A history
// that is not all there proves nothing.
func (b historyBean) touchedBy(account string) string {
	if b.Changelog == nil || b.Changelog.Total > len(b.Changelog.Histories) {
		return "somebody, for all that its history tells,"
	}
	for _, h := range b.Changelog.Histories {
		if h.Author.id() != account {
			return nameOf(h.Author)
		}
	}
	return ""
}

func nameOf(p person) string {
	if name := shorten(oneLine(p.DisplayName), 100); name != "" {
		return name
	}
	return "somebody"
}

func (c *Client) readHistory(ctx context.Context, what, issue string) (historyBean, error) {
	var bean historyBean
	fields := append([]string{"issuelinks"}, issueFields()...)
	k := call{
		what: what, method: http.MethodGet, path: []string{"issue", issue}, want: http.StatusOK, into: &bean,
		query: url.Values{"fields": {strings.Join(fields, ",")}, "expand": {"changelog"}},
	}
	if err := c.do(ctx, k); err != nil {
		return bean, err
	}
	if !isID(bean.ID) || !isIssueKey(bean.Key) {
		return bean, k.unreadable("it has no id and key")
	}
	return bean, nil
}
