package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests stops PostgreSQL before goroutines are counted.
type tests struct{ *testing.M }

// Run runs the tests.
func (t tests) Run() int {
	defer postgres.stop()
	return t.M.Run()
}

// shared is the PostgreSQL of this test binary.
type shared struct {
	once   sync.Once
	server *pgtest.Server
	err    error
	dir    string
}

var postgres shared

// database returns the URL of an empty database, or skips the test if there is no
// PostgreSQL.
func (s *shared) database(t *testing.T) string {
	t.Helper()
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "funnel-postgres"); s.err == nil {
			s.server, s.err = pgtest.New(pgtest.Options{Dir: s.dir})
		}
	})
	if errors.Is(s.err, pgtest.ErrAbsent) {
		t.Skipf("NOT RUN: %v", s.err)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	url, err := s.server.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func (s *shared) stop() {
	if s.server != nil {
		_ = s.server.Stop(syscall.SIGQUIT)
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func TestPostgresConforms(t *testing.T) {
	postgres.database(t)
	var mu sync.Mutex
	urls := map[string]string{} // a directory stands for a database
	conform(t, func(dir string) (database, error) {
		mu.Lock()
		defer mu.Unlock()
		dir = filepath.Clean(dir)
		if urls[dir] == "" {
			url, err := postgres.server.Database(t.Context())
			if err != nil {
				return nil, err
			}
			urls[dir] = url
		}
		return store.OpenPostgres(t.Context(), store.Postgres{URL: urls[dir], Unsafe: true})
	})
}

// TestUnsafeServerIsRefused: a server that answers before it has flushed would
// lose what we acknowledge.
func TestUnsafeServerIsRefused(t *testing.T) {
	t.Parallel()
	s, err := store.OpenPostgres(t.Context(), store.Postgres{URL: postgres.database(t)}) // fsync is off there
	if err == nil {
		_ = s.Close()
		t.Fatal("it is accepted")
	}
	if text := err.Error(); !strings.Contains(text, "fsync is off") || !strings.Contains(text, "set fsync = on") || errors.Is(err, store.ErrAway) {
		t.Errorf("got %v", err)
	}
}

// TestAway tells a database that does not answer from one that will not have us.
func TestAway(t *testing.T) {
	t.Parallel()
	url := postgres.database(t)
	for name, c := range map[string]struct {
		url  string
		away bool
	}{
		"nobody listens":   {"postgres://funnel@127.0.0.1:1/funnel?sslmode=disable", true},
		"no such database": {strings.Replace(url, "?sslmode", "_not?sslmode", 1), false},
	} {
		s, err := store.OpenPostgres(t.Context(), store.Postgres{URL: c.url, Unsafe: true})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || errors.Is(err, store.ErrAway) != c.away {
			t.Errorf("%s: %v", name, err)
		}
	}
}
