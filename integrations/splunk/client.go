package splunk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/funnelsec/funnel"
)

// Client asks the REST API on Splunk's management port. Its methods are the
// integration's actions. This file alone knows addresses, authentication and
// status codes.
type Client struct {
	http      *http.Client
	base      *url.URL
	token     funnel.Secret
	namespace []string // "services", or "servicesNS" with owner and app
	log       *slog.Logger
	clock     func() time.Time
	timeout   time.Duration // of an exchange
	patience  time.Duration // how long a step waits for a search job before it comes back later

	mu  sync.Mutex
	api api // which is known to work; "" until it is asked
}

// api is where the API has its search jobs.
type api string

// The generations of the API. In the second one results are asked for by POST
// (help.splunk.com, REST API Reference, "Search endpoint descriptions"; "v1
// instances of some endpoints are deprecated", and disabled in later versions).
const (
	v1 api = "search/jobs"
	v2 api = "search/v2/jobs"
)

func (a api) other() api {
	if a == v1 {
		return v2
	}
	return v1
}

// maxAnswer bounds an answer in bytes, below the bound of the way out, so that
// what is too large can be asked for in smaller pieces.
const maxAnswer = 2 << 20

const defaultTimeout = 30 * time.Second

// mask takes the token out of an answer that sends it back, as debugging pages
// and proxies do.
func (c *Client) mask(answer []byte) []byte {
	if c.token.IsZero() {
		return answer
	}
	return bytes.ReplaceAll(answer, []byte(c.token.Reveal()), []byte("[secret]"))
}

