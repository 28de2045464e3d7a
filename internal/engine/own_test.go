package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// enriching is a world whose alerts open a ticket that is enriched.
func enriching(t *testing.T) *world {
	w := newWorld(t)
	w.on("open", func(r *funnel.Run, e alert) error {
		_, err := funnel.Step(r, "open", w.kit.openTicket, ticketIn{"P", e.Name, e.Print})
		return err
	})
	w.playbooks = append(w.playbooks, funnel.NewPlaybook("enrich", "Test.", w.kit.opened, func(r *funnel.Run, e opened) error {
		_, err := funnel.Step(r, "note", w.kit.addNote, note{e.Title, "enriched"})
		return err
	}))
	return w
}

// webhookFor is what the desk sends about the ticket that it made.
func (w *world) webhookFor(t *testing.T) hook {
	t.Helper()
	made := w.desk.did("open_ticket")
	if len(made) == 0 {
		t.Fatal("the desk has made nothing")
	}
	return hook{ID: made[0].id, Title: made[0].name, Actor: "funnel", Project: "P", Effect: string(made[0].key)}
}

func (w *world) enriched(times int) {
	w.t.Helper()
	after(time.Hour)
	w.did("open_ticket", 1)
	w.did("add_note", times)
	runs := w.runs(record.Playbook, "enrich")
	if len(runs) != times {
		w.t.Fatalf("it was enriched by %d runs, want %d", len(runs), times)
	}
	for _, r := range runs {
		w.is(r.ID, record.Succeeded)
	}
}

// Our own ticket is an event at once, whatever becomes of the webhook.
func TestOwnTicketIsAnEventOnce(t *testing.T) {
	t.Run("no webhook", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			w.start().one("a")
			w.enriched(1)
			events, err := w.store.Events(context.Background(), store.EventFilter{Page: store.Page{Limit: 10}})
			if err != nil || len(events) != 2 || events[0].Depth != 1 || events[0].CauseEvent != events[1].ID {
				t.Errorf("the events are %+v (%v)", events, err)
			}
		})
	})
	t.Run("webhook after", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			w.start().one("a")
			after(time.Second)
			h := w.webhookFor(t)
			for range 2 {
				if got := w.webhook(h); got.Verdict != record.Duplicate {
					t.Errorf("the webhook is %s", got.Verdict)
				}
			}
			h.Effect = "" // the label was removed meanwhile
			if got := w.webhook(h); got.Verdict != record.Duplicate {
				t.Errorf("the webhook without a label is %s", got.Verdict)
			}
			w.enriched(1)
		})
	})
	t.Run("webhook before the answer", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			gate := make(chan struct{})
			w.desk.lag = 24 * time.Hour // never found
			w.desk.next("open_ticket", fault{crash: func() { <-gate }, lost: true})
			run := w.start().one("a")
			after(time.Second)
			if got := w.webhook(w.webhookFor(t)); got.Verdict != record.Evidence {
				t.Errorf("the webhook is %s", got.Verdict)
			}
			close(gate) // and the answer is lost
			after(time.Second)
			w.is(run, record.Succeeded)
			w.enriched(1)
		})
	})
	t.Run("webhook while it is unsure", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			w.desk.lag = 24 * time.Hour
			w.desk.next("open_ticket", fault{lost: true})
			run := w.start().one("a")
			after(time.Second)
			w.is(run, record.Waiting)
			w.webhook(w.webhookFor(t))
			after(time.Millisecond)
			w.is(run, record.Succeeded)
			w.enriched(1)
		})
	})
	t.Run("webhook twice before the run has settled", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			gate := make(chan struct{})
			w.desk.next("open_ticket", fault{crash: func() { <-gate }, lost: true})
			w.start().one("a")
			after(time.Second)
			for range 2 {
				if got := w.webhook(w.webhookFor(t)); got.Verdict != record.Evidence {
					t.Errorf("the webhook is %s", got.Verdict)
				}
			}
			close(gate)
			w.enriched(1)
		})
	})
	t.Run("webhook without a label before the answer", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			gate := make(chan struct{})
			w.desk.next("open_ticket", fault{crash: func() { <-gate }, lost: true})
			w.start().one("a")
			after(time.Second)
			h := w.webhookFor(t)
			h.Effect = ""
			if got := w.webhook(h); got.Verdict != record.Accepted || got.Runs != 0 {
				t.Errorf("the webhook is %+v", got)
			}
			close(gate)
			w.enriched(1) // the event was adopted
		})
	})
	t.Run("crash between evidence and the run", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := enriching(t)
			w.desk.next("open_ticket", fault{crash: func() { w.cancel() }, lost: true})
			w.start().one("a")
			after(time.Second)
			w.webhook(w.webhookFor(t))
			w.crash()
			w.start()
			w.enriched(1)
		})
	})
}

// Evidence is believed only from our own account and for the claimed scope.
func TestForgedEvidence(t *testing.T) {
	for name, forge := range map[string]func(*hook){
		"another's": func(h *hook) { h.Actor = "mallory" },
		"elsewhere": func(h *hook) { h.Project = "Q" },
		"unknown":   func(h *hook) { h.Effect = strings.Repeat("a", 26) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := enriching(t)
				w.desk.lag = 24 * time.Hour
				w.desk.next("open_ticket", fault{lost: true})
				run := w.start().one("a")
				after(time.Second)
				h := w.webhookFor(t)
				h.ID = 777
				forge(&h)
				w.webhook(h)
				after(time.Second)
				w.is(run, record.Waiting)
			})
		})
	}
}

// What our own account did otherwise starts nothing; what people do does.
func TestLoopGuard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := enriching(t)
		w.start()
		if got := w.webhook(hook{ID: 900, Title: "ours", Actor: "funnel", Project: "P"}); got.Verdict != record.Accepted || got.Runs != 0 {
			t.Errorf("our own: %+v", got)
		}
		if got := w.webhook(hook{ID: 901, Title: "theirs", Actor: "jdoe", Project: "P"}); got.Runs != 1 {
			t.Errorf("a person's: %+v", got)
		}
		after(time.Minute)
		w.did("add_note", 1)
		own, err := w.store.Events(context.Background(), store.EventFilter{Disposition: record.Own, Page: store.Page{Limit: 10}})
		if err != nil || len(own) != 1 {
			t.Errorf("own events: %v (%v)", own, err)
		}
	})
}

// A chain of own events ends after three.
func TestDepthIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		open := func(r *funnel.Run, title string) error {
			_, err := funnel.Step(r, "open", w.kit.openTicket, ticketIn{"P", title, title})
			return err
		}
		w.on("first", func(r *funnel.Run, e alert) error { return open(r, e.Name) })
		w.playbooks = append(w.playbooks, funnel.NewPlaybook("more", "Test.", w.kit.opened, func(r *funnel.Run, e opened) error { return open(r, e.Title+"+") }))
		w.start().one("a")
		after(time.Hour)
		w.did("open_ticket", 4)
		loops, err := w.store.Events(context.Background(), store.EventFilter{Disposition: record.Loop, Page: store.Page{Limit: 10}})
		if err != nil || len(loops) != 1 || loops[0].Depth != 4 {
			t.Errorf("the ends of the chain: %+v (%v)", loops, err)
		}
	})
}
