package fault

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/faultpoint"
)

// TestF01Kill is F1: kill -9 under load at random moments and at every fault
// point, with a tracker whose search lags and which loses 2 % of its answers. The
// look-up schedule and the lag are those of production divided by 100.
func TestF01Kill(t *testing.T) {
	if *full && !faultpoint.Enabled {
		t.Fatal("with -fault this run kills at the fault points too: add -tags faultpoint")
	}
	if !*full {
		t.Log("NOT RUN: kills at the fault points: they need -tags faultpoint and -fault")
	}
	deaths := map[string]int{} // by point
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) {
			smallTogether(t)
			o.IndexLag = jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second)
			o.LoseAnswers, o.LateProcessing, o.LateDelay = 0.02, 0.002, 300*time.Millisecond
			o.Webhooks = hooks(name)
			w := newWorld(t, o)
			k := killing{world: w, victims: []*world{w}, deaths: deaths, people: !o.Webhooks.Off}
			r := k.run(t, k.plan(rand.New(rand.NewPCG(*seed, 7)), append(migrations(t), pointsWith(t, onSQLite, name != "data center")...)))
			k.checkIntegrity(t, &r)
			r.name = "F01 kill " + name
			r.mustBeClean(t)
		})
	}
	mustHaveDied(t, deaths, append(migrations(t), pointsWith(t, onSQLite, true)...))
}

// TestF01KillPostgres is F1 with two nodes on one PostgreSQL, which die in turn: the
// other one lives on meanwhile, and takes over what it finds. Some requests are lost on
// the way too, for after a kill alone few effects turn out not to have been made. Each
// node has few workers: the machine starts processes of PostgreSQL all the time.
func TestF01KillPostgres(t *testing.T) {
	smallTogether(t)
	o := jirafake.Options{
		Seed: *seed, IndexLag: jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second), Webhooks: hooks("cloud"),
		LoseAnswers: 0.06, LateProcessing: 0.002, LateDelay: 300 * time.Millisecond,
	}
	c := newClusterOf(t, o, 2, func(c *cluster) {
		c.configure(t, func(text string) string { return strings.Replace(text, "workers: 32", "workers: 8", 1) })
	})
	random := rand.New(rand.NewPCG(*seed, 8))
	c.jira.Always(func(r *http.Request) bool { return jirafake.IsWrite(r) && random.Float64() < 0.03 }, jirafake.Fault{Kind: jirafake.DropBefore})
	k := killing{world: c.world, deaths: map[string]int{}, people: true}
	for _, n := range c.nodes {
		k.victims = append(k.victims, n.world)
	}
	names := pointsWith(t, onPostgres, true)
	r := k.run(t, k.plan(rand.New(rand.NewPCG(*seed, 7)), names))
	r.name = "F01 kill PostgreSQL"
	r.mustBeClean(t)
	mustHaveDied(t, k.deaths, names)
}

// mustHaveDied fails for each of the points that killed nobody.
func mustHaveDied(t *testing.T, deaths map[string]int, names []string) {
	t.Helper()
	for _, name := range names {
		if *full && deaths[name] == 0 {
			t.Errorf("the server was never killed at the fault point %s", name)
		}
	}
}

// sites are the kinds of tracker; the old one keeps no properties of comments.
func sites() map[string]jirafake.Options {
	return map[string]jirafake.Options{
		"cloud": {Seed: *seed}, "data center": {Seed: *seed, Deployment: jirafake.DataCenter},
		"old data center": {Seed: *seed, Deployment: jirafake.DataCenter, OldComments: true},
	}
}

// hooks are the webhooks of a kind: late and some lost, so that some unsure
// outcomes are looked up and others settled by evidence; in one kind none at all,
// and so no issues of people.
func hooks(name string) jirafake.WebhookMode {
	switch name {
	case "cloud":
		return jirafake.WebhookMode{Delay: 400 * time.Millisecond, Loss: 0.3, RetryEvery: 200 * time.Millisecond}
	case "data center":
		return jirafake.WebhookMode{Off: true}
	}
	return jirafake.WebhookMode{Duplicate: true, RetryEvery: 200 * time.Millisecond}
}

// death is how one life of the server ends: at the nth hit of a point, or after a
// time.
type death struct {
	point string
	nth   int
	after time.Duration
}

// migrations names the fault points of the migrations, each as often as there are
// any: a database is upgraded once. The names are not written here, for they must not
// be in a program without fault points.
func migrations(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../internal/store/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no migrations: %v", err)
	}
	both := slices.DeleteFunc(points(t), func(name string) bool { return !strings.HasPrefix(name, ofMigrations) })
	return slices.Repeat(both, len(files))
}

