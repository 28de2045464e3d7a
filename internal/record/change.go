package record

import "time"

// Change is what one journal transaction writes: all of it or nothing.
type Change struct {
	Run       *Run        // new state of the run
	Step      *Step       // the entry, inserted or replaced
	Effect    *Effect     // the ledger row, inserted or replaced
	From      EffectState // if set, the change happens only if the effect is in this state
	Settle    *Ticket     // the claim to settle with the effect's outcome
	Emit      *NewEvent   // an event that the effect is
	Companion *Run        // a run to add that accompanies this one
	Release   string      // a WaitOn whose runs go on
}

// NewEvent is an event to insert with the playbooks that run for it.
type NewEvent struct {
	Event     Event
	Playbooks []string
}

// Committed is what a Change did.
type Committed struct {
	Conflict  bool    // the effect was not in the state From: nothing was written
	Runnable  []int64 // runs that can go on or start
	Companion int64
	EventID   int64
}

// ClaimRequest asks for the right to make something once.
type ClaimRequest struct {
	Connection, Scope, Fingerprint string
	Window                         time.Duration
	EffectKey                      string
	Run                            Run // parked if it has to wait
	Step                           Step
	Now                            time.Time
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
