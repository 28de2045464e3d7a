package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// database is all that a store can do.
type database interface {
	Accept(record.Delivery, record.NewEvent) (int64, bool, []int64, error)
	Call(record.Event, record.Run) (record.Run, bool, error)
	Deliver(record.Delivery) error
	Prove(record.Delivery, record.Proof) (record.Proven, error)
	Commit(record.Change) (record.Committed, error)
	Answer(ctx context.Context, connection, lookup string) (record.Answer, error)
	Claim(record.ClaimRequest) (record.Claimed, error)
	Retry(int64, time.Time) error
	Skip(int64, string, time.Time) error
	Cancel(int64, time.Time) ([]int64, error)
	Load(context.Context, int64) (record.Loaded, error)
	Run(context.Context, int64) (record.Run, error)
	Event(context.Context, int64) (record.Event, error)
	Steps(context.Context, int64) ([]record.Step, error)
	Effect(context.Context, string) (record.Effect, error)
	Unsure(context.Context) ([]record.Effect, error)
	Untold(context.Context, time.Time, int) ([]record.Run, error)
	Ready(context.Context, int64, int) ([]int64, error)
	Due(context.Context, time.Time, int) ([]int64, error)
	NextWake(context.Context, time.Time) (time.Time, error)
	Parked(context.Context, string, int) ([]int64, error)
	WaitCounts(context.Context) (map[string]int, error)
	Runs(context.Context, store.RunFilter) ([]record.Run, error)
	Events(context.Context, store.EventFilter) ([]record.Event, error)
	Deliveries(context.Context, store.DeliveryFilter) ([]record.Delivery, error)
	Delivery(context.Context, int64) (record.Delivery, error)
	Replay(event int64, playbooks []string, now time.Time) ([]int64, error)
	Summarize(context.Context) (store.Summary, error)
	Setting(string) ([]byte, error)
	PutSetting(string, []byte) error
	Ping(context.Context) error
	TakeTurn(name string, run int64, path string, since time.Time) (record.Turn, error)
	Family(context.Context, string) ([]record.Kin, error)
	Settled(context.Context, string) (bool, error)
	Reconcile(record.Reconciliation) (record.Reconciled, error)
	ForgetKin(before time.Time, most int) (int64, error)
	PurgeDeliveries(before time.Time, most int) (int64, error)
	PurgeEvents(before time.Time, after int64, most int) (record.Purged, error)
	Died(node string, runs []int64, alone int64, crashed bool) (int, error)
	Alone(run int64) error
	Survived(run int64) error
	Close() error
}

// conform checks what every store promises. open opens the store of a
// directory, again if it was closed.
func conform(t *testing.T, open func(dir string) (database, error)) {
	for name, check := range map[string]func(*fixture){
		"accept": checkAccept, "accept by delivery key": checkDeliveryKey, "deliver": checkDeliver, "call": checkCall, "replay": checkReplay, "filters": checkFilters,
		"commit": checkCommit, "answers": checkAnswers, "blobs": checkBlobs, "effects": checkEffects, "emit": checkEmit, "release": checkRelease,
		"companions": checkCompanions, "claim": checkClaim, "claim passes": checkClaimPasses, "claim window": checkClaimWindow,
		"prove": checkProve, "retry": checkRetry, "skip": checkSkip, "cancel": checkCancel, "deaths": checkDeaths, "silent": checkSilent,
		"backlog": checkBacklog, "untold": checkUntold, "unsure": checkUnsure,
		"settings": checkSettings, "kin": checkKin, "purge": checkPurge, "purge tickets": checkPurgeTickets, "pages": checkPages, "summary": checkSummary, "reopen": checkReopen,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{T: t, dir: filepath.Join(t.TempDir(), "data"), open: open}
			f.reopen()
			t.Cleanup(func() { _ = f.db.Close() })
			check(f)
		})
	}
}

func TestSQLiteConforms(t *testing.T) {
	conform(t, func(dir string) (database, error) { return store.Open(dir) })
}

