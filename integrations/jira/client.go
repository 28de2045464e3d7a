package jira

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
)

// Client talks to one Jira site. Its methods are the integration's actions. This
// file and the two dialects know addresses, authentication and status codes.
type Client struct {
	http    *http.Client
	base    *url.URL
	dialect dialect
	log     *slog.Logger
	clock   func() time.Time
	secrets []string // what must not be told, should Jira tell it

	resting resting // what Jira wants left alone for a while

	mu      sync.Mutex
	account string // our own accountId, in Data Center our user key; "" until Jira has told it
}

// dialect is what differs between Jira Cloud and Jira Data Center.
type dialect interface {
	// api is the path of the REST API.
	api() []string
	// credential is the value of the header Authorization.
	credential(Config) string
	// secrets names the options that make the credential.
	secrets() string
	// text renders a document for a description or a comment; the notes, which
	// are never cut, follow it in italics.
	text(doc funnel.Document, notes ...string) any
	// comment renders a document for a comment that is added, or changed, with the
	// property.
	comment(doc funnel.Document, p property, added bool) any
	// shown returns what the comment itself shows of the property, "" if it need not
	// or does not.
	shown(b commentBean) string
	// marks reports whether comments may have to show something of their property.
	marks() bool
	// search asks for a page of at most limit issues. next is the cursor of the
	// next page, "" after the last.
	search(ctx context.Context, c *Client, what string, q search, limit int, cursor string) (found []issueBean, next string, err error)
	// assignable is the query for people who can be given the issue, by a part of
	// a name or an address.
	assignable(issue, text string) url.Values
	// projects is the path of the list of projects.
	projects() []string
	// content is the request for the content of a file whose id and name are checked.
	content(k *call, a attachmentBean)
	// account is the value that tells accounts apart.
	account(p person) string
	// accounts is what people call the value that tells accounts apart.
	accounts() string
	// names reports whether the text names the person and nobody else by accident.
	names(u userBean, text string) bool
	// assignee is the request that gives an issue to a person, nil for nobody.
	assignee(u *userBean) any
}

func newClient(env funnel.Env, base *url.URL, config Config) *Client {
	c := &Client{base: base, dialect: cloud{}, log: env.Log, clock: env.Clock}
	if config.Deployment == deploymentDataCenter {
		c.dialect = &dataCenter{}
	}
	credential := c.dialect.credential(config)
	_, sent, _ := strings.Cut(credential, " ")
	c.secrets = []string{sent, config.Token.Reveal()}
	c.http = env.HTTP(base, func(h http.Header) { h.Set("Authorization", credential) })
	return c
}

// mask takes the credential out of an answer that sends it back, as debugging
// pages and proxies do.
func (c *Client) mask(answer []byte) []byte {
	for _, secret := range c.secrets {
		if secret != "" {
			answer = bytes.ReplaceAll(answer, []byte(secret), []byte("[secret]"))
		}
	}
	return answer
}

// Check reports whether the site answers and accepts the credential.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.myself(ctx)
	return err
}

// Account returns our own accountId, in Data Center our user key. Jira is asked once.
func (c *Client) Account(ctx context.Context) (string, error) {
	c.mu.Lock()
	known := c.account
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	return c.myself(ctx)
}

func (c *Client) myself(ctx context.Context) (string, error) {
	var me person
	k := call{what: "asking Jira who we are", method: http.MethodGet, path: []string{"myself"}, want: http.StatusOK, into: &me}
	if err := c.do(ctx, k); err != nil {
		return "", err
	}
	account := c.dialect.account(me)
	if account == "" {
		return "", k.unreadable("it does not say which account that is; check the connection's deployment")
	}
	c.mu.Lock()
	c.account = account
	c.mu.Unlock()
	return account, nil
}

