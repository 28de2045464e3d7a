package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/faultpoint"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer says that a newer Funnel has written the database.
var ErrNewer = errors.New("the database was written by a newer version of Funnel")

// oldestSQLite is the first release without the WAL-reset bug.
var oldestSQLite = []int{3, 51, 3}

// migrate brings the schema up to date, one transaction per migration.
func migrate(w *writer) error {
	t := &tx{w: w}
	var version string
	if _, err := t.get("SELECT sqlite_version()", nil, &version); err != nil {
		return err
	}
	if slices.Compare(numbers(version), oldestSQLite) < 0 {
		return fmt.Errorf("SQLite %s is linked, which can lose a WAL: want 3.51.3 or later", version)
	}
	if err := t.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at BIGINT NOT NULL)"); err != nil {
		return err
	}
	var have int
	if _, err := t.get("SELECT COALESCE(MAX(version), 0) FROM schema_version", nil, &have); err != nil {
		return err
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if have > len(files) {
		return fmt.Errorf("%w: its schema is version %d, this one knows %d; start the newer version, or restore a backup", ErrNewer, have, len(files))
	}
	for i, name := range files[have:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		number := have + i + 1
		faultpoint.Hit("store.migration.between")
		err = w.commit([]item{{fn: func(t *tx) error {
			if _, err := t.w.conn.ExecContext(context.Background(), string(text)); err != nil {
				return err
			}
			faultpoint.Hit("store.migration.within")
			return t.exec("INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", number, micros(time.Now()))
		}}})
		if err != nil {
			return fmt.Errorf("applying migration %s: %w", name, err)
		}
	}
	return nil
}

func numbers(version string) []int {
	var list []int
	for _, s := range strings.Split(version, ".") {
		n, _ := strconv.Atoi(s)
		list = append(list, n)
	}
	return list
}
