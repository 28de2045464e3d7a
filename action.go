package funnel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Action is one thing that an integration can do, with its types. Its ID is
// "integration.verb_noun".
type Action[In, Out any] struct{ spec *ActionSpec }

// Spec returns the untyped description.
func (a Action[In, Out]) Spec() *ActionSpec { return a.spec }

// AnyAction is an Action of any types.
type AnyAction interface{ Spec() *ActionSpec }

// ActionSpec is an action without its types: what engines, schemas and
// documentation are made from. Inputs and outcomes are JSON.
type ActionSpec struct {
	ID      string
	Summary string
	Effect  Effect
	Input   reflect.Type
	Output  reflect.Type
	Settle  Settlement

	// Invoke performs the action on a client of the integration.
	Invoke func(ctx context.Context, client any, input []byte) ([]byte, error)
	// Find looks an unsure effect up. Set if Settle is SettleByFind.
	Find func(ctx context.Context, client any, key EffectKey, input []byte) ([]byte, bool, error)
	// Fresh reports whether what Find reads is known to be fresh enough to prove
	// absence. Nil: Find reads the truth, not an index.
	Fresh func(ctx context.Context, client any, key EffectKey, input []byte, since time.Time) (bool, error)
	// Adopt finds what was made for the same claim by somebody whose memory is lost;
	// nil for most actions.
	Adopt func(ctx context.Context, client any, input []byte) ([]byte, bool, error)
	// Claim names what only one run may make; nil for most actions.
	Claim func(input []byte) (Claim, error)
	// Repeat turns the outcome of the claim's owner into that of a later claimant.
	Repeat func(output []byte, seen Seen) ([]byte, error)
	// Serial names what only one step may work on at a time; nil for most actions.
	Serial func(input []byte) (string, error)
	// Lookup names what a look-up asks about; nil: every run asks for itself.
	Lookup func(input []byte) (string, error)
	// Found reports whether the outcome of a shared look-up says something.
	Found func(output []byte) (bool, error)
	// Emit returns the event that the confirmed effect is; nil for most actions.
	Emit func(connection string, origin Origin, input, output []byte) (Emission, error)

	// Example is an input to try, as JSON; nil: the examples of the required
	// fields are one.
	Example json.RawMessage
	// Method names the client's method, such as "Client.AddComment", for its doc
	// comment.
	Method string

	client reflect.Type
}

// Integration returns the name of the integration that the action belongs to.
func (s *ActionSpec) Integration() string {
	name, _, _ := strings.Cut(s.ID, ".")
	return name
}

// Settlement says how an unsure outcome of an effect is settled.
type Settlement string

// The settlements.
const (
	SettleNone       Settlement = ""            // Reads: nothing to settle
	SettleByFind     Settlement = "find"        // looked up by its effect key
	SettleByUpsert   Settlement = "upsert"      // repeating is harmless
	SettleByEvidence Settlement = "no_evidence" // cannot be looked up: never repeated by itself
)

// Claim asks that only one run makes something: of all steps that claim the
// same scope and fingerprint within the window, one performs the action and the
// others get its outcome.
type Claim struct {
	Scope       string        // for a ticket: the project
	Fingerprint string        // what it is about
	Window      time.Duration // how long a made thing stands for repeats
}

// Seen tells a later claimant how often the claim was made.
type Seen struct {
	Count int // 2 for the first repeat
	First time.Time
	Last  time.Time
}

// Emission is an event that an action caused itself, so that nothing depends on
// the outside system telling us.
type Emission struct {
	Trigger string
	Key     string // de-duplication key, equal to the one that the trigger gives the webhook
	Event   any
}

// Origin is the event that led to an effect.
type Origin struct {
	EventID    string          `json:"event_id" doc:"The event that led here"`
	Source     string          `json:"source" doc:"The source that it came from"`
	Trigger    string          `json:"trigger" doc:"The trigger that decoded it"`
	Connection string          `json:"connection,omitempty" doc:"The connection that its source belongs to, if it belongs to one"`
	Data       json.RawMessage `json:"-"`
}

// An ActionOption declares a property of an action.
type ActionOption func(*actionOptions)

type actionOptions struct {
	settle                                   Settlement
	find, fresh, claim, repeat, serial, emit any
	adopt                                    any
	lookup, found                            any
	example                                  any
}

// Find settles an unsure outcome by a look-up: fn has the type
// func(C, context.Context, EffectKey, In) (Out, bool, error).
func Find[C, In, Out any](fn func(C, context.Context, EffectKey, In) (Out, bool, error)) ActionOption {
	return func(o *actionOptions) { o.settle, o.find = SettleByFind, fn }
}

