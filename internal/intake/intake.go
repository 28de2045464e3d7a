// Package intake turns a request into stored events: it authenticates the raw
// bytes, decodes them strictly, finds out whether they were seen before, matches
// playbooks and answers only after all of it is on the disk.
package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/schema"
)

// Inbox is where deliveries and events are stored. Every method returns after
// the fsync.
type Inbox interface {
	Accept(d record.Delivery, e record.NewEvent) (eventID int64, duplicate bool, runs []int64, err error)
	Deliver(d record.Delivery) error
	Prove(d record.Delivery, p record.Proof) (record.Proven, error)
}

// Source is a configured trigger, or several that read the same deliveries.
type Source struct {
	Name        string
	Triggers    []*funnel.TriggerSpec
	Connection  string // may be empty
	Auth        Auth
	MaxBody     int // bytes
	Fields      map[funnel.Kind][]string
	Fingerprint []string
	Text        []string // the fields with free text; nil: the trigger's own
	// Account returns our own account at the connection, "" if it is not known.
	Account func() string
	// Repeated says that the sender repeats a delivery that was answered with 503.
	Repeated bool
	// Readable is how to read what never arrived; nil if nobody shall.
	Readable *Readable
}

// Options set the intake up.
type Options struct {
	Inbox Inbox
	// Families is needed by sources that can be read.
	Families Families
	Sources  []Source
	Match    func(trigger string) []string // the playbooks that run for a trigger's events
	Wake     func(runs ...int64)           // told which runs can start
	// Observe makes an event's observables of those of its fields and of its text;
	// nil keeps those of its fields.
	Observe func(mapped []funnel.Observable, text string) []funnel.Observable
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics *metrics.Metrics
}

// Request is a delivery as it came.
type Request struct {
	Source        string
	Key           string // the secret in the path, may be empty
	Header        http.Header
	Remote        netip.Addr
	Loopback      bool // it came from this machine
	Body          io.Reader
	ContentLength int64 // -1: unknown
}

// Result is what became of a delivery.
type Result struct {
	Verdict record.Verdict
	EventID int64
	Runs    int
	Reason  string
}

// Refusal is a delivery that was not taken, in words for its sender. It never
// holds a value of the body.
type Refusal struct {
	Status       int
	Title        string
	Detail       string
	Pointer      string // where in the body, as a JSON pointer
	Line, Column int
	RetryAfter   time.Duration
}

// Error returns the title and the detail.
func (r *Refusal) Error() string { return r.Title + ": " + r.Detail }

// Intake receives deliveries.
type Intake struct {
	o       Options // of these, sources has what Reload can change
	sources atomic.Pointer[sources]
	budget  *budget
	signed  *budget
	callers *callers
}

// bodyBudget is how many bytes of bodies may be in memory at the same time. Of a
// signed body nobody knows yet who sent it: those have a budget of their own of
// the same size, so that a stranger cannot use up the others'.
const bodyBudget = 16 << 20

// New returns an intake.
func New(o Options) *Intake {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	in := &Intake{o: o, budget: newBudget(bodyBudget), signed: newBudget(bodyBudget), callers: newCallers()}
	in.Reload(o.Sources, o.Observe)
	return in
}

// Receive takes a delivery. An error is a *Refusal; one of status 503 means that
// nothing was stored and the sender should come back.
func (in *Intake) Receive(ctx context.Context, r Request) (Result, error) {
	now := in.o.Clock()
	source, ok := in.sources.Load().byName[r.Source]
	if !ok || !source.Auth.before(r) {
		return Result{}, in.deny(r.Remote, now)
	}
	body, free, err := in.body(ctx, source, r)
	if err != nil {
		if source.Auth.signature.IsZero() { // what is unread cannot be signed
			err = in.refused(source, now, max(int(r.ContentLength), 0), err)
		}
		return Result{}, err
	}
	defer free()
	if !source.Auth.signed(r.Header, body) {
		return Result{}, in.deny(r.Remote, now)
	}
	result, err := in.accept(source, r.Header, body, now)
	if err != nil {
		return Result{}, in.refused(source, now, len(body), err)
	}
	in.o.Metrics.Delivery(source.Name, string(result.Verdict))
	in.o.Metrics.Accepted(in.o.Clock().Sub(now))
	return result, nil
}

// refused records a delivery that its sender got wrong, without any of its
// content, and returns the error. What is our fault is not recorded: it comes
// again.
func (in *Intake) refused(s Source, now time.Time, bytes int, err error) error {
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Status >= 500 {
		return err
	}
	d := record.Delivery{Source: s.Name, ReceivedAt: now, Verdict: record.Refused, Reason: refusal.Detail, Bytes: bytes}
	if err := in.o.Inbox.Deliver(d); err != nil {
		return in.full(err)
	}
	in.o.Metrics.Delivery(s.Name, string(record.Refused))
	return refusal
}

