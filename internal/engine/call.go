package engine

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// CallTrigger is the trigger of the events that calls are.
const CallTrigger = "funnel.call"

// CallSource is the source of the events that calls are. No configured source
// can have the name, for "~" is not allowed there.
const CallSource = "~api"

// CallStep is the path of a call's only step.
const CallStep = "call"

// Call is one action that a person or a script asks for.
type Call struct {
	Action     *funnel.ActionSpec
	Connection string // empty: the only one of the action's integration
	Input      []byte
	By         string // who asks
	Anew       bool   // of a look-up: ask even if the answer to an earlier run is at hand
	// Key makes calls one: who repeats a call with the same key gets the first
	// one's run. Empty: every call is one of its own.
	Key string
}

// ErrKeyReused says that a call's key was used for another call before.
var ErrKeyReused = funnel.Errorf(funnel.Conflict, "the key was used for another call: every call needs a key of its own")

// callInput is the input of a call's run.
type callInput struct {
	Connection string          `json:"connection"`
	Input      json.RawMessage `json:"input"`
	Anew       bool            `json:"anew,omitempty"`
}

// Call journals a call as a run of one step and lets it begin: what holds for a
// playbook's step (retries, limits, the ledger of effects) holds for it too. It
// returns the run after the fsync. An error with code Invalid says that there is
// no connection for the action.
func (e *Engine) Call(c Call) (run int64, err error) {
	conn, err := e.connection(c.Action, c.Connection)
	if err != nil {
		return 0, err
	}
	now := e.o.Clock()
	key := CallSource + ":" + rand.Text()
	if c.Key != "" {
		sum := sha256.Sum256([]byte(c.By + "\x00" + c.Key))
		key = CallSource + ":key:" + hex.EncodeToString(sum[:])
	}
	input, err := json.Marshal(callInput{Connection: conn.Name, Input: c.Input, Anew: c.Anew})
	if err != nil {
		return 0, funnel.Errorf(funnel.Invalid, "encoding the input of %s: %w", c.Action.ID, err)
	}
	data, err := json.Marshal(map[string]string{"action": c.Action.ID, "by": c.By})
	if err != nil {
		return 0, funnel.Errorf(funnel.Internal, "encoding a call of %s: %w", c.Action.ID, err)
	}
	event := record.Event{Source: CallSource, Trigger: CallTrigger, Key: key, ReceivedAt: now, Data: data, Disposition: record.Matched}
	made, duplicate, err := e.o.Journal.Call(event, record.Run{Kind: record.Call, Playbook: c.Action.ID, State: record.Queued, CreatedAt: now, Input: input})
	switch {
	case err != nil:
		return 0, fmt.Errorf("journalling a call: %w", err)
	case duplicate && (made.Playbook != c.Action.ID || !bytes.Equal(made.Input, input)):
		return 0, ErrKeyReused
	case !duplicate:
		e.o.Queue.Added(made.ID)
	}
	return made.ID, nil
}

// Draining reports whether the server stops.
func (e *Engine) Draining() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.draining
}

// call is what a call's run does: one step.
func (e *Engine) call(r *funnel.Run, run record.Run) error {
	action, ok := e.o.Registry.Action(run.Playbook)
	if !ok {
		return funnel.Errorf(funnel.Invalid, "action %s does not exist any more", run.Playbook)
	}
	var in callInput
	if err := json.Unmarshal(run.Input, &in); err != nil {
		return funnel.Errorf(funnel.Internal, "reading the journalled input of a call: %w", err)
	}
	_, err := funnel.StepRaw(r, CallStep, funnel.Call{Action: action, Connection: in.Connection, Input: []byte(in.Input), Anew: in.Anew})
	return err
}
