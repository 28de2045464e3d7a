package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// EventsQuery narrows a list of events.
type EventsQuery struct {
	Disposition string `query:"disposition" enum:"matched,unmatched,own,loop" doc:"Only events of this disposition; unmatched ones may be lost alerts"`
	Page
}

// Events is a page of events.
type Events struct {
	Events []EventView `json:"events" doc:"The newest first"`
	Next   string      `json:"next,omitempty" doc:"Ask for the next page with before=…; absent on the last"`
}

// EventDetail is an event with its data and runs.
type EventDetail struct {
	EventView
	Key  string          `json:"key" doc:"What a repeat would have in common with it"`
	Data json.RawMessage `json:"data,omitempty" doc:"The event as the trigger decoded it"`
	Runs []RunView       `json:"runs" doc:"The runs for it, at most 200, the newest first"`
}

type (
	eventsAnswer struct{ Body Events }
	eventAnswer  struct{ Body EventDetail }
)

func (s *server) addEvents() {
	add(s, huma.Operation{OperationID: "list-events", Method: http.MethodGet, Path: "/api/v1/events", Tags: []string{"events"}, Summary: "List events"}, s.listEvents)
	add(s, huma.Operation{OperationID: "get-event", Method: http.MethodGet, Path: "/api/v1/events/{id}", Tags: []string{"events"}, Summary: "Get an event with its runs", Errors: []int{http.StatusNotFound}}, s.getEvent)
}

func (s *server) listEvents(ctx context.Context, q *EventsQuery) (*eventsAnswer, error) {
	page, err := q.ask()
	if err != nil {
		return nil, err
	}
	rows, err := s.Reader.Events(ctx, record.Disposition(q.Disposition), page)
	if err != nil {
		return nil, err
	}
	views, next := cut(rows, q.Limit, func(e record.Event) int64 { return e.ID }, viewEvent)
	return &eventsAnswer{Events{Events: views, Next: next}}, nil
}

func (s *server) getEvent(ctx context.Context, in *ID) (*eventAnswer, error) {
	id, err := in.number()
	if err != nil {
		return nil, err
	}
	event, err := s.Reader.Event(ctx, id)
	if err != nil {
		return nil, err
	}
	const most = 200
	runs, err := s.Reader.Runs(ctx, store.RunFilter{Event: id, Page: store.Page{Limit: most}})
	if err != nil {
		return nil, err
	}
	views, _ := cut(runs, most, func(r record.Run) int64 { return r.ID }, s.runViewer(ctx))
	return &eventAnswer{EventDetail{EventView: viewEvent(event), Key: event.Key, Data: asJSON(event.Data), Runs: views}}, nil
}
