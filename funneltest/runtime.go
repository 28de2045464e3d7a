package funneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	goruntime "runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

// entry is a finished step.
type entry struct {
	call    Call
	outcome []byte
	err     error
}

// runtime is a funnel.Runtime in memory.
type runtime struct {
	t        testing.TB
	answers  Answers
	settings []byte
	skipped  map[string]bool
	info     funnel.RunInfo

	answering sync.Mutex // one answer at a time, so that a test's answers need no lock

	mu        sync.Mutex // parallel branches share what follows
	journal   map[string]*entry
	calls     []Call
	replaying bool
	entered   int // steps of this pass
	aborted   error
}

// perform runs the playbook once, in a goroutine of its own, which Abort ends.
func (r *runtime) perform(playbook *funnel.Playbook, event []byte) error {
	var err error
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				r.t.Errorf("playbook %s panicked: %v\n%s", playbook.Name, v, debug.Stack())
			}
		}()
		err = playbook.Run(funnel.NewRun(r), event)
		returned = true
	}()
	<-done
	if !returned {
		return r.aborted
	}
	return err
}

// replay runs the playbook again on its journal.
func (r *runtime) replay(playbook *funnel.Playbook, event []byte, first error) {
	r.replaying, r.entered = true, 0
	err := r.perform(playbook, event)
	switch {
	case r.aborted != nil:
		r.t.Errorf("replaying playbook %s: %v", playbook.Name, r.aborted)
	case fmt.Sprint(err) != fmt.Sprint(first):
		r.t.Errorf("replaying playbook %s: it returned %v, the first time %v", playbook.Name, err, first)
	case r.entered != len(r.journal):
		r.t.Errorf("replaying playbook %s: it took %d steps, the first time %d", playbook.Name, r.entered, len(r.journal))
	}
}

// Context returns the test's context.
func (r *runtime) Context() context.Context { return r.t.Context() }

// Info describes the run.
func (r *runtime) Info() funnel.RunInfo { return r.info }

// Settings returns the settings.
func (r *runtime) Settings() []byte { return r.settings }

// Skipped reports whether the step of the path is to be skipped.
func (r *runtime) Skipped(path string) bool { return r.skipped[path] }

// Sleep returns at once.
func (r *runtime) Sleep(path string, d time.Duration) {
	r.once(Call{Path: path, Action: "sleep", Input: json.RawMessage(d.String())}, func() ([]byte, error) { return nil, nil })
}

// Record journals what fn returns.
func (r *runtime) Record(path string, fn func() ([]byte, error)) ([]byte, error) {
	return r.once(Call{Path: path, Action: "record"}, fn)
}

// Abort ends the run.
func (r *runtime) Abort(err error) {
	r.mu.Lock()
	if r.aborted == nil {
		r.aborted = err
	}
	r.mu.Unlock()
	goruntime.Goexit()
}

// Step performs a call by its answer.
func (r *runtime) Step(path string, call funnel.Call) ([]byte, error) {
	c := Call{Path: path, Action: call.Action.ID, Connection: call.Connection, Input: call.Input}
	return r.once(c, func() ([]byte, error) {
		if err := decodeStrict(call.Input, reflect.New(call.Action.Input).Interface()); err != nil {
			r.Abort(funnel.Errorf(funnel.Internal, "step %s: the input does not decode: %w", path, err))
		}
		r.mu.Lock()
		r.calls = append(r.calls, c)
		answer := r.answers[c.Action]
		r.mu.Unlock()
		if r.Skipped(path) {
			return nil, nil
		}
		if answer == nil {
			r.t.Errorf("step %s calls %s, for which the test has no answer", path, c.Action)
			r.Abort(funnel.Errorf(funnel.Internal, "step %s: no answer for %s", path, c.Action))
		}
		outcome, err := r.answer(answer, call.Input)
		if err != nil {
			return nil, fmt.Errorf("step %s: %w", path, err)
		}
		b, err := json.Marshal(outcome)
		if err == nil {
			err = decodeStrict(b, reflect.New(call.Action.Output).Interface())
		}
		if err != nil {
			r.t.Errorf("the answer to %s is not a %v: %v", c.Action, call.Action.Output, err)
			r.Abort(funnel.Errorf(funnel.Internal, "step %s: the answer does not fit", path))
		}
		return b, nil
	})
}

func (r *runtime) answer(answer Answer, input []byte) (any, error) {
	r.answering.Lock()
	defer r.answering.Unlock()
	return answer(input)
}

// once does the step the first time and answers from the journal afterwards.
func (r *runtime) once(c Call, do func() ([]byte, error)) ([]byte, error) {
	r.mu.Lock()
	r.entered++
	e := r.journal[c.Path]
	r.mu.Unlock()
	switch {
	case e != nil && (e.call.Action != c.Action || e.call.Connection != c.Connection || !bytes.Equal(e.call.Input, c.Input)):
		r.Abort(funnel.Errorf(funnel.Internal, "step %s was %s with another input before: playbook changed", c.Path, e.call.Action))
	case e != nil:
		return e.outcome, e.err
	case r.replaying:
		r.Abort(funnel.Errorf(funnel.Internal, "step %s is new: a playbook must do the same in every replay", c.Path))
	}
	outcome, err := do()
	r.mu.Lock()
	r.journal[c.Path] = &entry{call: c, outcome: outcome, err: err}
	r.mu.Unlock()
	return outcome, err
}

func decodeStrict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
