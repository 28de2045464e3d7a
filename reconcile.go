package funnel

import (
	"context"
	"fmt"
	"time"
)

// Reading asks an outside system what it told, or tried to tell, a source.
type Reading struct {
	Source       string    // the source that should have been told
	Since, Until time.Time // when it fired: not before Since, not after Until
}

// Firing is an occasion on which the outside system told something, by one
// delivery or several.
type Firing struct {
	// Group is what its deliveries have in common and what they have as the Group
	// of their arrivals, such as the ID of a search job.
	Group string
	At    time.Time
	Name  string // what fired, for people
	// Single says that there is one delivery and no more.
	Single bool
	// Count is how many deliveries there were at least since From; it decides when
	// the content is gone.
	Count int
	From  time.Time
	// Open says that more may follow in the group: it is compared each time.
	Open bool
	// Known is the integration's own, for the function that reads the content.
	Known any
}

// Told is what a Firing's deliveries held.
type Told struct {
	// Bodies are the deliveries as the trigger decodes them, in their order. They
	// may differ from those that were sent in what has no part in Kin.
	Bodies [][]byte
	// Gone, if set, says that the content cannot be had any more, and Bodies holds
	// one that tells what is known.
	Gone string
	// NotOurs says that nothing was to be told to the source.
	NotOurs bool
}

// Reader reads afterwards what a trigger's deliveries tell.
type Reader struct {
	List func(ctx context.Context, client any, ask Reading) ([]Firing, error)
	Read func(ctx context.Context, client any, ask Reading, f Firing) (Told, error)
}

// Reconcile declares that what a trigger's deliveries tell can also be read
// afterwards, for a sender that does not repeat what nobody took. list returns
// what fired, read the content of one firing. A source with the setting reconcile
// compares both with what arrived and takes in what is missing, in the same way
// as a delivery; so the trigger's arrivals must have a Group, a Kin and, if
// there is one, a Mark.
func Reconcile[C any](list func(C, context.Context, Reading) ([]Firing, error), read func(C, context.Context, Reading, Firing) (Told, error)) TriggerOption {
	as := func(client any) (C, error) {
		c, ok := client.(C)
		if !ok {
			return c, fmt.Errorf("the connection's client is a %T, which cannot read this trigger's deliveries", client)
		}
		return c, nil
	}
	return func(s *TriggerSpec) {
		s.Reader = &Reader{
			List: func(ctx context.Context, client any, ask Reading) ([]Firing, error) {
				c, err := as(client)
				if err != nil {
					return nil, err
				}
				return list(c, ctx, ask)
			},
			Read: func(ctx context.Context, client any, ask Reading, f Firing) (Told, error) {
				c, err := as(client)
				if err != nil {
					return Told{}, err
				}
				return read(c, ctx, ask, f)
			},
		}
	}
}
