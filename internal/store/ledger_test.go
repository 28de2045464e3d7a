package store_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

func request(r record.Run, now time.Time) record.ClaimRequest {
	return record.ClaimRequest{
		Connection: "c", Scope: "P", Fingerprint: "f", Window: time.Hour, EffectKey: words("key", r.ID), Run: r, Now: now,
		Step: record.Step{RunID: r.ID, Path: "open", Seq: 1, Action: "x.y", StartedAt: now},
		Repeat: func(outcome []byte, seen int, first, last time.Time) ([]byte, error) {
			return fmt.Appendf(nil, "%s seen %d from %s to %s", outcome, seen, first.Format("15:04"), last.Format("15:04")), nil
		},
	}
}

func (f *fixture) claim(r record.Run, now time.Time) record.Claimed {
	f.Helper()
	c, err := f.db.Claim(request(r, now))
	f.must(err)
	return c
}

// settle confirms the owner's effect.
func (f *fixture) settle(r record.Run, key string) []int64 {
	f.Helper()
	return f.commit(record.Change{
		Effect:  &record.Effect{Key: key, RunID: r.ID, State: record.Confirmed, Outcome: []byte("T-1")},
		Settle:  &record.Ticket{Connection: "c", Scope: "P", Fingerprint: "f", EffectKey: key, Outcome: []byte("T-1")},
		Release: []string{record.WaitTicket("c", "P", "f")},
	}).Runnable
}

func checkClaim(f *fixture) {
	a, b := f.run("a"), f.run("b")
	for range 2 { // the owner asks again in a replay
		c := f.claim(a, at(0))
		f.want("the owner", words(c.Owner, c.EffectKey == words("key", a.ID)), "true true")
	}
	b.Why = "reason"
	f.want("the second", fmt.Sprintf("%+v", f.claim(b, at(1))), fmt.Sprintf("%+v", record.Claimed{Waits: true}))
	got := f.get(b.ID)
	f.want("it is parked", words(got.State, got.WaitOn, got.WaitSince, got.Why, got.Step), words(record.Waiting, record.WaitTicket("c", "P", "f"), at(1), "reason", "open"))
	f.claim(got, at(2))
	f.want("it waits since it began to", f.get(b.ID).WaitSince, at(1))
	other := request(f.run("o"), at(1))
	other.Scope = "Q"
	c, err := f.db.Claim(other)
	f.must(err)
	f.want("another scope", c.Owner, true)
	f.want("released", f.settle(a, words("key", a.ID)), []int64{b.ID})
	c = f.claim(f.get(b.ID), at(3))
	f.want("the repeat", words(c.Owner, c.Waits, string(c.Outcome)), "false false T-1 seen 2 from 12:00 to 12:03")
	steps, err := f.db.Steps(f.Context(), b.ID)
	f.must(err)
	f.want("its step is journalled", words(len(steps), steps[0].State, string(steps[0].Outcome)), "1 succeeded "+string(c.Outcome))
	f.want("a third", string(f.claim(f.run("c"), at(4)).Outcome), "T-1 seen 3 from 12:00 to 12:04")

	failing := request(f.run("d"), at(5))
	failing.Repeat = func([]byte, int, time.Time, time.Time) ([]byte, error) { return nil, errors.New("broken") }
	if _, err := f.db.Claim(failing); err == nil {
		f.Error("a repeat that cannot be made is no error")
	}
	f.want("it was not counted", string(f.claim(f.run("e"), at(6)).Outcome), "T-1 seen 4 from 12:00 to 12:06")
}

func checkClaimPasses(f *fixture) {
	owner := f.run("owner")
	key := f.claim(owner, at(0)).EffectKey
	young, old := f.run("young"), f.run("old") // the younger by its id waits longer
	f.claim(old, at(1))
	f.claim(young, at(2))
	owner.State = record.Failed
	f.want("woken", f.commit(record.Change{Run: &owner}).Runnable, []int64{old.ID})
	f.want("the other waits on", f.get(young.ID).WaitOn, record.WaitTicket("c", "P", "f"))
	c := f.claim(f.get(old.ID), at(3))
	f.want("the heir", words(c.Owner, c.EffectKey), words(true, key))
	f.want("the former owner", f.claim(owner, at(3)).Waits, true)
	woken, err := f.db.Cancel(owner.ID, at(4)) // it is no owner any more: nothing passes
	f.must(err)
	f.want("woken by the former owner's end", len(woken), 0)
	woken, err = f.db.Cancel(old.ID, at(4))
	f.must(err)
	f.want("woken by a cancellation", woken, []int64{young.ID})
	last := f.get(young.ID)
	last.State = record.Succeeded // without having made it
	f.want("nobody left", len(f.commit(record.Change{Run: &last}).Runnable), 0)
	f.reopen()
	next := f.run("next")
	c = f.claim(next, at(5))
	f.want("the next claimant", words(c.Owner, c.EffectKey), words(true, key))
	f.settle(next, key)
	f.want("a repeat at last", f.claim(f.run("repeat"), at(6)).Outcome != nil, true)
}