// fixture is a store with short ways to fill it.
type fixture struct {
	*testing.T
	dir  string
	open func(string) (database, error)
	db   database
}

// at is an instant of the tests, some minutes after the first.
func at(minutes int) time.Time {
	return time.Date(2026, 3, 1, 12, minutes, 0, 123456000, time.UTC)
}

// turn makes the run the one that others wait for. A store for one process leaves
// turns to the engine's memory.
func (f *fixture) turn(name string, run int64) {
	f.Helper()
	if turn, err := f.db.TakeTurn(name, run, "p", at(0)); !turn.Mine && !errors.Is(err, record.ErrEmbedded) {
		f.Fatalf("taking a turn: %v", err)
	}
}

func (f *fixture) reopen() {
	f.Helper()
	if f.db != nil {
		f.must(f.db.Close())
	}
	var err error
	if f.db, err = f.open(f.dir); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) want(what string, got, want any) {
	f.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// words formats the values with spaces between.
func words(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

func newEvent(key string, playbooks ...string) record.NewEvent {
	e := record.Event{Source: "s", Trigger: "t.x", Connection: "c", Key: key, ReceivedAt: at(0), Body: []byte("body"), Data: []byte(`{"k":1}`), Disposition: record.Matched}
	return record.NewEvent{Event: e, Playbooks: playbooks}
}

// run accepts an event and returns its run.
func (f *fixture) run(key string) record.Run {
	f.Helper()
	_, _, runs, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, newEvent(key, "p"))
	f.must(err)
	return f.get(runs[0])
}

func (f *fixture) get(id int64) record.Run {
	f.Helper()
	r, err := f.db.Run(f.Context(), id)
	f.must(err)
	return r
}

func (f *fixture) commit(c record.Change) record.Committed {
	f.Helper()
	done, err := f.db.Commit(c)
	f.must(err)
	return done
}

// put writes the run with the change applied.
func (f *fixture) put(r record.Run, change func(*record.Run)) record.Run {
	f.Helper()
	change(&r)
	f.commit(record.Change{Run: &r})
	return r
}

// wait has the run wait on something.
func (f *fixture) wait(r record.Run, on string, since time.Time) {
	f.Helper()
	f.put(r, func(r *record.Run) { r.State, r.WaitOn, r.WaitSince = record.Waiting, on, since })
}

func (f *fixture) effect(key string) record.Effect {
	f.Helper()
	e, err := f.db.Effect(f.Context(), key)
	f.must(err)
	return e
}

func (f *fixture) deliveries() (verdicts []record.Verdict) {
	f.Helper()
	list, err := f.db.Deliveries(f.Context(), store.DeliveryFilter{Page: store.Page{Limit: 100}})
	f.must(err)
	for _, d := range slices.Backward(list) {
		verdicts = append(verdicts, d.Verdict)
	}
	return verdicts
}

func checkAccept(f *fixture) {
	id, duplicate, runs, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(1), Bytes: 7}, newEvent("k", "one", "two"))
	f.must(err)
	f.want("the first", words(duplicate, len(runs)), "false 2")
	again, duplicate, none, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(2)}, newEvent("k", "one", "two"))
	f.must(err)
	f.want("the second", words(again == id, duplicate, len(none)), "true true 0")
	e, err := f.db.Event(f.Context(), id)
	f.must(err)
	wanted := newEvent("k").Event
	wanted.ID, wanted.Body = id, nil
	f.want("the event", fmt.Sprintf("%+v", e), fmt.Sprintf("%+v", wanted))
	r := f.get(runs[1])
	f.want("the run", words(r.EventID, r.Kind, r.Playbook, r.State, r.CreatedAt), words(id, record.Playbook, "two", record.Queued, at(0)))
	list, err := f.db.Deliveries(f.Context(), store.DeliveryFilter{Source: "s", Page: store.Page{Limit: 10}})
	f.must(err)
	f.want("the deliveries", words(len(list), list[0].Verdict, list[0].EventID == id, list[1].Verdict, list[1].Bytes, list[1].ReceivedAt), words(2, record.Duplicate, true, record.Accepted, 7, at(1)))
	if _, err := f.db.Event(f.Context(), 999); !errors.Is(err, store.ErrNotFound) {
		f.Errorf("no event: %v", err)
	}
}

