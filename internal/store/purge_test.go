package store_test

import (
	"bytes"
	"time"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// checkPurge: what is old and has ended is dropped with all that belongs to it; what
// is not over, has failed, is young, or is still needed stays.
func checkPurge(f *fixture) {
	large := bytes.Repeat([]byte("x"), 300<<10) // kept apart
	end := func(key string, state record.State, at time.Time) record.Run {
		r := f.run(key)
		r.State, r.UpdatedAt, r.FinishedAt = state, at, at
		s := step(r.ID, "a", 1)
		s.Outcome, s.EffectKey = large, key
		f.commit(record.Change{Run: &r, Steps: []*record.Step{s}, Effect: &record.Effect{Key: key, RunID: r.ID, Path: "a", Action: "x.y", Connection: "c", State: record.Confirmed, Attempt: 1, SentAt: at}})
		return r
	}
	done, failed, late := end("done", record.Succeeded, at(1)), end("failed", record.Failed, at(1)), end("late", record.Succeeded, at(100))
	live := f.run("live")
	young := newEvent("young", "p")
	young.Event.ReceivedAt = at(60)
	_, _, runs, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(60)}, young)
	f.must(err)

	n, err := f.db.PurgeDeliveries(at(50), 2)
	f.must(err)
	f.want("deliveries of the first batch", n, int64(2))
	n, err = f.db.PurgeDeliveries(at(50), 100)
	f.must(err)
	f.want("the other old deliveries", n, int64(2))
	left, err := f.db.Deliveries(f.Context(), store.DeliveryFilter{Page: store.Page{Limit: 100}})
	f.must(err)
	f.want("deliveries left", len(left), 1)

	var all record.Purged
	for next, more := int64(0), true; more; {
		p, err := f.db.PurgeEvents(at(50), next, 2)
		f.must(err)
		all.Events, all.Runs, next, more = all.Events+p.Events, all.Runs+p.Runs, p.Next, p.Next != 0
	}
	f.want("events dropped", all.Events, int64(1))
	f.want("runs dropped", all.Runs, int64(1))
	for name, c := range map[string]struct {
		run  int64
		here bool
	}{"done": {done.ID, false}, "failed": {failed.ID, true}, "ended lately": {late.ID, true}, "live": {live.ID, true}, "young": {runs[0], true}} {
		_, err := f.db.Run(f.Context(), c.run)
		f.want(name+" is here", err == nil, c.here)
	}
	steps, err := f.db.Steps(f.Context(), failed.ID)
	f.must(err)
	f.want("the large outcome that others have", len(steps) == 1 && bytes.Equal(steps[0].Outcome, large), true)
	_, err = f.db.Effect(f.Context(), "done")
	f.want("the effect of the dropped run is here", err == nil, false)
	_, duplicate, _, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(200)}, newEvent("done", "p"))
	f.must(err)
	f.want("what was dropped is known", duplicate, false)
}

// checkPurgeTickets: a ticket that is still repeated keeps its place and its effect.
func checkPurgeTickets(f *fixture) {
	r := f.run("k")
	claim := func(now time.Time) record.Claimed {
		c, err := f.db.Claim(record.ClaimRequest{
			Connection: "c", Scope: "P", Fingerprint: "fp", Window: 24 * time.Hour, EffectKey: "key", Run: r, Step: *step(r.ID, "a", 1), Now: now,
			Repeat: func(o []byte, _ int, _, _ time.Time) ([]byte, error) { return o, nil },
		})
		f.must(err)
		return c
	}
	claim(at(1))
	r.State, r.UpdatedAt = record.Succeeded, at(2)
	f.commit(record.Change{
		Run: &r, Effect: &record.Effect{Key: "key", RunID: r.ID, Path: "a", Action: "x.y", Connection: "c", State: record.Confirmed, Attempt: 1, SentAt: at(1)},
		Settle: &record.Ticket{Connection: "c", Scope: "P", Fingerprint: "fp", EffectKey: "key", Outcome: []byte("T-1")},
	})
	other := f.run("repeat")
	c, err := f.db.Claim(record.ClaimRequest{
		Connection: "c", Scope: "P", Fingerprint: "fp", Window: 24 * time.Hour, EffectKey: "other", Run: other, Step: *step(other.ID, "a", 1), Now: at(3),
		Repeat: func(o []byte, _ int, _, _ time.Time) ([]byte, error) { return o, nil },
	})
	f.must(err)
	f.want("the repeat's outcome", string(c.Outcome), "T-1")
	if _, err := f.db.PurgeEvents(at(3), 0, 10); err != nil { // the ticket was seen at 3
		f.Fatal(err)
	}
	_, err = f.db.Effect(f.Context(), "key")
	f.want("the effect of a ticket that was repeated is here", err == nil, true)
}
