package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

func step(run int64, path string, seq int) *record.Step {
	return &record.Step{RunID: run, Path: path, Seq: seq, Action: "x.y", State: record.Succeeded, Outcome: []byte("o-" + path), StartedAt: at(0)}
}

func checkCommit(f *fixture) {
	r := f.run("k")
	second, first := step(r.ID, "a", 2), step(r.ID, "z", 1)
	f.commit(record.Change{Steps: []*record.Step{second, first}})
	replaced := *first
	replaced.State, replaced.Outcome, replaced.Error, replaced.Attempts = record.Failed, nil, "e", 3
	f.commit(record.Change{Steps: []*record.Step{&replaced}})
	steps, err := f.db.Steps(f.Context(), r.ID)
	f.must(err)
	f.want("the steps in the order of journalling", words(len(steps), steps[0].Path, steps[0].State, steps[0].Error, steps[0].Attempts, steps[1].Path, string(steps[1].Outcome)), "2 z failed e 3 a o-a")
	r.State, r.FinishedAt = record.Succeeded, at(3)
	f.commit(record.Change{Run: &r})
	got := f.get(r.ID)
	f.want("the run", words(got.State, got.FinishedAt), words(record.Succeeded, at(3)))
	ready, err := f.db.Ready(f.Context(), 0, 10)
	f.must(err)
	f.want("an ended run is not ready", len(ready), 0)
}

func checkBlobs(f *fixture) {
	r, other := f.run("k"), f.run("l")
	for _, size := range []int{256 << 10, 256<<10 + 1, 3 << 20} {
		big := bytes.Repeat([]byte("x"), size)
		for _, id := range []int64{r.ID, other.ID} { // the same bytes twice
			s := step(id, words("s", size), size)
			s.Outcome = big
			f.commit(record.Change{Steps: []*record.Step{s}})
		}
	}
	l, err := f.db.Load(f.Context(), other.ID)
	f.must(err)
	for _, s := range l.Steps {
		f.want("the outcome of "+s.Path, len(s.Outcome), s.Seq)
	}
	small := step(r.ID, "s 3145728", 3<<20)
	f.commit(record.Change{Steps: []*record.Step{small}})
	steps, err := f.db.Steps(f.Context(), r.ID)
	f.must(err)
	f.want("replaced by a small one", string(steps[2].Outcome), "o-s 3145728")
}

func checkEffects(f *fixture) {
	r := f.run("k")
	e := record.Effect{Key: "e", RunID: r.ID, Path: "a", Action: "x.y", Connection: "c", State: record.Planned}
	f.commit(record.Change{Effect: &e})
	sent := e
	sent.State, sent.Attempt, sent.SentAt = record.Sent, 1, at(1)
	running := r
	running.State = record.Running
	all := record.Change{
		Effect: &sent, From: record.Planned, Run: &running, Steps: []*record.Step{step(r.ID, "a", 1)},
		Emit: &record.NewEvent{Event: newEvent("own").Event}, Companions: []*record.Run{{EventID: r.EventID, Kind: record.Tell, Playbook: "p", State: record.Queued}},
	}
	f.want("from the right state", f.commit(all).Conflict, false)
	again := all
	again.Steps = []*record.Step{step(r.ID, "b", 2)}
	again.Emit = &record.NewEvent{Event: newEvent("own2").Event}
	again.Release = []string{"x"}
	done := f.commit(again)
	f.want("from the wrong state", words(done.Conflict, done.Runnable, done.EventID), "true [] 0")
	steps, err := f.db.Steps(f.Context(), r.ID)
	f.must(err)
	events, err := f.db.Events(f.Context(), store.EventFilter{Page: store.Page{Limit: 10}})
	f.must(err)
	runs, err := f.db.Runs(f.Context(), store.RunFilter{Page: store.Page{Limit: 10}})
	f.must(err)
	f.want("a conflict writes nothing", words(len(steps), len(events), len(runs)), "1 2 2")
	confirmed := sent
	confirmed.State, confirmed.Outcome = record.Confirmed, []byte("o")
	f.want("confirming", f.commit(record.Change{Effect: &confirmed}).Conflict, false)
	for _, state := range []record.EffectState{record.Planned, record.Sent, record.EffectUncertain} {
		back := sent
		back.State = state
		f.want("confirmed becomes "+string(state), f.commit(record.Change{Effect: &back}).Conflict, true)
	}
	f.want("confirming twice", f.commit(record.Change{Effect: &confirmed}).Conflict, false)
	f.want("the effect", words(f.effect("e").State, string(f.effect("e").Outcome)), "confirmed o")
	if _, err := f.db.Effect(f.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		f.Errorf("no effect: %v", err)
	}
}