func checkClaimWindow(f *fixture) {
	a := f.run("a")
	f.claim(a, at(0))
	f.want("the window does not end what is not settled", f.claim(f.run("b"), at(180)).Waits, true)
	f.settle(a, words("key", a.ID))
	f.want("within the window", f.claim(f.run("c"), at(59)).Outcome != nil, true)
	d := f.run("d")
	c := f.claim(d, at(60))
	f.want("after it", words(c.Owner, c.EffectKey), words(true, words("key", d.ID)))
	f.want("the new one counts", f.claim(f.run("e"), at(61)).Waits, true)
	f.settle(d, words("key", d.ID))
	f.want("seen anew", string(f.claim(f.run("g"), at(62)).Outcome), "T-1 seen 2 from 13:00 to 13:02")
}

func checkProve(f *fixture) {
	r := f.run("k")
	f.put(r, func(r *record.Run) { r.State, r.WakeAt = record.Waiting, at(30) })
	f.commit(record.Change{Effect: &record.Effect{Key: "e", RunID: r.ID, Connection: "c", Scope: "P", State: record.EffectUncertain}})
	proof := record.Proof{EffectKey: "e", Connection: "c", Scope: "P", EventKey: "own", Outcome: []byte("T-1")}
	for name, change := range map[string]func(*record.Proof){
		"unknown": func(p *record.Proof) { p.EffectKey = "x" }, "another scope": func(p *record.Proof) { p.Scope = "Q" }, "another connection": func(p *record.Proof) { p.Connection = "d" },
	} {
		p := proof
		change(&p)
		got, err := f.db.Prove(record.Delivery{}, p)
		f.must(err)
		f.want(name, got.Known, false)
	}
	f.want("nothing happened", words(f.effect("e").State, len(f.deliveries())), "uncertain 1")
	got, err := f.db.Prove(record.Delivery{}, proof)
	f.must(err)
	f.want("proven", words(got.Known, got.Verdict, got.Runs, got.EventID), words(true, record.Evidence, []int64{r.ID}, 0))
	f.want("the effect", words(f.effect("e").State, string(f.effect("e").Outcome)), "confirmed T-1")
	f.want("the run goes on", f.get(r.ID).WakeAt.IsZero(), true)
	got, err = f.db.Prove(record.Delivery{}, proof)
	f.must(err)
	f.want("proven again before the run went on", words(got.Known, got.Verdict, got.Runs), words(true, record.Evidence, []int64{}))
	id := f.commit(record.Change{Emit: &record.NewEvent{Event: newEvent("own").Event}}).EventID
	got, err = f.db.Prove(record.Delivery{}, proof)
	f.must(err)
	f.want("proven after it", words(got.Known, got.Verdict, got.EventID), words(true, record.Duplicate, id))
	f.want("the deliveries", f.deliveries(), []record.Verdict{record.Accepted, record.Evidence, record.Evidence, record.Duplicate})

	ended := f.run("l")
	f.put(ended, func(r *record.Run) { r.State = record.Failed })
	f.commit(record.Change{Effect: &record.Effect{Key: "e2", RunID: ended.ID, Connection: "c", State: record.Sent}})
	got, err = f.db.Prove(record.Delivery{}, record.Proof{EffectKey: "e2", Connection: "c"})
	f.must(err)
	f.want("of a run that ended", words(got.Known, len(got.Runs), f.effect("e2").State), "true 0 confirmed")
}

func checkUnsure(f *fixture) {
	live, ended := f.run("a"), f.run("b")
	for i, state := range []record.EffectState{record.Planned, record.Sent, record.EffectUncertain, record.Confirmed} {
		f.commit(record.Change{Effect: &record.Effect{Key: words("live", i), RunID: live.ID, State: state}})
		f.commit(record.Change{Effect: &record.Effect{Key: words("ended", i), RunID: ended.ID, State: state}})
	}
	f.put(ended, func(r *record.Run) { r.State = record.Failed })
	unsure, err := f.db.Unsure(f.Context())
	f.must(err)
	f.want("unsure", words(len(unsure), unsure[0].Key, unsure[1].Key), "2 live 1 live 2")
}

