package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

// flaky is a journal of which one writing fails, and that can be disturbed
// while a run is loaded.
type flaky struct {
	engine.Journal
	writes atomic.Int32
	fails  int32 // the writing that fails, from 1
	load   func() error
}

var errDisk = errors.New("the disk is full")

func (j *flaky) write() error {
	if j.writes.Add(1) == j.fails {
		return errDisk
	}
	return nil
}

func (j *flaky) Commit(c record.Change) (record.Committed, error) {
	if err := j.write(); err != nil {
		return record.Committed{}, err
	}
	return j.Journal.Commit(c)
}

func (j *flaky) Claim(q record.ClaimRequest) (record.Claimed, error) {
	if err := j.write(); err != nil {
		return record.Claimed{}, err
	}
	return j.Journal.Claim(q)
}

func (j *flaky) Load(ctx context.Context, run int64) (record.Loaded, error) {
	l, err := j.Journal.Load(ctx, run)
	if j.load != nil {
		err = errors.Join(err, j.load())
	}
	return l, err
}

// A journal that cannot be written for a moment stops the run, at whatever
// point; it goes on soon, and nothing is made twice. Its place at the connection is
// free again.
func TestJournalFailsAtEveryPoint(t *testing.T) {
	for n := range int32(14) {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.limits.Concurrency = 1 // whoever does not give its place back stops everything
				w.options = func(o *engine.Options) { o.Journal = &flaky{Journal: w.store, fails: n + 1} }
				w.on("p", func(r *funnel.Run, e alert) error {
					if err := fourSteps(w)(r, e); err != nil {
						return err
					}
					funnel.Sleep(r, "nap", time.Minute)
					return nil
				})
				run := w.start().one("a")
				after(time.Hour)
				w.is(run, record.Succeeded)
				w.did("open_ticket", 1)
				w.did("add_note", 1)
				if len(w.desk.did("look_up")) > 2 || len(w.desk.did("put")) > 2 {
					t.Errorf("%v", w.desk.journal)
				}
			})
		})
	}
}

func TestLoadingFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		times := 0
		w.options = func(o *engine.Options) {
			o.Journal = &flaky{Journal: w.store, load: func() error {
				if times++; times == 1 {
					return errDisk
				}
				return nil
			}}
		}
		w.on("p", fourSteps(w))
		run := w.start().one("a")
		after(time.Minute)
		w.is(run, record.Succeeded)
	})
}

// Nobody changes a run between its being read and its being worked on.
func TestControlWhileLoading(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(*world, int64) error
		want  error
		state record.State
	}{
		"cancel": {func(w *world, run int64) error { return w.engine.Cancel(run) }, nil, record.Cancelled},
		"retry":  {func(w *world, run int64) error { return w.engine.Retry(run) }, engine.ErrBusy, record.Succeeded},
		"skip":   {func(w *world, run int64) error { return w.engine.Skip(run, "look") }, engine.ErrBusy, record.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				var run atomic.Int64
				loads := 0
				w.options = func(o *engine.Options) {
					o.Journal = &flaky{Journal: w.store, load: func() error {
						if loads++; loads == 2 {
							if err := c.do(w, run.Load()); !errors.Is(err, c.want) {
								t.Errorf("it gave %v, want %v", err, c.want)
							}
						}
						return nil
					}}
				}
				w.on("p", func(r *funnel.Run, e alert) error {
					funnel.Sleep(r, "nap", time.Minute)
					return fourSteps(w)(r, e)
				})
				run.Store(w.start().one("a"))
				after(time.Hour)
				w.is(run.Load(), c.state)
				if want := map[bool]int{true: 0, false: 1}[c.state == record.Cancelled]; len(w.desk.did("look_up")) != want {
					t.Errorf("it was looked up %d times, want %d", len(w.desk.did("look_up")), want)
				}
			})
		})
	}
}
