// Package jira opens tickets and keeps comments in Jira Cloud (REST API version
// 3) and Jira Data Center (version 2), and turns Jira's webhooks into events.
//
// Jira's create and comment calls know no idempotency key. What Funnel makes
// therefore carries its effect key, so that an unsure outcome can be looked up
// instead of being repeated: an issue as the label "funnel-<key>" and the
// entity property "funnel.effect", a comment as a property. A comment is looked
// up by reading the issue; an issue by a label search, whose index lags, so that
// absence needs a proof that the index has caught up.
//
// What comes from outside is written as text nodes of Atlassian's document
// format, or as text of wiki markup in which each mark is an entity: it cannot
// become a mention, a link or an image.
package jira

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// Config are the options of a connection to one Jira site.
type Config struct {
	URL        string        `json:"url" doc:"Address of the site" example:"https://example.atlassian.net"`
	Deployment string        `json:"deployment,omitempty" enum:"cloud,data_center" default:"cloud" doc:"Which product the site is: cloud or data_center"`
	Email      string        `json:"email,omitempty" doc:"Cloud: mail address of the account that Funnel uses; give it an account of its own" example:"funnel@example.com"`
	Token      funnel.Secret `json:"token" doc:"API token of the account; in Data Center its personal access token"`
}

// The values of Config.Deployment.
const (
	deploymentCloud      = "cloud"
	deploymentDataCenter = "data_center"
)

// Actions of the integration.
var (
	// OpenTicket opens one ticket per project, fingerprint and window.
	OpenTicket = funnel.NewAction("jira.open_ticket", "Open a ticket, once for the same thing.", funnel.Writes, (*Client).OpenTicket,
		funnel.Find((*Client).findTicket), funnel.Fresh((*Client).indexFresh), funnel.Adopt((*Client).adoptTicket),
		funnel.OnePer(claimTicket, repeatTicket), funnel.Emits(IssueCreated, ticketKey, ticketEvent))
	// GetIssue reads an issue.
	GetIssue = funnel.NewAction("jira.get_issue", "Get an issue.", funnel.Reads, (*Client).GetIssue)
	// SearchIssues searches for issues.
	SearchIssues = funnel.NewAction("jira.search_issues", "Search for issues.", funnel.Reads, (*Client).SearchIssues,
		funnel.Example(SearchIssuesInput{Project: "SIRT", Labels: []string{"funnel"}}))
	// AddComment comments on an issue.
	AddComment = funnel.NewAction("jira.add_comment", "Comment on an issue.", funnel.Writes, (*Client).AddComment,
		funnel.Find((*Client).findComment))
	// UpdateComment replaces the text of a comment.
	UpdateComment = funnel.NewAction("jira.update_comment", "Replace the text of a comment.", funnel.Writes, (*Client).UpdateComment,
		funnel.Upsert)
	// KeepComment keeps one comment of a name on an issue up to date.
	KeepComment = funnel.NewAction("jira.keep_comment", "Keep one comment of a name on an issue up to date.", funnel.Writes, (*Client).KeepComment,
		funnel.Find((*Client).findKept), funnel.Serial(serialComment))
	// LinkIssues links two issues.
	LinkIssues = funnel.NewAction("jira.link_issues", "Link two issues.", funnel.Writes, (*Client).LinkIssues,
		funnel.Find((*Client).findLink))
	// CreateIssue creates an issue.
	CreateIssue = funnel.NewAction("jira.create_issue", "Create an issue.", funnel.Writes, (*Client).CreateIssue,
		funnel.Find((*Client).findCreated), funnel.Fresh((*Client).createdFresh))
	// UpdateFields changes fields of an issue.
	UpdateFields = funnel.NewAction("jira.update_fields", "Change fields of an issue.", funnel.Writes, (*Client).UpdateFields,
		funnel.Upsert, funnel.Example(UpdateFieldsInput{Issue: "SIRT-1", Priority: "High", AddLabels: []string{"phishing"}}))
	// TransitionIssue moves an issue to a status.
	TransitionIssue = funnel.NewAction("jira.transition_issue", "Move an issue to a status.", funnel.Writes, (*Client).TransitionIssue,
		funnel.Find((*Client).findTransitioned))
	// AssignIssue gives an issue to a person.
	AssignIssue = funnel.NewAction("jira.assign_issue", "Assign an issue.", funnel.Writes, (*Client).AssignIssue,
		funnel.Upsert, funnel.Example(AssignIssueInput{Issue: "SIRT-1", Assignee: "funnel@example.com"}))
	// AttachFile puts a file on an issue.
	AttachFile = funnel.NewAction("jira.attach_file", "Attach a file to an issue.", funnel.Writes, (*Client).AttachFile,
		funnel.Find((*Client).findAttachment), funnel.Example(AttachFileInput{Issue: "SIRT-1", Name: "results.csv", MediaType: "text/csv", Text: "user,host\njdoe,WS-0142\n"}))
	// FindRelated finds issues about the same things.
	FindRelated = funnel.NewAction("jira.find_related", "Find issues about the same things.", funnel.Reads, (*Client).FindRelated,
		funnel.Example(FindRelatedInput{Issue: "SIRT-1", Observables: []funnel.Observable{{Kind: funnel.User, Value: "jdoe"}}}))
	// LinkRelated links an issue with several others.
	LinkRelated = funnel.NewAction("jira.link_related", "Link an issue with related ones.", funnel.Writes, (*Client).LinkRelated,
		funnel.Find((*Client).findLinked), funnel.Example(LinkRelatedInput{Issue: "SIRT-2", Related: []string{"SIRT-1"}}))
	// CloseDuplicate closes an issue as a duplicate.
	CloseDuplicate = funnel.NewAction("jira.close_duplicate", "Close an issue as a duplicate of another.", funnel.Writes, (*Client).CloseDuplicate,
		funnel.Find((*Client).findDuplicate), funnel.Serial(serialDuplicate), funnel.Example(CloseDuplicateInput{Issue: "SIRT-2", Of: "SIRT-1"}))
)

