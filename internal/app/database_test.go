package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/test/pgtest"
)

// shareDatabase returns the URL of an empty database.
func shareDatabase(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "funnel-postgres") // t.TempDir is not for the user that PostgreSQL runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := pgtest.New(pgtest.Options{Dir: dir})
	if errors.Is(err, pgtest.ErrAbsent) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(syscall.SIGQUIT) })
	url, err := server.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// newNode makes a server of its own directory on the database.
func newNode(t *testing.T, name, database string) (*App, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "funnel.yaml")
	text := fmt.Sprintf("server: {listen: \"127.0.0.1:0\"}\ndatabase: %q\ncluster: {node: %s}\n", database, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var notices bytes.Buffer
	a, err := New(t.Context(), Options{Config: c, Registry: funnel.NewRegistry(), Notices: &notices, UnsafeDatabase: true})
	if err != nil {
		t.Error(err)
	}
	return a, &notices
}

// TestNodesShareTheToken starts nodes on an empty database at the same moment: one
// shows the token, it is everybody's, and the nodes see one another until they end.
func TestNodesShareTheToken(t *testing.T) {
	t.Parallel()
	database := shareDatabase(t)
	const count = 3
	nodes, notices := make([]*App, count), make([]*bytes.Buffer, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { nodes[i], notices[i] = newNode(t, fmt.Sprintf("n%d", i), database) })
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	var tokens []string
	for _, n := range notices {
		tokens = append(tokens, regexp.MustCompile(`fnl_\S+`).FindAllString(n.String(), -1)...)
	}
	if len(tokens) != 1 {
		t.Fatalf("%d nodes show a token, want 1", len(tokens))
	}
	for _, a := range nodes {
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := a.tokens.Verify(http.Header{"Authorization": {"Bearer " + tokens[0]}}); !ok {
			t.Errorf("node %s does not know the token", a.node.Name)
		}
		if a.book == nil {
			t.Errorf("node %s does not keep what is under way", a.node.Name)
		}
	}
	stop := func(a *App) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
	see := func(a *App) (names, self []string) {
		for _, n := range a.Status(t.Context()).Nodes {
			names = append(names, n.Name)
			if n.Self {
				self = append(self, n.Name)
			}
		}
		return names, self
	}
	if names, self := see(nodes[1]); fmt.Sprint(names, self) != "[n0 n1 n2] [n1]" {
		t.Errorf("node n1 sees %v and is %v", names, self)
	}
	stop(nodes[0])
	if names, _ := see(nodes[1]); fmt.Sprint(names) != "[n1 n2]" {
		t.Errorf("after n0 ended, n1 sees %v", names)
	}
	stop(nodes[1])
	stop(nodes[2])
}

// TestFirstTokenCounts: of two nodes that made a token before they knew of each
// other, the first one's counts, although the other's is newer.
func TestFirstTokenCounts(t *testing.T) {
	t.Parallel()
	database := shareDatabase(t)
	var nodes []*App
	var tokens []string
	for range 2 {
		db, err := store.OpenPostgres(t.Context(), store.Postgres{URL: database, Unsafe: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		a := &App{o: Options{Config: &config.Config{Data: t.TempDir()}}, store: db}
		if err := os.Chmod(a.o.Config.Data, 0o700); err != nil {
			t.Fatal(err)
		}
		opened, created, err := auth.Open(a.o.Config.Data, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = opened.Close() })
		a.tokens, nodes, tokens = opened, append(nodes, a), append(tokens, created)
	}
	for i, a := range nodes {
		if first, err := a.firstTokens(); err != nil || first != (i == 0) {
			t.Fatalf("node %d is first: %v (%v)", i, first, err)
		}
	}
	for i, a := range nodes {
		if err := errors.Join(a.shareTokens(), a.adoptTokens(false)); err != nil { // as every two seconds
			t.Fatal(err)
		}
		for j, token := range tokens {
			if _, ok := a.tokens.Verify(http.Header{"Authorization": {"Bearer " + token}}); ok != (j == 0) {
				t.Errorf("node %d knows token %d: %v", i, j, ok)
			}
		}
	}
}
