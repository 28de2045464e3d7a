package fault

import (
	"context"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestF30Storm is F30: the server is killed every 200 ms under load, so that it
// hardly gets anything done. When that ends, it gets everything done.
func TestF30Storm(t *testing.T) {
	smallTogether(t)
	lasts := 3 * time.Second
	switch {
	case *long:
		lasts = time.Minute
	case *full:
		lasts = 20 * time.Second
	}
	o := sites()["cloud"]
	o.IndexLag = jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second)
	o.LoseAnswers, o.Webhooks = 0.02, hooks("cloud")
	w := newWorld(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	l := w.startLoad(ctx, t, 12, 50_000, true)
	began, kills := time.Now(), 0
	for time.Since(began) < lasts {
		p := w.launch(t, nil)
		select {
		case <-time.After(200 * time.Millisecond):
			w.kill()
		case <-p.ended:
		}
		if !p.killed() {
			t.Fatalf("the server ended by itself: %v\n%s", p.cmd.ProcessState, w.log())
		}
		kills++
	}
	w.start(t, nil)
	calm := time.Now()
	acked := l.stop(t)
	w.waitIdle(ctx, t)
	r := w.judge(acked).result()
	r.name = "F30 restart storm"
	w.measure(&r)
	r.note("%d kills in %v, all done %v after the last; p99 is listening again", kills, lasts, time.Since(calm).Round(100*time.Millisecond))
	w.checkIntegrity(t, &r)
	r.mustBeClean(t)
}
