package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
)

// Disk is what the database needs of it.
type Disk struct {
	Database int64 // bytes of the database's files
	Free     int64 // bytes that are left on the disk
	Size     int64 // bytes of the disk
}

// Disk looks at the disk of the data directory; false: the database is elsewhere.
func (s *Store) Disk() (d Disk, ok bool, err error) {
	if s.pg != nil {
		return d, false, nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return d, true, fmt.Errorf("looking at the disk: %w", err)
	}
	d.Free, d.Size = int64(fs.Bavail)*fs.Bsize, int64(fs.Blocks)*fs.Bsize
	for _, name := range []string{fileName, fileName + "-wal"} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			d.Database += info.Size()
		}
	}
	return d, true, nil
}

// The primary result codes of SQLite that are about the file
// (https://www.sqlite.org/rescode.html).
const (
	sqliteReadonly = 8
	sqliteIOErr    = 10
	sqliteCorrupt  = 11
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteNotADB   = 26
)

// code returns SQLite's primary result code of an error, 0 of any other.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// reopenPause is between two tries to go on with a disk that fails.
const reopenPause = 100 * time.Millisecond

// recover goes on after an error of the disk, with a new connection. What a
// failed flush was about may look written to whoever reads it, and yet never come
// to the disk: so everything in the log is copied to the database once more and
// flushed there, and the log begins anew, before anything is acknowledged.
func (w *writer) recover() error {
	if wait := reopenPause - time.Since(w.tried); wait > 0 {
		return w.trouble()
	}
	w.tried = time.Now()
	if err := w.reopen(); err != nil {
		return err
	}
	if err := w.checkpoint(); err != nil {
		w.close()
		return err
	}
	return nil
}

// checkpoint copies the log into the database, flushes it and empties the log.
func (w *writer) checkpoint() error {
	var busy bool
	var pages, copied int
	if _, err := w.get("PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &pages, &copied); err != nil {
		return fmt.Errorf("copying the log into the database: %w", err)
	}
	if busy {
		return errors.New("copying the log into the database: it is being read")
	}
	return nil
}

// trouble returns the error of the disk that the writer has not got over.
func (w *writer) trouble() error {
	if p := w.failing.Load(); p != nil {
		return *p
	}
	return nil
}

// noteTrouble keeps the error of a commit for trouble; nil: it succeeded.
func (w *writer) noteTrouble(err error) {
	switch {
	case err == nil && w.failing.Load() != nil:
		w.failing.Store(nil)
	case err != nil:
		w.failing.Store(&err)
	}
}
