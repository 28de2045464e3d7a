package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/faultpoint"
)

// TestF20LateWrites: a node stops for longer than its lease in the moment before it
// journals something. Another does its work to the end. When the first goes on, what
// it writes late is refused: all that is known of the runs is as the other left it.
func TestF20LateWrites(t *testing.T) {
	needsPoints(t)
	t.Parallel() // it mostly waits, and no figure of it has an aim
	r := lateWrites(t, "F20 late writes", nil)
	r.mustBeClean(t)
}

// TestF20NeedsTheFence: the same run goes red if the database does not ask whether
// the lease is still the writer's.
func TestF20NeedsTheFence(t *testing.T) {
	needsPoints(t)
	t.Parallel() // it mostly waits, and no figure of it has an aim
	r := lateWrites(t, "F20 without the fence", []string{"FUNNEL_FAULT_FENCE=off"})
	r.mustBeRed(t, "the fence")
}

func needsPoints(t *testing.T) {
	t.Helper()
	if !faultpoint.Enabled {
		t.Skip("NOT RUN: a node that stops at a moment of its choice needs -tags faultpoint")
	}
}

// lateWrites has a node stop before its nth write, for several n.
func lateWrites(t *testing.T, name string, env []string) result {
	writes := []int{2}
	switch {
	case env != nil:
		writes = []int{1, 3}
	case *full, *long:
		writes = []int{1, 2, 3, 4, 6, 9, 13, 18}
	}
	all := result{name: name}
	for _, nth := range writes {
		r := lateWrite(t, nth, env)
		all.count += r.count
		all.lost += r.lost
		all.double += r.double
		all.wrong = append(all.wrong, r.wrong...)
	}
	all.note("one of two nodes stopped before its write no. %v", writes)
	return all
}

func lateWrite(t *testing.T, nth int, env []string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := newClusterOf(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}}, 2, func(c *cluster) { c.idle = true })
	first, other := c.nodes[0], c.nodes[1]
	goOn := filepath.Join(t.TempDir(), "go-on")
	first.start(t, append(env, fmt.Sprintf("%s=stop %s %d %s", faultpoint.Variable, beforeWriting(t), nth, goOn)))
	if err := os.WriteFile(filepath.Join(other.dir, "token"), []byte(first.token(t)), 0o600); err != nil { // it is for all nodes
		t.Fatal(err)
	}
	first.mustPost(t, alert(0))
	for !exists(goOn + ".reached") {
		if ctx.Err() != nil {
			t.Fatalf("the node did not come to its write no. %d", nth)
		}
		pause(time.Millisecond)
	}
	first.process.signal(t, syscall.SIGSTOP)
	other.start(t, env)
	other.waitIdle(ctx, t)
	before := other.history(t)
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first.process.signal(t, syscall.SIGCONT)
	for figure(first, "go_goroutines") == 0 || figure(first, "funnel_queue_working") > 0 {
		if ctx.Err() != nil {
			t.Fatalf("the node that was stopped does not get on:\n%s", last(first.log(), 4000))
		}
		pause(10 * time.Millisecond)
	}
	pause(lease)
	alive := other.live()
	for end := time.Now().Add(5 * lease); alive != 0 && time.Now().Before(end); alive = other.live() {
		pause(100 * time.Millisecond)
	}

	r := c.judge(map[string]bool{marker(0): true}).result()
	if after := other.history(t); !slices.Equal(before, after) {
		for _, line := range after {
			if !slices.Contains(before, line) {
				r.fault("write no. %d came late and changed: %.60s…", nth, line)
			}
		}
	}
	if alive != 0 {
		r.fault("write no. %d came late, and %d runs that had ended are alive again and not worked on", nth, alive)
	}
	if !strings.Contains(first.log(), "not ours any more") {
		r.fault("write no. %d came late and was not refused", nth)
	}
	return r
}

// beforeWriting is the fault point before what is journalled.
func beforeWriting(t *testing.T) string {
	t.Helper()
	for _, name := range points(t) {
		if strings.HasPrefix(name, "engine.commit.") && strings.HasSuffix(name, ".before") {
			return name
		}
	}
	t.Fatal("there is no such point")
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// history returns all that the node tells of the runs and their steps, a line each.
func (n *node) history(t *testing.T) (lines []string) {
	t.Helper()
	for _, r := range n.runs(t) {
		var run map[string]any
		if !n.get(t, "/api/v1/runs/"+r.ID, &run) {
			t.Fatalf("the node does not tell of run %s", r.ID)
		}
		steps, _ := run["steps"].([]any)
		delete(run, "steps")
		for _, part := range append(steps, run) {
			text, err := json.Marshal(part)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, "run "+r.ID+" "+string(text))
		}
	}
	slices.Sort(lines)
	return lines
}
