package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// DeliveriesQuery narrows a list of deliveries.
type DeliveriesQuery struct {
	Source  string `query:"source" maxLength:"64" doc:"Only deliveries to this source"`
	Verdict string `query:"verdict" enum:"accepted,duplicate,evidence,ignored,refused" doc:"Only deliveries that became this"`
	Event   string `query:"event" pattern:"^[1-9][0-9]{0,18}$" doc:"Only deliveries that brought this event"`
	Between
	Page
}

// Deliveries is a page of deliveries.
type Deliveries struct {
	Deliveries []DeliveryView `json:"deliveries" doc:"The newest first"`
	Next       string         `json:"next,omitempty" doc:"Ask for the next page with before=…; absent on the last"`
}

// DeliveryView is one authenticated request to a source and what became of it.
type DeliveryView struct {
	ID         string         `json:"id" doc:"The delivery's id" example:"99"`
	Source     string         `json:"source" doc:"The source" example:"splunk-prod"`
	ReceivedAt time.Time      `json:"received_at" doc:"When it came"`
	Verdict    record.Verdict `json:"verdict" enum:"accepted,duplicate,evidence,ignored,refused" doc:"What became of it"`
	Reason     string         `json:"reason,omitempty" doc:"Why it was refused or ignored"`
	Event      string         `json:"event,omitempty" doc:"The event's id; of a duplicate the first one's"`
	Bytes      int            `json:"bytes" doc:"The size of the body"`
}

// DeliveryDetail is a delivery with the event that it brought.
type DeliveryDetail struct {
	DeliveryView
	For *EventView `json:"event_summary,omitempty" doc:"The event; its address tells everything that became of it. Absent if the delivery brought none"`
}

type (
	deliveriesAnswer struct{ Body Deliveries }
	deliveryAnswer   struct{ Body DeliveryDetail }
)

func (s *server) addDeliveries() {
	add(s, huma.Operation{OperationID: "list-deliveries", Method: http.MethodGet, Path: "/api/v1/deliveries", Tags: []string{"deliveries"}, Summary: "List deliveries"}, s.listDeliveries)
	add(s, huma.Operation{
		OperationID: "get-delivery", Method: http.MethodGet, Path: "/api/v1/deliveries/{id}", Tags: []string{"deliveries"}, Summary: "Get a delivery with its event",
		Errors: []int{http.StatusNotFound},
	}, s.getDelivery)
}

func (s *server) listDeliveries(ctx context.Context, q *DeliveriesQuery) (*deliveriesAnswer, error) {
	page, err := q.ask()
	if err != nil {
		return nil, err
	}
	filter := store.DeliveryFilter{Source: q.Source, Verdict: record.Verdict(q.Verdict), Since: q.Since, Until: q.Until, Page: page}
	if q.Event != "" {
		if filter.Event, err = parseQueryID("event", q.Event); err != nil {
			return nil, err
		}
	}
	rows, err := s.Reader.Deliveries(ctx, filter)
	if err != nil {
		return nil, err
	}
	views, next := cut(rows, q.Limit, func(d record.Delivery) int64 { return d.ID }, viewDelivery)
	return &deliveriesAnswer{Deliveries{Deliveries: views, Next: next}}, nil
}

func (s *server) getDelivery(ctx context.Context, in *ID) (*deliveryAnswer, error) {
	id, err := in.number()
	if err != nil {
		return nil, err
	}
	d, err := s.Reader.Delivery(ctx, id)
	if err != nil {
		return nil, err
	}
	out := DeliveryDetail{DeliveryView: viewDelivery(d)}
	if d.EventID != 0 {
		event, err := s.Reader.Event(ctx, d.EventID)
		if err != nil {
			return nil, err
		}
		view := viewEvent(event)
		out.For = &view
	}
	return &deliveryAnswer{out}, nil
}

func viewDelivery(d record.Delivery) DeliveryView {
	return DeliveryView{ID: formatID(d.ID), Source: d.Source, ReceivedAt: d.ReceivedAt, Verdict: d.Verdict, Reason: d.Reason, Event: optionalID(d.EventID), Bytes: d.Bytes}
}
