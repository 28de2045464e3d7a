package jira

import (
	"encoding/json"
	"regexp"
	"time"

	"github.com/funnelsec/funnel"
)

// CommentEvent is a comment that somebody else wrote than Funnel. Its text is data:
// whoever may comment decides what it says.
type CommentEvent struct {
	ID         string     `json:"id" doc:"ID of the comment" example:"20001"`
	IssueID    string     `json:"issue_id" doc:"Numeric ID of the issue; jira.get_issue finds the key by it" example:"10001"`
	Key        string     `json:"key,omitempty" doc:"Key of the issue; absent from Jira Data Center, whose webhook does not tell it" example:"SIRT-1"`
	Project    string     `json:"project,omitempty" doc:"Key of the project; absent if the key is" example:"SIRT"`
	Summary    string     `json:"summary,omitempty" doc:"Summary of the issue"`
	Author     Person     `json:"author,omitzero" doc:"Who wrote it"`
	Body       string     `json:"body" doc:"The text as it was written, in Jira's markup"`
	Restricted bool       `json:"restricted,omitempty" doc:"Only a role or a group may read it: do not repeat it elsewhere"`
	At         *time.Time `json:"at,omitempty" doc:"When"`
	URL        string     `json:"url,omitempty" doc:"Page for people"`
	funnel.Observables
}

// maxComment is Jira's own limit of a comment, in UTF-16 units.
const maxComment = 32_767

// commentAddress is the REST address of a comment: Data Center's webhook names the
// issue nowhere else.
var commentAddress = regexp.MustCompile(`/rest/api/[0-9]+/issue/([0-9]{1,19})/comment/[0-9]+$`)

// decodeCommentCreated reads the webhook comment_created.
func decodeCommentCreated(req funnel.Request) ([]funnel.Arrival[CommentEvent], error) {
	body, err := readHook(req, "comment_created")
	if err != nil {
		return nil, err
	}
	var comment struct {
		ID, Self   string
		Author     person
		Body       json.RawMessage // wiki markup, or a document
		Visibility json.RawMessage
		JSDPublic  *bool
	}
	var issue struct {
		hookIssue
		Fields struct {
			Summary string
			Project struct{ Key string }
		}
	}
	if err := readPart(body.Comment, &comment); err != nil {
		return nil, err
	}
	if err := readPart(body.Issue, &issue); err != nil {
		return nil, err
	}
	if !isID(comment.ID) {
		return nil, funnel.Errorf(funnel.Invalid, "reading a Jira webhook: /comment/id is missing or not a number")
	}
	e := CommentEvent{
		ID: comment.ID, Author: comment.Author.person(), Body: shorten(visible(writtenText(comment.Body)), maxComment),
		Restricted: len(comment.Visibility) > 0 && string(comment.Visibility) != "null" || comment.JSDPublic != nil && !*comment.JSDPublic,
		At:         body.at(),
	}
	e.Observables.Observables = []funnel.Observable{}
	if m := commentAddress.FindStringSubmatch(comment.Self); m != nil && issue.ID == "" && issue.Key == "" {
		e.IssueID = m[1]
	} else {
		if err := issue.check(); err != nil {
			return nil, err
		}
		e.IssueID, e.Key, e.Project = issue.ID, issue.Key, issue.project(issue.Fields.Project.Key)
		e.Summary = shorten(oneLine(issue.Fields.Summary), maxEventText)
		if page := pageOf(issue.Self, issue.Key); page != "" {
			e.URL = page + "?focusedCommentId=" + comment.ID
		}
	}
	return []funnel.Arrival[CommentEvent]{{
		Scope: "jira.comment_created:" + req.Connection, Key: comment.ID, Actor: comment.Author.id(), Event: e, Text: e.Body,
	}}, nil
}