func checkDeliveryKey(f *fixture) {
	first := newEvent("k1", "p")
	first.Event.DeliveryKey = "d"
	id, _, _, err := f.db.Accept(record.Delivery{}, first)
	f.must(err)
	second := newEvent("k2", "p")
	second.Event.DeliveryKey = "d"
	again, duplicate, _, err := f.db.Accept(record.Delivery{}, second)
	f.must(err)
	f.want("the same delivery", words(again == id, duplicate), "true true")
	for i := range 2 { // events without a delivery key are not one another's duplicates
		_, duplicate, _, err := f.db.Accept(record.Delivery{}, newEvent(words("none", i), "p"))
		f.must(err)
		f.want("without a key", duplicate, false)
	}
}

func checkDeliver(f *fixture) {
	f.must(f.db.Deliver(record.Delivery{Source: "s", ReceivedAt: at(0), Verdict: record.Refused, Reason: "too deep", Bytes: 12}))
	list, err := f.db.Deliveries(f.Context(), store.DeliveryFilter{Page: store.Page{Limit: 10}})
	f.must(err)
	f.want("the delivery", fmt.Sprintf("%+v", list[0]), fmt.Sprintf("%+v", record.Delivery{ID: list[0].ID, Source: "s", ReceivedAt: at(0), Verdict: record.Refused, Reason: "too deep", Bytes: 12}))
	events, err := f.db.Events(f.Context(), store.EventFilter{Page: store.Page{Limit: 10}})
	f.must(err)
	f.want("events", len(events), 0)
}

func checkSettings(f *fixture) {
	v, err := f.db.Setting("x")
	f.must(err)
	f.want("no setting", v == nil, true)
	f.must(f.db.PutSetting("x", []byte("1")))
	f.must(f.db.PutSetting("x", []byte("2")))
	v, err = f.db.Setting("x")
	f.must(err)
	f.want("the setting", string(v), "2")
	f.must(f.db.Ping(f.Context()))
}

func checkReopen(f *fixture) {
	r := f.run("k")
	r.State, r.WakeAt, r.WaitSince, r.Why, r.Step, r.Code, r.Told, r.ToldWhy = record.Waiting, at(5), at(1), "why", "step", "code", 3, "told"
	step := record.Step{
		RunID: r.ID, Path: "a", Seq: 1, Action: "x.y", Connection: "c", InputHash: "h", Input: []byte("in"), State: record.Waiting,
		Outcome: []byte("out"), Code: "code", Error: "error", Attempts: 2, EffectKey: "key", StartedAt: at(1), FinishedAt: at(2), NextAt: at(3),
	}
	effect := record.Effect{Key: "key", RunID: r.ID, Path: "a", Action: "x.y", Connection: "c", Scope: "P", Serial: "serial:c/x", State: record.Sent, Attempt: 2, Looks: 1, Unproven: true, SentAt: at(2), Outcome: []byte("o")}
	f.commit(record.Change{Run: &r, Steps: []*record.Step{&step}, Effect: &effect})
	f.must(f.db.PutSetting("x", []byte("v")))
	before, err := f.db.Load(f.Context(), r.ID)
	f.must(err)
	f.want("the run", fmt.Sprintf("%+v", before.Run), fmt.Sprintf("%+v", r))
	f.want("the step", fmt.Sprintf("%+v", before.Steps), fmt.Sprintf("%+v", []record.Step{step}))
	f.want("the effect", fmt.Sprintf("%+v", before.Effects), fmt.Sprintf("%+v", []record.Effect{effect}))
	f.reopen()
	after, err := f.db.Load(f.Context(), r.ID)
	f.must(err)
	f.want("after reopening", fmt.Sprintf("%+v", after), fmt.Sprintf("%+v", before))
	v, err := f.db.Setting("x")
	f.must(err)
	f.want("the setting", string(v), "v")
}