// plan returns the deaths of a run in their order: some at each of the points, and
// others at random. Migrations come first; each is killed before it begins and
// within. Where several share the work, who is to die comes to a point less often.
func (k *killing) plan(random *rand.Rand, names []string) []death {
	kills, each, latest := 67, 2, 40
	if len(k.victims) > 1 {
		kills, each, latest = 34, 1, 10
	}
	switch {
	case *long:
		kills, each = 10*kills, 10*each
	case !*full:
		kills, each = 2, 0
	}
	var list, rest []death
	if faultpoint.Enabled && each > 0 {
		for i, name := range names {
			if strings.HasPrefix(name, ofMigrations) {
				d := death{point: name, nth: 1}
				if strings.HasSuffix(name, ".between") && i > 0 {
					d.nth = 2 // the first is before any
				}
				list = append(list, d)
				continue
			}
			for range each {
				rest = append(rest, death{point: name, nth: 1 + random.IntN(latest)})
			}
		}
	}
	for len(list)+len(rest) < kills {
		rest = append(rest, death{after: 50*time.Millisecond + time.Duration(random.Int64N(int64(1950*time.Millisecond)))})
	}
	random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return append(list, rest...)
}

// killing is a run of F1.
type killing struct {
	*world                 // where the load goes
	victims []*world       // who die in turn
	turn    int            // of how many
	deaths  map[string]int // by point
	people  bool           // make issues
	missed  int            // points that were not reached in time
}

// run has the server die the deaths under load, lets it finish and judges.
func (k *killing) run(t *testing.T, deaths []death) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(len(deaths))*6*time.Second)
	defer cancel()
	perSecond := 12
	if len(k.victims) > 1 {
		perSecond = 4 // one of them is dead or has just begun, and each takes over what the other had
	}
	l := k.startLoad(ctx, t, perSecond, 50_000, k.people)
	began, died := time.Now(), 0
	for _, d := range deaths {
		if ctx.Err() != nil {
			t.Fatal("the kills took too long")
		}
		died += k.die(t, d)
	}
	killed := time.Since(began)
	if len(k.victims) == 1 { // several live
		k.start(t, nil)
	}
	acked := l.stop(t)
	k.waitIdle(ctx, t)
	r := k.judge(acked).result()
	if left := k.attention(t); left > 0 {
		r.fault("%d runs are left to a person: %s", left, k.unfinished(t))
	}
	var listening []time.Duration
	for _, v := range k.victims {
		v.measure(&r)
		listening = append(listening, v.listening...)
	}
	r.p99 = percentile(listening, 0.99)
	r.note("%d kills in %v, %d alerts of people, %d fault points not reached at the first try, all done after %v; p99 is listening again",
		died, killed.Round(time.Second), len(k.ofPeople()), k.missed, time.Since(began).Round(time.Second))
	if len(k.victims) == 1 { // the others, and PostgreSQL, want processors too
		r.aim(r.p99 < 500*time.Millisecond, "listening again p99 < 500 ms")
	}
	return r
}

// die has the next victim die and returns how often it did. One of several is killed
// first, for it lives without a plan, and lives on so.
func (k *killing) die(t *testing.T, d death) (n int) {
	t.Helper()
	v := k.victims[k.turn%len(k.victims)]
	k.turn++
	if len(k.victims) > 1 {
		v.kill()
		defer v.launch(t, nil)
		n++
	}
	return n + k.dieAs(t, v, d)
}

// dieAs starts the victim, has it die and returns how often it did. A point that is
// not reached in time is tried again at its first hit.
func (k *killing) dieAs(t *testing.T, v *world, d death) int {
	t.Helper()
	if d.point == "" {
		p := v.launch(t, nil)
		select {
		case <-time.After(d.after): // from the start, so that it may die before it listens
			v.kill()
		case <-p.ended:
		}
		v.mustBeKilled(t, p)
		return 1
	}
	p := v.launch(t, []string{fmt.Sprintf("%s=kill %s %d", faultpoint.Variable, d.point, d.nth)})
	patience := 3 * time.Second
	if d.nth == 1 {
		patience = 20 * time.Second
	}
	select {
	case <-p.ended:
		v.mustBeKilled(t, p)
		k.deaths[d.point]++
		return 1
	case <-time.After(patience):
	}
	v.kill()
	if d.nth == 1 {
		t.Logf("the server did not come to %s within %v", d.point, patience)
		return 1
	}
	k.missed++
	d.nth = 1
	return 1 + k.dieAs(t, v, d)
}

func (w *world) mustBeKilled(t *testing.T, p *process) {
	t.Helper()
	if !p.killed() {
		t.Fatalf("the server ended by itself: %v\n%s", p.cmd.ProcessState, w.log())
	}
}

// ofPeople returns the issues that people made.
func (w *world) ofPeople() []jirafake.Issue {
	return slices.DeleteFunc(w.jira.Issues(), func(i jirafake.Issue) bool { return !byPerson(i) })
}

// result makes the verdict a run's result. A missing comment counts as lost.
func (v verdict) result() result {
	r := result{count: v.acked, lost: v.lost + v.missingComments, double: v.doubleTickets + v.doubleComments}
	r.note("%s", v)
	r.wrong = append(r.wrong, v.examples...)
	return r
}

// checkIntegrity stops the server for good and has SQLite look its database over.
// It is beside the verdict about the promises, which is the ledgers'.
func (w *world) checkIntegrity(t *testing.T, r *result) {
	t.Helper()
	w.kill()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "data", "funnel.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var said string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		r.fault("the integrity check says %q (%v)", said, err)
	}
}
