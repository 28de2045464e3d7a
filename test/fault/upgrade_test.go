package fault

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/faultpoint"
)

// next builds the version that follows this one and returns its program: it is
// this one with a further migration.
func next(t *testing.T) string {
	t.Helper()
	tags := "nextschema"
	if faultpoint.Enabled {
		tags += ",faultpoint"
	}
	path := filepath.Join(t.TempDir(), "next.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", tags, "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the next version: %v\n%s", err, out)
	}
	return path
}

// inMigration has a server die in a migration.
func inMigration(point string) string {
	return fmt.Sprintf("%s=kill store.migration.%s 1", faultpoint.Variable, point) // TestFaultPoints looks for the whole names
}

// TestF21Upgrade is F21 on one node: the next version is started on this one's data
// again and again, and killed before and within the migration. Each time this
// version starts again on what is left, and works on. Then the upgrade succeeds,
// and this version still works after it: a migration only adds.
func TestF21Upgrade(t *testing.T) {
	if !faultpoint.Enabled {
		t.Skip("NOT RUN: kills within a migration need -tags faultpoint")
	}
	smallTogether(t)
	kills := 4
	switch {
	case *long:
		kills = 50
	case *full:
		kills = 20
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*10*time.Second)
	defer cancel()
	w := newWorld(t, faulty())
	this, following := w.program, next(t)
	l := w.startLoad(ctx, t, 12, 50_000, false)
	as := func(program string, lasts time.Duration) {
		w.program = program
		w.start(t, nil)
		pause(lasts)
		w.kill()
	}
	as(this, 500*time.Millisecond)
	for i := range kills {
		w.program = following
		point := []string{"between", "within"}[i%2]
		p := w.launch(t, []string{inMigration(point)})
		select {
		case <-p.ended:
		case <-ctx.Done():
			t.Fatalf("the next version did not come to %s:\n%s", point, w.log())
		}
		if !p.killed() {
			t.Fatalf("the next version ended by itself: %v\n%s", p.cmd.ProcessState, w.log())
		}
		as(this, 300*time.Millisecond)
	}
	as(following, time.Second)
	as(this, time.Second) // which is the way back, should the upgrade be regretted
	w.program = following
	w.start(t, nil)
	acked := l.stop(t)
	w.waitIdle(ctx, t)
	r := w.judge(acked).result()
	r.name = "F21 upgrade of one node"
	w.measure(&r)
	r.note("%d kills before and within the migration, upgraded, gone back, upgraded; p99 is listening again", kills)
	w.checkIntegrity(t, &r)
	r.mustBeClean(t)
}

// TestF21Rolling is F21 on three nodes: under load each is ended and started again
// as the next version, one after another; one is killed within the migration. Then
// one goes back. Nothing is lost or doubled, and always two nodes work.
func TestF21Rolling(t *testing.T) {
	smallTogether(t)
	if !*full {
		t.Skip("NOT RUN: it takes a minute; -fault runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := newCluster(t, faulty(), 3)
	this, following := c.program, next(t)
	l := c.startLoad(ctx, t, 9, 50_000, false)
	var drained []time.Duration
	become := func(n *node, program string) {
		began := time.Now()
		n.process.signal(t, syscall.SIGTERM)
		if code := n.exit(t, n.process, time.Minute); code != 0 {
			t.Errorf("the node ended with exit code %d:\n%s", code, n.log())
		}
		drained = append(drained, time.Since(began))
		n.program = program
	}
	pause(lease)
	for i, n := range c.nodes {
		become(n, following)
		if i == 0 {
			p := n.launch(t, []string{inMigration("within")})
			select {
			case <-p.ended:
			case <-ctx.Done():
				t.Fatal("the next version did not come to the migration")
			}
			if !p.killed() {
				t.Fatalf("the next version ended by itself: %v\n%s", p.cmd.ProcessState, n.log())
			}
		}
		n.start(t, nil)
		pause(lease)
	}
	become(c.nodes[1], this)
	c.nodes[1].start(t, nil)
	pause(lease)
	r := c.finish(ctx, t, "F21 rolling upgrade", l)
	r.p99 = percentile(drained, 0.99)
	r.note("three nodes upgraded one by one, one killed within the migration, one gone back; p99 is the drain of a node")
	r.mustBeClean(t)
}
