// Package record holds the rows that the engine, the store and the pages share:
// types only. Times are UTC with microseconds; a zero time means "not".
package record

import "time"

// State is the state of a run or of a step.
type State string

// The states. A step can also be Uncertain or Skipped.
const (
	Queued    State = "queued"
	Running   State = "running"
	Waiting   State = "waiting"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Uncertain State = "uncertain"
	Skipped   State = "skipped"
)

// Live reports whether a run in the state still has something to do.
func (s State) Live() bool { return s == Queued || s == Running || s == Waiting }

// Disposition is what became of an event.
type Disposition string

// The dispositions.
const (
	Matched   Disposition = "matched"   // playbooks run for it
	Unmatched Disposition = "unmatched" // no playbook wanted it: visible and counted
	Own       Disposition = "own"       // caused by our own account: starts nothing
	Loop      Disposition = "loop"      // caused by too long a chain of our own events
)

// Event is something that an outside system told us.
type Event struct {
	ID          int64
	Source      string
	Trigger     string
	Connection  string // may be empty
	Key         string // de-duplication key with its scope, unique
	DeliveryKey string // the sender's own identifier of the delivery, unique if not empty
	ReceivedAt  time.Time
	Body        []byte // as received; nil for an event that an own effect is
	Data        []byte // the trigger's event as JSON
	Disposition Disposition
	CauseRun    int64 // the run whose effect it is, 0 for none
	CauseEvent  int64 // the event of that run
	Depth       int   // 0 for an event from outside
}

// Verdict is what became of a delivery.
type Verdict string

// The verdicts of a delivery.
const (
	Accepted  Verdict = "accepted"
	Duplicate Verdict = "duplicate"
	Evidence  Verdict = "evidence" // it proved an effect of ours
	Ignored   Verdict = "ignored"  // fine, but not for the trigger
	Refused   Verdict = "refused"
)

// Delivery is one request to a source, after authentication.
type Delivery struct {
	ID         int64
	Source     string
	ReceivedAt time.Time
	Verdict    Verdict
	Reason     string // why refused or ignored, or how it was found
	EventID    int64  // the event, of a duplicate the first one's
	Bytes      int
}

// Kind tells a playbook's run from the ones that accompany it.
type Kind string

// The kinds of runs.
const (
	Playbook Kind = "playbook"
	Tell     Kind = "tell"   // says on the ticket that its parent waits or failed
	Notify   Kind = "notify" // tells the notify target that its parent needs attention
	Call     Kind = "call"   // one action that a person or a script called; its playbook is the action's ID
)

// Run is one execution of a playbook for one event.
type Run struct {
	ID         int64
	EventID    int64
	Kind       Kind
	Parent     int64 // of a companion: the run that it is about
	Playbook   string
	State      State
	Replay     int
	CreatedAt  time.Time
	UpdatedAt  time.Time
	FinishedAt time.Time
	WakeAt     time.Time // when it goes on by itself
	WaitOn     string    // what it waits for, see the Wait functions; empty: WakeAt or a worker
	WaitSince  time.Time // since when it has not got on
	Why        string    // why it waits or failed, one sentence
	Step       string    // the step that it stands at
	Code       string    // of a failure
	Told       int       // how often its state was told; the next telling's revision
	ToldWhy    string    // what was told last
	Deaths     int       // how often in a row the process ended while it worked on it
	Crashes    int       // how many of these are its own doing
	Silent     int       // how many of the others were while it was alone, and had come no further
	Input      []byte    // of a companion: what it tells; of a call: with what
}

// Step is the journal entry of one step of a run.
type Step struct {
	RunID      int64
	Path       string
	Seq        int    // the order of first journalling
	Action     string // an action's ID, "record" or "sleep"
	Connection string
	InputHash  string
	Input      []byte
	State      State
	Outcome    []byte
	Code       string
	Error      string
	Attempts   int // tries that count
	EffectKey  string
	StartedAt  time.Time
	FinishedAt time.Time
	NextAt     time.Time // the next try, of a waiting or uncertain step
	AskedAt    time.Time // of an outcome that is the answer to another run: when that one asked
}

// EffectState is the state of an external effect in the ledger.
type EffectState string

// The states of an effect.
const (
	Planned         EffectState = "planned"   // surely not made
	Sent            EffectState = "sent"      // the request may be on its way
	EffectUncertain EffectState = "uncertain" // the request left, its outcome is unknown
	Confirmed       EffectState = "confirmed" // made, with its outcome
)

// Effect is a row of the ledger: one external effect.
type Effect struct {
	Key        string
	RunID      int64
	Path       string
	Action     string
	Connection string
	Scope      string // what evidence must name: the claim's scope
	Serial     string // what it works on alone, may be empty
	State      EffectState
	Attempt    int
	Looks      int  // look-ups made since it became unsure
	Unproven   bool // the next attempt's absence proof is missing
	SentAt     time.Time
	Outcome    []byte
}

// Ticket is the right to make something once: whoever inserted the row owns
// the creation.
type Ticket struct {
	Connection  string
	Scope       string
	Fingerprint string
	Window      int
	EffectKey   string
	Owner       int64 // the run; 0: the next claimant
	Settled     bool
	OpenedAt    time.Time
	Seen        int
	LastSeen    time.Time
	Outcome     []byte
}

// Answer is the answer of a look-up, kept for all who ask the same.
type Answer struct {
	Connection string
	Lookup     string // names what was looked up: a hash
	AskedAt    time.Time
	ExpiresAt  time.Time // when it may be dropped
	Found      bool      // whether it says something
	Outcome    []byte
}

// WaitConnection is the WaitOn of a run that a blocked connection parked.
func WaitConnection(name string) string { return "connection:" + name }

// WaitTicket is the WaitOn of a run that waits for a claim's owner.
func WaitTicket(connection, scope, fingerprint string) string {
	return "ticket:" + connection + "/" + scope + "/" + fingerprint
}

// WaitSerial is the WaitOn of a run that waits for its turn on something.
func WaitSerial(connection, name string) string { return "serial:" + connection + "/" + name }

// WaitAnswer is the WaitOn of a run that waits for the answer to another that
// asks the same.
func WaitAnswer(connection, lookup string) string { return "answer:" + connection + "/" + lookup }

// Purged is what was dropped because of its age.
type Purged struct {
	Events, Runs int64
	Next         int64 // the event to go on after; 0: there are no more that are old enough
}
