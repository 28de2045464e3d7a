package funnel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// Runtime is what runs a playbook: the bridge between a playbook and an engine.
// Its methods may end the calling goroutine by runtime.Goexit when the run has
// to wait, so that no playbook can swallow a wait.
type Runtime interface {
	Context() context.Context
	Info() RunInfo
	// Settings returns the playbook's configured settings as JSON, may be empty.
	Settings() []byte
	// Step performs the call, or answers from the journal if the path has an
	// entry. An error is the step's final failure.
	Step(path string, call Call) (outcome []byte, err error)
	// Record journals what fn returns, once.
	Record(path string, fn func() ([]byte, error)) ([]byte, error)
	// Sleep waits durably.
	Sleep(path string, d time.Duration)
	// Skipped reports whether a person skipped the step of the path.
	Skipped(path string) bool
	// Abort fails the run whatever the playbook would do with an error, and
	// does not return.
	Abort(err error)
}

// Call is an action with its input.
type Call struct {
	Action     *ActionSpec
	Connection string // named by Via; empty: the event's connection, else the only one
	Input      []byte
	Anew       bool // set by AskAnew
}

// RunInfo describes a run to its playbook.
type RunInfo struct {
	ID         string
	EventID    string
	Playbook   string
	Source     string
	ReceivedAt time.Time // when the event was received
}

// Run is one execution of a playbook for one event.
type Run struct {
	rt    Runtime
	path  string // "" or "enclosing/names/"
	paths *paths // shared with the branches
}

type paths struct {
	mu   sync.Mutex
	seen map[string]bool
}

// NewRun returns a run on the runtime; engines call it, once for each replay.
func NewRun(rt Runtime) *Run { return &Run{rt: rt, paths: &paths{seen: map[string]bool{}}} }

// Context returns the context of the current replay.
func (r *Run) Context() context.Context { return r.rt.Context() }

// Info describes the run.
func (r *Run) Info() RunInfo { return r.rt.Info() }

// Skipped reports whether a person skipped the step of the name, so that its
// outcome is empty.
func (r *Run) Skipped(name string) bool { return r.rt.Skipped(r.path + name) }

// A StepOption changes how a step is performed.
type StepOption func(*Call)

// Via names the connection that a step uses.
func Via(connection string) StepOption { return func(c *Call) { c.Connection = connection } }

// AskAnew makes a look-up ask even if the answer to an earlier run is at hand.
func AskAnew(c *Call) { c.Anew = true }

// Step performs an action as the named step of the run and returns its outcome,
// decoded from its journal entry on the first pass too. A finished step never
// runs again. The error is the step's final failure, after all retries.
//
// A step that a person skipped returns a zero outcome; see Run.Skipped.
func Step[In, Out any](r *Run, name string, action Action[In, Out], in In, options ...StepOption) (Out, error) {
	var out Out
	path := r.enter(name)
	input, err := json.Marshal(in)
	if err != nil {
		r.rt.Abort(Errorf(Internal, "encoding the input of step %s: %w", path, err))
	}
	call := Call{Action: action.spec, Input: input}
	for _, set := range options {
		set(&call)
	}
	outcome, err := r.rt.Step(path, call)
	if err != nil {
		return out, err
	}
	if len(outcome) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(outcome, &out); err != nil {
		r.rt.Abort(Errorf(Internal, "reading the journalled outcome of step %s: %w", path, err))
	}
	return out, nil
}

// StepRaw is Step for callers that know the types only as JSON.
func StepRaw(r *Run, name string, call Call) (outcome []byte, err error) {
	return r.rt.Step(r.enter(name), call)
}

// Record journals a local value, so that it is the same in every replay: the
// time, a random number, anything that is not a function of the event.
func Record[T any](r *Run, name string, fn func() (T, error)) (T, error) {
	return record(r, r.enter(name), fn)
}