// Fresh declares that Find reads an index that lags, and how to prove that the
// index has caught up with the given instant.
func Fresh[C, In any](fn func(C, context.Context, EffectKey, In, time.Time) (bool, error)) ActionOption {
	return func(o *actionOptions) { o.fresh = fn }
}

// Adopt declares how to find what was made for the same claim (OnePer), within its
// window, by a life of the server of which nobody knows any more: after a restored
// backup it is what was made since. fn has the type
// func(C, context.Context, In) (Out, bool, error).
func Adopt[C, In, Out any](fn func(C, context.Context, In) (Out, bool, error)) ActionOption {
	return func(o *actionOptions) { o.adopt = fn }
}

// Upsert settles an unsure outcome by repeating: doing it twice is the same as
// doing it once.
func Upsert(o *actionOptions) { o.settle = SettleByUpsert }

// NoEvidence declares that an unsure outcome cannot be looked up. Such an
// action is never repeated by itself: a person decides.
func NoEvidence(o *actionOptions) { o.settle = SettleByEvidence }

// OnePer declares that only one run makes what claim names, and how the outcome
// looks for the others.
func OnePer[In, Out any](claim func(In) Claim, repeat func(Out, Seen) Out) ActionOption {
	return func(o *actionOptions) { o.claim, o.repeat = claim, repeat }
}

// Serial declares that only one step at a time works on what fn names, across
// all runs: none starts while another's outcome is unsure.
func Serial[In any](fn func(In) string) ActionOption {
	return func(o *actionOptions) { o.serial = fn }
}

// Cached declares a look-up whose answer is for all runs that ask the same of the
// same connection: one of them asks, the others wait for its answer, and who comes
// later gets it too, for as long as the connection's limits say (Limits.Cache). key
// names what is looked up; found reports whether an answer says something, for one
// that does not is kept for a shorter time (Limits.CacheUnknown). Failures are not
// kept.
func Cached[In, Out any](key func(In) string, found func(Out) bool) ActionOption {
	return func(o *actionOptions) { o.lookup, o.found = key, found }
}

// Example declares an input to try, for an action whose required fields alone do
// not make a good one.
func Example[In any](in In) ActionOption {
	return func(o *actionOptions) { o.example = in }
}

// Emits declares that the confirmed effect is an event of the trigger.
func Emits[E, In, Out any](trigger Trigger[E], key func(connection string, out Out) string, event func(Origin, In, Out) E) ActionOption {
	return func(o *actionOptions) {
		o.emit = func(connection string, origin Origin, in In, out Out) Emission {
			return Emission{Trigger: trigger.spec.ID, Key: key(connection, out), Event: event(origin, in, out)}
		}
	}
}

