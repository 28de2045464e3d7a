package engine

import (
	"context"
	"slices"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// Replay lets playbooks run again for a stored event: the one that is named, else
// all that are enabled for its trigger now. What the runs before made stays, and
// what these make is new: a ticket, though, is still one for each fingerprint. An
// error with code Conflict says why nothing can run.
func (e *Engine) Replay(ctx context.Context, event int64, playbook string) ([]int64, error) {
	stored, err := e.o.Journal.Event(ctx, event)
	if err != nil {
		return nil, err
	}
	names := e.live().Match(stored.Trigger)
	switch {
	case stored.Trigger == CallTrigger:
		return nil, funnel.Errorf(funnel.Conflict, "the event is a call of an action: call the action again")
	case stored.Disposition == record.Own || stored.Disposition == record.Loop:
		return nil, funnel.Errorf(funnel.Conflict, "the event comes from what Funnel did itself: such events start nothing")
	case len(names) == 0:
		return nil, funnel.Errorf(funnel.Conflict, "no enabled playbook runs on %s", stored.Trigger)
	case playbook != "" && !slices.Contains(names, playbook):
		return nil, funnel.Errorf(funnel.Conflict, "playbook %s is not enabled for %s", playbook, stored.Trigger)
	case playbook != "":
		names = []string{playbook}
	}
	runs, err := e.o.Journal.Replay(event, names, e.o.Clock())
	if err != nil {
		return nil, err
	}
	e.o.Queue.Added(runs...)
	return runs, nil
}