func record[T any](r *Run, path string, fn func() (T, error)) (T, error) {
	var v T
	b, err := r.rt.Record(path, func() ([]byte, error) {
		v, err := fn()
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	})
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		r.rt.Abort(Errorf(Internal, "reading the journalled value of %s: %w", path, err))
	}
	return v, nil
}

// Sleep waits durably: the run frees its worker and survives a restart.
func Sleep(r *Run, name string, d time.Duration) { r.rt.Sleep(r.enter(name), d) }

// SettingsOf returns the playbook's settings, its defaults overlaid with the
// configured ones. They are journalled, so a change of the configuration does
// not disturb runs that are under way.
func SettingsOf[S any](r *Run, defaults S) (S, error) {
	return record(r, r.enter("settings"), func() (S, error) {
		b := r.rt.Settings()
		if len(b) == 0 {
			return defaults, nil
		}
		var s S
		if err := overlay(defaults, b, &s); err != nil {
			return s, Errorf(Invalid, "reading the playbook's options: %w", err)
		}
		return s, nil
	})
}

// Branch is one of several things that Parallel does at the same time.
type Branch struct {
	Name string
	Do   func(*Run) error
}

// Parallel does the branches at the same time and returns when all have
// finished, with their errors joined. The steps inside have the paths
// "name/branch/step".
func Parallel(r *Run, name string, branches ...Branch) error {
	prefix := r.enter(name) + "/"
	ends := make([]ending, len(branches))
	var wg sync.WaitGroup
	for i, b := range branches {
		branch := &Run{rt: r.rt, path: prefix, paths: r.paths}
		branch.path = branch.enter(b.Name) + "/"
		wg.Add(1)
		go func() {
			defer wg.Done()
			ends[i].watch(func() error { return b.Do(branch) })
		}()
	}
	wg.Wait()
	var errs []error
	exited := false
	for _, end := range ends {
		switch {
		case end.panicked != nil:
			panic(fmt.Sprintf("%v\n\nin a parallel branch:\n%s", end.panicked, end.stack))
		case !end.returned:
			exited = true
		default:
			errs = append(errs, end.err)
		}
	}
	if exited { // a branch waits: so does the run
		runtime.Goexit()
	}
	return errors.Join(errs...)
}

type ending struct {
	returned bool
	err      error
	panicked any
	stack    []byte
}

func (e *ending) watch(fn func() error) {
	defer func() {
		if v := recover(); v != nil {
			e.panicked, e.stack = v, debug.Stack()
		}
	}()
	e.err = fn()
	e.returned = true
}

// Each does fn for every item, one after the other; key names an item by what
// it is, never by its place. It ends at the first error. The steps inside have
// the paths "name/key/step".
func Each[T any](r *Run, name string, items []T, key func(T) string, fn func(*Run, T) error) error {
	prefix := r.enter(name) + "/"
	for _, item := range items {
		k := key(item)
		if k == "" || len(k) > 200 {
			r.rt.Abort(Errorf(Internal, "the key of an item of %s is empty or longer than 200 bytes", prefix))
		}
		one := &Run{rt: r.rt, path: prefix, paths: r.paths}
		path := prefix + url.PathEscape(k)
		one.take(path)
		one.path = path + "/"
		if err := fn(one, item); err != nil {
			return err
		}
	}
	return nil
}

// enter returns the path of a name and takes it for this replay.
func (r *Run) enter(name string) string {
	if !stepName.MatchString(name) {
		r.rt.Abort(Errorf(Internal, "step name %q: want lower-case letters, digits, _ and -", name))
	}
	r.take(r.path + name)
	return r.path + name
}

func (r *Run) take(path string) {
	r.paths.mu.Lock()
	taken := r.paths.seen[path]
	r.paths.seen[path] = true
	r.paths.mu.Unlock()
	if taken {
		r.rt.Abort(Errorf(Internal, "two steps have the path %s: give each a name of its own", path))
	}
}

func unmarshalStrict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
