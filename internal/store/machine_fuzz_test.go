package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// machine drives a store by bytes, and keeps what must be so beside it.
type machine struct {
	t      *testing.T
	dir    string
	s      *store.Store
	now    int
	events map[string]int64           // by key
	runs   []int64                    // all that were made
	state  map[int64]record.State     // by run
	effect map[string]record.Effect   // as it was last written
	owner  map[string]map[string]bool // effect keys that may make the thing, by fingerprint
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// FuzzRunStateMachine: any order of what a server does to its database, with ends of
// the process in between, keeps the promises: a key is one event, a run that has
// ended is never handed out, a confirmed effect stays so, and one run opens a ticket.
func FuzzRunStateMachine(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte{0, 0, 16, 1, 17, 2, 7, 3, 19, 4, 20, 7, 5, 6})
	f.Add([]byte{0, 16, 32, 3, 19, 35, 4, 20, 36, 7, 3, 4, 5, 21, 6, 22})
	f.Fuzz(drive)
}

// TestRunStateMachine drives it by many scripts, for the fuzzer is slow at it.
func TestRunStateMachine(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 0))
		script := make([]byte, 40)
		for i := range script {
			script[i] = byte(random.IntN(12)) | byte(random.IntN(4))<<4
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { drive(t, script) })
	}
}

// drive does what the script says, and checks.
func drive(t *testing.T, script []byte) {
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "data"), events: map[string]int64{}, state: map[int64]record.State{}, effect: map[string]record.Effect{}, owner: map[string]map[string]bool{}}
	m.open()
	defer func() { _ = m.s.Close() }()
	for i, b := range script[:min(len(script), 60)] {
		m.now++
		m.do(b&0xf, int(b>>4))
		if i%4 == 3 {
			m.check()
		}
	}
	m.check()
}

func (m *machine) open() {
	s, err := store.Open(m.dir)
	m.must(err)
	m.s = s
}

// do makes one step; n chooses what it is about.
func (m *machine) do(op byte, n int) {
	switch op {
	case 0, 8: // a delivery
		key := fmt.Sprint("k", n)
		id, duplicate, runs, err := m.s.Accept(record.Delivery{Source: "s", ReceivedAt: at(m.now)}, newEvent(key, "p"))
		m.must(err)
		if known, ok := m.events[key]; ok != duplicate || ok && known != id {
			m.t.Fatalf("key %s: duplicate %v and event %d, want %v and %d", key, duplicate, id, ok, known)
		}
		m.events[key] = id
		for _, r := range runs {
			m.runs, m.state[r] = append(m.runs, r), record.Queued
		}
	case 7: // the process ends and starts again
		m.must(m.s.Close())
		m.open()
	default:
		if len(m.runs) > 0 {
			m.work(op, m.runs[n%len(m.runs)])
		}
	}
}

// work does something to a run.
func (m *machine) work(op byte, id int64) {
	r, err := m.s.Run(m.t.Context(), id)
	m.must(err)
	key := fmt.Sprint("effect", id)
	switch op {
	case 1, 2, 5, 6: // it waits, or ends
		if !r.State.Live() {
			return
		}
		r.State = map[byte]record.State{1: record.Running, 2: record.Waiting, 5: record.Succeeded, 6: record.Failed}[op]
		r.WakeAt, r.UpdatedAt = at(m.now+1), at(m.now)
		_, err := m.s.Commit(record.Change{Run: &r})
		m.must(err)
		m.state[id] = r.State
	case 3: // a request is about to leave
		was, known := m.effect[key]
		e := record.Effect{Key: key, RunID: id, Path: "a", Action: "x.y", Connection: "c", State: record.Sent, Attempt: was.Attempt + 1, SentAt: at(m.now)}
		var from record.EffectState
		if known {
			from = record.Planned
		}
		done, err := m.s.Commit(record.Change{Effect: &e, From: from})
		m.must(err)
		if free := !known || was.State == record.Planned; done.Conflict == free {
			m.t.Fatalf("effect %s was %q; sending is in conflict: %v", key, was.State, done.Conflict)
		}
		if !done.Conflict {
			m.effect[key] = e
		}
	case 4: // its answer came
		if e, known := m.effect[key]; known && e.State == record.Sent {
			e.State, e.Outcome = record.Confirmed, []byte("done")
			_, err := m.s.Commit(record.Change{Effect: &e})
			m.must(err)
			m.effect[key] = e
		}
	case 9: // it claims a ticket
		if !r.State.Live() {
			return
		}
		fp := fmt.Sprint("fp", id%3)
		c, err := m.s.Claim(record.ClaimRequest{
			Connection: "c", Scope: "P", Fingerprint: fp, Window: 1000 * time.Hour, EffectKey: key, Run: r, Step: *step(id, "a", 1), Now: at(m.now),
			Repeat: func(o []byte, _ int, _, _ time.Time) ([]byte, error) { return o, nil },
		})
		m.must(err)
		if c.EffectKey != "" && !c.Waits && c.Outcome == nil {
			if m.owner[fp] == nil {
				m.owner[fp] = map[string]bool{}
			}
			m.owner[fp][c.EffectKey] = true
		}
		if now, err := m.s.Run(m.t.Context(), id); err == nil {
			m.state[id] = now.State
		}
	case 10: // a person
		switch err := m.s.Retry(id, at(m.now)); {
		case err == nil:
			m.state[id] = record.Running
		case !errors.Is(err, record.ErrState):
			m.must(err)
		}
	case 11:
		switch _, err := m.s.Cancel(id, at(m.now)); {
		case err == nil:
			m.state[id] = record.Cancelled
		case !errors.Is(err, record.ErrState):
			m.must(err)
		}
	}
}

// check looks whether what must be so is so.
func (m *machine) check() {
	m.t.Helper()
	for id, want := range m.state {
		r, err := m.s.Run(m.t.Context(), id)
		m.must(err)
		if r.State.Live() != want.Live() {
			m.t.Fatalf("run %d is %s, want %s", id, r.State, want)
		}
	}
	ready, err := m.s.Ready(m.t.Context(), 0, 1000)
	m.must(err)
	due, err := m.s.Due(m.t.Context(), at(m.now+100), 1000)
	m.must(err)
	for _, id := range append(ready, due...) {
		if !m.state[id].Live() {
			m.t.Fatalf("run %d is handed out and %s", id, m.state[id])
		}
	}
	slices.Sort(ready)
	if len(slices.Compact(ready)) != len(ready) {
		m.t.Fatalf("a run is handed out twice: %v", ready)
	}
	for key, want := range m.effect {
		e, err := m.s.Effect(m.t.Context(), key)
		m.must(err)
		if e.State != want.State || e.Attempt != want.Attempt {
			m.t.Fatalf("effect %s is %s after %d attempts, want %s after %d", key, e.State, e.Attempt, want.State, want.Attempt)
		}
	}
	for fp, keys := range m.owner {
		if len(keys) > 1 {
			m.t.Fatalf("%s: several effects may open the ticket: %v", fp, keys)
		}
	}
}
