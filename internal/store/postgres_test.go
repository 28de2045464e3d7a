package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests stops PostgreSQL before goroutines are counted.
type tests struct{ *testing.M }

// Run runs the tests.
func (t tests) Run() int { return postgres.Run(t.M) }

// postgres is the PostgreSQL of this test binary.
var postgres pgtest.Shared

func TestPostgresConforms(t *testing.T) {
	postgres.Database(t)
	var mu sync.Mutex
	urls := map[string]string{} // a directory stands for a database
	conform(t, func(dir string) (database, error) {
		mu.Lock()
		defer mu.Unlock()
		dir = filepath.Clean(dir)
		if urls[dir] == "" {
			url, err := postgres.New(t.Context())
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
	s, err := store.OpenPostgres(t.Context(), store.Postgres{URL: postgres.Database(t)}) // fsync is off there
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
	url := postgres.Database(t)
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
