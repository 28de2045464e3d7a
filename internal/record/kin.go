package record

import "time"

// Kin is an event's place among those of its family: what finds it again when
// the outside system is read, whichever way it came.
type Kin struct {
	Family   string // of the source: what belongs together, such as a search job; empty: the event has no kin
	Key      string // the delivery's de-duplication key, or that of what was read
	Likeness string // what is the same in a delivery and in what is read; see also LikeAny and LikeNone
	Mark     string // tells apart those of one likeness; empty: it cannot be told
	EventID  int64
	Pushed   int // how often it was delivered
	Found    int // how many things it stands for that were read and not delivered so far
	At       time.Time
}

// Likenesses of what was read.
const (
	LikeAny  = ""  // whatever is delivered for the family is this
	LikeNone = "-" // nothing that is delivered is this
)

// Reconciliation compares what was read of a family with what it has, and
// stores what is missing, in one transaction.
type Reconciliation struct {
	Family string
	Now    time.Time
	// Decide returns what is missing, given what the family has.
	Decide func(have []Kin) []Missing
	// Settle says that the family is complete afterwards.
	Settle bool
}

// Missing is one thing that was read and not delivered.
type Missing struct {
	Delivery Delivery
	Event    NewEvent // with its Kin; its Found is how many things it stands for, 1 if zero
	// Same, if set, is the Key of the kin whose event it is already, because nothing
	// tells the two apart: it is counted there. It may be one that is missing too
	// and comes before it.
	Same string
}

// Reconciled is what a Reconciliation stored.
type Reconciled struct {
	Events int // new ones
	Same   int // counted to one that there is
	Runs   []int64
}
