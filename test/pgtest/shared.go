package pgtest

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Shared is a PostgreSQL for all tests of a binary, started for the first that wants
// it. It does not flush.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
	dir    string
}

// Database returns the URL of an empty database, or skips the test if there is no
// PostgreSQL.
func (s *Shared) Database(t *testing.T) string {
	t.Helper()
	url, err := s.New(t.Context())
	if errors.Is(err, ErrAbsent) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// New returns the URL of an empty database, or ErrAbsent.
func (s *Shared) New(ctx context.Context) (string, error) {
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "funnel-postgres"); s.err == nil { // t.TempDir is not for the user that it runs as
			s.server, s.err = New(Options{Dir: s.dir})
		}
	})
	if s.err != nil {
		return "", s.err
	}
	return s.server.Database(ctx)
}

// Run runs the tests of a binary and stops the server after them, so that its
// goroutines are gone when they are counted.
func (s *Shared) Run(m *testing.M) int {
	defer func() {
		if s.server != nil {
			_ = s.server.Stop(syscall.SIGQUIT)
		}
		if s.dir != "" {
			_ = os.RemoveAll(s.dir)
		}
	}()
	return m.Run()
}