func checkEmit(f *fixture) {
	r := f.run("k")
	own := newEvent("own", "p1", "p2")
	own.Event.CauseRun, own.Event.CauseEvent, own.Event.Depth, own.Event.Body = r.ID, r.EventID, 1, nil
	done := f.commit(record.Change{Emit: &own})
	f.want("runs of an own event", len(done.Runnable), 2)
	f.want("emitted twice", len(f.commit(record.Change{Emit: &own}).Runnable), 0)
	l, err := f.db.Load(f.Context(), done.Runnable[0])
	f.must(err)
	f.want("the cause", words(l.Event.Depth, l.Cause != nil && l.Cause.ID == r.EventID), "1 true")

	// a webhook of ours that came first started nothing: it is adopted
	hook := newEvent("early")
	hook.Event.Disposition = record.Own
	id, _, _, err := f.db.Accept(record.Delivery{}, hook)
	f.must(err)
	own.Event.Key = "early"
	done = f.commit(record.Change{Emit: &own})
	f.want("adopted", words(done.EventID == id, len(done.Runnable)), "true 2")
	e, err := f.db.Event(f.Context(), id)
	f.must(err)
	f.want("the adopted event", words(e.Disposition, e.CauseRun == r.ID, e.Depth), "matched true 1")
	f.want("adopted twice", len(f.commit(record.Change{Emit: &own}).Runnable), 0)

	// one of a person is not
	id, _, _, err = f.db.Accept(record.Delivery{}, newEvent("person", "p1"))
	f.must(err)
	own.Event.Key = "person"
	done = f.commit(record.Change{Emit: &own})
	f.want("not adopted", words(done.EventID == id, len(done.Runnable)), "true 0")
}

func checkRelease(f *fixture) {
	a, b, c, ended := f.run("a"), f.run("b"), f.run("c"), f.run("d")
	f.wait(a, "x", at(1))
	f.wait(b, "x", at(2))
	f.wait(c, "y", at(1))
	f.put(ended, func(r *record.Run) { r.State, r.WaitOn = record.Failed, "x" })
	done := f.commit(record.Change{Release: []string{"x", "z"}})
	f.want("released", done.Runnable, []int64{a.ID, b.ID})
	f.want("the run", fmt.Sprintf("%q %v", f.get(a.ID).WaitOn, f.get(a.ID).WakeAt.IsZero()), `"" true`)
	f.want("another", f.get(c.ID).WaitOn, "y")
}

func checkCompanions(f *fixture) {
	r := f.run("k")
	r.State, r.Why, r.Told = record.Failed, "why", 1
	done := f.commit(record.Change{Run: &r, Companions: []*record.Run{
		{EventID: r.EventID, Kind: record.Tell, Parent: r.ID, Playbook: "p", State: record.Queued, Told: 1, CreatedAt: at(1), Input: []byte("in")},
		{EventID: r.EventID, Kind: record.Notify, Parent: r.ID, Playbook: "p", State: record.Queued, CreatedAt: at(1)},
	}})
	f.want("companions", len(done.Runnable), 2)
	tell := f.get(done.Runnable[0])
	f.want("the companion", words(tell.Kind, tell.Parent == r.ID, tell.Told, string(tell.Input), tell.CreatedAt), words(record.Tell, true, 1, "in", at(1)))
}

func checkRetry(f *fixture) {
	r := f.run("k")
	ok, bad := step(r.ID, "ok", 1), step(r.ID, "both/a", 2)
	worse, unseen := *bad, *bad
	bad.State, bad.Code, bad.Error, bad.Attempts, bad.NextAt = record.Failed, "uncertain", "e", 5, at(9)
	worse.Path, worse.State, worse.Code = "both/b", record.Failed, "not_found"
	unseen.Path, unseen.State, unseen.Code = "swallowed", record.Failed, "invalid"
	f.commit(record.Change{Steps: []*record.Step{ok, bad, &worse, &unseen}})
	for i, path := range []string{"both/a", "both/b", "ok"} {
		e := record.Effect{Key: path, RunID: r.ID, Path: path, State: []record.EffectState{record.EffectUncertain, record.EffectUncertain, record.Confirmed}[i], Looks: 4}
		f.commit(record.Change{Effect: &e})
	}
	if err := f.db.Retry(r.ID, at(1)); !errors.Is(err, store.ErrState) {
		f.Errorf("retrying a live run: %v", err)
	}
	if err := f.db.Retry(999, at(1)); !errors.Is(err, store.ErrNotFound) {
		f.Errorf("retrying no run: %v", err)
	}
	f.put(r, func(r *record.Run) {
		r.State, r.Step, r.Code, r.Why, r.FinishedAt = record.Failed, "both/a\nboth/b", "uncertain", "w", at(1)
	})
	f.must(f.db.Retry(r.ID, at(2)))
	got := f.get(r.ID)
	f.want("the run", words(got.State, got.Why, got.Code, got.FinishedAt.IsZero(), got.UpdatedAt), words(record.Running, "", "", true, at(2)))
	steps, err := f.db.Steps(f.Context(), r.ID)
	f.must(err)
	var states []string
	for _, s := range steps {
		states = append(states, words(s.Path, s.State, s.Attempts, s.NextAt.IsZero()))
	}
	f.want("the steps", strings.Join(states, " "), "ok succeeded 0 true both/a queued 0 true both/b queued 0 true swallowed failed 0 true")
	f.want("what a person decided about is made again", f.effect("both/a").State, record.Planned)
	f.want("what could not be looked up is looked up", words(f.effect("both/b").State, f.effect("both/b").Looks), "uncertain 0")
	f.want("what is confirmed stays so", f.effect("ok").State, record.Confirmed)
	ready, err := f.db.Ready(f.Context(), 0, 10)
	f.must(err)
	f.want("it is ready", ready, []int64{r.ID})
}

