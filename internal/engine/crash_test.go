package engine_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// fourSteps is a run of every kind of step that is looked up or repeatable.
func fourSteps(w *world) func(*funnel.Run, alert) error {
	return func(r *funnel.Run, e alert) error {
		if _, err := funnel.Step(r, "look", w.kit.lookUp, named{e.Name}); err != nil {
			return err
		}
		if _, err := funnel.Step(r, "open", w.kit.openTicket, ticketIn{"P", e.Name, e.Print}); err != nil {
			return err
		}
		if _, err := funnel.Step(r, "note", w.kit.addNote, note{e.Name, "text"}); err != nil {
			return err
		}
		_, err := funnel.Step(r, "put", w.kit.put, named{e.Name})
		return err
	}
}

// A process that dies at any point of a run neither loses nor repeats a
// completed step.
func TestCrashAtEveryPoint(t *testing.T) {
	ops := []string{"look_up", "open_ticket", "add_note", "put"}
	for i, op := range ops {
		for _, when := range []string{"before it was done", "after it was done", "after it was journalled"} {
			t.Run(op+" "+when, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newWorld(t)
					w.on("p", fourSteps(w))
					die := func() { w.cancel() }
					again := 0 // how often the step itself may have been processed beyond once
					switch when {
					case "before it was done":
						w.desk.next(op, fault{crash: die})
					case "after it was done":
						w.desk.next(op, fault{crash: die, lost: true})
						if op == "look_up" || op == "put" { // reading and upserting may be repeated
							again = 1
						}
					default:
						if i+1 == len(ops) {
							return // then the run has ended
						}
						w.desk.next(ops[i+1], fault{crash: die})
					}
					run := w.start().one("a")
					after(time.Second)
					w.crash()
					w.start()
					after(time.Hour)
					w.is(run, record.Succeeded)
					for j, o := range ops {
						want := 1
						if j == i {
							want += again
						}
						w.did(o, want)
					}
				})
			})
		}
	}
}

// A crash while the row says sent is settled as the action declares.
func TestCrashWhileSent(t *testing.T) {
	for name, c := range map[string]struct {
		step  func(*world, *funnel.Run) error
		op    string
		done  bool
		want  int
		state record.State
	}{
		"looked up and found":     {step: openStep, op: "open_ticket", done: true, want: 1, state: record.Succeeded},
		"looked up and absent":    {step: openStep, op: "open_ticket", want: 1, state: record.Succeeded},
		"never by itself, done":   {step: ringStep, op: "ring", done: true, want: 1, state: record.Failed},
		"never by itself, undone": {step: ringStep, op: "ring", want: 0, state: record.Failed},
		"repeated":                {step: putStep, op: "put", done: true, want: 2, state: record.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.on("p", func(r *funnel.Run, _ alert) error { return c.step(w, r) })
				w.desk.next(c.op, fault{crash: func() { w.cancel() }, lost: c.done})
				run := w.start().one("a")
				after(time.Second)
				w.crash()
				w.start()
				effects, err := w.store.Unsure(context.Background())
				if err != nil || (c.op == "open_ticket" && (len(effects) != 1 || effects[0].State != record.Sent)) {
					t.Fatalf("after the crash, the ledger has %v (%v)", effects, err)
				}
				after(5 * time.Hour)
				if r := w.is(run, c.state); c.state == record.Failed && r.Code != string(funnel.Uncertain) {
					t.Errorf("the run failed with code %s", r.Code)
				}
				w.did(c.op, c.want)
			})
		})
	}
}

func openStep(w *world, r *funnel.Run) error {
	_, err := funnel.Step(r, "open", w.kit.openTicket, ticketIn{"P", "title", "print"})
	return err
}

func ringStep(w *world, r *funnel.Run) error {
	_, err := funnel.Step(r, "ring", w.kit.ring, named{"x"})
	return err
}

func putStep(w *world, r *funnel.Run) error {
	_, err := funnel.Step(r, "put", w.kit.put, named{"x"})
	return err
}

func lockStep(w *world, r *funnel.Run) error {
	_, err := funnel.Step(r, "lock", w.kit.lock, named{"x"})
	return err
}

// An effect that was begun on one connection is settled there, even if the
// configuration would choose another by now.
func TestUnsureEffectKeepsItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", func(r *funnel.Run, _ alert) error { return openStep(w, r) })
		w.desk.next("open_ticket", fault{crash: func() { w.cancel() }, lost: true})
		run := w.start().one("a")
		after(time.Second)
		w.crash()
		w.desks["another"] = newDesk()
		w.start()
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.did("open_ticket", 1)
	})
}

func TestSleepIsDurable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.on("p", func(r *funnel.Run, _ alert) error {
			funnel.Sleep(r, "nap", time.Hour)
			return putStep(w, r)
		})
		began := time.Now()
		run := w.start().one("a")
		after(20 * time.Minute)
		w.crash()
		after(20 * time.Minute)
		w.start()
		after(19 * time.Minute)
		w.did("put", 0)
		after(2 * time.Minute)
		w.is(run, record.Succeeded)
		if at := w.desk.did("put")[0].at.Sub(began); at < time.Hour || at > time.Hour+time.Second {
			t.Errorf("it slept %v", at)
		}
	})
}

// Drain lets the step under way finish and begins nothing; a restart goes on.
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		gate := make(chan struct{})
		w.desk.next("look_up", fault{gate: gate})
		w.on("p", fourSteps(w))
		run := w.start().one("a")
		after(time.Second)
		w.engine.Drain()
		second := w.one("b")
		after(time.Second)
		close(gate)
		after(time.Second)
		w.did("look_up", 1)
		w.did("open_ticket", 0)
		if s := w.step(run, "look"); s.State != record.Succeeded {
			t.Errorf("the step under way is %s", s.State)
		}
		w.stop()
		w.start()
		after(time.Hour)
		w.is(run, record.Succeeded)
		w.is(second, record.Succeeded)
		if names := w.desk.names("look_up"); !slices.Equal(names, []string{"a", "b"}) {
			t.Errorf("looked up %v", names)
		}
	})
}

func TestPanicsAreFenced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.next("look_up", fault{panic: true})
		w.on("bad", func(*funnel.Run, alert) error { panic("oh") })
		w.on("worse", func(r *funnel.Run, _ alert) error {
			return funnel.Parallel(r, "both", funnel.Branch{Name: "a", Do: func(*funnel.Run) error { panic("in a branch") }})
		})
		w.on("exits", func(r *funnel.Run, _ alert) error { return lookThenPut(w, r) })
		runs := w.start().alert("a", "a")
		after(time.Hour)
		for _, run := range runs[:2] {
			if r := w.is(run, record.Failed); r.Code != string(funnel.Internal) {
				t.Errorf("run %d failed with code %s", run, r.Code)
			}
		}
		w.is(runs[2], record.Succeeded) // a panic in an action is a failed try
		w.did("put", 1)
	})
}

func lookThenPut(w *world, r *funnel.Run) error {
	if _, err := funnel.Step(r, "look", w.kit.lookUp, named{"x"}); err != nil {
		return err
	}
	return putStep(w, r)
}
