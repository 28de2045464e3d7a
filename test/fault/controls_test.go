package fault

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

// TestF01NeedsTheLookUp shows that F1 can fail: without looking unsure effects up,
// the same faults make tickets or comments twice.
func TestF01NeedsTheLookUp(t *testing.T) {
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) {
			if name != "cloud" && !*full {
				t.Skip("NOT RUN: one kind of tracker shows it; -fault runs all")
			}
			smallTogether(t)
			o.IndexLag, o.LoseAnswers, o.Webhooks.Off = jirafake.UniformLag(10*time.Millisecond, 50*time.Millisecond), 0.1, true
			w := newWorld(t, o)
			env := []string{childBlind + "=1"}
			w.start(t, env)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			l := w.startLoad(ctx, t, 60, 60, false)
			chance := rand.New(rand.NewPCG(*seed, 7))
			time.Sleep(500*time.Millisecond + time.Duration(chance.Int64N(int64(500*time.Millisecond)))) // the moment of the kill
			w.kill()
			w.start(t, env)
			<-l.ended
			acked := l.stop(t)
			w.waitIdle(ctx, t)
			v := w.judge(acked)
			r := v.result()
			r.name = "F01 kill without look-up " + name
			w.measure(&r)
			r.mustBeRed(t, "the look-up of unsure effects")
			if v.doubleTickets+v.doubleComments == 0 {
				t.Errorf("with the look-up switched off, 10 %% lost answers made nothing twice: %s", v)
			}
			if v.lost > 0 {
				t.Errorf("%d acknowledged alerts have no ticket", v.lost)
			}
		})
	}
}

// TestF01AnswersOnTheWay kills the server while the tracker has opened the tickets
// and the answers are on their way: each is opened once. With a journal that says
// so only after the request has left, they are opened twice.
func TestF01AnswersOnTheWay(t *testing.T) {
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := killWaiting(t, o, nil)
			r.name = "F01 answers on the way " + name
			r.mustBeClean(t)
		})
	}
	t.Run("sent before it is journalled", func(t *testing.T) {
		t.Parallel()
		r := killWaiting(t, sites()["cloud"], []string{childEager + "=1"})
		r.name = "F01 answers on the way, sent before it is journalled"
		r.mustBeRed(t, "the journal's entry before the request leaves")
		if r.double == 0 {
			t.Errorf("nothing was made twice: %s", r.line())
		}
	})
}

func killWaiting(t *testing.T, o jirafake.Options, env []string) result {
	const alerts = 8
	o.Webhooks.Off = true
	w := newWorld(t, o)
	remove := w.jira.Always(jirafake.IsCreate, jirafake.Fault{Kind: jirafake.HangAfter})
	w.start(t, env)
	ctx := within(t)
	acked := w.fire(ctx, t, alerts)
	for len(w.jira.Issues()) < alerts {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the tickets were not opened; the server's log:\n%s", w.log())
		}
	}
	w.kill()
	remove()
	w.start(t, env)
	w.waitIdle(ctx, t)
	v := w.judge(acked)
	r := v.result()
	w.measure(&r)
	w.checkIntegrity(t, &r)
	return r
}

// eager is a journal that never gets to know that a request is about to leave.
type eager struct{ engine.Journal }

// Commit writes the change without the effect, if that says sent.
func (j eager) Commit(c record.Change) (record.Committed, error) {
	if c.Effect != nil && c.Effect.State == record.Sent {
		c.Effect = nil
	}
	return j.Journal.Commit(c)
}