// IssueCreated is the trigger for issues that were created, by Funnel or by
// people.
var IssueCreated = funnel.NewTrigger("jira.issue_created", "An issue was created in Jira.", decodeIssueCreated, funnel.Repeated)

// IssueUpdated is the trigger for changes of issues by others.
var IssueUpdated = funnel.NewTrigger("jira.issue_updated", "An issue was changed in Jira.", decodeIssueUpdated, funnel.NeedsAccount, funnel.Repeated)

// CommentCreated is the trigger for comments of others.
var CommentCreated = funnel.NewTrigger("jira.comment_created", "An issue was commented on in Jira.", decodeCommentCreated, funnel.NeedsAccount, funnel.Repeated)

// Integration returns the integration for registration.
func Integration() funnel.Integration {
	return funnel.Integration{
		Name:     "jira",
		Summary:  "Opens tickets and keeps comments in Jira.",
		Connect:  funnel.Connect(connect),
		Limits:   funnel.Limits{Concurrency: 8, Timeout: 30 * time.Second},
		Actions:  []funnel.AnyAction{OpenTicket, GetIssue, SearchIssues, AddComment, UpdateComment, KeepComment, LinkIssues, CreateIssue, UpdateFields, TransitionIssue, AssignIssue, AttachFile, FindRelated, LinkRelated, CloseDuplicate},
		Triggers: []funnel.AnyTrigger{IssueCreated, IssueUpdated, CommentCreated},
		Docs:     docs(),
	}
}

func connect(_ context.Context, env funnel.Env, config Config) (*Client, error) {
	wrong := func(format string, args ...any) (*Client, error) {
		return nil, funnel.Errorf(funnel.Invalid, "reading the options of connection "+env.Connection+": "+format, args...)
	}
	base, err := url.Parse(config.URL)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return wrong("url is not an address such as https://example.atlassian.net")
	case base.Scheme != "https" && !(base.Scheme == "http" && loopback(base.Hostname())):
		return wrong("url needs https, for the token travels with each request")
	case config.Deployment != "" && config.Deployment != deploymentCloud && config.Deployment != deploymentDataCenter:
		return wrong("deployment is neither cloud nor data_center")
	case config.Deployment == deploymentDataCenter && cloudHost(base.Hostname()):
		return wrong("url is a site in Jira Cloud: leave deployment out and give email, or check the url")
	case config.Deployment == deploymentDataCenter && config.Email != "":
		return wrong("email is for Jira Cloud: in Data Center the token, a personal access token, says whose it is")
	case config.Deployment != deploymentDataCenter && config.Email == "" && !cloudHost(base.Hostname()):
		return wrong("email is missing; if the site is Jira Data Center, set deployment to data_center, which needs none")
	case config.Deployment != deploymentDataCenter && (!strings.Contains(config.Email, "@") || strings.ContainsAny(config.Email, ": \t\r\n")):
		return wrong("email is missing or not a mail address")
	case config.Token.IsZero():
		return wrong("token is missing")
	}
	return newClient(env, base, config), nil
}

// cloudHost reports whether Atlassian runs the site.
func cloudHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.HasSuffix(host, ".atlassian.net") || strings.HasSuffix(host, ".jira.com")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
