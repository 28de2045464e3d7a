package record

import "time"

// Job is what makes a node work on a run. A job of an earlier generation than
// the run's does nothing.
type Job struct {
	Run        int64
	Generation int64
}

// Node is a server that works on the runs of a shared database.
type Node struct {
	ID        string
	Name      string
	Version   string
	StartedAt time.Time
	Seen      time.Duration // how long ago it was last seen, by the database's clock
}

// Turn is the answer to who wants to do what only one may do at a time.
type Turn struct {
	Mine   bool
	Holder int64 // the run that has it
	// Code and Error are how the turn failed that the caller waited for; then it is
	// nobody's.
	Code, Error string
}

// Lease is the right of a node to work on a run.
type Lease struct {
	Fence int64            // of what is written under it
	Until func() time.Time // when it ends unless it is prolonged; with a monotonic clock
}

// Worked is how the work on a run ended.
type Worked struct {
	Parked string // the connection that it waits for, if it does
	Again  bool   // it was interrupted: somebody has to go on
}

// TokenRequest asks whether a call to a connection may start.
type TokenRequest struct {
	Connection  string
	Node        string        // that makes the call
	Lease       time.Duration // a node that is not heard of for so long makes no calls any more
	Rate        int           // calls in Per; zero: no limit
	Per         time.Duration
	Daily       int           // calls in a UTC day; zero: no limit
	Concurrency int           // calls at the same time; zero: no limit
	Longest     time.Duration // a call is taken for ended after so long
}

// Token is the right to make a call, or until when there is none.
type Token struct {
	Granted bool
	ID      int64 // for GiveToken
	Until   time.Time
	Wait    time.Duration // until then, by the database's clock
	Why     string
}

// Ended is the end of a call, with what it says about the next ones.
type Ended struct {
	Connection  string
	ID          int64
	Unused      bool      // the call was not made
	PausedUntil time.Time // until when the other side wants to be left alone; zero: it does not say
	PausedWhy   string
}