func checkSkip(f *fixture) {
	r := f.run("k")
	ok, bad := step(r.ID, "ok", 1), step(r.ID, "bad", 2)
	bad.State = record.Failed
	f.commit(record.Change{Steps: []*record.Step{ok, bad}})
	if err := f.db.Skip(r.ID, "bad", at(1)); !errors.Is(err, store.ErrState) {
		f.Errorf("skipping in a run that neither waits nor failed: %v", err)
	}
	f.put(r, func(r *record.Run) { r.State, r.Step = record.Failed, "bad" })
	for path, want := range map[string]error{"ok": store.ErrState, "none": store.ErrState} {
		if err := f.db.Skip(r.ID, path, at(1)); !errors.Is(err, want) {
			f.Errorf("skipping step %s: %v", path, err)
		}
	}
	if err := f.db.Skip(999, "bad", at(1)); !errors.Is(err, store.ErrNotFound) {
		f.Errorf("skipping in no run: %v", err)
	}
	f.must(f.db.Skip(r.ID, "bad", at(1)))
	steps, err := f.db.Steps(f.Context(), r.ID)
	f.must(err)
	f.want("the step", words(steps[1].State, steps[1].Outcome == nil, steps[1].FinishedAt), words(record.Skipped, true, at(1)))
	f.want("the run", f.get(r.ID).State, record.Running)
}

func checkCancel(f *fixture) {
	waiting, failed, done := f.run("a"), f.run("b"), f.run("c")
	f.put(waiting, func(r *record.Run) { r.State, r.WaitOn, r.WakeAt = record.Waiting, "x", at(9) })
	f.put(failed, func(r *record.Run) { r.State = record.Failed })
	f.put(done, func(r *record.Run) { r.State = record.Succeeded })
	for _, r := range []record.Run{waiting, failed} {
		_, err := f.db.Cancel(r.ID, at(1))
		f.must(err)
		got := f.get(r.ID)
		f.want("the run", words(got.State, got.FinishedAt, got.WaitOn), words(record.Cancelled, at(1), ""))
	}
	for id, want := range map[int64]error{done.ID: store.ErrState, waiting.ID: store.ErrState, 999: store.ErrNotFound} {
		if _, err := f.db.Cancel(id, at(1)); !errors.Is(err, want) {
			f.Errorf("cancelling run %d: %v, want %v", id, err, want)
		}
	}
	due, err := f.db.Due(f.Context(), at(60), 10)
	f.must(err)
	f.want("due runs", len(due), 0)
}

func checkAnswers(f *fixture) {
	r, waiting := f.run("k"), f.run("l")
	waiting.State, waiting.WaitOn = record.Waiting, record.WaitAnswer("c", "h")
	f.turn(record.WaitAnswer("c", "h"), r.ID)
	f.commit(record.Change{Run: &waiting})
	_, err := f.db.Answer(f.Context(), "c", "h")
	f.want("no answer", err, record.ErrNotFound)

	a := record.Answer{Connection: "c", Lookup: "h", AskedAt: at(1), ExpiresAt: at(61), Found: true, Outcome: []byte(`{"x":1}`)}
	s := step(r.ID, "a", 1)
	s.AskedAt = at(1)
	done := f.commit(record.Change{Steps: []*record.Step{s}, Answer: &a, Release: []string{record.WaitAnswer("c", "h")}})
	f.want("who waited goes on", done.Runnable, []int64{waiting.ID})
	f.reopen()
	got, err := f.db.Answer(f.Context(), "c", "h")
	f.must(err)
	f.want("the answer", words(got), words(a))
	_, err = f.db.Answer(f.Context(), "other", "h")
	f.want("of another connection", err, record.ErrNotFound)
	steps, err := f.db.Steps(f.Context(), r.ID)
	f.must(err)
	f.want("when it was asked", steps[0].AskedAt, at(1))

	older, younger := a, a
	older.AskedAt, older.Outcome = at(0), []byte("older")
	younger.AskedAt, younger.ExpiresAt, younger.Found, younger.Outcome = at(2), at(3), false, []byte("younger")
	for _, answer := range []record.Answer{younger, older} {
		f.commit(record.Change{Answer: &answer})
	}
	got, err = f.db.Answer(f.Context(), "c", "h")
	f.must(err)
	f.want("the latest answer", words(got), words(younger))
}