// deny refuses without saying whether the source or the credential is wrong. It
// is counted, not stored: who is not authenticated can fill nothing. A right
// credential is never refused because of others' failures at the same address,
// for a proxy may stand there.
func (in *Intake) deny(remote netip.Addr, now time.Time) error {
	in.o.Metrics.Denied("hook")
	if wait := in.callers.failed(remote, now); wait > 0 {
		return &Refusal{Status: http.StatusTooManyRequests, Title: "Too many failed authentications", Detail: "this address has failed too often; come back later", RetryAfter: wait}
	}
	return &Refusal{Status: http.StatusNotFound, Title: "Not found", Detail: "there is no such source, or the credential is wrong"}
}

func (in *Intake) full(err error) error {
	in.o.Log.Error("storing a delivery", "error", err)
	detail := "the delivery could not be stored; send it again later"
	if errors.Is(err, record.ErrFull) {
		detail = "the disk of the server is full, so the delivery could not be stored; send it again later"
	}
	return &Refusal{Status: http.StatusServiceUnavailable, Title: "Cannot store now", Detail: detail, RetryAfter: 5 * time.Second}
}

// firstRead is how many bytes of a body are made room for before they come.
const firstRead = 64 << 10

// body reads the body within the source's limit and the common budget.
func (in *Intake) body(ctx context.Context, s Source, r Request) ([]byte, func(), error) {
	tooLarge := func() *Refusal {
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Title: "Body too large", Detail: fmt.Sprintf("source %s takes at most %d bytes", s.Name, s.MaxBody)}
	}
	want := s.MaxBody
	if r.ContentLength >= 0 {
		if r.ContentLength > int64(s.MaxBody) {
			return nil, nil, tooLarge()
		}
		want = int(r.ContentLength)
	}
	budget := in.budget
	if !s.Auth.signature.IsZero() {
		budget = in.signed
	}
	if !budget.take(ctx, want, 2*time.Second) {
		return nil, nil, &Refusal{Status: http.StatusServiceUnavailable, Title: "Busy", Detail: "too many deliveries are being read; send it again", RetryAfter: time.Second}
	}
	free := func() { budget.give(want) }
	var buf bytes.Buffer
	buf.Grow(min(want, firstRead) + bytes.MinRead)
	_, err := buf.ReadFrom(io.LimitReader(r.Body, int64(s.MaxBody)+1))
	body := buf.Bytes()
	switch {
	case err != nil:
		free()
		return nil, nil, &Refusal{Status: http.StatusBadRequest, Title: "Body not readable", Detail: "the body ended early or too slowly"}
	case len(body) > s.MaxBody:
		free()
		return nil, nil, tooLarge()
	}
	return body, free, nil
}

// accept decodes the delivery and stores what is in it.
func (in *Intake) accept(s Source, header http.Header, body []byte, now time.Time) (Result, error) {
	if err := schema.MediaType(header); err != nil {
		return Result{}, &Refusal{Status: http.StatusUnsupportedMediaType, Title: "Unsupported media type", Detail: err.Error()}
	}
	if err := schema.Check(body, schema.Limits{Bytes: s.MaxBody, FreeKeys: s.freeKeys()}); err != nil {
		return Result{}, refuse(err)
	}
	arrivals, err := in.decode(s, header, body, now)
	var ignored funnel.Ignored
	switch {
	case errors.As(err, &ignored):
		return in.ignore(s, body, now, ignored.Error())
	case errors.Is(err, funnel.ErrAccountUnknown):
		return Result{}, &Refusal{Status: http.StatusServiceUnavailable, Title: "Not ready", Detail: err.Error() + "; send it again later", RetryAfter: 10 * time.Second}
	case err != nil:
		return Result{}, refuse(err)
	}
	var first Result
	for i, a := range arrivals {
		result, err := in.store(s, header, body, now, a, i)
		if err != nil {
			return Result{}, err
		}
		if i == 0 {
			first = result
		}
	}
	return first, nil
}

func (s Source) account() string {
	if s.Account == nil {
		return ""
	}
	return s.Account()
}

func (in *Intake) ignore(s Source, body []byte, now time.Time, why string) (Result, error) {
	d := record.Delivery{Source: s.Name, ReceivedAt: now, Verdict: record.Ignored, Reason: why, Bytes: len(body)}
	if err := in.o.Inbox.Deliver(d); err != nil {
		return Result{}, in.full(err)
	}
	return Result{Verdict: record.Ignored, Reason: why}, nil
}

