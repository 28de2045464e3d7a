package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Inspection is what a look at a database from outside found. A server may work on
// it meanwhile; nothing is changed.
type Inspection struct {
	Schema  int    // version of the tables, 0: there are none yet
	Newer   bool   // a newer Funnel has changed them so that this one cannot work with them
	Running bool   // a process has the data directory
	Half    bool   // a restore was interrupted
	Damage  string // what SQLite says is damaged
	Server  string // PostgreSQL's version
	Unsafe  string // a setting of PostgreSQL by which it loses what it acknowledged
}

// Inspect looks at the database of a data directory. It reads all of it.
func Inspect(ctx context.Context, dir string) (out Inspection, err error) {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(filepath.Join(dir, halfName)); err == nil {
		out.Half = true
	}
	if f, err := os.Open(filepath.Join(dir, "funnel.lock")); err == nil {
		out.Running = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
		_ = f.Close()
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	db, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		return out, err
	}
	defer func() { _ = db.Close() }()
	var compatible int
	if err := db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0), COALESCE(MAX(CASE WHEN compatible = 0 THEN version ELSE compatible END), 0) FROM schema_version").Scan(&out.Schema, &compatible); err != nil {
		return out, fmt.Errorf("reading the database: %w", err)
	}
	out.Newer = compatible > known()
	var said string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return out, fmt.Errorf("checking the database: %w", err)
	}
	if said != "ok" {
		out.Damage = said
	}
	return out, nil
}

// InspectPostgres looks at a PostgreSQL.
func InspectPostgres(ctx context.Context, url string) (out Inspection, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return out, err // without the password, see pgconn.ConnectError
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, name := range []string{"fsync", "full_page_writes"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return out, err
		}
		if value == "off" {
			out.Unsafe = name
		}
	}
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&out.Server); err != nil {
		return out, err
	}
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('schema_version') IS NOT NULL").Scan(&there); err != nil || !there {
		return out, err
	}
	var compatible int
	err = conn.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0), COALESCE(MAX(CASE WHEN compatible = 0 THEN version ELSE compatible END), 0) FROM schema_version").Scan(&out.Schema, &compatible)
	out.Newer = compatible > known()
	return out, err
}
