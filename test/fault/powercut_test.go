package fault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/test/disk"
)

// onDisk is a world whose server keeps its data on a disk that fails.
type onDisk struct {
	*world
	disk *disk.Disk
	data string // where the disk is mounted
}

// newOnDisk returns the world with a disk that knows which alerts were flushed.
func newOnDisk(t *testing.T, w *world) *onDisk {
	t.Helper()
	names := regexp.MustCompile(`marker-[0-9]{5}`)
	o := &onDisk{world: w, data: filepath.Join(w.dir, "data")}
	o.disk = disk.New(disk.Options{Mark: func(data []byte) (list []string) {
		for _, name := range names.FindAll(data, -1) {
			list = append(list, string(name))
		}
		return list
	}})
	if err := os.Mkdir(o.data, 0o700); err != nil {
		t.Fatal(err)
	}
	o.mount(t)
	t.Cleanup(func() {
		o.kill()
		if err := o.disk.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *onDisk) mount(t *testing.T) {
	t.Helper()
	err := o.disk.Mount(o.data)
	if errors.Is(err, disk.ErrAbsent) && !*full {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cut cuts the power: the disk forgets, the server is gone, the power comes back.
func (o *onDisk) cut(t *testing.T, loss disk.Loss, random *rand.Rand) {
	t.Helper()
	o.disk.Cut(loss, random)
	o.kill()
	if err := o.disk.Unmount(); err != nil {
		t.Fatal(err)
	}
	o.mount(t)
}

// check returns what SQLite says about a copy of what is on the disk, "" if all
// is well.
func (o *onDisk) check(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	defer func() { _ = os.RemoveAll(dir) }()
	if err := o.disk.Save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "funnel.db")
	if _, err := os.Stat(path); err != nil {
		return "" // it was not there yet
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var said string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&said); err != nil {
		return err.Error()
	}
	if said == "ok" {
		return ""
	}
	return said
}

// opens starts the server and returns when it accepts, or what it found damaged.
func (o *onDisk) opens(t *testing.T, env []string) (damage string) {
	t.Helper()
	p := o.launch(t, env)
	select {
	case <-p.ready:
		return ""
	case <-p.ended:
		return p.cmd.ProcessState.String()
	case <-time.After(30 * time.Second): // it looks its data over while it is up, and refuses to accept
		return strings.TrimSpace(o.says("/readyz"))
	}
}

// cuts has the power cut so often under load, with all kinds of losses in turn,
// and judges.
func cuts(t *testing.T, name string, n int, env []string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(n)*5*time.Second)
	defer cancel()
	o := newOnDisk(t, newWorld(t, faulty()))
	random := rand.New(rand.NewPCG(*seed, 2))
	perSecond := 24
	if n > 100 {
		perSecond = 12 // or what is accepted between the cuts takes as long again as they do
	}
	l := o.startLoad(ctx, t, perSecond, 50_000, false)
	began := time.Now()
	for i := range n + 1 {
		if ctx.Err() != nil {
			t.Fatal("the cuts took too long")
		}
		if damage := o.opens(t, env); damage != "" {
			cancel() // nobody will answer any more
			r := result{name: name, count: len(l.stop(t))}
			r.fault("the server did not start after cut %d: %s", i, damage)
			t.Log(o.log())
			return r
		}
		if i == n {
			break
		}
		pause(time.Duration(random.Int64N(int64(600 * time.Millisecond))))
		o.cut(t, disk.Losses[i%len(disk.Losses)], random)
		if said := o.check(t); said != "" {
			cancel() // it may accept nothing any more
			r := result{name: name, count: len(l.stop(t))}
			r.fault("the database was damaged after cut %d: %s", i+1, said)
			return r
		}
	}
	took := time.Since(began)
	acked := l.stop(t)
	o.waitIdle(ctx, t)
	r := o.judge(acked).result()
	r.name = name
	if left := o.attention(t); left > 0 {
		r.fault("%d runs are left to a person: %s", left, o.unfinished(t))
	}
	o.measure(&r)
	r.note("%d power cuts in %v, all done after %v, %d flushes; p99 is listening again", n, took.Round(time.Second), time.Since(began).Round(time.Second), o.disk.Syncs())
	return r
}

// TestF02PowerCut is F2: the power is cut under load. The disk forgets what was not
// flushed: all of it, any of its pages, or all after some write, and names of files
// whose directory was not flushed.
func TestF02PowerCut(t *testing.T) {
	smallTogether(t)
	n := 6
	switch {
	case *long:
		n = 5000
	case *full:
		n = 200
	}
	r := cuts(t, "F02 power cut", n, nil)
	r.mustBeClean(t)
}

// TestF02NeedsFlushing: the same run goes red if SQLite does not flush each
// transaction: kill -9 alone would never show it.
func TestF02NeedsFlushing(t *testing.T) {
	if !faultpoint.Enabled {
		t.Skip("NOT RUN: a server that does not flush needs -tags faultpoint")
	}
	smallTogether(t)
	for _, mode := range []string{"NORMAL", "OFF"} {
		r := cuts(t, "F02 power cut with synchronous "+mode, 12, []string{fmt.Sprintf("FUNNEL_FAULT_SYNCHRONOUS=%s", mode)})
		r.mustBeRed(t, "fsync of each transaction")
	}
}
