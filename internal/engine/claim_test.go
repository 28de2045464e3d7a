package engine_test

import (
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// opening opens a ticket for the alert's print and notes how often it was seen.
func opening(w *world, seen map[string]int) func(*funnel.Run, alert) error {
	return func(r *funnel.Run, e alert) error {
		out, err := funnel.Step(r, "open", w.kit.openTicket, ticketIn{"P", e.Name, e.Print})
		if err == nil {
			w.desk.mu.Lock()
			seen[e.Name] = out.Seen
			w.desk.mu.Unlock()
		}
		return err
	}
}

func TestOneTicketForOneThing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		seen := map[string]int{}
		w.on("p", opening(w, seen))
		w.start()
		a, b := w.alert("a", "same")[0], w.alert("b", "same")[0]
		c := w.alert("c", "other")[0]
		after(time.Second)
		for _, run := range []int64{a, b, c} {
			w.is(run, record.Succeeded)
		}
		w.did("open_ticket", 2)
		if seen["a"]+seen["b"] != 3 || seen["c"] != 1 {
			t.Errorf("they were seen %v times", seen)
		}
		after(25 * time.Hour) // the window is over
		d := w.alert("d", "same")[0]
		after(time.Second)
		w.is(d, record.Succeeded)
		w.did("open_ticket", 3)
		if seen["d"] != 1 {
			t.Errorf("after the window it was seen %d times", seen["d"])
		}
	})
}

// If the owner ends without a ticket, whoever waits takes over, with the same
// effect: one ticket, whatever became of the owner's attempt.
func TestOwnershipPasses(t *testing.T) {
	for name, c := range map[string]struct {
		fault  func(*world) fault
		cancel bool
		seen   int // by the heir
	}{
		"the owner fails": {fault: func(*world) fault {
			return fault{err: funnel.Errorf(funnel.Invalid, "no such project")}
		}},
		"the owner is cancelled": {fault: func(*world) fault { return fault{err: inAnHour()} }, cancel: true},
		"the owner is cancelled and the effect uncertain": {fault: func(w *world) fault {
			w.desk.lag = 10 * time.Second
			return fault{lost: true}
		}, cancel: true},
		"the owner is cancelled and the effect late": {fault: func(*world) fault { return fault{late: 20 * time.Second} }, cancel: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				seen := map[string]int{}
				w.on("p", opening(w, seen))
				gate := make(chan struct{})
				f := c.fault(w)
				f.gate = gate
				w.desk.next("open_ticket", f)
				w.start()
				owner := w.alert("a", "same")[0]
				after(time.Second)
				heir, third := w.alert("b", "same")[0], w.alert("c", "same")[0]
				after(time.Second)
				if r := w.is(heir, record.Waiting); r.WaitOn != record.WaitTicket("desk", "P", "same") {
					t.Fatalf("the second waits on %q", r.WaitOn)
				}
				close(gate)
				after(time.Second)
				if c.cancel {
					if err := w.engine.Cancel(owner); err != nil {
						t.Fatal(err)
					}
					w.is(owner, record.Cancelled)
				} else {
					w.is(owner, record.Failed)
				}
				after(time.Hour)
				w.is(heir, record.Succeeded)
				w.is(third, record.Succeeded)
				w.did("open_ticket", 1)
				if seen["b"] != 1 || seen["c"] != 2 {
					t.Errorf("they were seen %v times", seen)
				}
				if c.cancel {
					return
				}
				if err := w.engine.Retry(owner); err != nil {
					t.Fatal(err)
				}
				after(time.Second)
				w.is(owner, record.Succeeded)
				w.did("open_ticket", 1)
				if seen["a"] != 3 {
					t.Errorf("the former owner sees it %d times", seen["a"])
				}
			})
		})
	}
}

// Without anybody waiting, the next claimant goes on with the same effect.
func TestOwnershipWaitsForTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.desk.lag = 10 * time.Second
		w.desk.next("open_ticket", fault{lost: true})
		seen := map[string]int{}
		w.on("p", opening(w, seen))
		owner := w.start().alert("a", "same")[0]
		after(time.Second)
		if err := w.engine.Cancel(owner); err != nil {
			t.Fatal(err)
		}
		w.crash()
		w.start()
		next := w.alert("b", "same")[0]
		after(time.Hour)
		w.is(next, record.Succeeded)
		w.did("open_ticket", 1)
	})
}

// A repeat that cannot be made fails its run, and holds nobody up.
func TestBrokenRepeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		in := func(ticketIn) funnel.Claim { return funnel.Claim{Scope: "P", Fingerprint: "same", Window: time.Hour} }
		w.kit.openTicket = funnel.NewAction("desk.open_ticket", "Open.", funnel.Writes, (*desk).OpenTicket, funnel.Find((*desk).FindTicket),
			funnel.OnePer(in, func(ticket, funnel.Seen) ticket { panic("a broken repeat") }))
		w.on("p", opening(w, map[string]int{}))
		w.start()
		first := w.alert("a", "same")[0]
		after(time.Second)
		second := w.alert("b", "same")[0]
		after(time.Second)
		w.is(first, record.Succeeded)
		if r := w.is(second, record.Failed); r.Code != string(funnel.Internal) || r.Step != "open" {
			t.Errorf("it failed with %s at %q", r.Code, r.Step)
		}
	})
}
