package funnel

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"
)

// Request is a delivery to a source, after authentication and before decoding.
type Request struct {
	Source     string
	Header     http.Header
	Body       []byte // strictly checked JSON: no duplicate keys, bounded depth and size
	ReceivedAt time.Time

	Connection string // the connection that the source belongs to, may be empty
	Account    string // our own account there, empty when not known (yet)

	Fields      map[Kind][]string // the source's own mapping of observables to field names
	Fingerprint []string          // the fields that make two alerts the same; empty: all observables
	Text        []string          // the fields with free text; nil: the trigger's own choice, empty: none

	// Read says that nobody delivered it: it was read from the outside system, see
	// Reconcile. What it tells of itself can be believed.
	Read bool

	// Observe is given each event's observables, after decoding, with the arrival's
	// text, and returns those that are kept. Intake sets it; nil keeps all. Decoders
	// leave it alone.
	Observe func(mapped []Observable, text string) []Observable
}

// Arrival is one event that a trigger found in a delivery.
type Arrival[E any] struct {
	// Key is the event's de-duplication key within its scope; what arrives again
	// with the same key is a repeat. Empty: the hash of the body stands in.
	Key string
	// Scope is what the key is unique in. Empty: the source.
	Scope string
	// Group, Kin and Mark find the same thing again when it is read, see Reconcile.
	// Group is that of the Firing; Kin names what is the same in a delivery and in
	// what is read; Mark tells apart those of one Kin where it can be compared, such
	// as by the time. Key may name more, so several of one Kin are several events.
	Group, Kin, Mark string

	Event E
	// Actor is the account that caused the event, for the loop guard.
	Actor string
	// Evidence is set when the event proves one of our own effects.
	Evidence *Evidence
	// Text is free text of the event, such as a summary and a description, in which
	// intake looks for observables. What it finds beyond the event's own follows
	// them, with the field "text"; so the event's type must embed Observables. It is
	// not stored here, and has no part in a fingerprint, which the decoder made
	// before. The first 256 KiB are read.
	Text string
}

// observer is what an event type is that embeds Observables.
type observer interface{ observed() *Observables }

// Evidence says that an effect of ours was made.
type Evidence struct {
	Key     EffectKey
	Actor   string // who made it; believed only if it is our own account
	Scope   string // where; believed only if it is the scope that was claimed
	Outcome any    // what the action would have returned
}

// Ignored is returned by a trigger's decoder for a delivery that is fine and
// holds no event for it. The text says why.
type Ignored string

// Error returns the reason.
func (i Ignored) Error() string { return string(i) }

// ErrAccountUnknown is returned by a decoder that needs to know our own account to
// tell our doings from other people's, before the connection has told it. The
// sender is asked to come back.
var ErrAccountUnknown = errors.New("our own account on this connection is not known yet")

// Trigger turns deliveries into events of type E.
type Trigger[E any] struct{ spec *TriggerSpec }

// Spec returns the untyped description.
func (t Trigger[E]) Spec() *TriggerSpec { return t.spec }

// AnyTrigger is a Trigger of any type.
type AnyTrigger interface{ Spec() *TriggerSpec }

// TriggerSpec is a trigger without its type.
type TriggerSpec struct {
	ID      string
	Summary string
	Event   reflect.Type
	Decode  func(Request) ([]AnyArrival, error)
	// FreeKeys says that names of inner members are data: two that differ in
	// letter case only are two.
	FreeKeys bool
	// NeedsAccount says that our own doings cause such events too.
	NeedsAccount bool
	// Repeated says that senders repeat a delivery that was answered with 503.
	Repeated bool
	// Reader reads afterwards what deliveries tell; nil if that cannot be.
	Reader *Reader
}

// A TriggerOption declares a property of a trigger.
type TriggerOption func(*TriggerSpec)

// FreeKeys declares that the names of a body's inner members are data, such as
// the field names of a row, so that "user" and "USER" may stand side by side.
// The decoder must not match them regardless of case, as encoding/json does for
// the fields of a struct.
func FreeKeys(s *TriggerSpec) { s.FreeKeys = true }

// NeedsAccount declares that our own doings cause such events too, as our comments
// do where a playbook comments on comments. A source of the trigger needs a
// connection whose client is an Accounter, and takes events only once our own
// account is known: otherwise runs could cause one another without end.
func NeedsAccount(s *TriggerSpec) { s.NeedsAccount = true }

// Repeated declares that the trigger's senders repeat a delivery that was answered
// with 503 (Service Unavailable). When there is more to do than can be done, those
// are turned away before others, whose deliveries would be lost.
func Repeated(s *TriggerSpec) { s.Repeated = true }

// AnyArrival is an Arrival whose event is JSON.
type AnyArrival struct {
	Key      string
	Scope    string
	Group    string
	Kin      string
	Mark     string
	Event    json.RawMessage
	Actor    string
	Evidence *Evidence
}

// NewTrigger describes how deliveries become events. An error of decode is an
// *Error with code Invalid that says what is wrong where without values, an
// Ignored, or ErrAccountUnknown.
func NewTrigger[E any](id, summary string, decode func(Request) ([]Arrival[E], error), options ...TriggerOption) Trigger[E] {
	if !actionID.MatchString(id) {
		panic(fmt.Sprintf("funnel: trigger ID %q is not of the form integration.name", id))
	}
	s := &TriggerSpec{ID: id, Summary: summary, Event: reflect.TypeFor[E]()}
	for _, set := range options {
		set(s)
	}
	s.Decode = func(req Request) ([]AnyArrival, error) {
		found, err := decode(req)
		if err != nil {
			return nil, err
		}
		arrivals := make([]AnyArrival, len(found))
		for i, a := range found {
			if o, ok := any(&a.Event).(observer); ok && req.Observe != nil {
				own := o.observed()
				own.Observables = req.Observe(own.Observables, a.Text)
			}
			data, err := json.Marshal(a.Event)
			if err != nil {
				return nil, fmt.Errorf("encoding an event of %s: %w", id, err)
			}
			arrivals[i] = AnyArrival{Key: a.Key, Scope: a.Scope, Group: a.Group, Kin: a.Kin, Mark: a.Mark, Event: data, Actor: a.Actor, Evidence: a.Evidence}
		}
		return arrivals, nil
	}
	return Trigger[E]{spec: s}
}
