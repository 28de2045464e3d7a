package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// reader reads what is committed, by statements that it prepares once:
// preparing takes longer than most of them run. Their texts are the store's own,
// so there are few.
type reader struct {
	*sql.DB
	numbered bool // PostgreSQL: $1 for ?, and its driver prepares

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt
}

func newReader(db *sql.DB) *reader { return &reader{DB: db, stmts: map[string]*sql.Stmt{}} }

func (r *reader) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.RLock()
	s := r.stmts[query]
	r.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.stmts[query]; s != nil {
		return s, nil
	}
	s, err := r.PrepareContext(ctx, query)
	if err == nil {
		r.stmts[query] = s
	}
	return s, err
}

// QueryContext is sql.DB's, with a prepared statement.
func (r *reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if r.numbered {
		return r.DB.QueryContext(ctx, numbered(query), args...)
	}
	s, err := r.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// QueryRowContext is sql.DB's, with a prepared statement.
func (r *reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if r.numbered {
		return r.DB.QueryRowContext(ctx, numbered(query), args...)
	}
	s, err := r.stmt(ctx, query)
	if err != nil {
		return r.DB.QueryRowContext(ctx, query, args...) // fails in the same way, and says so in the row
	}
	return s.QueryRowContext(ctx, args...)
}

// Close closes the statements and the database.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, s := range r.stmts {
		errs = append(errs, s.Close())
	}
	clear(r.stmts)
	return errors.Join(append(errs, r.DB.Close())...)
}
