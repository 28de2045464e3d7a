package jirafake

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxDeliveries is how many webhooks are on their way at the same time.
const maxDeliveries = 16

// event is a webhook that is to be sent; without a body nobody listens.
type event struct {
	name  string
	issue string
	body  obj
}

// Delivery is one attempt to send a webhook.
type Delivery struct {
	At         time.Time
	Identifier string // X-Atlassian-Webhook-Identifier, the same for retries and duplicates
	Event      string // for example "jira:issue_created"
	IssueKey   string
	Retry      int    // 0 for the first attempt
	Status     int    // 0 when there was no answer
	Err        string // why there was no answer
}

// webhooks is the sending side.
type webhooks struct {
	client *http.Client
	slots  chan struct{}

	mu         sync.Mutex
	url        string
	secret     string
	mode       WebhookMode
	rand       *mathrand.Rand
	deliveries []Delivery
}

func (h *webhooks) init(o Options) {
	h.client, h.slots = o.WebhookClient, make(chan struct{}, maxDeliveries)
	h.url, h.secret, h.mode, h.rand = o.WebhookURL, o.WebhookSecret, o.Webhooks, newRand(o.Seed, 4)
}

// SetWebhook changes where webhooks go and how they are signed; an empty address switches them off.
func (s *Site) SetWebhook(url, secret string) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	s.hooks.url, s.hooks.secret = url, secret
}

// SetWebhookMode changes how webhooks behave.
func (s *Site) SetWebhookMode(m WebhookMode) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	s.hooks.mode = m
}

// Deliveries returns all attempts so far in the order of their ends.
func (s *Site) Deliveries() []Delivery {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	return slices.Clone(s.hooks.deliveries)
}

// on reports whether events have to be built at all.
func (h *webhooks) on() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.url != "" && !h.mode.Off
}

// plan is how one event is sent.
type plan struct {
	WebhookMode
	url, secret string
}

// plan reads the settings; false means that the event is not sent.
func (h *webhooks) plan() (plan, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := plan{h.mode, h.url, h.secret}
	if p.url == "" || p.Off || p.Loss > 0 && h.rand.Float64() < p.Loss {
		return p, false
	}
	if p.Retries == 0 {
		p.Retries = 5
	}
	if p.RetryEvery <= 0 {
		p.RetryEvery = 500 * time.Millisecond
	}
	return p, true
}

// send sends events. The caller must not hold the lock, since with BeforeAnswer the receiver may call back.
func (s *Site) send(events []event) {
	for _, e := range events {
		if e.body == nil {
			continue
		}
		p, ok := s.hooks.plan()
		if !ok {
			continue
		}
		body, err := json.Marshal(e.body)
		if err != nil {
			panic(err) // built by this package
		}
		// The identifier does not follow from the seed, or a second site would look like a duplicate of the first.
		d := delivery{site: s, plan: p, event: e, body: body, id: rand.Text()}
		first := 0
		if p.BeforeAnswer {
			if d.attempt(0) {
				first = -1
			} else {
				first = 1
			}
		}
		if first >= 0 {
			s.bg.run(func() { d.run(first) })
		}
		if p.Duplicate {
			s.bg.run(func() { d.run(0) })
		}
	}
}

type delivery struct {
	site *Site
	plan
	event event
	body  []byte
	id    string
}

// run attempts until the receiver took it, the attempts are used up or the site is closed.
func (d delivery) run(first int) {
	if first == 0 && !sleep(d.site.ctx, d.Delay) {
		return
	}
	for n := first; ; n++ {
		if n > 0 && (n > d.Retries || !sleep(d.site.ctx, d.RetryEvery)) || d.attempt(n) {
			return
		}
	}
}

// attempt sends once and reports whether no retry is due.
func (d delivery) attempt(n int) bool {
	h := &d.site.hooks
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-d.site.stopped:
		return true
	}
	status, err := d.post(n)
	entry := Delivery{At: d.site.opt.Now(), Identifier: d.id, Event: d.event.name, IssueKey: d.event.issue, Retry: n, Status: status}
	if err != nil {
		entry.Err = err.Error()
	}
	h.mu.Lock()
	h.deliveries = append(h.deliveries, entry)
	h.mu.Unlock()
	return err == nil && status < 500 && !slices.Contains([]int{408, 409, 425, 429}, status)
}

func (d delivery) post(n int) (int, error) {
	req, err := http.NewRequestWithContext(d.site.ctx, http.MethodPost, d.url, bytes.NewReader(d.body))
	if err != nil {
		return 0, fmt.Errorf("building the webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "Atlassian Webhook HTTP Client (simulated)")
	req.Header.Set("X-Atlassian-Webhook-Identifier", d.id)
	if d.site.opt.Deployment == Cloud {
		req.Header.Set("X-Atlassian-Webhook-Flow", "Primary")
	}
	if n > 0 { // absent on the first attempt
		req.Header.Set("X-Atlassian-Webhook-Retry", strconv.Itoa(n))
	}
	if d.secret != "" {
		mac := hmac.New(sha256.New, []byte(d.secret))
		mac.Write(d.body)
		req.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	resp, err := d.site.hooks.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("sending the webhook: %w", err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return resp.StatusCode, nil
}

// issueEvent builds a jira:issue_... event. The caller holds the lock.
func (s *Site) issueEvent(name, kind string, is *issue, by Person, changes []obj) event {
	if changes == nil {
		changes = []obj{{"field": "summary", "fieldtype": "jira", "fieldId": "summary", "from": nil, "fromString": nil, "to": nil, "toString": is.summary}}
	}
	id := s.lastChange + 1
	if name == "jira:issue_updated" {
		id = s.note(is, by, changes)
	} else {
		s.lastChange++
	}
	if !s.hooks.on() {
		return event{}
	}
	w := s.wire("2")
	body := obj{
		"timestamp": s.opt.Now().UnixMilli(), "webhookEvent": name, "issue_event_type_name": kind,
		"user": w.user(by), "issue": w.hookIssue(is, fieldNames[:len(fieldNames)-1]),
	}
	body["changelog"] = obj{"id": strconv.FormatInt(id, 10), "items": changes}
	return event{name: name, issue: is.key, body: body}
}

// commentEvent builds a comment_... event, whose issue carries few fields only; in Data Center it has no issue, as captured
// ones have none. The caller holds the lock.
func (s *Site) commentEvent(name string, is *issue, c *comment) event {
	if !s.hooks.on() {
		return event{}
	}
	w := s.wire("2")
	few := []string{"summary", "issuetype", "project", "assignee", "priority", "status"}
	body := obj{
		"timestamp": s.opt.Now().UnixMilli(), "webhookEvent": name,
		"comment": w.comment(is, c, false), "issue": w.hookIssue(is, few),
	}
	if w.dataCenter {
		delete(body, "issue")
	}
	return event{name: name, issue: is.key, body: body}
}

func (w wire) hookIssue(is *issue, fields []string) obj {
	id := strconv.FormatInt(is.id, 10)
	return obj{"id": id, "key": is.key, "self": w.self("issue", id), "fields": w.fields(is, fields)}
}
