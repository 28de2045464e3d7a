package jira

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// clock is a clock that only moves when told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// connectTo returns a client of what the handler serves, a site in Jira Cloud.
func connectTo(t *testing.T, h http.Handler, now func() time.Time) *Client {
	t.Helper()
	return connectAs(t, h, now, jirafake.Options{})
}

// newSite returns a simulated site and a client of it.
func newSite(t *testing.T, o jirafake.Options) (*jirafake.Site, *Client) {
	t.Helper()
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	site := jirafake.New(o)
	t.Cleanup(site.Close)
	return site, connectAs(t, site, now, o)
}

// perform invokes an action as the engine does: through JSON.
func perform[In, Out any](t *testing.T, c *Client, a funnel.Action[In, Out], key funnel.EffectKey, in In) (Out, error) {
	t.Helper()
	return performAs(t, c, a, funnel.Attempt{Key: key, Number: 1}, in)
}

func performAs[In, Out any](t *testing.T, c *Client, a funnel.Action[In, Out], attempt funnel.Attempt, in In) (Out, error) {
	t.Helper()
	var out Out
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.Spec().Invoke(funnel.WithAttempt(t.Context(), attempt), c, input)
	if err == nil && json.Unmarshal(b, &out) != nil {
		t.Fatalf("the outcome %s does not decode", b)
	}
	return out, err
}

