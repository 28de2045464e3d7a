// Package splunkfake simulates Splunk for tests and the demo: a [Sender] is the
// webhook alert action, an [API] the REST API on the management port, a [Search]
// the page that shows the results of an alert.
package splunkfake

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Alert is what a search found: one row for a delivery.
type Alert struct {
	SID         string
	Search      string // name of the search; empty is sent as null
	App         string // empty: search
	Owner       string // empty: admin
	ResultsLink string // empty: the link to the SID on Options.Web
	Row         map[string]any
	Marker      string // not sent: names the alert in the journal
}

// Options are a sender's options.
type Options struct {
	URL    string       // where to send, with the secret in its path
	Client *http.Client // nil: one that opens a connection for each alert, as Splunk does
	Web    string       // address of Splunk's pages, such as http://127.0.0.1:8000
	Search *Search      // is told every alert before it is sent; may be nil
	Clock  func() time.Time
}

// Entry is what became of one delivery.
type Entry struct {
	SID     string
	RowHash string // SHA-256 of the row as JSON with sorted keys, hexadecimal
	Marker  string
	Acked   bool   // the answer was 2xx and arrived
	Status  int    // 0 if there was no answer
	Event   string // the event's address from the answer: its Location header, else the member "event"
	At      time.Time
}

// Sender is Splunk's webhook alert action. Like Splunk it sends an alert once,
// whatever becomes of it, and follows no redirect.
type Sender struct {
	options Options
	client  *http.Client

	mu      sync.Mutex
	journal []Entry
}

// New returns a sender.
func New(options Options) *Sender {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	if options.Client != nil {
		client = *options.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Sender{options: options, client: &client}
}

// payload has the members of Splunk's webhook in the order of its manual
// (help.splunk.com, "Use a webhook alert action").
type payload struct {
	Result      map[string]any `json:"result"`
	SID         string         `json:"sid"`
	ResultsLink string         `json:"results_link"`
	SearchName  *string        `json:"search_name"`
	Owner       string         `json:"owner"`
	App         string         `json:"app"`
}

// maxAnswer bounds how much of an answer is read, in bytes.
const maxAnswer = 64 << 10

// Fire sends one alert, once. The error says why there was no answer; it does
// not hold the URL, whose path is a secret.
func (s *Sender) Fire(ctx context.Context, a Alert) (status int, answer []byte, err error) {
	p := payload{Result: a.Row, SID: a.SID, ResultsLink: a.ResultsLink, Owner: cmp.Or(a.Owner, "admin"), App: cmp.Or(a.App, "search")}
	if p.Result == nil {
		p.Result = map[string]any{}
	}
	if a.Search != "" {
		p.SearchName = &a.Search
	}
	if p.ResultsLink == "" {
		p.ResultsLink = Link(s.options.Web, a.SID)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return 0, nil, fmt.Errorf("encoding an alert: %w", err)
	}
	row, err := json.Marshal(p.Result)
	if err != nil {
		return 0, nil, fmt.Errorf("encoding an alert's row: %w", err)
	}
	if s.options.Search != nil {
		s.options.Search.Add(a)
	}
	sum := sha256.Sum256(row)
	n := s.begin(Entry{SID: a.SID, RowHash: hex.EncodeToString(sum[:]), Marker: a.Marker, At: s.options.Clock()})

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("sending an alert: the URL is not valid")
	}
	req.GetBody = nil // or net/http would send again when a kept connection turns out dead
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Splunk")
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("sending an alert: %w", withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	s.end(n, res, answer)
	if err != nil {
		return res.StatusCode, answer, fmt.Errorf("reading the answer to an alert: %w", err)
	}
	return res.StatusCode, answer, nil
}

// FireEach sends the rows of one search job as alerts of their own, all with
// the SID of a: the trigger condition "for each result". It sends all rows even
// if some fail, and joins the errors.
func (s *Sender) FireEach(ctx context.Context, a Alert, rows ...map[string]any) error {
	var errs []error
	for _, row := range rows {
		a.Row = row
		status, _, err := s.Fire(ctx, a)
		if err == nil && (status < 200 || status > 299) {
			err = fmt.Errorf("sending an alert: the answer is %d", status)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Journal returns what was sent so far, in the order of sending.
func (s *Sender) Journal() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Entry(nil), s.journal...)
}

func (s *Sender) begin(e Entry) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, e)
	return len(s.journal) - 1
}

func (s *Sender) end(n int, res *http.Response, answer []byte) {
	event := res.Header.Get("Location")
	if event == "" {
		var body struct {
			Event string `json:"event"`
		}
		if json.Unmarshal(answer, &body) == nil {
			event = body.Event
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.journal[n]
	e.Status, e.Acked, e.Event = res.StatusCode, res.StatusCode >= 200 && res.StatusCode <= 299, event
}

func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
