package store_test

import (
	"errors"
	"time"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// checkReplay: runs are added with the next number, and an unmatched event is
// matched then.
func checkReplay(f *fixture) {
	e := newEvent("k")
	e.Event.Disposition = record.Unmatched
	id, _, _, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, e)
	f.must(err)
	for number := 1; number <= 2; number++ {
		runs, err := f.db.Replay(id, []string{"p", "q"}, at(number))
		f.must(err)
		f.want("runs", len(runs), 2)
		for i, name := range []string{"p", "q"} {
			r := f.get(runs[i])
			f.want("run", words(r.EventID == id, r.Playbook, r.State, r.Replay, r.Kind), words(true, name, record.Queued, number, record.Playbook))
		}
	}
	event, err := f.db.Event(f.Context(), id)
	f.must(err)
	f.want("disposition", event.Disposition, record.Matched)
	ready, err := f.db.Ready(f.Context(), 0, 10)
	f.must(err)
	f.want("ready", len(ready), 4)
	if _, err := f.db.Replay(999, []string{"p"}, at(1)); !errors.Is(err, record.ErrNotFound) {
		f.Errorf("replaying no event: %v", err)
	}
}

// checkFilters: every filter of events and deliveries narrows.
func checkFilters(f *fixture) {
	accept := func(key, source, trigger string, minutes int, cause int64) int64 {
		f.Helper()
		e := newEvent(key)
		e.Event.Source, e.Event.Trigger, e.Event.ReceivedAt, e.Event.CauseEvent = source, trigger, at(minutes), cause
		id, _, _, err := f.db.Accept(record.Delivery{Source: source, ReceivedAt: at(minutes)}, e)
		f.must(err)
		return id
	}
	one := accept("1", "s", "t.x", 1, 0)
	two := accept("2", "s", "t.y", 2, one)
	three := accept("3", "r", "t.x", 3, 0)
	f.must(f.db.Deliver(record.Delivery{Source: "s", ReceivedAt: at(4), Verdict: record.Ignored, Reason: "why"}))
	page := store.Page{Limit: 10}
	for _, c := range []struct {
		filter store.EventFilter
		want   []int64
	}{
		{store.EventFilter{}, []int64{three, two, one}},
		{store.EventFilter{Source: "s"}, []int64{two, one}},
		{store.EventFilter{Trigger: "t.x"}, []int64{three, one}},
		{store.EventFilter{CauseEvent: one}, []int64{two}},
		{store.EventFilter{Since: at(2)}, []int64{three, two}},
		{store.EventFilter{Until: at(2)}, []int64{one}},
		{store.EventFilter{Since: at(2), Until: at(3), Source: "s"}, []int64{two}},
		{store.EventFilter{Source: "q"}, nil},
	} {
		c.filter.Page = page
		list, err := f.db.Events(f.Context(), c.filter)
		f.must(err)
		var got []int64
		for _, e := range list {
			got = append(got, e.ID)
		}
		f.want(words("events", c.filter), got, c.want)
	}
	for _, c := range []struct {
		filter store.DeliveryFilter
		want   int
	}{
		{store.DeliveryFilter{}, 4},
		{store.DeliveryFilter{Source: "s"}, 3},
		{store.DeliveryFilter{Verdict: record.Ignored}, 1},
		{store.DeliveryFilter{Event: three}, 1},
		{store.DeliveryFilter{Since: at(3)}, 2},
		{store.DeliveryFilter{Until: at(3)}, 2},
	} {
		c.filter.Page = page
		list, err := f.db.Deliveries(f.Context(), c.filter)
		f.must(err)
		f.want(words("deliveries", c.filter), len(list), c.want)
		for _, d := range list {
			again, err := f.db.Delivery(f.Context(), d.ID)
			f.must(err)
			f.want("delivery", words(again.Source, again.Verdict, again.Reason, again.ReceivedAt.Sub(d.ReceivedAt) == time.Duration(0)), words(d.Source, d.Verdict, d.Reason, true))
		}
	}
	if _, err := f.db.Delivery(f.Context(), 999); !errors.Is(err, record.ErrNotFound) {
		f.Errorf("no delivery: %v", err)
	}
}
