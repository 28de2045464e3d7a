package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/funnelsec/funnel/internal/record"
)

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestLock(t *testing.T) {
	t.Parallel()
	s := opened(t)
	_, err := Open(s.dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d holds %s", os.Getpid(), s.dir)) {
		t.Errorf("opening it twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(s.dir)
	if err != nil {
		t.Fatalf("opening it after the first has closed: %v", err)
	}
	_ = again.Close()
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o701, 0o710, 0o750, 0o704} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("mode %o: %v", mode, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 0 {
			t.Errorf("mode %o: it left %v", mode, files)
		}
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	s := opened(t)
	if err := s.PutSetting("x", []byte("v")); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(s.dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("the directory has %v (%v)", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v)", f.Name(), info.Mode(), err)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	s := opened(t)
	err := s.writer.do(func(t *tx) error {
		return t.exec("INSERT INTO schema_version (version, applied_at) VALUES (99, 0)")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sum := func() [32]byte {
		b, err := os.ReadFile(filepath.Join(s.dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b)
	}
	before := sum()
	if _, err := Open(s.dir); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("opening it: %v", err)
	}
	if sum() != before {
		t.Error("the file was changed")
	}
	if _, err := Open(s.dir); !errors.Is(err, ErrNewer) {
		t.Errorf("the lock was not given back: %v", err)
	}
}

// The pragmas must hold on the writer's own connection, also after it was
// opened anew.
// TestOlderVersionWorksBesideNewer: a schema to which a newer version has only
// added is no reason to refuse.
func TestOlderVersionWorksBesideNewer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		version, compatible int
		refused             bool
	}{{998, 4, false}, {999, 999, true}} {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = s.do(func(t *tx) error {
			return t.exec("INSERT INTO schema_version (version, applied_at, compatible) VALUES (?, 0, ?)", c.version, c.compatible)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err = Open(dir)
		if refused := errors.Is(err, ErrNewer); refused != c.refused || err != nil && !refused {
			t.Errorf("a schema of version %d that works with %d: %v", c.version, c.compatible, err)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}

func TestWriterIsDurable(t *testing.T) {
	t.Parallel()
	s := opened(t)
	check := func() {
		t.Helper()
		err := s.writer.do(func(x *tx) error {
			var mode string
			var synchronous int
			if _, err := x.get("PRAGMA journal_mode", nil, &mode); err != nil {
				return err
			}
			if _, err := x.get("PRAGMA synchronous", nil, &synchronous); err != nil {
				return err
			}
			if mode != "wal" || synchronous != 2 {
				t.Errorf("journal_mode=%s synchronous=%d, want wal and 2 (FULL)", mode, synchronous)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	check()
	if err := s.writer.do(func(x *tx) error { return x.backend.(*writer).reopen() }); err == nil {
		t.Error("a transaction survived the reopening of its connection")
	}
	check()
}

// A reader cannot write.
func TestReaderIsReadOnly(t *testing.T) {
	t.Parallel()
	s := opened(t)
	if _, err := s.read.Exec("DELETE FROM event"); err == nil {
		t.Error("a reader has written")
	}
}

func event(i int) record.NewEvent {
	return record.NewEvent{Event: record.Event{Key: fmt.Sprint("k", i), Data: []byte("{}")}, Playbooks: []string{"p"}}
}

// hold keeps the writer busy until the returned function is called, so that what
// comes meanwhile is a group.
func hold(s *Store) (release func()) {
	entered, gate := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.writer.do(func(*tx) error { close(entered); <-gate; return nil })
	}()
	<-entered
	return func() { close(gate); <-done }
}

// bubble runs the test where synctest.Wait returns when all writers wait.
func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, fn)
}

func TestWritersAreGrouped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := opened(t)
		release := hold(s)
		const writers = 64
		ids := make([]int64, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				var err error
				if ids[i], _, _, err = s.Accept(record.Delivery{}, event(i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		commits, rows := s.writer.commits.Load(), s.writer.rows.Load()
		release()
		wg.Wait()
		commits, rows = s.writer.commits.Load()-commits, s.writer.rows.Load()-rows
		if rows != writers+1 || commits > 3 {
			t.Errorf("%d rows were written in %d transactions", rows, commits)
		}
		slices.Sort(ids)
		if len(slices.Compact(ids)) != writers || ids[0] == 0 {
			t.Errorf("the ids are %v", ids)
		}
	})
}

// An item that fails, or panics, is answered with its error; its neighbours in
// the group are committed once.
func TestFailingItemSpoilsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := opened(t)
		release := hold(s)
		wrong := errors.New("a wrong item")
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if _, _, _, err := s.Accept(record.Delivery{}, event(i)); err != nil {
					t.Errorf("a neighbour: %v", err)
				}
			})
		}
		wg.Go(func() {
			err := s.writer.do(func(x *tx) error {
				if err := x.exec("INSERT INTO setting (name, value) VALUES ('spoiled', '')"); err != nil {
					return err
				}
				return wrong
			})
			if !errors.Is(err, wrong) {
				t.Errorf("the wrong item: %v", err)
			}
		})
		wg.Go(func() {
			if err := s.writer.do(func(*tx) error { panic("oh") }); err == nil || !strings.Contains(err.Error(), "panic") {
				t.Errorf("the item that panics: %v", err)
			}
		})
		synctest.Wait()
		release()
		wg.Wait()
		ready, err := s.Ready(context.Background(), 0, 100)
		if err != nil || len(ready) != 10 {
			t.Errorf("ready runs: %v (%v)", ready, err)
		}
		if v, err := s.Setting("spoiled"); v != nil || err != nil {
			t.Errorf("the wrong item left %q (%v)", v, err)
		}
	})
}

// A change is written whole or not at all.
func TestChangeIsAtomic(t *testing.T) {
	t.Parallel()
	s := opened(t)
	_, _, runs, err := s.Accept(record.Delivery{}, event(1))
	if err != nil {
		t.Fatal(err)
	}
	run := record.Run{ID: runs[0], State: record.Failed}
	broken := record.Change{
		Run: &run, Effect: &record.Effect{Key: "e", RunID: run.ID, State: record.Planned},
		Steps: []*record.Step{{RunID: run.ID, Path: "a", State: record.Succeeded}},
		Emit:  &record.NewEvent{Event: record.Event{Key: "own"}}, // without data: refused by the table
	}
	if _, err := s.Commit(broken); err == nil {
		t.Fatal("an event without data was stored")
	}
	l, err := s.Load(context.Background(), run.ID)
	if err != nil || l.Run.State != record.Queued || len(l.Steps) != 0 {
		t.Errorf("after the failed change: %+v (%v)", l, err)
	}
	if _, err := s.Effect(context.Background(), "e"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the effect: %v", err)
	}
}

// Callers that give up take nobody's transaction with them.
func TestCancelledCallersRollNothingBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := opened(t)
		release := hold(s)
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, _, _, err := s.Accept(record.Delivery{}, event(i)); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := s.Ping(gone); !errors.Is(err, context.Canceled) {
					t.Errorf("a ping that gave up: %v", err)
				}
				if _, err := s.Ready(gone, 0, 1); !errors.Is(err, context.Canceled) {
					t.Errorf("a reader that gave up: %v", err)
				}
			})
		}
		synctest.Wait()
		release()
		wg.Wait()
		if ready, err := s.Ready(context.Background(), 0, 100); err != nil || len(ready) != 20 {
			t.Errorf("ready runs: %v (%v)", ready, err)
		}
	})
}

// What was answered before Close is there afterwards, what comes later is
// refused, and nobody is left without an answer.
func TestClose(t *testing.T) {
	t.Parallel()
	s := opened(t)
	var answered atomic.Int64
	enough := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, _, _, err := s.Accept(record.Delivery{}, event(1000*w+i))
				if err != nil {
					if !errors.Is(err, errClosed) {
						t.Error(err)
					}
					return
				}
				if answered.Add(1) == 200 {
					close(enough)
				}
			}
		})
	}
	<-enough
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	again, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	ready, err := again.Ready(context.Background(), 0, 100_000)
	if err != nil || int64(len(ready)) < answered.Load() {
		t.Errorf("%d were answered, %d are there (%v)", answered.Load(), len(ready), err)
	}
}

// Odd characters in the directory's name are part of the name.
func TestDirectoryNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"with space", "a?b=c", "a#b", "ü%41"} {
		dir := filepath.Join(t.TempDir(), name)
		s, err := Open(dir)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		_ = s.Close()
		if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
