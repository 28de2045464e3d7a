package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/funnelsec/funnel/internal/faultpoint"
	"github.com/funnelsec/funnel/internal/record"
)

// Postgres says which PostgreSQL to use and how.
type Postgres struct {
	URL string
	// Enqueue makes a job for each run that a transaction lets go on, in that
	// transaction. Nil: nobody works on runs.
	Enqueue func(context.Context, pgx.Tx, []record.Job) error
	// Migrate brings further tables up to date, while no other node does. Nil: none.
	Migrate func(context.Context, *pgxpool.Pool) error
	// Unsafe accepts a server that answers before it has flushed: for tests.
	Unsafe bool
}

// The bounds of a transaction. A node that stops in the middle of one, or is cut
// off, must not hold its locks for longer than others can wait.
const (
	pgConnections = 24
	pgPatience    = 10 * time.Second // for a transaction with all its tries
	pgTries       = 20
)

func pgBounds() map[string]string {
	return map[string]string{
		"application_name": "funnel", "synchronous_commit": "on", "timezone": "UTC",
		"statement_timeout": "8000", "lock_timeout": "5000", "idle_in_transaction_session_timeout": "5000",
		"tcp_user_timeout": "8000", "tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "2",
	}
}

// ErrAway says that the database does not answer, or not yet: it is worth another
// try.
var ErrAway = errors.New("the database does not answer")

// away reports whether an error of connecting may pass by itself: nobody answers,
// or the server starts, stops or has no place left (classes 57 and 53).
func away(err error) bool {
	var failed *pgconn.ConnectError
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return strings.HasPrefix(said.Code, "57P") || said.Code == "53300"
	}
	return errors.As(err, &failed) || errors.Is(err, context.DeadlineExceeded)
}

// postgres writes to PostgreSQL.
type postgres struct {
	o    Postgres
	pool *pgxpool.Pool
	kept atomic.Int64
}

// OpenPostgres connects to the database and creates or upgrades its tables. A
// database that a newer version has changed for good is refused (ErrNewer), and a
// server that would acknowledge what is not on its disk. ErrAway is worth another
// try.
func OpenPostgres(ctx context.Context, o Postgres) (*Store, error) {
	c, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, errors.New("reading the address of the database: it is not a PostgreSQL URL such as postgres://funnel@db.example.com/funnel?sslmode=verify-full")
	}
	c.MaxConns = max(c.MaxConns, pgConnections)
	c.MaxConnIdleTime = time.Minute
	c.HealthCheckPeriod = 5 * time.Second
	c.ConnConfig.ConnectTimeout = 5 * time.Second
	for name, value := range pgBounds() {
		c.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	p := &postgres{o: o, pool: pool}
	if err := p.prepare(ctx); err != nil {
		pool.Close()
		if away(err) {
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
		return nil, fmt.Errorf("opening the database at %s:%d: %w", c.ConnConfig.Host, c.ConnConfig.Port, err)
	}
	read := stdlib.OpenDBFromPool(pool)
	read.SetMaxIdleConns(0) // the pool keeps them
	r := newReader(read)
	r.numbered = true
	return &Store{read: r, pg: p}, nil
}

// Pool returns the connections to PostgreSQL, nil with SQLite.
func (s *Store) Pool() *pgxpool.Pool {
	if s.pg == nil {
		return nil
	}
	return s.pg.pool
}

// upgrading is the number of the lock under which one node upgrades the tables.
const upgrading = 0x46756e6e656c // "Funnel"

// prepare checks the server and upgrades the tables, one node after the other.
func (p *postgres) prepare(ctx context.Context) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for name, why := range map[string]string{
		"fsync":            "the server would lose what it has acknowledged in a power cut: set fsync = on",
		"full_page_writes": "a power cut could leave torn pages: set full_page_writes = on",
	} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return err
		}
		if value == "off" && !p.o.Unsafe {
			return fmt.Errorf("%s is off: %s", name, why)
		}
	}
	if _, err := conn.Exec(ctx, "SET lock_timeout = 0; SET statement_timeout = 0"); err != nil {
		return err
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), "RESET lock_timeout; RESET statement_timeout") }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", upgrading); err != nil {
		return err
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", upgrading) }()
	if err := migrate(&pgSchema{pgTx{ctx: ctx, db: conn}, conn}); err != nil {
		return err
	}
	if p.o.Migrate != nil {
		return p.o.Migrate(ctx, p.pool)
	}
	return nil
}

// pgSchema upgrades the tables of PostgreSQL.
type pgSchema struct {
	pgTx
	conn *pgxpool.Conn
}

