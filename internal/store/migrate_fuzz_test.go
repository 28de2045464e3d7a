package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/funnelsec/funnel/internal/store"
)

// FuzzMigrationState: a database of any earlier version, with whatever is in it and
// with a process that ended within a migration, is brought up to date once and keeps
// all that it had; one that a newer version has changed is refused and stays as it is.
// The bytes are: the version, how it was left, and how many runs each event has.
func FuzzMigrationState(f *testing.F) {
	for version := range byte(9) {
		f.Add([]byte{version, version % 3, 1, 0, 3})
	}
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		f.Fatalf("there are no migrations: %v", err)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 2 {
			return
		}
		m := &old{t: t, dir: filepath.Join(t.TempDir(), "data"), files: files, version: int(script[0]) % (len(files) + 1)}
		m.build(int(script[1]), script[2:min(len(script), 12)])
		s, err := store.Open(m.dir)
		if m.newer {
			if !errors.Is(err, store.ErrNewer) {
				t.Errorf("a newer database: %v, want that it is refused", err)
			}
			return
		}
		for range 2 { // the second time, nothing is left to do
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			m.check()
			s, err = store.Open(m.dir)
		}
		_ = s.Close()
	})
}

// old is a database of an earlier version.
type old struct {
	t       *testing.T
	dir     string
	files   []string
	version int
	newer   bool
	runs    []int // of each event
}

func (m *old) build(left int, runs []byte) {
	m.t.Helper()
	if m.version == 0 {
		return // a new directory
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	db := m.connect()
	defer func() { _ = db.Close() }()
	exec := func(query string, args ...any) {
		m.t.Helper()
		if _, err := db.ExecContext(m.t.Context(), query, args...); err != nil {
			m.t.Fatal(err)
		}
	}
	exec("PRAGMA journal_mode = WAL")
	exec("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL)")
	for i := range m.version {
		exec(m.migration(i))
		exec("INSERT INTO schema_version (version, applied_at) VALUES (?, 1)", i+1)
	}
	for i, b := range runs {
		n := int(b % 4)
		m.runs = append(m.runs, n)
		exec("INSERT INTO event (id, source, trigger_id, connection, dedup_key, received_at, data, disposition, cause_run, cause_event, depth) VALUES (?, 's', 't', '', ?, 1, '{}', 'matched', 0, 0, 0)", i+1, fmt.Sprint("k", i))
		for range n {
			exec(`INSERT INTO run (event_id, kind, parent, playbook, state, live, replay, created_at, updated_at, finished_at, wake_at, wait_on, wait_since, why, step, code, told, told_why)
				VALUES (?, 'playbook', 0, 'p', 'queued', 1, 0, 1, 1, 0, 0, '', 0, '', '', '', 0, '')`, i+1)
		}
	}
	switch {
	case left%3 == 1 && m.version < len(m.files): // the process ended within the next migration
		tx, err := db.BeginTx(m.t.Context(), nil)
		if err == nil {
			_, err = tx.ExecContext(m.t.Context(), m.migration(m.version))
		}
		if err != nil {
			m.t.Fatal(err)
		}
		_ = tx.Rollback()
	case left%3 == 2 && m.version == len(m.files):
		m.newer = true
		exec("INSERT INTO schema_version (version, applied_at, compatible) VALUES (?, 1, ?)", m.version+1, m.version+1)
	}
}

func (m *old) migration(i int) string {
	text, err := os.ReadFile(m.files[i])
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *old) connect() *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(m.dir, "funnel.db"))
	if err != nil {
		m.t.Fatal(err)
	}
	return db
}

// check looks at a database that was brought up to date.
func (m *old) check() {
	m.t.Helper()
	db := m.connect()
	defer func() { _ = db.Close() }()
	list := func(query string) (out []int) {
		m.t.Helper()
		rows, err := db.QueryContext(m.t.Context(), query)
		if err != nil {
			m.t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var n int
			if err := rows.Scan(&n); err != nil {
				m.t.Fatal(err)
			}
			out = append(out, n)
		}
		return out
	}
	for i, v := range list("SELECT version FROM schema_version ORDER BY version") {
		if v != i+1 || i >= len(m.files) {
			m.t.Errorf("migration %d stands at place %d", v, i+1)
		}
	}
	if n := list("SELECT MAX(version) FROM schema_version"); n[0] != len(m.files) {
		m.t.Errorf("the schema is version %d, want %d", n[0], len(m.files))
	}
	if runs := list("SELECT (SELECT COUNT(*) FROM run WHERE event_id = event.id AND live = 1 AND deaths = 0) FROM event ORDER BY id"); !slices.Equal(runs, m.runs) {
		m.t.Errorf("the events have %v runs, want %v", runs, m.runs)
	}
	var said string
	if err := db.QueryRowContext(m.t.Context(), "PRAGMA integrity_check").Scan(&said); err != nil || said != "ok" {
		m.t.Errorf("the integrity check says %q (%v)", said, err)
	}
}
