package store

import (
	"sync/atomic"
)

// tx is a transaction: statements by their text, on either database. A statement
// is written with ? for its arguments.
type tx struct {
	backend
	kept    *atomic.Int64 // answers kept since the start
	woken   []int64       // runs that the transaction lets go on
	cluster bool          // others write at the same time: what is read to be decided on is locked
}

// backend is what the two databases do differently.
type backend interface {
	// count executes the statement and returns how many rows it changed.
	count(query string, args ...any) (int64, error)
	// insert executes an INSERT of one row and returns its id; inserted is false
	// if the row was in conflict with another.
	insert(query string, args ...any) (id int64, inserted bool, err error)
	// get scans the first row; found is false when there is none.
	get(query string, args []any, into ...any) (found bool, err error)
	// ids returns the first column of all rows.
	ids(query string, args ...any) ([]int64, error)
	// names is ids for texts.
	names(query string, args ...any) ([]string, error)
	// each calls do with each row.
	each(query string, args []any, do func(scanner) error) error
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.count(query, args...)
	return err
}

// locked makes a SELECT lock its rows until the transaction ends. SQLite needs
// none of it, for it has one writer.
func (t *tx) locked(query string) string {
	if t.cluster {
		return query + " FOR UPDATE"
	}
	return query
}

// wake notes runs that the transaction lets go on. In PostgreSQL each gets a job
// in the same transaction.
func (t *tx) wake(runs ...int64) {
	if t.cluster {
		t.woken = append(t.woken, runs...)
	}
}