// ofSQLite are the words of the migrations that PostgreSQL has others for.
var ofSQLite = strings.NewReplacer("INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "BLOB", "BYTEA", " WITHOUT ROWID", "")

func (s *pgSchema) count(query string, args ...any) (int64, error) {
	return s.pgTx.count(ofSQLite.Replace(query), args...)
}

func (s *pgSchema) apply(text string, rest func(*tx) error) error {
	return pgx.BeginFunc(s.ctx, s.conn, func(db pgx.Tx) error {
		if _, err := db.Conn().PgConn().Exec(s.ctx, ofSQLite.Replace(text)).ReadAll(); err != nil {
			return err
		}
		return rest(&tx{backend: &pgTx{ctx: s.ctx, db: db}})
	})
}

// do runs fn in a transaction. It is tried again when another transaction came
// in between; fn sees what that one wrote then.
func (p *postgres) do(fn func(*tx) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), pgPatience)
	defer cancel()
	for try := 1; ; try++ {
		err := p.once(ctx, fn)
		if err == nil || try == pgTries || !collided(err) {
			return err
		}
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(try) * int64(2*time.Millisecond)))):
		case <-ctx.Done():
			return err
		}
	}
}

func (p *postgres) once(ctx context.Context, fn func(*tx) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in a transaction: %v", v)
		}
	}()
	err = pgx.BeginFunc(ctx, p.pool, func(db pgx.Tx) error {
		t := &tx{backend: &pgTx{ctx: ctx, db: db}, kept: &p.kept, cluster: true}
		if err := fn(t); err != nil {
			return err
		}
		faultpoint.Hit("postgres.enqueue.before")
		if err := p.enqueue(ctx, db, t.woken); err != nil {
			return err
		}
		faultpoint.Hit("postgres.commit.before")
		return nil
	})
	if err == nil {
		faultpoint.Hit("postgres.commit.after")
	}
	return err
}

// enqueue makes the jobs of the runs that the transaction lets go on. A run that
// somebody works on is looked at once more when that has ended, and one whose job
// is on its way needs no other: whoever takes that job locks the row after this
// transaction, and sees what it wrote. So there are never more jobs than runs,
// however often they are woken.
func (p *postgres) enqueue(ctx context.Context, db pgx.Tx, runs []int64) error {
	if len(runs) == 0 {
		return nil
	}
	rows, err := db.Query(ctx, `WITH woken AS (
			SELECT id, lease_until > 0 AS busy, begun < generation AS pending FROM run WHERE id = ANY($1) AND live = 1 ORDER BY id FOR UPDATE
		), later AS (
			UPDATE run SET woken = 1 FROM woken WHERE run.id = woken.id AND busy
		)
		UPDATE run SET generation = generation + 1, queued_at = `+databaseNow+` FROM woken WHERE run.id = woken.id AND NOT busy AND NOT pending
		RETURNING run.id, run.generation`, runs)
	if err != nil {
		return err
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[record.Job])
	if err != nil || len(jobs) == 0 || p.o.Enqueue == nil {
		return err
	}
	return p.o.Enqueue(ctx, db, jobs)
}

// collided reports an error that comes of transactions at the same time:
// serialization_failure, deadlock_detected, and unique_violation where both
// inserted what the other did not see yet.
func collided(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01" || e.Code == "23505")
}

func (p *postgres) close() error { p.pool.Close(); return nil }

// pgTx executes statements in a transaction of PostgreSQL.
type pgTx struct {
	ctx context.Context
	db  interface {
		Query(context.Context, string, ...any) (pgx.Rows, error)
		QueryRow(context.Context, string, ...any) pgx.Row
		Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
	}
}

func (t *pgTx) count(query string, args ...any) (int64, error) {
	tag, err := t.db.Exec(t.ctx, numbered(query), numbers01(args)...)
	return tag.RowsAffected(), err
}

func (t *pgTx) insert(query string, args ...any) (id int64, inserted bool, err error) {
	inserted, err = t.get(query+" RETURNING id", args, &id)
	return id, inserted, err
}

func (t *pgTx) get(query string, args []any, into ...any) (found bool, err error) {
	for i, v := range into {
		if b, ok := v.(*bool); ok {
			into[i] = (*flag)(b)
		}
	}
	err = t.db.QueryRow(t.ctx, numbered(query), numbers01(args)...).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func (t *pgTx) ids(query string, args ...any) ([]int64, error) {
	rows, err := t.db.Query(t.ctx, numbered(query), numbers01(args)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func (t *pgTx) names(query string, args ...any) ([]string, error) {
	rows, err := t.db.Query(t.ctx, numbered(query), numbers01(args)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (t *pgTx) each(query string, args []any, do func(scanner) error) error {
	rows, err := t.db.Query(t.ctx, numbered(query), numbers01(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// flag scans a number as a bool.
type flag bool

// Scan implements sql.Scanner.
func (f *flag) Scan(v any) error {
	var b sql.NullBool
	err := b.Scan(v)
	*f = flag(b.Bool)
	return err
}

// numbers01 turns bools into the numbers that the tables hold.
func numbers01(args []any) []any {
	for i, v := range args {
		if b, ok := v.(bool); ok {
			args[i] = 0
			if b {
				args[i] = 1
			}
		}
	}
	return args
}

// numbered writes $1, $2 … for the question marks of a statement.
func numbered(query string) string {
	var b strings.Builder
	n := 0
	for _, c := range query {
		if c == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}
