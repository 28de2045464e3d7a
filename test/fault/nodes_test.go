package fault

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// faulty is a tracker whose search lags and which loses some answers.
func faulty() jirafake.Options {
	return jirafake.Options{
		Seed: *seed, LoseAnswers: 0.02, IndexLag: jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second),
		Webhooks: jirafake.WebhookMode{Off: true},
	}
}

// during is how long each state of a run of several nodes lasts.
func during() time.Duration {
	if *full {
		return 3 * lease
	}
	return lease + lease/2
}

// TestF20Nodes torments one node of three after another under load, at a moment at
// which it works on runs: one is cut off from the database while it still reaches
// all else, one is heard by the database and hears no answer, one is stopped for
// longer than its lease and goes on, one is killed for good. Others finish its runs
// without anyone's help, and nothing is made twice.
func TestF20Nodes(t *testing.T) {
	for name, torment := range map[string]func(*testing.T, *node) (end func()){
		"cut off": cutOff,
		"stopped": func(t *testing.T, n *node) func() {
			n.process.signal(t, syscall.SIGSTOP)
			return func() { n.process.signal(t, syscall.SIGCONT) }
		},
		"deaf":   cutOff, // its cable is another
		"killed": func(_ *testing.T, n *node) func() { n.kill(); return func() {} },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "deaf" && !*full {
				t.Skip("NOT RUN: a node that is cut off shows it; -fault runs all")
			}
			smallTogether(t)
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			c := newClusterOf(t, faulty(), 3, func(c *cluster) { c.apart, c.deaf = true, name == "deaf" })
			l := c.startLoad(ctx, t, 12, 50_000, false)
			c.awaitBusy(ctx, t, c.nodes[1])
			before := c.metric("funnel_taken_over_total")
			began := time.Now()
			end := torment(t, c.nodes[1])
			for c.metric("funnel_taken_over_total") == before {
				if ctx.Err() != nil {
					t.Fatal("nobody took the node's runs over")
				}
				pause(10 * time.Millisecond)
			}
			taken := time.Since(began)
			pause(during() - taken)
			end()
			pause(lease)
			r := c.finish(ctx, t, "F20 node "+name, l)
			r.p99 = taken
			r.note("%.0f runs taken over, %.0f leases lost by those who had them; p99 is from the fault to the first run taken over",
				c.metric("funnel_taken_over_total"), c.metric("funnel_lease_lost_total"))
			r.aim(taken < lease+5*time.Second, "taken over within a lease + 5 s")
			r.mustBeClean(t)
		})
	}
}

func cutOff(_ *testing.T, n *node) (end func()) {
	n.way.cut(true)
	return func() { n.way.cut(false) }
}

// awaitBusy returns when the node works on runs.
func (c *cluster) awaitBusy(ctx context.Context, t *testing.T, n *node) {
	t.Helper()
	for figure(n, "funnel_queue_working") < 3 {
		if ctx.Err() != nil {
			t.Fatal("the node never worked on 3 runs")
		}
	}
}

// pause lets a state last: it is the fault, and orders nothing.
func pause(d time.Duration) { time.Sleep(d) }

// TestF18Postgres kills PostgreSQL under load, ends it at once and cuts all its
// connections: what was acknowledged is not lost, nothing is made twice, and the
// nodes accept again by themselves.
func TestF18Postgres(t *testing.T) {
	smallTogether(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := newCluster(t, faulty(), 2)
	perSecond, ends := 4, []syscall.Signal{syscall.SIGKILL}
	if *full {
		perSecond, ends = 8, []syscall.Signal{syscall.SIGKILL, syscall.SIGQUIT, syscall.SIGINT}
	}
	l := c.startLoad(ctx, t, perSecond, 50_000, false)
	var back []time.Duration
	for _, how := range ends {
		pause(lease)
		if err := c.postgres.Stop(how); err != nil {
			t.Fatal(err)
		}
		pause(lease / 2)
		if err := c.postgres.Start(); err != nil {
			t.Fatal(err)
		}
		back = append(back, c.accepting(ctx, t))
	}
	pause(lease)
	if err := c.postgres.Exec(ctx, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname LIKE 'funnel%'"); err != nil {
		t.Fatal(err)
	}
	back = append(back, c.accepting(ctx, t))
	r := c.finish(ctx, t, "F18 postgres", l)
	r.p99 = percentile(back, 0.99)
	r.note("p99 is from PostgreSQL's answer to both nodes' being ready")
	r.aim(r.p99 < 5*time.Second, "accepting again < 5 s")
	r.mustBeClean(t)
}

// accepting waits until all nodes say that they can accept, and returns how long
// that took.
func (c *cluster) accepting(ctx context.Context, t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	for _, n := range c.nodes {
		for ready := false; !ready; ready, _ = n.ready() {
			select {
			case <-ctx.Done():
				t.Fatalf("a node does not accept again: %s", n.log())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return time.Since(began)
}
