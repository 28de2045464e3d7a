package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// EventsQuery narrows a list of events.
type EventsQuery struct {
	Disposition string `query:"disposition" enum:"matched,unmatched,own,loop" doc:"Only events of this disposition; unmatched ones may be lost alerts"`
	Source      string `query:"source" maxLength:"64" doc:"Only events from this source"`
	Trigger     string `query:"trigger" maxLength:"100" doc:"Only events of this trigger" example:"splunk.alert"`
	Between
	Page
}

// Events is a page of events.
type Events struct {
	Events []EventView `json:"events" doc:"The newest first"`
	Next   string      `json:"next,omitempty" doc:"Ask for the next page with before=…; absent on the last"`
}

// EventDetail is an event with its data and everything that became of it.
type EventDetail struct {
	EventView
	Key        string          `json:"key" doc:"What a repeat would have in common with it"`
	Data       json.RawMessage `json:"data,omitempty" doc:"The event as the trigger decoded it"`
	Playbooks  []string        `json:"playbooks" doc:"The playbooks that ran for it"`
	Runs       []RunView       `json:"runs" doc:"The runs for it, at most 200, the newest first"`
	Made       []Made          `json:"made" doc:"What its runs made outside, such as tickets and comments; of at most 50 runs"`
	Caused     []EventView     `json:"caused" doc:"The events that its runs' effects are, such as the ticket that was opened; at most 200"`
	Deliveries []DeliveryView  `json:"deliveries" doc:"The deliveries that brought it, repeats included; at most 200, the newest first"`
}

// Made is what a step made outside.
type Made struct {
	Run        string          `json:"run" doc:"The run that made it" example:"42"`
	Step       string          `json:"step" doc:"The path of the step" example:"ticket"`
	Action     string          `json:"action" doc:"The action" example:"jira.open_ticket"`
	Connection string          `json:"connection" doc:"Where" example:"jira"`
	Ticket     bool            `json:"ticket" doc:"Whether it is the ticket that all alerts about the same thing share"`
	Outcome    json.RawMessage `json:"outcome,omitempty" doc:"What the action returned, such as the ticket's key and page"`
}

// Replayed is what a replay began.
type Replayed struct {
	Runs []RunView `json:"runs" doc:"The new runs"`
}

type (
	eventsAnswer   struct{ Body Events }
	eventAnswer    struct{ Body EventDetail }
	replayQuestion struct {
		ID
		Playbook string `query:"playbook" maxLength:"64" doc:"Only this playbook; all that are enabled for the event's trigger if left out" example:"open_ticket"`
	}
	replayAnswer struct {
		Status int
		Body   Replayed
	}
)

func (s *server) addEvents() {
	add(s, huma.Operation{OperationID: "list-events", Method: http.MethodGet, Path: "/api/v1/events", Tags: []string{"events"}, Summary: "List events"}, s.listEvents)
	add(s, huma.Operation{
		OperationID: "get-event", Method: http.MethodGet, Path: "/api/v1/events/{id}", Tags: []string{"events"}, Summary: "Get an event with everything that became of it",
		Description: "Its runs, what they made outside, the events that this led to, and the deliveries that brought it.", Errors: []int{http.StatusNotFound},
	}, s.getEvent)
	add(s, huma.Operation{
		OperationID: "replay-event", Method: http.MethodPost, Path: "/api/v1/events/{id}/replay", Tags: []string{"events"}, Summary: "Let playbooks run again for an event",
		Description:   "The new runs make their own effects; what the runs before made stays. A ticket is still one for all alerts about the same thing, so a replay counts on the one that is open.",
		DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusNotFound, http.StatusConflict}, MaxBodyBytes: maxBody,
		Middlewares: huma.Middlewares{strictly[Nothing]()},
	}, s.replayEvent)
}