func newClient(env funnel.Env, base *url.URL, config Config) *Client {
	authorize := func(h http.Header) { h.Set("Authorization", "Bearer "+config.Token.Reveal()) }
	c := &Client{
		http: env.HTTP(base, authorize), base: base, token: config.Token, namespace: []string{"services"}, log: env.Log, clock: env.Clock, timeout: env.Timeout,
	}
	if config.Owner != "" || config.App != "" {
		c.namespace = []string{"servicesNS", orElse(config.Owner, "nobody"), orElse(config.App, "search")}
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.patience = min(c.timeout/2, 10*time.Second)
	return c
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// Check reports whether Splunk answers and accepts the token.
func (c *Client) Check(ctx context.Context) error {
	k := call{what: "asking Splunk who we are", path: []string{"services", "authentication", "current-context"}}
	a, err := c.do(ctx, k)
	if err == nil && !a.json.Exists() {
		return k.unreadable("it does not tell; check that the connection's url names the management port")
	}
	return err
}

// call is one request that changes nothing at Splunk but search jobs.
type call struct {
	what string   // what we do, as errors begin: "reading a search job"
	path []string // unescaped segments from the root on
	get  url.Values
	post url.Values // nil: a GET
	only int        // the most bytes of the answer that are taken; 0: maxAnswer
}

// answered is an answer that is not an error.
type answered struct {
	status  int
	json    gjson.Result // an object
	missing string       // Splunk's own words if it does not have what was asked for; then json is none
	strange bool         // it says that there is no such address, not that there is no such job
	large   bool         // it is larger than was to be taken; then json is none
}

// do performs a call. What Splunk does not have is an answer, see
// answered.missing; so is one that is too large. Errors are *funnel.Error.
func (c *Client) do(ctx context.Context, k call) (answered, error) {
	u := *c.base
	plain, raw := strings.TrimSuffix(c.base.Path, "/"), strings.TrimSuffix(c.base.EscapedPath(), "/")
	for _, segment := range k.path {
		plain, raw = plain+"/"+segment, raw+"/"+url.PathEscape(segment)
	}
	query := url.Values{"output_mode": {"json"}}
	for name, values := range k.get {
		query[name] = values
	}
	u.Path, u.RawPath, u.RawQuery = plain, raw, query.Encode()
	method, body := http.MethodGet, io.Reader(nil)
	if k.post != nil {
		method, body = http.MethodPost, strings.NewReader(k.post.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return answered{}, funnel.Errorf(funnel.Internal, "%s: the address cannot be built", k.what)
	}
	if k.post != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answered{}, k.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }()
	most := k.only
	if most == 0 {
		most = maxAnswer
	}
	content, err := io.ReadAll(io.LimitReader(res.Body, int64(most)+1))
	switch {
	case res.StatusCode < 200 || res.StatusCode > 299:
		return c.refused(k, res, content)
	case err != nil:
		return answered{}, k.unreachable(err)
	case len(content) > most:
		return answered{status: res.StatusCode, large: true}, nil
	case res.StatusCode == http.StatusNoContent:
		return answered{status: res.StatusCode}, nil
	case !utf8.Valid(content) || !gjson.ValidBytes(content) || !gjson.ParseBytes(content).IsObject():
		return answered{}, k.unreadable("it is not the expected JSON; is something else, such as a proxy or Splunk's web port, answering?")
	}
	return answered{status: res.StatusCode, json: gjson.ParseBytes(content)}, nil
}

// unreachable turns a failed exchange into an Error. Nothing can be uncertain
// about a look-up: a search job that nobody reads ends by itself. The URL is left
// out.
func (k call) unreachable(err error) *funnel.Error {
	e := &funnel.Error{Code: funnel.Unavailable, Err: err}
	text := "the exchange failed"
	if cause, ok := errors.AsType[*funnel.Error](err); ok {
		*e = *cause
		text = cause.Error()
	}
	if e.Code == funnel.Uncertain {
		e.Code = funnel.Unavailable
	}
	e.Message = k.what + ": " + strings.TrimSuffix(text, "; the request may have been carried out")
	return e
}

func (k call) unreadable(why string) *funnel.Error {
	return funnel.Errorf(funnel.Unavailable, "%s: reading Splunk's answer: %s", k.what, why)
}

// refused turns an answer that is not a success into "it does not have that" or
// into an Error.
func (c *Client) refused(k call, res *http.Response, content []byte) (answered, error) {
	said, splunks := complaint(c.mask(content))
	fail := func(code funnel.Code, text string) *funnel.Error {
		return funnel.Errorf(code, "%s: %s (status %d)", k.what, text, res.StatusCode)
	}
	now := c.clock()
	switch status := res.StatusCode; {
	case status == http.StatusNotFound && splunks && strings.Contains(strings.ToLower(said), "unknown sid"):
		return answered{status: status, missing: said}, nil
	case status == http.StatusNotFound && splunks, status == http.StatusGone, status == http.StatusMethodNotAllowed:
		return answered{status: status, missing: orElse(said, "there is no such address"), strange: true}, nil
	case status == http.StatusNotFound:
		return answered{}, fail(funnel.Unavailable, "the answer is not found, but not Splunk's own; check that the connection's url names the management port")
	case status == http.StatusUnauthorized:
		return answered{}, fail(funnel.Unauthorized, "Splunk does not accept the token: it is wrong, has expired, or token authentication is off; check the connection's token")
	case status == http.StatusForbidden:
		e := fail(funnel.Unauthorized, "the token's account lacks a permission")
		e.Narrow = true // the credential works
		return answered{}, e
	case status == http.StatusTooManyRequests:
		e := fail(funnel.Throttled, "Splunk asks for a pause")
		e.RetryAt = funnel.RetryAfter(res.Header, now)
		return answered{}, e
	case status >= 500 || status == http.StatusRequestTimeout:
		e := fail(funnel.Unavailable, "Splunk is not available")
		e.RetryAt = funnel.RetryAfter(res.Header, now)
		return answered{}, e
	case status >= 300 && status < 400:
		return answered{}, fail(funnel.Unavailable, "the answer is a redirect, which is not followed; check that the connection's url names the management port")
	case said != "":
		return answered{}, fail(funnel.Invalid, "Splunk refuses it: "+said)
	}
	return answered{}, fail(funnel.Invalid, "Splunk refuses it")
}

// complaint returns the first message of an error in Splunk's form,
// {"messages":[{"type":"FATAL","text":"Unknown sid."}]}, in one line, and whether
// the answer has that form.
func complaint(content []byte) (said string, splunks bool) {
	if !utf8.Valid(content) || !gjson.ValidBytes(content) {
		return "", false
	}
	messages := gjson.GetBytes(content, "messages")
	if !messages.IsArray() {
		return "", false
	}
	return shorten(messages.Get("0.text").String(), 300), messages.Get("0.text").Type == gjson.String
}

// shorten returns the text in one line of at most the given number of characters,
// without what cannot be shown.
func shorten(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}

// onJobs performs a call on the search jobs, in the generation of the API that
// this Splunk has. If one does not have the address, the other is tried, and
// remembered when it works. Only the second generation takes POST for results.
func (c *Client) onJobs(ctx context.Context, k call, below []string, reads url.Values) (answered, error) {
	use, err := c.generation(ctx)
	if err != nil {
		return answered{}, err
	}
	var first answered
	for n := range 2 {
		one := k
		one.path = slices.Concat(c.namespace, strings.Split(string(use), "/"), below)
		switch {
		case reads != nil && use == v2:
			one.post = reads
		case reads != nil:
			one.get = reads
		}
		a, err := c.do(ctx, one)
		if err != nil {
			return a, err
		}
		if !a.strange {
			if n == 1 {
				c.mu.Lock()
				c.api = use
				c.mu.Unlock()
			}
			return a, nil
		}
		if n == 0 {
			first = a
		}
		use = use.other()
	}
	return answered{}, funnel.Errorf(funnel.NotFound, "%s: Splunk does not have it: %s (status %d); check the connection's owner and app", k.what, first.missing, first.status)
}

// generation returns which API to use. Splunk is asked once: Enterprise has the
// second from 9.0.2 on, Cloud from 9.0.2209 on, as splunk-sdk-python and
// splunk-sdk-javascript decide. Who does not tell a version is taken for new.
func (c *Client) generation(ctx context.Context) (api, error) {
	c.mu.Lock()
	known := c.api
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	a, err := c.do(ctx, call{what: "asking Splunk for its version", path: []string{"services", "server", "info"}})
	if err != nil {
		if e, ok := errors.AsType[*funnel.Error](err); !ok || !e.Narrow {
			return "", err
		}
	}
	version, kind := a.json.Get("entry.0.content.version").String(), a.json.Get("entry.0.content.instance_type").String()
	if version == "" {
		version, kind = a.json.Get("generator.version").String(), a.json.Get("generator.instance_type").String()
	}
	least := []int{9, 0, 2}
	if strings.EqualFold(kind, "cloud") {
		least = []int{9, 0, 2209}
	}
	use := v2
	if older(version, least) {
		use = v1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.api == "" {
		c.api = use
	}
	return c.api, nil
}

// older reports whether a version such as "8.2.7" comes before another. What is
// no version does not.
func older(version string, least []int) bool {
	parts := strings.Split(version, ".")
	for i, want := range least {
		have := 0
		if i < len(parts) {
			n, err := strconv.Atoi(parts[i])
			if err != nil {
				return false
			}
			have = n
		}
		if have != want {
			return have < want
		}
	}
	return false
}

// checkSID refuses what cannot be the ID of a search job.
func checkSID(what, sid string) error {
	if len(sid) > maxSID || !isSegment(sid) {
		return funnel.Errorf(funnel.Invalid, "%s: sid is not the ID of a search job", what)
	}
	return nil
}

// isSegment reports whether a text can be one segment of a path, escaped: it is
// not a way to another place.
func isSegment(text string) bool {
	return text != "" && text != "." && text != ".." && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// readJob asks for a search job. A job that Splunk is about to make known (204)
// is there, but not ready.
func (c *Client) readJob(ctx context.Context, what, sid string) (answered, error) {
	return c.onJobs(ctx, call{what: what, only: 1 << 20}, []string{sid}, nil)
}

// readRows asks for rows of a search job: from offset on, at most count. before
// asks for what a real-time search has up to now.
func (c *Client) readRows(ctx context.Context, what, sid string, offset, count int, fields []string, before bool) (answered, error) {
	last := "results"
	if before {
		last = "results_preview"
	}
	form := url.Values{"offset": {strconv.Itoa(offset)}, "count": {strconv.Itoa(count)}}
	if len(fields) > 0 {
		form["f"] = fields
	}
	return c.onJobs(ctx, call{what: what}, []string{sid, last}, form)
}

// createJob starts a search, or with exec_mode=oneshot performs it and returns
// its rows.
func (c *Client) createJob(ctx context.Context, what string, form url.Values) (answered, error) {
	return c.onJobs(ctx, call{what: what, post: form}, nil, nil)
}

// cancelJob ends a search job and deletes it, even if ctx has ended. Splunk does
// so itself when nobody asks for the job any more, so a failure is no more than
// worth a line.
func (c *Client) cancelJob(ctx context.Context, sid string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	a, err := c.onJobs(ctx, call{what: "cancelling a search job", post: url.Values{"action": {"cancel"}}}, []string{sid, "control"}, nil)
	if err != nil || a.missing != "" {
		c.log.Warn("a search job was not cancelled", "sid", sid, "error", fmt.Sprint(err), "missing", a.missing)
	}
}

// readSearch asks for a saved search in its own app.
func (c *Client) readSearch(ctx context.Context, what, owner, app, name string) (answered, error) {
	return c.do(ctx, call{what: what, path: []string{"servicesNS", owner, app, "saved", "searches", name}})
}

// readFiredPage asks for a page of the triggered alerts of one saved search, of all
// ("-"), or for the list of those searches ("").
func (c *Client) readFiredPage(ctx context.Context, what, name string, offset, count int) (answered, error) {
	path := []string{"servicesNS", "-", "-", "alerts", "fired_alerts"}
	if c.namespace[0] == "servicesNS" {
		path = slices.Concat(c.namespace, path[3:])
	}
	if name != "" {
		path = append(path, name)
	}
	return c.do(ctx, call{what: what, path: path, get: url.Values{"offset": {strconv.Itoa(offset)}, "count": {strconv.Itoa(count)}}})
}

// isNarrow reports an error that says nothing about the credential as a whole.
func isNarrow(err error) bool {
	e, ok := errors.AsType[*funnel.Error](err)
	return ok && e.Narrow
}
