package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrDamaged says that the database's files are not as they were written.
var ErrDamaged = errors.New("the database is damaged")

const whatToDo = "stop the server, keep the files, and restore a backup: funnel restore, see docs/guide/backup.md"

// whole refuses files that SQLite would take for a new database, although there was
// one: what is in the log alone would be lost without a word.
func whole(path string) error {
	log, err := os.Stat(path + "-wal")
	if err != nil || log.Size() == 0 {
		return nil
	}
	if info, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return fmt.Errorf("%w: %s is missing or empty, and its log is there", ErrDamaged, path)
	}
	return nil
}

// Explain adds what to do to an error that comes of damaged files.
func Explain(err error) error {
	switch code(err) {
	case sqliteCorrupt, sqliteNotADB:
		return fmt.Errorf("%w: %w; %s", ErrDamaged, err, whatToDo)
	}
	if errors.Is(err, ErrDamaged) && code(err) == 0 {
		return fmt.Errorf("%w; %s", err, whatToDo)
	}
	return err
}

// Verify reads the whole database and looks whether it is damaged. If it is, nothing
// is written any more, for it would be built on sand. Indexes are compared with their
// tables: a row that an index lacks would be missed without a word. It takes somewhat
// longer than reading the file; others work meanwhile. What cannot be seen is a
// value that was changed inside, to another value.
func (s *Store) Verify(ctx context.Context) error {
	if s.pg != nil {
		s.verified.Store(true) // PostgreSQL looks after its own pages
		return nil
	}
	said, err := one(ctx, s.read, func(row scanner) (said string, err error) { err = row.Scan(&said); return said, err }, "PRAGMA integrity_check(1)")
	if err == nil && said != "ok" {
		err = fmt.Errorf("%w: %s; %s", ErrDamaged, said, whatToDo)
	}
	err = Explain(err)
	if errors.Is(err, ErrDamaged) {
		s.damaged.Store(&err)
	}
	s.verified.Store(err == nil)
	return err
}

// Verified reports whether the database was looked over and found whole.
func (s *Store) Verified() bool { return s.verified.Load() }