func (c *Client) createIssue(ctx context.Context, what string, body any) (id, key string, err error) {
	var made struct{ ID, Key string }
	k := call{what: what, method: http.MethodPost, path: []string{"issue"}, body: body, want: http.StatusCreated, into: &made}
	if err := c.do(ctx, k); err != nil {
		return "", "", err
	}
	if !isID(made.ID) || !isIssueKey(made.Key) {
		return "", "", k.unreadable("it has no id and key")
	}
	return made.ID, made.Key, nil
}

func (c *Client) readIssue(ctx context.Context, what, issue string, fields []string, properties ...string) (issueBean, error) {
	var bean issueBean
	query := url.Values{"fields": {strings.Join(fields, ",")}}
	if len(properties) > 0 {
		query.Set("properties", strings.Join(properties, ","))
	}
	k := call{what: what, method: http.MethodGet, path: []string{"issue", issue}, query: query, want: http.StatusOK, into: &bean}
	if err := c.do(ctx, k); err != nil {
		return bean, err
	}
	if !isID(bean.ID) || !isIssueKey(bean.Key) {
		return bean, k.unreadable("it has no id and key")
	}
	return bean, nil
}

func (c *Client) editIssue(ctx context.Context, what, issue string, body any) error {
	return c.do(ctx, call{what: what, method: http.MethodPut, path: []string{"issue", issue}, body: body, want: http.StatusNoContent})
}

// readComments returns a page of the issue's comments with their properties,
// oldest first, and how many there are.
func (c *Client) readComments(ctx context.Context, what, issue string, start int) ([]commentBean, int, error) {
	var page struct {
		Comments []commentBean
		Total    *int
	}
	query := url.Values{"startAt": {strconv.Itoa(start)}, "maxResults": {"100"}, "orderBy": {"created"}, "expand": {"properties"}}
	k := call{what: what, method: http.MethodGet, path: []string{"issue", issue, "comment"}, query: query, want: http.StatusOK, into: &page}
	if err := c.do(ctx, k); err != nil {
		return nil, 0, err
	}
	if page.Comments == nil || page.Total == nil {
		return nil, 0, k.unreadable("it has no comments, or does not say how many there are")
	}
	return page.Comments, *page.Total, nil
}

func (c *Client) readComment(ctx context.Context, what, issue, id string) (commentBean, error) {
	var bean commentBean
	k := call{what: what, method: http.MethodGet, path: []string{"issue", issue, "comment", id}, query: url.Values{"expand": {"properties"}}, want: http.StatusOK, into: &bean}
	if err := c.do(ctx, k); err != nil {
		return bean, err
	}
	if bean.ID != id {
		return bean, k.unreadable("it is another comment")
	}
	return bean, nil
}

// writeComment adds a comment, or replaces the one with the id.
func (c *Client) writeComment(ctx context.Context, what, issue, id string, body any) (string, error) {
	var made commentBean
	k := call{what: what, method: http.MethodPost, path: []string{"issue", issue, "comment"}, body: body, want: http.StatusCreated, into: &made}
	if id != "" {
		k.method, k.path, k.want = http.MethodPut, append(k.path, id), http.StatusOK
	}
	if c.dialect.marks() {
		k.query = url.Values{"expand": {"properties"}}
	}
	if err := c.do(ctx, k); err != nil {
		return "", err
	}
	if !isID(made.ID) {
		return "", k.unreadable("it has no id")
	}
	c.dialect.shown(made)
	return made.ID, nil
}

// createLink links two issues: "inward duplicates outward".
func (c *Client) createLink(ctx context.Context, what, kind, inward, outward string) error {
	body := map[string]any{
		"type":        map[string]string{"name": kind},
		"inwardIssue": map[string]string{"key": inward}, "outwardIssue": map[string]string{"key": outward},
	}
	return c.do(ctx, call{what: what, method: http.MethodPost, path: []string{"issueLink"}, body: body, issues: []string{inward, outward}, want: http.StatusCreated})
}

// checkIssues is nil if an answer's issues can be believed.
func (k call) checkIssues(list []issueBean) error {
	if list == nil {
		return k.unreadable("it has no issues")
	}
	for _, bean := range list {
		if !isID(bean.ID) || !isIssueKey(bean.Key) {
			return k.unreadable("an issue has no id and key")
		}
	}
	return nil
}

