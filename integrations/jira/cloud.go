package jira

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/funnelsec/funnel"
)

// cloud is Jira Cloud with REST API version 3.
type cloud struct{}

func (cloud) api() []string { return []string{"rest", "api", "3"} }

// credential is the account's mail address and API token.
func (cloud) credential(config Config) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(config.Email+":"+config.Token.Reveal()))
}

func (cloud) secrets() string { return "email and token" }

// text renders the document in the Atlassian document format.
func (cloud) text(doc funnel.Document, notes ...string) any { return adf(doc, notes...) }

// comment renders a comment, whose property Jira keeps.
func (cloud) comment(doc funnel.Document, _ property, _ bool) any { return adf(doc) }

func (cloud) marks() bool { return false }

func (cloud) shown(commentBean) string { return "" }

// search asks POST /search/jql, which replaced /search (CHANGE-2046). It pages
// by a token and is eventually consistent.
func (cloud) search(ctx context.Context, c *Client, what string, q search, limit int, cursor string) ([]issueBean, string, error) {
	var page struct {
		Issues        []issueBean
		NextPageToken string
	}
	body := map[string]any{"jql": q.String(), "maxResults": limit, "fields": issueFields()}
	if cursor != "" {
		body["nextPageToken"] = cursor
	}
	k := call{what: what, method: http.MethodPost, path: []string{"search", "jql"}, body: body, want: http.StatusOK, into: &page, reads: true}
	if err := c.do(ctx, k); err != nil {
		return nil, "", err
	}
	return page.Issues, page.NextPageToken, k.checkIssues(page.Issues)
}

func (cloud) assignable(issue, text string) url.Values {
	return url.Values{"issueKey": {issue}, "query": {text}, "maxResults": {"50"}}
}

func (cloud) content(k *call, a attachmentBean) {
	k.path = []string{"attachment", "content", a.ID}
	k.query = url.Values{"redirect": {"false"}} // else Jira answers with the address of a media server
}

func (cloud) account(p person) string { return p.AccountID }

func (cloud) projects() []string { return []string{"project", "search"} }

func (cloud) accounts() string { return "an account ID" }

func (cloud) names(u userBean, text string) bool {
	return u.AccountID != "" && (u.AccountID == text || strings.EqualFold(u.EmailAddress, text) || strings.EqualFold(u.DisplayName, text))
}

func (cloud) assignee(u *userBean) any {
	if u == nil {
		return map[string]any{"accountId": nil}
	}
	return map[string]any{"accountId": u.AccountID}
}
