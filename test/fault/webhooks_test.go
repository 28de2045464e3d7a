package fault

import (
	"context"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestWebhooks has the tracker's own webhooks arrive in every way there is: each
// ticket has each comment exactly once, whatever they do.
func TestWebhooks(t *testing.T) {
	t.Parallel() // it mostly waits, and measures nothing
	alerts := 40
	if *full {
		alerts = 200
	}
	for name, mode := range map[string]jirafake.WebhookMode{
		"in time":            {},
		"off":                {Off: true},
		"duplicated":         {Duplicate: true},
		"before the answer":  {BeforeAnswer: true},
		"late and some lost": {Delay: 300 * time.Millisecond, Loss: 0.3, Duplicate: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, jirafake.Options{Seed: *seed, IndexLag: jirafake.UniformLag(10*time.Millisecond, 100*time.Millisecond), LoseAnswers: 0.05, Webhooks: mode})
			w.start(t, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			acked := w.fire(ctx, t, alerts)
			w.waitIdle(ctx, t)
			v := w.judge(acked)
			t.Logf("webhooks %s: seed %d, %s", name, *seed, v)
			v.mustBeClean(t)
		})
	}
}