// issueURL returns the page of an issue for people.
func (c *Client) issueURL(key string) string { return c.base.JoinPath("browse", key).String() }

// commentURL returns the page of an issue, showing the comment.
func (c *Client) commentURL(key, id string) string {
	return c.issueURL(key) + "?focusedCommentId=" + url.QueryEscape(id)
}

// call is one request and the answer that is expected.
type call struct {
	what   string // what we do, as errors begin: "reading issue SIRT-1"
	method string
	path   []string // below the API, checked by isIssue and isID: no part holds a slash or is ".."
	page   bool     // the path is one for people, below the site
	query  url.Values
	body   any
	want   int  // the only status that means success
	into   any  // where the answer goes; nil if there is nothing to read
	reads  bool // it changes nothing although it is a POST

	issues []string // that are written to, unless the path says so

	file *file   // uploaded instead of a body
	raw  *[]byte // where an answer goes that is not JSON
}

func (k call) harmless() bool { return k.reads || k.method == http.MethodGet }

func (c *Client) do(ctx context.Context, k call) error {
	if err := c.early(k); err != nil {
		return err
	}
	body, mediaType, err := k.encode()
	if err != nil {
		return funnel.Errorf(funnel.Internal, "%s: encoding the request: %w", k.what, err)
	}
	u := c.base.JoinPath(k.path...)
	if !k.page {
		u = c.base.JoinPath(append(c.dialect.api(), k.path...)...)
	}
	u.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return funnel.Errorf(funnel.Internal, "%s: the address cannot be built", k.what)
	}
	if k.raw == nil {
		req.Header.Set("Accept", "application/json")
	}
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	if k.file != nil {
		req.Header.Set("X-Atlassian-Token", "no-check") // without it Jira takes a form for a forged one
	}
	res, err := c.http.Do(req)
	if err != nil {
		return k.failed(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body) // Env.HTTP bounds it
	switch {
	case res.StatusCode < 200 || res.StatusCode > 299:
		return c.refused(k, res, answer)
	case err != nil:
		return k.failed(err)
	case res.StatusCode != k.want:
		return k.unreadable(fmt.Sprintf("its status is %d instead of %d", res.StatusCode, k.want))
	case k.into != nil && json.Unmarshal(answer, k.into) != nil:
		return k.unreadable("it is not the expected JSON; is something else, such as a proxy, answering?")
	case k.raw != nil:
		*k.raw = answer
	}
	return nil
}

// encode returns the request's body, nil if it has none, and its media type.
func (k call) encode() (io.Reader, string, error) {
	switch {
	case k.file != nil:
		b, mediaType, err := k.file.form()
		return bytes.NewReader(b), mediaType, err
	case k.body != nil:
		b, err := json.Marshal(k.body)
		return bytes.NewReader(b), "application/json", err
	}
	return nil, "", nil
}

// failed keeps what Env.HTTP found out about an exchange that failed. The error
// of net/http around it holds the address and is left out.
func (k call) failed(err error) error {
	e := &funnel.Error{Code: funnel.Uncertain, Err: err}
	text := "the exchange failed"
	if cause, ok := errors.AsType[*funnel.Error](err); ok {
		*e = *cause
		text = cause.Error()
	}
	if k.harmless() && e.Code == funnel.Uncertain {
		e.Code = funnel.Unavailable
	}
	e.Message = k.what + ": " + text
	return e
}

// unreadable is an answer that says success in a way that cannot be believed.
func (k call) unreadable(why string) error {
	code := funnel.Uncertain
	if k.harmless() {
		code = funnel.Unavailable
	}
	return funnel.Errorf(code, "%s: reading Jira's answer: %s", k.what, why)
}

