package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// showEvent prints an event, the runs for it and what they made.
func (p *program) showEvent(ctx context.Context, r *remote, id string) error {
	var e struct {
		eventItem
		Key  string
		Data json.RawMessage
		Runs []runItem
		Made []struct {
			Run, Step, Action, Connection string
			Outcome                       json.RawMessage
		}
		Caused     []eventItem
		Deliveries []deliveryItem
	}
	raw, err := r.get(ctx, "/api/v1/events/"+url.PathEscape(id), &e)
	if err != nil {
		return err
	}
	if r.asJSON {
		return p.printJSON(raw, true)
	}
	p.say("Event %s of %s from source %s, received %s: %s\n", e.ID, e.Trigger, e.Source, e.ReceivedAt.Local().Format(time.DateTime), e.Disposition)
	p.say("Key: %s\n", e.Key)
	var runs, made, caused, deliveries [][]string
	for _, x := range e.Runs {
		runs = append(runs, []string{x.ID, x.name(), x.State, x.Why})
	}
	for _, x := range e.Made {
		made = append(made, []string{x.Run, x.Step, x.Action, x.Connection, string(x.Outcome)})
	}
	for _, x := range e.Caused {
		caused = append(caused, []string{x.ID, x.Trigger, x.Disposition, x.ReceivedAt.Local().Format(time.DateTime)})
	}
	for _, x := range e.Deliveries {
		deliveries = append(deliveries, x.row())
	}
	for _, t := range []struct {
		title  string
		header []string
		rows   [][]string
	}{
		{"Its runs", []string{"RUN", "PLAYBOOK", "STATE", "WHY"}, runs},
		{"What they made", []string{"RUN", "STEP", "ACTION", "CONNECTION", "OUTCOME"}, made},
		{"Events that this led to", []string{"EVENT", "TRIGGER", "DISPOSITION", "RECEIVED"}, caused},
		{"Deliveries that brought it", deliveryHeader(), deliveries},
	} {
		if len(t.rows) == 0 {
			p.say("\n%s: none\n", t.title)
			continue
		}
		p.say("\n%s:\n", t.title)
		if err := table(p.out, t.header, t.rows); err != nil {
			return err
		}
	}
	if len(e.Data) > 0 {
		p.say("\nIts data:\n")
		return p.printJSON(e.Data, true)
	}
	return nil
}

// showDelivery prints a delivery and the event that it brought.
func (p *program) showDelivery(ctx context.Context, r *remote, id string) error {
	var d struct {
		deliveryItem
		For *eventItem `json:"event_summary"`
	}
	raw, err := r.get(ctx, "/api/v1/deliveries/"+url.PathEscape(id), &d)
	if err != nil {
		return err
	}
	if r.asJSON {
		return p.printJSON(raw, true)
	}
	p.say("Delivery %s to source %s, received %s, %d bytes: %s\n", d.ID, d.Source, d.ReceivedAt.Local().Format(time.DateTime), d.Bytes, d.Verdict)
	if d.Reason != "" {
		p.say("Why: %s\n", d.Reason)
	}
	if d.For != nil {
		p.say("Event: %s of %s, %s; see funnel show event %[1]s\n", d.For.ID, d.For.Trigger, d.For.Disposition)
	}
	return nil
}

// say prints a line with text from outside, cleaned of control characters.
func (p *program) say(format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = clean(text)
		}
	}
	fmt.Fprintf(p.out, format, args...)
}
