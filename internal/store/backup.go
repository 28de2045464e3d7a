package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// FileName is the name of the database in the data directory.
const FileName = fileName

// Copy writes a copy of the database in the data directory to a new file: what
// was committed at one moment, also while a server works on it.
func Copy(ctx context.Context, dir, file string) error {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", file); err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	return errors.Join(os.Chmod(file, 0o600), syncPath(file))
}

// Check looks a database file over that no server works on, and returns the
// version of its schema. ErrNewer: this version cannot work with it.
func Check(ctx context.Context, file string) (version int, err error) {
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	var said string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return 0, fmt.Errorf("the database is damaged: %w", err)
	}
	if said != "ok" {
		return 0, fmt.Errorf("the database is damaged: %s", said)
	}
	var compatible int
	if err := db.QueryRowContext(ctx, "SELECT MAX(version), MAX(CASE WHEN compatible = 0 THEN version ELSE compatible END) FROM schema_version").Scan(&version, &compatible); err != nil {
		return 0, fmt.Errorf("it is no database of Funnel's: %w", err)
	}
	if compatible > known() {
		err = fmt.Errorf("%w: its schema is version %d, this one knows %d", ErrNewer, version, known())
	}
	return version, err
}

// known is the newest version of the schema that this Funnel knows.
func known() int {
	files, _ := fs.Glob(migrations, "*/*.sql") // the pattern is right
	return len(files)
}

// restoredSetting keeps when the database was last restored.
const restoredSetting = "restored"

// Restored is that a database was restored.
type Restored struct {
	MadeAt time.Time `json:"made_at"` // when the backup was made; zero: not known
	At     time.Time `json:"at"`
}

// MarkRestored notes in a database file that no server works on that it was
// restored: what was done elsewhere since the backup is not in it.
func MarkRestored(ctx context.Context, file string, r Restored) (err error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(file))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", restoredSetting, raw)
	return err
}

// Restored returns when the database was last restored, zero if it never was.
func (s *Store) Restored() (r Restored, err error) {
	raw, err := s.Setting(restoredSetting)
	if err != nil || raw == nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, fmt.Errorf("reading when the database was restored: %w", err)
	}
	return r, nil
}

// NoteRestored notes that the database was restored by other means.
func (s *Store) NoteRestored(r Restored) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.PutSetting(restoredSetting, raw)
}

// halfName is the file in the data directory that says that a restore has begun
// and not ended.
const halfName = "restoring"

// ErrHalfRestored says that a restore was interrupted.
var ErrHalfRestored = errors.New("a restore of the data directory was interrupted")

// Replace has the files of a directory take the place of those in the data
// directory, which no server may have open; those go to the directory aside. When
// it is interrupted the data directory cannot be opened, until it is repeated.
func Replace(dir, from, aside string, names []string) error {
	if err := prepareDir(dir); err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	half := filepath.Join(dir, halfName)
	if err := os.WriteFile(half, []byte("a restore has begun\n"), 0o600); err != nil {
		return err
	}
	for _, p := range []string{half, dir} {
		if err := syncPath(p); err != nil {
			return err
		}
	}
	for _, name := range append([]string{fileName + "-wal", fileName + "-shm"}, names...) {
		switch err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name)); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		}
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, p := range []string{aside, dir} {
		if err := syncPath(p); err != nil {
			return err
		}
	}
	if err := os.Remove(half); err != nil {
		return err
	}
	return syncPath(dir)
}