// lookUp settles an effect as the engine does.
func lookUp[In, Out any](t *testing.T, c *Client, a funnel.Action[In, Out], key funnel.EffectKey, in In) (Out, bool) {
	t.Helper()
	var out Out
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	b, found, err := a.Spec().Find(t.Context(), c, key, input)
	if err != nil {
		t.Fatal(err)
	}
	if found && json.Unmarshal(b, &out) != nil {
		t.Fatalf("the outcome %s does not decode", b)
	}
	return out, found
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func effect(name string) funnel.EffectKey { return funnel.NewEffectKey(name, "test", "step", 0) }

func ticketInput() OpenTicketInput {
	return OpenTicketInput{
		Project: "SIRT", IssueType: "Task", Summary: "Credential dumping: jdoe", Priority: "High", Fingerprint: funnel.Fingerprint("a"),
		Description: funnel.NewDocument(funnel.Paragraph(funnel.Text("something happened"))), Labels: []string{"demo alert"},
	}
}

func wantCode(t *testing.T, err error, code funnel.Code, texts ...string) {
	t.Helper()
	if funnel.CodeOf(err) != code {
		t.Fatalf("error %v has the code %s, want %s", err, funnel.CodeOf(err), code)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	r := funnel.NewRegistry().Add(Integration())
	if n := len(r.Actions()); n != 15 {
		t.Errorf("%d actions are registered, want 15", n)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	env := funnel.Env{Connection: "jira", HTTP: func(*url.URL, func(http.Header)) *http.Client { return nil }}
	for name, test := range map[string]struct {
		options, want string
	}{
		"good":                 {`{"url":"https://example.atlassian.net","email":"funnel@example.com","token":"hunter2"}`, ""},
		"loopback":             {`{"url":"http://127.0.0.1:1","email":"funnel@example.com","token":"hunter2"}`, ""},
		"plain":                {`{"url":"http://jira.example.com","email":"funnel@example.com","token":"hunter2"}`, "https"},
		"no url":               {`{"email":"funnel@example.com","token":"hunter2"}`, "url is not an address"},
		"user":                 {`{"url":"https://a:hunter2@jira.example.com","email":"funnel@example.com","token":"hunter2"}`, "url is not an address"},
		"no email":             {`{"url":"https://jira.example.com","token":"hunter2"}`, "email"},
		"colon":                {`{"url":"https://jira.example.com","email":"a:b@example.com","token":"hunter2"}`, "email"},
		"no token":             {`{"url":"https://jira.example.com","email":"funnel@example.com"}`, "token is missing"},
		"data center":          {`{"url":"https://jira.example.com/jira","deployment":"data_center","token":"hunter2"}`, ""},
		"named cloud":          {`{"url":"https://example.atlassian.net","deployment":"cloud","email":"funnel@example.com","token":"hunter2"}`, ""},
		"unknown product":      {`{"url":"https://jira.example.com","deployment":"server","token":"hunter2"}`, "deployment"},
		"email and no email":   {`{"url":"https://jira.example.com","deployment":"data_center","email":"funnel@example.com","token":"hunter2"}`, "email is for Jira Cloud"},
		"cloud as data center": {`{"url":"https://Example.Atlassian.net","deployment":"data_center","token":"hunter2"}`, "url is a site in Jira Cloud"},
		"data center as cloud": {`{"url":"https://jira.example.com","token":"hunter2"}`, "set deployment to data_center"},
		"plain data center":    {`{"url":"http://jira.example.com","deployment":"data_center","token":"hunter2"}`, "https"},
		"more keys":            {`{"url":"https://jira.example.com","password":"hunter2"}`, "password"},
	} {
		_, err := Integration().Connect.Connect(t.Context(), env, []byte(test.options))
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want one about %q without the secret", name, err, test.want)
		}
	}
}

func TestCheckAndAccount(t *testing.T) { everywhere(t, testCheckAndAccount) }

func testCheckAndAccount(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	site.Down(true) // the account was told once and is kept
	if got := must[string](t)(c.Account(t.Context())); got != us(o) {
		t.Errorf("our account is %q", got)
	}
	wantCode(t, c.Check(t.Context()), funnel.Unavailable, "asking Jira who we are")
}

func TestWrongCredential(t *testing.T) { everywhere(t, testWrongCredential) }

func testWrongCredential(t *testing.T, o jirafake.Options) {
	o.Token = "another"
	_, c := newSite(t, o)
	err := c.Check(t.Context())
	wantCode(t, err, funnel.Unauthorized, "check the connection's "+map[jirafake.Deployment]string{jirafake.Cloud: "email and token", jirafake.DataCenter: "token, a personal"}[o.Deployment])
	if strings.Contains(err.Error(), jirafake.DefaultToken) {
		t.Errorf("error %q holds the token", err)
	}
}

func TestStatusCodes(t *testing.T) { everywhere(t, testStatusCodes) }

func testStatusCodes(t *testing.T, o jirafake.Options) {
	now := newClock().now()
	jiraBody := `{"errorMessages":["It is\u0000 so."],"errors":{"priority":"The priority selected is invalid."}}`
	for _, test := range []struct {
		status      int
		header      http.Header
		body        string
		read, write funnel.Code
		retry       time.Duration
		narrow      bool
		text        string
	}{
		{status: 400, body: jiraBody, read: funnel.Invalid, write: funnel.Invalid, text: "It is so.; priority: The priority selected is invalid."},
		{status: 422, body: "{}", read: funnel.Invalid, write: funnel.Invalid},
		{status: 401, body: "Client must be authenticated", read: funnel.Unauthorized, write: funnel.Unauthorized, text: "token"},
		{status: 403, body: jiraBody, read: funnel.Unauthorized, write: funnel.Unauthorized, narrow: true},
		{status: 403, header: http.Header{"X-Seraph-Loginreason": {"AUTHENTICATION_DENIED"}}, read: funnel.Unauthorized, write: funnel.Unauthorized, text: "captcha"},
		{status: 404, body: jiraBody, read: funnel.NotFound, write: funnel.NotFound},
		{status: 404, body: "<html>nothing here</html>", read: funnel.Unavailable, write: funnel.NotFound},
		{status: 408, read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 409, read: funnel.Conflict, write: funnel.Conflict},
		{status: 410, body: jiraBody, read: funnel.Invalid, write: funnel.Invalid, text: "removed"},
		{status: 413, read: funnel.Invalid, write: funnel.Invalid, text: "too large"},
		{status: 429, header: http.Header{"Retry-After": {"7"}, "Ratelimit-Reason": {"jira-burst-based"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 7 * time.Second, narrow: true},
		{status: 429, header: http.Header{"Retry-After": {"7"}, "Ratelimit-Reason": {"jira-quota-based"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 7 * time.Second},
		{status: 429, header: http.Header{"Retry-After": {"7"}, "Ratelimit-Reason": {"jira-per-issue-on-write"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 7 * time.Second, narrow: true},
		{status: 429, header: http.Header{"X-Ratelimit-Reset": {"2026-03-01T12:05Z"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 5 * time.Minute},
		{status: 429, header: http.Header{"X-Ratelimit-Reset": {"2026-03-01T12:05:30Z"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 330 * time.Second},
		{status: 429, header: http.Header{"X-Ratelimit-Reset": {"2036-03-01T12:05:30Z"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 24 * time.Hour},
		{status: 429, header: http.Header{"X-Ratelimit-Reset": {"2020-03-01T12:05:30Z"}}, read: funnel.Throttled, write: funnel.Throttled},
		{status: 429, header: http.Header{"X-Ratelimit-Interval-Seconds": {"60"}, "X-Ratelimit-Remaining": {"0"}}, body: `{"message":"Rate limit exceeded."}`, read: funnel.Throttled, write: funnel.Throttled, retry: time.Minute, text: "Rate limit exceeded."},
		{status: 429, header: http.Header{"Retry-After": {"7"}, "X-Ratelimit-Interval-Seconds": {"60"}}, read: funnel.Throttled, write: funnel.Throttled, retry: 7 * time.Second},
		{status: 429, header: http.Header{"X-Ratelimit-Interval-Seconds": {"-1"}}, read: funnel.Throttled, write: funnel.Throttled},
		{status: 500, read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 502, body: "<html>bad gateway</html>", read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 503, header: http.Header{"Retry-After": {"30"}}, read: funnel.Unavailable, write: funnel.Uncertain, retry: 30 * time.Second},
		{status: 504, read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 302, header: http.Header{"Location": {"https://login.example.com/?secret"}}, read: funnel.Invalid, write: funnel.Invalid, text: "redirect"},
		{status: 200, body: "<html>please sign in</html>", read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 201, body: `{"id":"1"`, read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 201, body: `{"id":"x","key":"y"}`, read: funnel.Unavailable, write: funnel.Uncertain},
		{status: 202, body: `{"id":"10001","key":"SIRT-1"}`, read: funnel.Unavailable, write: funnel.Uncertain},
	} {
		fresh := func() *Client { // that was not asked for a pause yet
			return connectAs(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}), func() time.Time { return now }, o)
		}
		_, readErr := fresh().readIssue(t.Context(), "reading issue SIRT-1", "SIRT-1", issueFields())
		_, _, writeErr := fresh().createIssue(t.Context(), "opening a ticket", map[string]string{})
		_, _, searchErr := fresh().find(t.Context(), "searching", search{}.where(projectField, "SIRT"), 1)
		for _, got := range []struct {
			err  error
			want funnel.Code
		}{{readErr, test.read}, {writeErr, test.write}, {searchErr, test.read}} {
			wantCode(t, got.err, got.want, test.text)
			e := got.err.(*funnel.Error)
			wait := time.Duration(0)
			if !e.RetryAt.IsZero() {
				wait = e.RetryAt.Sub(now)
			}
			if wait != test.retry || e.Narrow != test.narrow {
				t.Errorf("%d %v: comes back after %v, narrow %v; want %v, %v", test.status, test.header, wait, e.Narrow, test.retry, test.narrow)
			}
			if strings.Contains(e.Error(), "html") || strings.Contains(e.Error(), "secret") || strings.ContainsRune(e.Error(), 0) {
				t.Errorf("error %q shows more than Jira's own words", e)
			}
		}
	}
}

func TestComplaintIsShort(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(map[string]any{"errorMessages": []string{strings.Repeat("å", 1000) + "\n\u202e"}})
	if err != nil {
		t.Fatal(err)
	}
	said, _ := complaint(body)
	if units(said) != 300 || strings.ContainsAny(said, "\n\u202e") {
		t.Errorf("the complaint has %d characters: %q", units(said), said)
	}
}

// TestLostAnswers: what was written before the connection broke is uncertain,
// and nothing else is.
func TestLostAnswers(t *testing.T) { everywhere(t, testLostAnswers) }

func testLostAnswers(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	site.Next(jirafake.IsCreate, jirafake.Fault{Kind: jirafake.AnswerLost})
	_, err := perform(t, c, OpenTicket, effect("1"), ticketInput())
	wantCode(t, err, funnel.Uncertain, "opening a ticket in SIRT")
	site.Next(jirafake.IsCreate, jirafake.Fault{Kind: jirafake.MalformedJSON})
	_, err = perform(t, c, OpenTicket, effect("2"), ticketInput())
	wantCode(t, err, funnel.Uncertain, "reading Jira's answer")
	site.Next(jirafake.IsSearch, jirafake.Fault{Kind: jirafake.DropBefore})
	_, err = perform(t, c, SearchIssues, "", SearchIssuesInput{Project: "SIRT"})
	wantCode(t, err, funnel.Unavailable)

	c = connectAs(t, site, time.Now, o)
	c.base.Host = "127.0.0.1:1" // another port: Env.HTTP refuses it before anything is sent
	_, err = perform(t, c, OpenTicket, effect("3"), ticketInput())
	wantCode(t, err, funnel.Invalid, "bound to")
}

func TestCancelledContext(t *testing.T) { everywhere(t, testCancelledContext) }

func testCancelledContext(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	site.Next(jirafake.IsCreate, jirafake.Fault{Kind: jirafake.Hang})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.OpenTicket(ctx, ticketInput())
	wantCode(t, err, funnel.Unavailable, "cancelled")
}
