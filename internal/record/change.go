package record

import (
	"errors"
	"time"
)

// ErrNotFound says that there is no such row.
var ErrNotFound = errors.New("not found")

// ErrState says that the run is not in a state in which that can be done.
var ErrState = errors.New("the run's state does not allow it")

// ErrBusy says that the run is being worked on.
var ErrBusy = errors.New("the run is being worked on")

// ErrFenced says that the run is not worked on by this node any more: another
// has it, or a person cancelled it. Nothing was written.
var ErrFenced = errors.New("the run is not ours any more")

// ErrFull says that the disk has no space for what was to be written. Nothing of it
// is there; it works again as soon as there is space.
var ErrFull = errors.New("the disk is full")

// ErrEmbedded says that a database for one process leaves it to that process.
var ErrEmbedded = errors.New("only a shared database has that")

// Change is what one journal transaction writes: all of it or nothing.
type Change struct {
	Run    *Run    // new state of the run
	Steps  []*Step // entries, inserted or replaced
	Effect *Effect // the ledger row, inserted or replaced
	// From, if set, is the state that the effect must be in. A confirmed effect
	// never becomes unconfirmed. Otherwise the change is a Conflict.
	From       EffectState
	Answer     *Answer   // to keep for others who ask the same
	Settle     *Ticket   // the claim to settle with the effect's outcome
	Emit       *NewEvent // an event that the effect is
	Companions []*Run    // runs to add that accompany this one
	Free       []string  // turns of RunID's that end
	// FreeCode and FreeError, if set, are the failure that the turns ended with.
	FreeCode, FreeError string
	Release             []string // WaitOns whose runs go on
	// RunID is the run that the change is of, and Fence that of the lease under
	// which it is made. If the lease has passed to another, nothing is written:
	// ErrFenced. Zero: there is none.
	RunID, Fence int64
}

// NewEvent is an event to insert with the playbooks that run for it.
type NewEvent struct {
	Event     Event
	Playbooks []string
	Kin       Kin // of the event; its EventID and counts are the store's
}

// Committed is what a Change did.
type Committed struct {
	Conflict bool    // the effect was not in the state From: nothing was written
	Runnable []int64 // runs that can go on or start
	EventID  int64
}

// ClaimRequest asks for the right to make something once.
type ClaimRequest struct {
	Connection, Scope, Fingerprint string
	Window                         time.Duration
	EffectKey                      string
	Run                            Run // parked if it has to wait, with its Why
	Step                           Step
	Now                            time.Time
	Fence                          int64 // of the lease on Run, zero for none
	// Repeat makes the step's outcome from the owner's.
	Repeat func(outcome []byte, seen int, first, last time.Time) ([]byte, error)
}

// Claimed is the answer to a ClaimRequest.
type Claimed struct {
	Owner     bool
	EffectKey string // of the owner: the effect to make, may be a former owner's
	Outcome   []byte // of a repeat: the step's outcome, journalled
	Waits     bool   // the run was parked until the owner is done
}

// Loaded is all that a replay needs.
type Loaded struct {
	Run     Run
	Event   Event
	Cause   *Event // the event that led to an own event, nil otherwise
	Steps   []Step
	Effects []Effect
}

// Proof is what came from outside to prove an effect of ours. It is believed
// only for the effect's own connection and scope.
type Proof struct {
	EffectKey, Connection, Scope string
	EventKey                     string // of the event that the effect is
	Outcome                      []byte
}

// Proven is what became of a Proof.
type Proven struct {
	Known   bool // the ledger has the effect
	Verdict Verdict
	EventID int64   // the event that the effect is, if it is stored already
	Runs    []int64 // that can go on
}