func checkBacklog(f *fixture) {
	var r []record.Run
	for i := range 9 {
		r = append(r, f.run(words("k", i)))
	}
	wake := func(i, minute int) {
		f.put(r[i], func(r *record.Run) { r.State, r.WakeAt = record.Waiting, at(minute) })
	}
	wake(1, 30)
	wake(2, 20)
	wake(3, 20)
	wake(4, 40)
	f.wait(r[5], "connection:x", at(2))
	f.wait(r[6], "connection:x", at(1))
	f.turn("serial:x", r[0].ID)
	f.wait(r[7], "serial:x", at(1))
	f.put(r[8], func(r *record.Run) { r.State, r.WakeAt = record.Succeeded, at(1) })
	ids := func(list []int64, err error) []int64 { f.Helper(); f.must(err); return list }
	ctx := f.Context()
	f.want("ready", ids(f.db.Ready(ctx, 0, 10)), []int64{r[0].ID})
	f.want("ready after", len(ids(f.db.Ready(ctx, r[0].ID, 10))), 0)
	f.want("due, the longest first", ids(f.db.Due(ctx, at(30), 10)), []int64{r[2].ID, r[3].ID, r[1].ID})
	f.want("due, at most", ids(f.db.Due(ctx, at(30), 1)), []int64{r[2].ID})
	f.want("parked, the oldest first", ids(f.db.Parked(ctx, "connection:x", 10)), []int64{r[5].ID, r[6].ID})
	f.want("parked, at most", ids(f.db.Parked(ctx, "connection:x", 1)), []int64{r[5].ID})
	for after, want := range map[int]time.Time{0: at(20), 20: at(30), 30: at(40), 40: {}} {
		next, err := f.db.NextWake(ctx, at(after))
		f.must(err)
		f.want("the next after "+words(after), next, want)
	}
	counts, err := f.db.WaitCounts(ctx)
	f.must(err)
	f.want("counts", counts, map[string]int{"connection:x": 2, "serial:x": 1})
}

func checkUntold(f *fixture) {
	a, b, told, young, companion := f.run("a"), f.run("b"), f.run("c"), f.run("d"), f.run("e")
	wait := func(r record.Run, minute int, told string) {
		f.put(r, func(r *record.Run) {
			r.State, r.WaitSince, r.Why, r.ToldWhy = record.Waiting, at(minute), "why", told
		})
	}
	wait(a, 5, "")
	wait(b, 3, "another reason")
	wait(told, 1, "why")
	wait(young, 9, "")
	f.put(companion, func(r *record.Run) { r.State, r.WaitSince, r.Why = record.Running, at(1), "why" })
	runs, err := f.db.Untold(f.Context(), at(8), 10)
	f.must(err)
	f.want("untold, the longest waiting first", words(len(runs), runs[0].ID == b.ID, runs[1].ID == a.ID), "2 true true")
}

func checkPages(f *fixture) {
	for i := range 5 {
		n := newEvent(words("k", i), []string{"even", "odd"}[i%2])
		if i == 4 {
			n.Event.Disposition, n.Playbooks = record.Unmatched, nil
		}
		_, _, _, err := f.db.Accept(record.Delivery{Source: []string{"s", "r"}[i%2]}, n)
		f.must(err)
	}
	ctx := f.Context()
	runs := func(filter store.RunFilter) string {
		f.Helper()
		list, err := f.db.Runs(ctx, filter)
		f.must(err)
		text := ""
		for _, r := range list {
			text += fmt.Sprintf("%d%s ", r.ID, r.Playbook)
		}
		return text
	}
	ten := store.Page{Limit: 10}
	f.want("all, the newest first", runs(store.RunFilter{Page: ten}), "4odd 3even 2odd 1even ")
	f.want("a page", runs(store.RunFilter{Page: store.Page{Limit: 2}}), "4odd 3even ")
	f.want("the next", runs(store.RunFilter{Page: store.Page{Before: 3, Limit: 2}}), "2odd 1even ")
	f.want("of a playbook", runs(store.RunFilter{Playbook: "odd", Page: ten}), "4odd 2odd ")
	f.want("of an event", runs(store.RunFilter{Event: 2, Page: ten}), "2odd ")
	f.put(f.get(1), func(r *record.Run) { r.State = record.Failed })
	f.want("in a state", runs(store.RunFilter{State: record.Failed, Page: ten}), "1even ")
	f.want("in a state, of another playbook", runs(store.RunFilter{State: record.Failed, Playbook: "odd", Page: ten}), "")
	events, err := f.db.Events(ctx, store.EventFilter{Disposition: record.Unmatched, Page: ten})
	f.must(err)
	f.want("unmatched events", words(len(events), events[0].ID), "1 5")
	deliveries, err := f.db.Deliveries(ctx, store.DeliveryFilter{Source: "r", Page: ten})
	f.must(err)
	f.want("deliveries of a source", words(len(deliveries), deliveries[0].ID, deliveries[1].ID), "2 4 2")
}

func checkSummary(f *fixture) {
	a := f.run("a")
	f.run("b")
	done := f.run("c")
	f.put(a, func(r *record.Run) { r.State = record.Failed })
	f.put(done, func(r *record.Run) { r.State = record.Succeeded })
	n := newEvent("u")
	n.Event.Disposition = record.Unmatched
	_, _, _, err := f.db.Accept(record.Delivery{}, n)
	f.must(err)
	s, err := f.db.Summarize(f.Context())
	f.must(err)
	f.want("runs", s.Runs, map[record.State]int{record.Queued: 1, record.Failed: 1})
	f.want("events", s.Events, map[record.Disposition]int{record.Unmatched: 1})
	f.want("the oldest", s.OldestWaiting, at(0).UnixMicro())
}
