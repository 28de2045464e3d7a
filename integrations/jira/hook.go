package jira

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// hook is the part that all webhooks of Jira share
// (developer.atlassian.com/cloud/jira/platform/webhooks). Bodies have the shape
// of REST API version 2. What only one trigger reads is decoded by it, so that a
// surprise in one part spoils no other trigger's event.
type hook struct {
	WebhookEvent       string
	Timestamp          json.Number // milliseconds since 1970
	IssueEventTypeName string      `json:"issue_event_type_name"`
	User               person      // who caused it
	Issue              json.RawMessage
	Changelog          json.RawMessage
	Comment            json.RawMessage
}

var errShape = funnel.Errorf(funnel.Invalid, "reading a Jira webhook: the body does not have the shape of an event of Jira")

// readHook returns the body if it is about the event.
func readHook(req funnel.Request, event string) (hook, error) {
	var h hook
	switch {
	case json.Unmarshal(req.Body, &h) != nil:
		return h, errShape
	case h.WebhookEvent == "":
		return h, funnel.Errorf(funnel.Invalid, "reading a Jira webhook: /webhookEvent is missing")
	case h.WebhookEvent != event:
		return h, funnel.Ignored("it is about " + shorten(oneLine(h.WebhookEvent), 60) + ", not " + event)
	}
	return h, nil
}

// readPart decodes a part of the body; one that is absent stays zero.
func readPart(raw json.RawMessage, into any) error {
	if len(raw) > 0 && json.Unmarshal(raw, into) != nil {
		return errShape
	}
	return nil
}

// at is when it happened, nil if Jira does not say.
func (h hook) at() *time.Time {
	ms, err := h.Timestamp.Int64()
	if err != nil || ms <= 0 || ms > 1e14 { // the year 5138
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// hookIssue is what names an issue in a webhook.
type hookIssue struct{ ID, Key, Self string }

func (i hookIssue) check() error {
	switch {
	case !isID(i.ID):
		return funnel.Errorf(funnel.Invalid, "reading a Jira webhook: /issue/id is missing or not a number")
	case !isIssueKey(i.Key):
		return funnel.Errorf(funnel.Invalid, "reading a Jira webhook: /issue/key is missing or not the key of an issue")
	}
	return nil
}

// project returns the project's key: as Jira tells it, else the issue's own.
func (i hookIssue) project(told string) string {
	if isProject(told) {
		return told
	}
	project, _, _ := strings.Cut(i.Key, "-")
	return project
}