// refused turns an answer that is not a success into an Error.
func (c *Client) refused(k call, res *http.Response, answer []byte) error {
	said, jira := complaint(c.mask(answer))
	fail := func(code funnel.Code, text string) *funnel.Error {
		if said != "" {
			text += ": " + said
		}
		return funnel.Errorf(code, "%s: %s (status %d)", k.what, text, res.StatusCode)
	}
	now := c.clock()
	switch status := res.StatusCode; {
	case status == http.StatusUnauthorized:
		return fail(funnel.Unauthorized, "Jira does not accept the credential; check the connection's "+c.dialect.secrets())
	case status == http.StatusForbidden && strings.Contains(res.Header.Get("X-Seraph-Loginreason"), "DENIED"):
		return fail(funnel.Unauthorized, "Jira wants a captcha solved: log in once in a browser as the connection's account")
	case status == http.StatusForbidden:
		e := fail(funnel.Unauthorized, "the account lacks a permission")
		e.Narrow = true // the credential works
		return e
	case status == http.StatusNotFound && !jira && k.harmless() && !k.page:
		return fail(funnel.Unavailable, "the answer is not found, but not Jira's own; check the connection's url and deployment")
	case status == http.StatusNotFound:
		return fail(funnel.NotFound, "Jira does not have it or does not show it to the account")
	case status == http.StatusConflict:
		return fail(funnel.Conflict, "Jira says that the present state forbids it")
	case status == http.StatusGone:
		return fail(funnel.Invalid, "Jira has removed this part of its API; a newer version of Funnel is needed")
	case status == http.StatusRequestEntityTooLarge:
		return fail(funnel.Invalid, "it is too large for Jira")
	case status == http.StatusTooManyRequests:
		e := fail(funnel.Throttled, "Jira asks for a pause")
		e.RetryAt = retryAt(res.Header, now)
		c.heard(k, res.Header, e)
		return e
	case status >= 500 || status == http.StatusRequestTimeout:
		code, text := funnel.Unavailable, "Jira is not available"
		if !k.harmless() { // an error after the change looks the same as one before
			code, text = funnel.Uncertain, "Jira failed and does not say whether it was done"
		}
		e := fail(code, text)
		e.RetryAt = retryAt(res.Header, now)
		c.heard(k, http.Header{}, e)
		return e
	case status >= 300 && status < 400:
		return fail(funnel.Invalid, "the answer is a redirect, which is not followed; check the connection's url")
	}
	return fail(funnel.Invalid, "Jira refuses it")
}

// retryAt returns when Jira asks us to come back: Retry-After, else
// X-RateLimit-Reset, an ISO 8601 instant that may lack the seconds
// (developer.atlassian.com, "Rate limiting"), else in Data Center after
// X-RateLimit-Interval-Seconds, when the next requests are granted. Zero if none
// lies ahead.
func retryAt(h http.Header, now time.Time) time.Time {
	if at := funnel.RetryAfter(h, now); !at.IsZero() {
		return at
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(layout, h.Get("X-RateLimit-Reset")); err == nil && at.After(now) {
			if limit := now.Add(24 * time.Hour); at.After(limit) {
				return limit
			}
			return at
		}
	}
	if s, err := strconv.Atoi(h.Get("X-RateLimit-Interval-Seconds")); err == nil && s > 0 && s <= 24*60*60 {
		return now.Add(time.Duration(s) * time.Second)
	}
	return time.Time{}
}

// complaint returns what Jira says is wrong, from {"errorMessages":[…],
// "errors":{field: text}} or {"message": text}: one clean line of at most 300 characters. jira is false
// when the body is not of this form, so that it came from something else.
func complaint(body []byte) (said string, jira bool) {
	var answer struct {
		ErrorMessages []string
		Errors        map[string]string
		Message       string
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", false
	}
	parts := answer.ErrorMessages
	if answer.Message != "" {
		parts = append(parts, answer.Message)
	}
	for _, field := range slices.Sorted(maps.Keys(answer.Errors)) {
		parts = append(parts, field+": "+answer.Errors[field])
	}
	return shorten(oneLine(strings.Join(parts, "; ")), 300), answer.ErrorMessages != nil || answer.Errors != nil
}
