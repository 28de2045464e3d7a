package jira

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/funnelsec/funnel"
)

// Final is the revision of a comment that nothing older replaces.
const Final = 1 << 30

// propertyComment marks a living comment.
const propertyComment = "funnel.comment"

// AddCommentInput is the input of jira.add_comment.
type AddCommentInput struct {
	Issue string          `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Body  funnel.Document `json:"body" doc:"Text of the comment"`
}

// UpdateCommentInput is the input of jira.update_comment.
type UpdateCommentInput struct {
	Issue string          `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	ID    string          `json:"id" doc:"ID of the comment" example:"20001" pattern:"^[0-9]+$"`
	Body  funnel.Document `json:"body" doc:"Text of the comment"`
}

// KeepCommentInput is the input of jira.keep_comment.
type KeepCommentInput struct {
	Issue    string          `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Name     string          `json:"name" minLength:"1" maxLength:"100" doc:"Which comment: an issue has one of each name" example:"enrich_user"`
	Revision int             `json:"revision" doc:"Replaces what has at most this revision" example:"1"`
	Body     funnel.Document `json:"body" doc:"Text of the comment"`
}

// Comment is a comment in Jira.
type Comment struct {
	ID        string `json:"id" doc:"ID of the comment" example:"20001"`
	Issue     string `json:"issue" doc:"Key of the issue" example:"SIRT-1"`
	URL       string `json:"url" doc:"Page for people"`
	Unchanged bool   `json:"unchanged,omitempty" doc:"A later revision stood there already and was left alone"`
}

// commentBean is the part of Jira's comment that is read.
type commentBean struct {
	ID               string
	Author           person
	Body             json.RawMessage
	Created, Updated string
	Properties       []struct {
		Key   string
		Value json.RawMessage
	}
}

// read decodes a property and reports whether it is there.
func (b commentBean) read(key string, into any) bool {
	for _, p := range b.Properties {
		if p.Key == key {
			return json.Unmarshal(p.Value, into) == nil
		}
	}
	return false
}

// keptMark is the value of the property of a living comment.
type keptMark struct {
	Name     string           `json:"name"`
	Revision int              `json:"revision"`
	Effect   funnel.EffectKey `json:"effect,omitempty"`
}

func (c *Client) comment(issue, id string) Comment {
	return Comment{ID: id, Issue: issue, URL: c.commentURL(issue, id)}
}

// mark reads what a comment bears under the key: what it shows itself, if it is
// ours, else its property.
func (c *Client) mark(ctx context.Context, b commentBean, key, name string, into any) (bool, error) {
	if shown := c.dialect.shown(b); shown != "" && readMark(shown, name, into) {
		account, err := c.Account(ctx)
		if err != nil || b.Author.id() == account {
			return err == nil, err
		}
	}
	return b.read(key, into), nil
}

// spoken is the document, or another if it says nothing: Jira refuses an empty
// comment.
func spoken(doc funnel.Document) funnel.Document {
	for _, b := range doc.Blocks {
		if b.Type == funnel.CodeBlock || !blank(b.Text) || slices.ContainsFunc(slices.Concat(append(append(b.Rows, b.Header), b.Items)...), func(t []funnel.Inline) bool { return !blank(t) }) {
			return doc
		}
	}
	return funnel.NewDocument(funnel.Paragraph(funnel.Text("(nothing to say)")))
}

// commentBody is the request for a comment that is added, or changed, and bears
// the property; its key is empty for none.
func (c *Client) commentBody(doc funnel.Document, p property, added bool) map[string]any {
	body := map[string]any{"body": c.dialect.comment(spoken(doc), p, added)}
	if p.Key != "" {
		body["properties"] = []property{p}
	}
	return body
}

// AddComment comments on an issue. The comment carries the effect key as a
// property.
func (c *Client) AddComment(ctx context.Context, in AddCommentInput) (Comment, error) {
	if err := checkIssue("commenting", in.Issue); err != nil {
		return Comment{}, err
	}
	var p property
	if attempt := funnel.AttemptFrom(ctx); attempt.Key != "" {
		p = property{propertyEffect, effectMark{attempt.Key, attempt.Number}}
	}
	id, err := c.writeComment(ctx, "commenting on "+in.Issue, in.Issue, "", c.commentBody(in.Body, p, true))
	if err != nil {
		return Comment{}, err
	}
	return c.comment(in.Issue, id), nil
}

// findComment reads the issue's comments, which is the truth and no index.
func (c *Client) findComment(ctx context.Context, key funnel.EffectKey, in AddCommentInput) (Comment, bool, error) {
	all, err := c.comments(ctx, in.Issue)
	if err != nil {
		return Comment{}, false, err
	}
	for _, b := range all {
		var m effectMark
		if found, err := c.mark(ctx, b, propertyEffect, "", &m); err != nil {
			return Comment{}, false, err
		} else if found && m.Key == key {
			return c.comment(in.Issue, b.ID), true, nil
		}
	}
	return Comment{}, false, nil
}

// UpdateComment replaces the text of a comment.
func (c *Client) UpdateComment(ctx context.Context, in UpdateCommentInput) (Comment, error) {
	if err := checkIssue("changing a comment", in.Issue); err != nil {
		return Comment{}, err
	}
	if !isID(in.ID) {
		return Comment{}, funnel.Errorf(funnel.Invalid, "changing a comment: id is not the number of a comment")
	}
	what := "changing a comment on " + in.Issue
	body := c.commentBody(in.Body, property{}, false)
	if c.dialect.marks() { // a mark stays
		bean, err := c.readComment(ctx, what, in.Issue, in.ID)
		if err != nil {
			return Comment{}, err
		}
		if shown := c.dialect.shown(bean); shown != "" {
			body["body"] = wiki(spoken(in.Body), shown)
		}
	}
	if _, err := c.writeComment(ctx, what, in.Issue, in.ID, body); err != nil {
		return Comment{}, err
	}
	return c.comment(in.Issue, in.ID), nil
}

// serialComment is what only one step may work on: KeepComment reads before it
// writes.
func serialComment(in KeepCommentInput) string { return in.Issue + "/" + in.Name }

// KeepComment writes the one comment of the name on the issue: it replaces a
// revision that is not later, and adds the comment if there is none.
func (c *Client) KeepComment(ctx context.Context, in KeepCommentInput) (Comment, error) {
	what := "keeping a comment"
	if err := checkIssue(what, in.Issue); err != nil {
		return Comment{}, err
	}
	if in.Name == "" || len(in.Name) > 100 {
		return Comment{}, funnel.Errorf(funnel.Invalid, "%s: name has not 1 to 100 characters", what)
	}
	what += " on " + in.Issue
	kept, err := c.readKept(ctx, in)
	if err != nil {
		return Comment{}, err
	}
	if kept.id != "" && kept.Revision > in.Revision {
		out := c.comment(in.Issue, kept.id)
		out.Unchanged = true
		return out, nil
	}
	mark := keptMark{Name: in.Name, Revision: in.Revision, Effect: funnel.AttemptFrom(ctx).Key}
	id, err := c.writeComment(ctx, what, in.Issue, kept.id, c.commentBody(in.Body, property{propertyComment, mark}, kept.id == ""))
	if err != nil {
		return Comment{}, err
	}
	return c.comment(in.Issue, id), nil
}

// findKept looks an unsure comment up. A later revision settles it too: then
// there is nothing left to write.
func (c *Client) findKept(ctx context.Context, key funnel.EffectKey, in KeepCommentInput) (Comment, bool, error) {
	kept, err := c.readKept(ctx, in)
	if err != nil || kept.id == "" || kept.Effect != key && kept.Revision <= in.Revision {
		return Comment{}, false, err
	}
	out := c.comment(in.Issue, kept.id)
	out.Unchanged = kept.Effect != key
	return out, true, nil
}

type keptComment struct {
	id string // "" if there is none
	keptMark
}

// readKept returns the comment of the name, the oldest if there are several.
func (c *Client) readKept(ctx context.Context, in KeepCommentInput) (keptComment, error) {
	var kept keptComment
	var more []string
	all, err := c.comments(ctx, in.Issue)
	for _, b := range all {
		var m keptMark
		found, err := c.mark(ctx, b, propertyComment, in.Name, &m)
		switch {
		case err != nil:
			return kept, err
		case !found || m.Name != in.Name || !isID(b.ID):
		case kept.id == "":
			kept = keptComment{b.ID, m}
		default:
			more = append(more, b.ID)
		}
	}
	if len(more) > 0 {
		c.log.Error("an issue has several comments of one name; the oldest counts", "issue", in.Issue, "name", in.Name, "kept", kept.id, "others", more)
	}
	return kept, err
}

// comments returns all comments of the issue, oldest first. Pages overlap by one
// comment: if that is not the same in both, one was deleted in between and
// others have moved up, perhaps from the page to come into the one that was
// read, so the reading begins anew.
func (c *Client) comments(ctx context.Context, issue string) ([]commentBean, error) {
	what := "reading the comments of " + issue
	for range 5 {
		var all []commentBean
		for whole := true; whole; {
			page, total, err := c.readComments(ctx, what, issue, max(len(all)-1, 0))
			if err != nil {
				return nil, err
			}
			if len(all) > 0 {
				if whole = len(page) > 0 && page[0].ID == all[len(all)-1].ID; !whole {
					break
				}
				page = page[1:]
			}
			all = append(all, page...)
			if len(page) == 0 || len(all) >= total {
				return all, nil
			}
		}
	}
	return nil, funnel.Errorf(funnel.Unavailable, "%s: they change all the time", what)
}
