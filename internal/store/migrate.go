package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/faultpoint"
)

// ErrNewer says that a newer Funnel has written the database.
var ErrNewer = errors.New("the database was written by a newer version of Funnel")

// oldestSQLite is the first release without the WAL-reset bug.
var oldestSQLite = []int{3, 51, 3}

// schema is a database whose schema can be brought up to date.
type schema interface {
	backend
	// apply executes the text of a migration, then the rest, in one transaction.
	apply(text string, rest func(*tx) error) error
}

// migrate brings the schema up to date, one transaction for each migration.
//
// A migration only adds to the schema, so that the version before works with it
// while the nodes are upgraded one by one. One that takes something away has the
// word contract in its first line; the version before then refuses the database.
func migrate(db schema) error {
	t := &tx{backend: db}
	if err := t.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL)"); err != nil {
		return err
	}
	var have int
	if _, err := t.get("SELECT COALESCE(MAX(version), 0) FROM schema_version", nil, &have); err != nil {
		return err
	}
	files, err := fs.Glob(migrations, "*/*.sql")
	if err != nil {
		return err
	}
	compatible := have
	if have >= knowsCompatible {
		if _, err := t.get("SELECT MAX(CASE WHEN compatible = 0 THEN version ELSE compatible END) FROM schema_version", nil, &compatible); err != nil {
			return err
		}
	}
	if compatible > len(files) {
		return fmt.Errorf("%w: its schema is version %d, this one knows %d; start the newer version, or restore a backup", ErrNewer, have, len(files))
	}
	for i, name := range files[min(have, len(files)):] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		number := have + i + 1
		if first, _, _ := strings.Cut(string(text), "\n"); number <= knowsCompatible || strings.Contains(first, "contract") {
			compatible = number
		}
		faultpoint.Hit("store.migration.between")
		err = db.apply(string(text), func(t *tx) error {
			faultpoint.Hit("store.migration.within")
			if number < knowsCompatible {
				return t.exec("INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", number, micros(time.Now()))
			}
			return t.exec("INSERT INTO schema_version (version, applied_at, compatible) VALUES (?, ?, ?)", number, micros(time.Now()), compatible)
		})
		if err != nil {
			return fmt.Errorf("applying migration %s: %w", name, err)
		}
	}
	return nil
}

// knowsCompatible is the first schema that says which versions can work with it.
const knowsCompatible = 4

// checkSQLite refuses a release that can lose a WAL.
func checkSQLite(w *writer) error {
	var version string
	if _, err := w.get("SELECT sqlite_version()", nil, &version); err != nil {
		return err
	}
	if slices.Compare(numbers(version), oldestSQLite) < 0 {
		return fmt.Errorf("SQLite %s is linked, which can lose a WAL: want 3.51.3 or later", version)
	}
	return nil
}

// apply executes a migration.
func (w *writer) apply(text string, rest func(*tx) error) error {
	return w.commit([]item{{fn: func(t *tx) error {
		if _, err := w.conn.ExecContext(context.Background(), text); err != nil {
			return err
		}
		return rest(t)
	}}})
}

func numbers(version string) []int {
	var list []int
	for _, s := range strings.Split(version, ".") {
		n, _ := strconv.Atoi(s)
		list = append(list, n)
	}
	return list
}
