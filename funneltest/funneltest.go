// Package funneltest runs playbooks in tests, without a server and without
// outside systems: the test answers the actions.
//
//	result := funneltest.Run(t, playbooks.EnrichUser, event, funneltest.Answers{
//		"activedirectory.lookup_user": funneltest.Always(activedirectory.User{Found: true}),
//		"jira.keep_comment":           funneltest.Always(jira.Comment{ID: "1"}),
//	})
//
// The laws of replay hold as they do in the server: inputs and outcomes travel as
// JSON, a path that is used twice fails the run, and after the run the playbook
// is replayed from its journal, which fails the test if it does anything else
// than the first time.
package funneltest

import (
	"encoding/json"
	"testing"

	"github.com/funnelsec/funnel"
)

// Answers says what the actions of the IDs return. An action without an answer
// fails the test.
type Answers map[string]Answer

// Answer returns the outcome of an action for an input, or the step's final
// failure.
type Answer = func(input json.RawMessage) (any, error)

// Always answers every call with the outcome.
func Always(outcome any) Answer {
	return func(json.RawMessage) (any, error) { return outcome, nil }
}

// Fails answers every call with a failure.
func Fails(code funnel.Code, message string) Answer {
	return func(json.RawMessage) (any, error) { return nil, &funnel.Error{Code: code, Message: message} }
}

// InTurn answers the first call with the first answer and so on. A call too many
// gets the last answer again.
func InTurn(answers ...Answer) Answer {
	n := 0
	return func(input json.RawMessage) (any, error) {
		answer := answers[min(n, len(answers)-1)]
		n++
		return answer(input)
	}
}

// Call is a step that performed an action.
type Call struct {
	Path       string // "ticket", or "name/branch/step" in Parallel and Each
	Action     string
	Connection string // named by funnel.Via, else empty
	Input      json.RawMessage
}

// Result is what a run did.
type Result struct {
	Calls []Call // in the order in which they began
	Err   error  // what the playbook returned, or why the run was aborted
}

// Paths returns the paths of the calls.
func (r Result) Paths() []string {
	paths := make([]string, len(r.Calls))
	for i, c := range r.Calls {
		paths[i] = c.Path
	}
	return paths
}

// Input returns the input of the step of the path. It fails the test if there is
// no such step, or if its input is of another type.
func Input[In any](t testing.TB, r Result, path string) In {
	t.Helper()
	var in In
	for _, c := range r.Calls {
		if c.Path != path {
			continue
		}
		if err := decodeStrict(c.Input, &in); err != nil {
			t.Fatalf("reading the input of step %s as %T: %v", path, in, err)
		}
		return in
	}
	t.Fatalf("the run has no step %s, only %q", path, r.Paths())
	return in
}

// An Option changes how a playbook is run.
type Option func(*runtime)

// WithSettings gives the playbook settings, as JSON.
func WithSettings(settings string) Option { return func(r *runtime) { r.settings = []byte(settings) } }

// Skip has a person skip the steps of the paths: they have no outcome.
func Skip(paths ...string) Option {
	return func(r *runtime) {
		for _, p := range paths {
			r.skipped[p] = true
		}
	}
}

// WithInfo describes the run to the playbook.
func WithInfo(info funnel.RunInfo) Option { return func(r *runtime) { r.info = info } }

// Run runs the playbook for the event.
func Run(t testing.TB, playbook *funnel.Playbook, event any, answers Answers, options ...Option) Result {
	t.Helper()
	data, err := json.Marshal(event)
	if err != nil {
		t.Fatalf("encoding the event: %v", err)
	}
	rt := &runtime{
		t: t, answers: answers, journal: map[string]*entry{}, skipped: map[string]bool{},
		info: funnel.RunInfo{ID: "1", EventID: "1", Playbook: playbook.Name, Source: "test"},
	}
	for _, set := range options {
		set(rt)
	}
	if err := playbook.CheckSettings(rt.settings); err != nil {
		t.Fatalf("the settings do not fit playbook %s: %v", playbook.Name, err)
	}
	result := Result{Err: rt.perform(playbook, data)}
	result.Calls = rt.calls
	if rt.aborted == nil {
		rt.replay(playbook, data, result.Err)
	}
	return result
}

// Tell returns what the playbook would tell about a run that waits or failed, as
// the input of the action that tells; false if it tells nothing.
func Tell[In any](t testing.TB, playbook *funnel.Playbook, event any, status funnel.Status) (in In, told bool) {
	t.Helper()
	data, err := json.Marshal(event)
	if err != nil {
		t.Fatalf("encoding the event: %v", err)
	}
	if playbook.Teller() == nil {
		return in, false
	}
	input, told, err := playbook.Teller().Input(data, status)
	if err != nil {
		t.Fatalf("telling about a run of %s: %v", playbook.Name, err)
	}
	if told {
		if err := decodeStrict(input, &in); err != nil {
			t.Fatalf("reading what %s tells as %T: %v", playbook.Name, in, err)
		}
	}
	return in, told
}