func (s *server) listEvents(ctx context.Context, q *EventsQuery) (*eventsAnswer, error) {
	page, err := q.ask()
	if err != nil {
		return nil, err
	}
	rows, err := s.Reader.Events(ctx, store.EventFilter{
		Disposition: record.Disposition(q.Disposition), Source: q.Source, Trigger: q.Trigger, Since: q.Since, Until: q.Until, Page: page,
	})
	if err != nil {
		return nil, err
	}
	views, next := cut(rows, q.Limit, func(e record.Event) int64 { return e.ID }, viewEvent)
	return &eventsAnswer{Events{Events: views, Next: next}}, nil
}

const mostRelated, mostMakers = 200, 50

func (s *server) getEvent(ctx context.Context, in *ID) (*eventAnswer, error) {
	id, err := in.number()
	if err != nil {
		return nil, err
	}
	event, err := s.Reader.Event(ctx, id)
	if err != nil {
		return nil, err
	}
	related := store.Page{Limit: mostRelated}
	runs, err := s.Reader.Runs(ctx, store.RunFilter{Event: id, Page: related})
	if err != nil {
		return nil, err
	}
	caused, err := s.Reader.Events(ctx, store.EventFilter{CauseEvent: id, Page: related})
	if err != nil {
		return nil, err
	}
	deliveries, err := s.Reader.Deliveries(ctx, store.DeliveryFilter{Event: id, Page: related})
	if err != nil {
		return nil, err
	}
	out := EventDetail{EventView: viewEvent(event), Key: event.Key, Data: asJSON(event.Data), Playbooks: []string{}}
	out.Runs, _ = cut(runs, mostRelated, func(r record.Run) int64 { return r.ID }, s.runViewer(ctx))
	out.Caused, _ = cut(caused, mostRelated, func(e record.Event) int64 { return e.ID }, viewEvent)
	out.Deliveries, _ = cut(deliveries, mostRelated, func(d record.Delivery) int64 { return d.ID }, viewDelivery)
	seen := map[string]bool{}
	for _, r := range runs {
		if r.Kind == record.Playbook && !seen[r.Playbook] {
			seen[r.Playbook] = true
			out.Playbooks = append(out.Playbooks, r.Playbook)
		}
	}
	if out.Made, err = s.made(ctx, runs[:min(len(runs), mostMakers)]); err != nil {
		return nil, err
	}
	return &eventAnswer{out}, nil
}

// made returns what the runs made outside, in the order in which they made it.
func (s *server) made(ctx context.Context, runs []record.Run) ([]Made, error) {
	list := []Made{}
	for i := len(runs) - 1; i >= 0; i-- {
		steps, err := s.Reader.Steps(ctx, runs[i].ID)
		if err != nil {
			return nil, err
		}
		for _, step := range steps {
			action, ok := s.Registry.Action(step.Action)
			if !ok || action.Effect == funnel.Reads || step.State != record.Succeeded {
				continue
			}
			list = append(list, Made{
				Run: formatID(step.RunID), Step: step.Path, Action: step.Action, Connection: step.Connection,
				Ticket: action.Claim != nil, Outcome: asJSON(step.Outcome),
			})
		}
	}
	return list, nil
}

func (s *server) replayEvent(ctx context.Context, in *replayQuestion) (*replayAnswer, error) {
	id, err := in.number()
	if err != nil {
		return nil, err
	}
	ids, err := s.Control.Replay(ctx, id, in.Playbook)
	var e *funnel.Error
	switch {
	case errors.As(err, &e) && e.Code == funnel.Conflict:
		return nil, problem(http.StatusConflict, e.Error())
	case err != nil:
		return nil, err
	}
	s.Log.Info("a person replayed an event", "event", id, "runs", len(ids), "who", principal(ctx))
	out := replayAnswer{Status: http.StatusAccepted, Body: Replayed{Runs: []RunView{}}}
	view := s.runViewer(ctx)
	for _, id := range ids {
		run, err := s.Reader.Run(ctx, id)
		if err != nil {
			return nil, err
		}
		out.Body.Runs = append(out.Body.Runs, view(run))
	}
	return &out, nil
}