var actionID = regexp.MustCompile(`^[a-z][a-z0-9]*\.[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// NewAction describes a client's method as an action. It panics when the ID is
// not "integration.verb_noun", an option's types are not the method's, or an
// action that changes something is declared as Cached, for these are faults of the
// program.
func NewAction[C, In, Out any](id, summary string, effect Effect, method func(C, context.Context, In) (Out, error), options ...ActionOption) Action[In, Out] {
	if !actionID.MatchString(id) {
		panic(fmt.Sprintf("funnel: action ID %q is not of the form integration.verb_noun", id))
	}
	var o actionOptions
	for _, set := range options {
		set(&o)
	}
	s := &ActionSpec{
		ID: id, Summary: summary, Effect: effect, Settle: o.settle,
		Input: reflect.TypeFor[In](), Output: reflect.TypeFor[Out](), client: reflect.TypeFor[C](),
		Method: methodName(method),
	}
	if o.example != nil {
		b, err := json.Marshal(typed[In](id, "Example", o.example))
		if err != nil {
			panic(fmt.Sprintf("funnel: action %s: encoding its example: %v", id, err))
		}
		s.Example = b
	}
	s.Invoke = func(ctx context.Context, client any, input []byte) ([]byte, error) {
		c, in, err := clientAndInput[C, In](id, client, input)
		if err != nil {
			return nil, err
		}
		out, err := method(c, ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
	if o.find != nil {
		find := typed[func(C, context.Context, EffectKey, In) (Out, bool, error)](id, "Find", o.find)
		s.Find = func(ctx context.Context, client any, key EffectKey, input []byte) ([]byte, bool, error) {
			c, in, err := clientAndInput[C, In](id, client, input)
			if err != nil {
				return nil, false, err
			}
			out, found, err := find(c, ctx, key, in)
			if err != nil || !found {
				return nil, false, err
			}
			b, err := json.Marshal(out)
			return b, err == nil, err
		}
	}
	if o.adopt != nil {
		adopt := typed[func(C, context.Context, In) (Out, bool, error)](id, "Adopt", o.adopt)
		s.Adopt = func(ctx context.Context, client any, input []byte) ([]byte, bool, error) {
			c, in, err := clientAndInput[C, In](id, client, input)
			if err != nil {
				return nil, false, err
			}
			out, found, err := adopt(c, ctx, in)
			if err != nil || !found {
				return nil, false, err
			}
			b, err := json.Marshal(out)
			return b, err == nil, err
		}
	}
	if o.fresh != nil {
		fresh := typed[func(C, context.Context, EffectKey, In, time.Time) (bool, error)](id, "Fresh", o.fresh)
		s.Fresh = func(ctx context.Context, client any, key EffectKey, input []byte, since time.Time) (bool, error) {
			c, in, err := clientAndInput[C, In](id, client, input)
			if err != nil {
				return false, err
			}
			return fresh(c, ctx, key, in, since)
		}
	}
	if o.claim != nil {
		claim := typed[func(In) Claim](id, "OnePer", o.claim)
		repeat := typed[func(Out, Seen) Out](id, "OnePer", o.repeat)
		s.Claim = func(input []byte) (Claim, error) {
			in, err := decodeStrict[In](input)
			if err != nil {
				return Claim{}, err
			}
			return claim(in), nil
		}
		s.Repeat = func(output []byte, seen Seen) ([]byte, error) {
			var out Out
			if err := json.Unmarshal(output, &out); err != nil {
				return nil, err
			}
			return json.Marshal(repeat(out, seen))
		}
	}
	if o.serial != nil {
		serial := typed[func(In) string](id, "Serial", o.serial)
		s.Serial = func(input []byte) (string, error) {
			in, err := decodeStrict[In](input)
			if err != nil {
				return "", err
			}
			return serial(in), nil
		}
	}
	if o.lookup != nil {
		if effect != Reads {
			panic(fmt.Sprintf("funnel: action %s: its effect is %s, and only what reads can be cached", id, effect))
		}
		lookup, found := typed[func(In) string](id, "Cached", o.lookup), typed[func(Out) bool](id, "Cached", o.found)
		s.Lookup = func(input []byte) (string, error) {
			in, err := decodeStrict[In](input)
			if err != nil {
				return "", err
			}
			return lookup(in), nil
		}
		s.Found = func(output []byte) (bool, error) {
			var out Out
			if err := json.Unmarshal(output, &out); err != nil {
				return false, err
			}
			return found(out), nil
		}
	}
	if o.emit != nil {
		emit := typed[func(string, Origin, In, Out) Emission](id, "Emits", o.emit)
		s.Emit = func(connection string, origin Origin, input, output []byte) (Emission, error) {
			in, err := decodeStrict[In](input)
			if err != nil {
				return Emission{}, err
			}
			var out Out
			if err := json.Unmarshal(output, &out); err != nil {
				return Emission{}, err
			}
			return emit(connection, origin, in, out), nil
		}
	}
	return Action[In, Out]{spec: s}
}

// methodName returns "Client.AddComment" for (*Client).AddComment.
func methodName(method any) string {
	name := runtime.FuncForPC(reflect.ValueOf(method).Pointer()).Name()
	name = name[strings.LastIndexByte(name, '/')+1:] // package.(*Type).Method
	_, name, _ = strings.Cut(name, ".")
	return strings.NewReplacer("(*", "", ")", "", "-fm", "").Replace(name)
}

func typed[F any](id, option string, fn any) F {
	f, ok := fn.(F)
	if !ok {
		panic(fmt.Sprintf("funnel: action %s: %s has the type %T, want %v", id, option, fn, reflect.TypeFor[F]()))
	}
	return f
}

func clientAndInput[C, In any](id string, client any, input []byte) (C, In, error) {
	var in In
	c, ok := client.(C)
	if !ok {
		return c, in, Errorf(Internal, "action %s needs a client of type %v, got %T", id, reflect.TypeFor[C](), client)
	}
	in, err := decodeStrict[In](input)
	if err != nil {
		return c, in, Errorf(Invalid, "reading the input of %s: %w", id, err)
	}
	return c, in, nil
}

func decodeStrict[T any](input []byte) (T, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return v, errors.New("something follows the JSON")
	}
	return v, nil
}
