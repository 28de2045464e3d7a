package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/funnelsec/funnel"
)

// Client sends to one receiver.
type Client struct {
	http   *http.Client
	url    *url.URL
	secret funnel.Secret
	clock  func() time.Time
}

// SendInput is the input of webhook.send.
type SendInput struct {
	Type string          `json:"type" minLength:"1" doc:"What the message is about" example:"needs_attention"`
	Data json.RawMessage `json:"data,omitempty" doc:"What it says, any JSON"`
}

// Sent is the outcome of webhook.send.
type Sent struct {
	ID     string `json:"id" doc:"The message's ID"`
	Status int    `json:"status" doc:"The receiver's answer" example:"200"`
}

type message struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Send posts a message. Any 2xx means that it has arrived.
func (c *Client) Send(ctx context.Context, in SendInput) (Sent, error) {
	if in.Type == "" {
		return Sent{}, funnel.Errorf(funnel.Invalid, "sending a message: type is empty")
	}
	m := message{ID: string(funnel.AttemptFrom(ctx).Key), Type: in.Type, Data: in.Data}
	if m.ID == "" { // outside of a step
		m.ID = funnel.Fingerprint("webhook.send", in.Type, string(in.Data))
	}
	body, err := json.Marshal(m)
	if err != nil {
		return Sent{}, funnel.Errorf(funnel.Invalid, "sending a message: data is not JSON")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url.String(), bytes.NewReader(body))
	if err != nil {
		return Sent{}, funnel.Errorf(funnel.Internal, "sending a message: the address cannot be built")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", m.ID)
	if !c.secret.IsZero() {
		mac := hmac.New(sha256.New, []byte(c.secret.Reveal()))
		mac.Write(body)
		req.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	res, err := c.http.Do(req)
	if err != nil {
		return Sent{}, failed(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can serve again; the status alone counts
	if res.StatusCode >= 200 && res.StatusCode <= 299 {
		return Sent{ID: m.ID, Status: res.StatusCode}, nil
	}
	return Sent{}, c.refused(res)
}

// failed keeps what Env.HTTP found out. The error of net/http around it holds the
// address and is left out.
func failed(err error) error {
	e := &funnel.Error{Code: funnel.Uncertain, Message: "sending a message: the exchange failed", Err: err}
	if cause, ok := errors.AsType[*funnel.Error](err); ok {
		*e = *cause
		e.Message = "sending a message: " + cause.Error()
	}
	return e
}

func (c *Client) refused(res *http.Response) error {
	fail := func(code funnel.Code, text string) *funnel.Error {
		return funnel.Errorf(code, "sending a message: the receiver %s (status %d)", text, res.StatusCode)
	}
	switch status := res.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fail(funnel.Unauthorized, "does not let us in; check the connection's url and secret")
	case status == http.StatusNotFound || status == http.StatusGone:
		return fail(funnel.NotFound, "is not there; check the connection's url")
	case status == http.StatusConflict:
		return fail(funnel.Conflict, "says that its state forbids it")
	case status == http.StatusTooManyRequests:
		e := fail(funnel.Throttled, "asks for a pause")
		e.RetryAt = funnel.RetryAfter(res.Header, c.clock())
		return e
	case status >= 500 || status == http.StatusRequestTimeout:
		e := fail(funnel.Uncertain, "failed")
		e.RetryAt = funnel.RetryAfter(res.Header, c.clock())
		return e
	case status >= 300 && status < 400:
		return fail(funnel.Invalid, "answers with a redirect, which is not followed; check the connection's url")
	}
	return fail(funnel.Invalid, "refuses the message")
}
