package virustotal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/funnelsec/funnel"
)

// Client asks VirusTotal. Its methods are the integration's actions.
type Client struct {
	http        *http.Client
	base        *url.URL
	clock       func() time.Time
	maliciousAt int
	quota       quota
}

func newClient(env funnel.Env, base *url.URL, config Config) *Client {
	authorize := func(h http.Header) { h.Set("X-Apikey", config.APIKey.Reveal()) }
	return &Client{http: env.HTTP(base, authorize), base: base, clock: env.Clock, maliciousAt: config.MaliciousAt}
}

// maxAnswer bounds an answer in bytes. A file's report is mostly under 100 KB;
// long ones, with the names of many thousand uploads, reach a few megabytes.
const maxAnswer = 8 << 20

// get asks for a resource and decodes the answer into v. It reports not found
// only if VirusTotal itself says that it does not know the resource: a 404 from
// elsewhere, such as a proxy, says nothing about a file or a domain.
func (c *Client) get(ctx context.Context, v any, path ...string) (found bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path...).String(), nil)
	if err != nil {
		return false, funnel.Errorf(funnel.Internal, "asking VirusTotal: the address cannot be built")
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return false, unreachable(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return false, unreachable(err)
	}
	if len(body) > maxAnswer {
		return false, funnel.Errorf(funnel.Unavailable, "asking VirusTotal: the answer is larger than %d MiB", maxAnswer>>20)
	}
	if res.StatusCode != http.StatusTooManyRequests {
		c.quota.answered()
	}
	if res.StatusCode != http.StatusOK {
		return c.refused(res, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return false, unreadable("is not the JSON of a report; is something else, such as a proxy, answering for it?")
	}
	return true, nil
}

func unreadable(what string) *funnel.Error {
	return funnel.Errorf(funnel.Unavailable, "reading VirusTotal's answer: it %s", what)
}

// now is the time of a question.
func (c *Client) now() *time.Time {
	t := c.clock().UTC().Truncate(time.Second)
	return &t
}

// unreachable turns a failed exchange into an Error. Nothing can be uncertain
// about a look-up, so what the HTTP client calls uncertain is unavailable here.
// The URL is left out.
func unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	e := funnel.Errorf(funnel.Unavailable, "asking VirusTotal: %w", err)
	var cause *funnel.Error
	if errors.As(err, &cause) {
		e.RetryAt, e.Narrow = cause.RetryAt, cause.Narrow
		if cause.Code != funnel.Uncertain {
			e.Code = cause.Code
		}
	}
	return e
}

// refused turns an answer that is not 200 into not found (false and no error) or
// into an Error, by the status and the code in {"error":{"code","message"}} (docs.virustotal.com/reference/errors).
// The message of the answer is left out: it is text from outside.
func (c *Client) refused(res *http.Response, body []byte) (found bool, err error) {
	var answer struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		answer.Error.Code = ""
	}
	code, now := answer.Error.Code, c.clock()
	fail := func(as funnel.Code, text string) *funnel.Error {
		e := funnel.Errorf(as, "asking VirusTotal: %s (status %d)", text, res.StatusCode)
		if as == funnel.Throttled || as == funnel.Unavailable {
			e.RetryAt = funnel.RetryAfter(res.Header, now)
		}
		return e
	}
	switch status := res.StatusCode; {
	case status == http.StatusNotFound && code == "NotFoundError":
		return false, nil
	case status == http.StatusNotFound:
		return false, fail(funnel.Unavailable, "the answer is not found, but not VirusTotal's own; check the connection's url")
	case status == http.StatusUnauthorized:
		return false, fail(funnel.Unauthorized, "the API key is missing, wrong or not active; check the connection's api_key")
	case status == http.StatusForbidden:
		return false, fail(funnel.Unauthorized, "the API key is not allowed to ask this; check its privileges")
	case status == http.StatusTooManyRequests && code == "QuotaExceededError":
		until, which := c.quota.exceeded(now)
		e := fail(funnel.Throttled, which)
		if e.RetryAt.IsZero() {
			e.RetryAt = until
		}
		return false, e
	case status == http.StatusTooManyRequests:
		e := fail(funnel.Throttled, "too many requests")
		if e.RetryAt.IsZero() {
			e.RetryAt = now.Add(minute)
		}
		return false, e
	case status == http.StatusBadRequest && code != "NotAvailableYet":
		return false, fail(funnel.Invalid, "it takes the request for malformed")
	case status >= 300 && status < 400:
		return false, fail(funnel.Unavailable, "the answer is a redirect, which is not followed; check the connection's url")
	case status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		return false, fail(funnel.Unavailable, "it is not available at the moment")
	}
	return false, fail(funnel.Unavailable, "it answers with an unexpected status")
}
