package bench

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/funnelsec/funnel/internal/store"
)

// The store's group rule, see internal/store/writer.go.
const (
	groupSize = 64
	groupWait = 2 * time.Millisecond
	fewItems  = 8
)

// The statements of the ceilings. They leave out what the store asks on the way:
// whether a key is known, whether a claim has to be passed on.
const (
	insertEvent = `INSERT INTO event (source, trigger_id, connection, dedup_key, delivery_key, received_at, body, data, disposition, cause_run, cause_event, depth)
		VALUES (?, 'splunk.alert', '', ?, NULL, ?, ?, ?, 'matched', 0, 0, 0)`
	insertDelivery = `INSERT INTO delivery (source, received_at, verdict, reason, event_id, bytes) VALUES (?, ?, 'accepted', '', ?, ?)`
	insertRun      = `INSERT INTO run (event_id, kind, parent, playbook, state, live, replay, created_at, updated_at, finished_at, wake_at, wait_on, wait_since, why, step, code, told, told_why, input)
		VALUES (?, 'playbook', 0, 'bench', 'queued', 1, 0, ?, ?, 0, 0, '', 0, '', '', '', 0, '', NULL)`
	insertStep = `INSERT INTO step (run_id, path, seq, action, connection, input_hash, input, state, outcome, outcome_ref, code, error, attempts, effect_key, started_at, finished_at, next_at)
		VALUES (?, ?, ?, 'bench.nothing', 'bench', ?, ?, 'succeeded', ?, '', '', '', 0, '', ?, ?, 0)`
	endRun = `UPDATE run SET state = 'succeeded', live = 0, updated_at = ?, finished_at = ? WHERE id = ?`
)

// bare is the least that groups rows durably: one goroutine, prepared
// statements, no fencing, no repetition, no error but a fatal one.
type bare struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	items chan bareItem
	ended chan struct{}
}

type bareItem struct {
	fn   func() error
	done chan error
}

// newBare opens a database that the store has made, so that tables and indexes
// are the same, with the store's pragmas.
func newBare(t *testing.T, dir string) *bare {
	t.Helper()
	query := []string{
		"_pragma=busy_timeout(5000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=foreign_keys(0)", "_pragma=cache_size(-4096)",
	}
	path := (&url.URL{Path: filepath.Join(dir, "funnel.db")}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+path+"?"+strings.Join(query, "&"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{db: db, stmts: map[string]*sql.Stmt{}, items: make(chan bareItem, 4*groupSize), ended: make(chan struct{})}
	if b.conn, err = db.Conn(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"BEGIN IMMEDIATE", "COMMIT", insertEvent, insertDelivery, insertRun, insertStep, endRun} {
		if b.stmts[text], err = b.conn.PrepareContext(context.Background(), text); err != nil {
			t.Fatal(err)
		}
	}
	go b.loop()
	return b
}

func (b *bare) exec(text string, args ...any) (sql.Result, error) { return b.stmts[text].Exec(args...) }

// do returns when what fn wrote is on the disk.
func (b *bare) do(fn func() error) error {
	it := bareItem{fn, make(chan error, 1)}
	b.items <- it
	return <-it.done
}

func (b *bare) close() error {
	close(b.items)
	<-b.ended
	var errs []error
	for _, s := range b.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, b.conn.Close(), b.db.Close())...)
}

// loop groups by the store's rule.
func (b *bare) loop() {
	defer close(b.ended)
	crowd := 0
	for first := range b.items {
		group := append(make([]bareItem, 0, groupSize), first)
		var company <-chan time.Time
	gather:
		for len(group) < groupSize {
			select {
			case it, ok := <-b.items:
				if !ok {
					break gather
				}
				group = append(group, it)
				continue
			default:
			}
			if crowd < fewItems && len(group) >= crowd {
				break
			}
			if company == nil {
				company = time.After(groupWait)
			}
			select {
			case it, ok := <-b.items:
				if !ok {
					break gather
				}
				group = append(group, it)
			case <-company:
				break gather
			}
		}
		crowd = max(len(group), crowd-1-crowd/16)
		err := b.commit(group)
		for _, it := range group {
			it.done <- err
		}
	}
}

func (b *bare) commit(group []bareItem) error {
	if _, err := b.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, it := range group {
		if err := it.fn(); err != nil {
			return err
		}
	}
	_, err := b.exec("COMMIT")
	return err
}

// database makes an empty database with the store's tables and returns its
// directory.
func database(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := store.Open(dir)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens the store in the directory.
func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
