// Package store keeps events, runs, steps and effects in a database: SQLite for
// one process, PostgreSQL for several nodes. The statements are the same.
//
// With SQLite, one writer goroutine groups whatever waits into one transaction
// that is fsynced before anybody is answered; readers work apart from it. The
// process that opened a data directory owns it until Close. With PostgreSQL, each
// change is a transaction of its own, and what several nodes decide on is locked.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver
)

// Store is an open database.
type Store struct {
	dir    string
	lock   *os.File
	read   *reader
	writer *writer   // of SQLite
	pg     *postgres // of PostgreSQL

	damaged  atomic.Pointer[error] // what Verify found
	verified atomic.Bool
}

// do runs fn in a transaction and returns once it is on the disk. fn may be
// called several times; only the last one counts.
func (s *Store) do(fn func(*tx) error) error {
	if s.pg != nil {
		return s.pg.do(fn)
	}
	if err := s.damaged.Load(); err != nil {
		return *err
	}
	return s.writer.do(fn)
}

// fileName is the name of the database in the data directory.
const fileName = "funnel.db"

// ErrLocked says that another process owns the data directory.
var ErrLocked = errors.New("data directory is in use")

// Open opens the database in the directory and creates both if they are
// missing. It refuses a directory that others can read, one that another
// process holds (ErrLocked), and a schema newer than it knows (ErrNewer).
//
// The database is fsynced with its directory before Open returns, each time, so
// that what is acknowledged later cannot vanish with a directory entry that never
// reached the disk: who created the file may have died before it could see to it.
func Open(dir string) (*Store, error) {
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, halfName)); err == nil {
		_ = lock.Close()
		return nil, fmt.Errorf("%w: run funnel restore again with the same file", ErrHalfRestored)
	}
	s, err := open(dir)
	if err != nil {
		_ = lock.Close()
		return nil, Explain(fmt.Errorf("opening the database in %s: %w", dir, err))
	}
	s.lock = lock
	return s, nil
}

func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating the data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("reading the data directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("data directory %s has mode %04o, so others can reach it: run chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "funnel.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(path)
		_ = f.Close()
		return nil, fmt.Errorf("%w: process %s holds %s; stop it, or give this one another directory", ErrLocked, strings.TrimSpace(string(pid)), dir)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func open(dir string) (*Store, error) {
	path := filepath.Join(dir, fileName)
	if err := whole(path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, err
		}
	}
	for _, p := range []string{path, dir, filepath.Dir(filepath.Clean(dir))} {
		if err := syncPath(p); err != nil {
			return nil, err
		}
	}
	w, err := newWriter(path)
	if err != nil {
		return nil, err
	}
	// A life that ended with an error of the disk may have left a log that looks
	// written and is not: see recover.
	if err := errors.Join(checkSQLite(w), w.checkpoint(), migrate(w)); err != nil {
		w.close()
		return nil, err
	}
	read, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		w.close()
		return nil, err
	}
	read.SetMaxOpenConns(8)
	read.SetMaxIdleConns(8)
	w.start()
	return &Store{dir: dir, read: newReader(read), writer: w}, nil
}

func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_ = f.Close()
	w, err := newWriter(path)
	if err != nil {
		return err
	}
	if err := errors.Join(checkSQLite(w), migrate(w)); err != nil {
		w.close()
		return err
	}
	w.close()
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	return nil
}

func dsn(path string, more ...string) string {
	query := append([]string{
		"_pragma=busy_timeout(5000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(" + synchronous() + ")",
		"_pragma=foreign_keys(0)", "_pragma=cache_size(-4096)",
	}, more...)
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: strings.Join(query, "&")}).String()
}

// Close finishes what waits for the writer and closes the database.
func (s *Store) Close() error {
	if s.pg != nil {
		return errors.Join(s.read.Close(), s.pg.close())
	}
	s.writer.stop()
	err := s.read.Close()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// Ping reports whether the database can be written. After an error of the disk
// something is written to see that; else a transaction is enough, for it comes up
// behind the others.
func (s *Store) Ping(ctx context.Context) error {
	done := make(chan error, 1)
	try := func(*tx) error { return nil }
	if s.writer != nil && s.writer.trouble() != nil {
		try = func(t *tx) error { return t.exec("UPDATE schema_version SET applied_at = applied_at") }
	}
	go func() { done <- s.do(try) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the writer: %w", ctx.Err())
	}
}

// micros is how times are stored: microseconds since 1970, 0 for a zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}

// empty turns "" into NULL.
func empty(s string) any {
	if s == "" {
		return nil
	}
	return s
}
