package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/record"
)

// DeliveriesQuery narrows a list of deliveries.
type DeliveriesQuery struct {
	Source string `query:"source" maxLength:"64" doc:"Only deliveries to this source"`
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

type deliveriesAnswer struct{ Body Deliveries }

func (s *server) addDeliveries() {
	add(s, huma.Operation{OperationID: "list-deliveries", Method: http.MethodGet, Path: "/api/v1/deliveries", Tags: []string{"deliveries"}, Summary: "List deliveries"}, s.listDeliveries)
}

func (s *server) listDeliveries(ctx context.Context, q *DeliveriesQuery) (*deliveriesAnswer, error) {
	page, err := q.ask()
	if err != nil {
		return nil, err
	}
	rows, err := s.Reader.Deliveries(ctx, q.Source, page)
	if err != nil {
		return nil, err
	}
	views, next := cut(rows, q.Limit, func(d record.Delivery) int64 { return d.ID }, func(d record.Delivery) DeliveryView {
		return DeliveryView{ID: formatID(d.ID), Source: d.Source, ReceivedAt: d.ReceivedAt, Verdict: d.Verdict, Reason: d.Reason, Event: optionalID(d.EventID), Bytes: d.Bytes}
	})
	return &deliveriesAnswer{Deliveries{Deliveries: views, Next: next}}, nil
}
