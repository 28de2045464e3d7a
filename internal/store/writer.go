package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/record"
)

// The group rule: a transaction takes whatever waits, up to groupSize items. It
// waits for company at most groupWait, and only while recent groups showed that
// there is company to be had.
const (
	groupSize = 64
	groupWait = 2 * time.Millisecond
	fewItems  = 8 // below so many, nobody waits for more than came last time
)

var errClosed = errors.New("the database is closed")

// item is a piece of work for the writer. fn may be called again after a
// rollback, so it starts from nothing each time.
type item struct {
	fn   func(*tx) error
	done chan error
}

type writer struct {
	path    string
	items   chan item
	closing chan struct{}
	done    chan struct{}
	once    sync.Once

	db      *sql.DB
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	kept    atomic.Int64          // answers since the start
	failing atomic.Pointer[error] // of the disk, until a commit succeeds
	tried   time.Time             // when it was last tried to go on after one
	crowd   int                   // how many items a group may expect: the last one's size, or a little less than expected then

	commits atomic.Int64
	rows    atomic.Int64
}

func newWriter(path string) (*writer, error) {
	w := &writer{path: path, items: make(chan item, 4*groupSize), closing: make(chan struct{}), done: make(chan struct{})}
	return w, w.reopen()
}

// reopen replaces the connection.
func (w *writer) reopen() error {
	w.close()
	db, err := sql.Open("sqlite", dsn(w.path, "_txlock=immediate"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(context.Background())
	if err != nil {
		_ = db.Close()
		return err
	}
	w.db, w.conn, w.stmts = db, conn, map[string]*sql.Stmt{}
	return nil
}

func (w *writer) close() {
	if w.db == nil {
		return
	}
	for _, s := range w.stmts {
		_ = s.Close()
	}
	_ = w.conn.Close()
	_ = w.db.Close()
	w.db = nil
}

func (w *writer) start() { go w.loop() }

func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	<-w.done
}

// do runs fn in a transaction and returns once it is on the disk. It does not
// take a context: a caller that gives up must not roll back its neighbours.
func (w *writer) do(fn func(*tx) error) error {
	it := item{fn: fn, done: make(chan error, 1)}
	select {
	case <-w.closing:
		return errClosed
	default:
	}
	select {
	case w.items <- it:
	case <-w.closing:
		return errClosed
	}
	select {
	case err := <-it.done:
		return err
	case <-w.done: // stopped: the loop has answered everything it took
		select {
		case err := <-it.done:
			return err
		default:
			return errClosed
		}
	}
}

func (w *writer) loop() {
	defer close(w.done)
	defer w.close()
	group := make([]item, 0, groupSize)
	for {
		select {
		case it := <-w.items:
			group = w.gather(append(group[:0], it))
			w.crowd = max(len(group), w.crowd-1-w.crowd/16)
			w.run(group)
		case <-w.closing:
			for {
				select {
				case it := <-w.items:
					w.run([]item{it})
				default:
					return
				}
			}
		}
	}
}

// gather adds what waits. If recent groups were larger than what waits now, their
// members have just been answered and are about to come back: it is worth waiting
// for them, for a flush costs the same for one as for all.
func (w *writer) gather(group []item) []item {
	var company <-chan time.Time
	for len(group) < groupSize {
		select {
		case it := <-w.items:
			group = append(group, it)
			continue
		default:
		}
		if w.crowd < fewItems && len(group) >= w.crowd {
			return group
		}
		if company == nil {
			company = time.After(groupWait)
		}
		select {
		case it := <-w.items:
			group = append(group, it)
		case <-company:
			return group
		}
	}
	return group
}

// run commits the group and answers its items. If an item fails, the group is
// rolled back and its items run singly, so that one cannot spoil the others.
func (w *writer) run(group []item) {
	err := w.commit(group)
	unchanged := err != nil && err == w.trouble() // it was not tried again yet
	failed := err != nil && broken(err)
	if failed && !unchanged {
		if err = fmt.Errorf("writing to the database: %w", err); code(err) == sqliteFull {
			err = fmt.Errorf("%w: %w", record.ErrFull, err)
		} else {
			w.close() // the next commit opens it anew
		}
	}
	if (err == nil || failed) && !unchanged {
		w.noteTrouble(err)
	}
	if err == nil || len(group) == 1 || failed {
		for _, it := range group {
			it.done <- err
		}
		return
	}
	for _, it := range group {
		w.run([]item{it})
	}
}

func (w *writer) commit(group []item) (err error) {
	if w.db == nil { // after an error of the disk
		if err := w.recover(); err != nil {
			return err
		}
	}
	t := &tx{backend: w, kept: &w.kept}
	faultpoint.Hit("store.begin.before")
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in a transaction: %v", v)
		}
		if err != nil {
			_ = t.exec("ROLLBACK")
		}
	}()
	for _, it := range group {
		if err := it.fn(t); err != nil {
			return err
		}
	}
	faultpoint.Hit("store.commit.before")
	if err := t.exec("COMMIT"); err != nil {
		return err
	}
	faultpoint.Hit("store.commit.after")
	w.commits.Add(1)
	w.rows.Add(int64(len(group)))
	return nil
}

// broken reports an error of the file rather than of a statement.
func broken(err error) bool {
	switch code(err) {
	case sqliteReadonly, sqliteIOErr, sqliteCorrupt, sqliteFull, sqliteCantOpen, sqliteNotADB:
		return true
	}
	return errors.Is(err, sql.ErrConnDone)
}

// stmt prepares a statement once.
func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s, ok := w.stmts[query]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("preparing a statement: %w", err)
	}
	w.stmts[query] = s
	return s, nil
}

// count executes the statement and returns how many rows it changed.
func (w *writer) count(query string, args ...any) (int64, error) {
	s, err := w.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := s.Exec(args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// insert executes an INSERT of one row and returns its id; inserted is false if
// the row was in conflict with another. (It is cheaper than RETURNING.)
func (w *writer) insert(query string, args ...any) (id int64, inserted bool, err error) {
	s, err := w.stmt(query)
	if err != nil {
		return 0, false, err
	}
	res, err := s.Exec(args...)
	if err != nil {
		return 0, false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return 0, false, err
	}
	id, err = res.LastInsertId()
	return id, err == nil, err
}

// get scans the first row; found is false when there is none.
func (w *writer) get(query string, args []any, into ...any) (found bool, err error) {
	s, err := w.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRow(args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// ids returns the first column of all rows.
func (w *writer) ids(query string, args ...any) ([]int64, error) {
	return column[int64](w, query, args...)
}

// names is ids for texts.
func (w *writer) names(query string, args ...any) ([]string, error) {
	return column[string](w, query, args...)
}

func column[T any](w *writer, query string, args ...any) (values []T, err error) {
	err = w.each(query, args, func(row scanner) error {
		var v T
		err := row.Scan(&v)
		values = append(values, v)
		return err
	})
	return values, err
}

// each calls do with each row.
func (w *writer) each(query string, args []any, do func(scanner) error) (err error) {
	s, err := w.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
