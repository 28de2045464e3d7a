package bench

import (
	"database/sql"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// content describes what a database holds: for each table the number of rows,
// for each column the bytes of its values.
func content(t *testing.T, dir string) map[string]float64 {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "funnel.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	found := map[string]float64{}
	for _, table := range strings.Fields("event delivery run step effect ticket setting blob") {
		query := func(text string) (v float64) {
			if err := db.QueryRow(text).Scan(&v); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return v
		}
		found[table] = query("SELECT COUNT(*) FROM " + table)
		for _, column := range columns(t, db, table) {
			found[table+"."+column] = query(fmt.Sprintf("SELECT COALESCE(SUM(LENGTH(CAST(%s AS BLOB))), 0) FROM %s", column, table))
		}
	}
	return found
}

func columns(t *testing.T, db *sql.DB, table string) (names []string) {
	t.Helper()
	rows, err := db.Query("SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

// mustHoldTheSame fails unless the ceiling wrote the rows that we wrote. Bytes
// may differ by one in a hundred: a time in JSON has no trailing zeros.
func mustHoldTheSame(t *testing.T, ours, ceiling string) {
	t.Helper()
	mine, bare := content(t, ours), content(t, ceiling)
	rows := 0.0
	for name, n := range mine {
		slack := 0.0
		if strings.Contains(name, ".") {
			slack = n / 100
		} else {
			rows += n
		}
		if math.Abs(n-bare[name]) > slack {
			t.Errorf("%s: we wrote %.0f, the ceiling %.0f", name, n, bare[name])
		}
	}
	if rows == 0 {
		t.Error("nothing was written")
	}
}