// store stores one arrival: as evidence for an effect of ours, or as an event.
func (in *Intake) store(s Source, header http.Header, body []byte, now time.Time, a arrival, n int) (Result, error) {
	d := record.Delivery{Source: s.Name, ReceivedAt: now, Bytes: len(body)}
	account := s.account()
	if e := a.Evidence; e != nil && account != "" && e.Actor == account {
		outcome, err := json.Marshal(e.Outcome)
		if err != nil {
			return Result{}, refuse(funnel.Errorf(funnel.Invalid, "reading evidence: %w", err))
		}
		faultpoint.Hit("intake.prove.before")
		proven, err := in.o.Inbox.Prove(d, record.Proof{EffectKey: string(e.Key), Connection: s.Connection, Scope: e.Scope, EventKey: key(s, a, body, now, n), Outcome: outcome})
		if err != nil {
			return Result{}, in.full(err)
		}
		if proven.Known {
			faultpoint.Hit("intake.prove.after")
			in.o.Wake(proven.Runs...)
			return Result{Verdict: proven.Verdict, EventID: proven.EventID}, nil
		}
	}
	event := in.event(s, header, body, now, a, n)
	faultpoint.Hit("intake.accept.before")
	id, duplicate, runs, err := in.o.Inbox.Accept(d, event)
	faultpoint.Hit("intake.accept.after")
	switch {
	case err != nil:
		return Result{}, in.full(err)
	case duplicate:
		return Result{Verdict: record.Duplicate, EventID: id}, nil
	}
	if event.Event.Disposition == record.Unmatched {
		in.o.Metrics.Unmatched()
	}
	in.o.Wake(runs...)
	return Result{Verdict: record.Accepted, EventID: id, Runs: len(runs)}, nil
}

// event makes the event of an arrival, with the playbooks that run for it.
func (in *Intake) event(s Source, header http.Header, body []byte, now time.Time, a arrival, n int) record.NewEvent {
	account := s.account()
	event := record.NewEvent{Event: record.Event{
		Source: s.Name, Trigger: a.trigger.ID, Connection: s.Connection, Key: key(s, a, body, now, n), ReceivedAt: now, Body: body, Data: a.Event,
		Disposition: record.Unmatched,
	}}
	if id := header.Get("X-Atlassian-Webhook-Identifier"); id != "" && n == 0 {
		event.Event.DeliveryKey = clip(s.Name + ":" + id)
	}
	if own := account != "" && a.Actor == account; own {
		event.Event.Disposition = record.Own // the loop guard: our own doings start nothing
	} else if event.Playbooks = in.o.Match(a.trigger.ID); len(event.Playbooks) > 0 {
		event.Event.Disposition = record.Matched
	}
	if s.Readable != nil && a.Group != "" {
		event.Kin = record.Kin{Family: family(s.Name, a.Group), Key: event.Event.Key, Likeness: a.Kin, Mark: a.Mark, At: now}
	}
	return event
}

// key returns the event's de-duplication key with its scope. What has none of
// its own is known by its body for the day, and by its place n in it.
func key(s Source, a arrival, body []byte, now time.Time, n int) string {
	scope := a.Scope
	if scope == "" {
		scope = s.Name
	}
	if a.Key != "" {
		return clip(scope + ":" + a.Key)
	}
	sum := sha256.Sum256(body)
	k := fmt.Sprintf("%s:body:%s:%s", scope, hex.EncodeToString(sum[:]), now.UTC().Format(time.DateOnly))
	if n > 0 {
		k = fmt.Sprintf("%s:%d", k, n)
	}
	return k
}

// clip keeps keys short; a long one is known by its hash.
func clip(key string) string {
	if len(key) <= 300 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return key[:100] + ":" + hex.EncodeToString(sum[:])
}

// refuse turns what is wrong with a body into words for its sender.
func refuse(err error) *Refusal {
	var s *schema.SyntaxError
	var e *funnel.Error
	switch {
	case errors.As(err, &s):
		r := &Refusal{Status: http.StatusBadRequest, Title: "Body not acceptable", Detail: s.Error(), Pointer: s.Path, Line: s.Line, Column: s.Column}
		switch s.Kind {
		case schema.TooLarge:
			r.Status = http.StatusRequestEntityTooLarge
		case schema.WrongShape:
			r.Status = http.StatusUnprocessableEntity
		}
		return r
	case errors.As(err, &e) && e.Code == funnel.Invalid:
		return &Refusal{Status: http.StatusUnprocessableEntity, Title: "Body not acceptable", Detail: e.Error()}
	}
	return &Refusal{Status: http.StatusUnprocessableEntity, Title: "Body not acceptable", Detail: "the trigger could not read the body"}
}
