package auth_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/auth"
)

// TestShare: the newest tokens are everybody's, and older ones change nothing.
func TestShare(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	one, other := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "other")
	open := func(dir string) (*auth.Tokens, string) {
		tokens, created, err := auth.Open(dir, clock)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tokens.Close() })
		return tokens, created
	}
	verify := func(tokens *auth.Tokens, token string) bool {
		_, ok := tokens.Verify(http.Header{"Authorization": {"Bearer " + token}})
		return ok
	}
	export := func(dir string) []byte {
		raw, err := auth.Export(dir)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	_, older := open(one)
	now = now.Add(time.Minute)
	second, newer := open(other)
	if !auth.Newer(export(other), export(one)) || auth.Newer(export(one), export(other)) {
		t.Error("which tokens are the newer ones is not told right")
	}
	if err := auth.Import(other, export(one), false); err != nil {
		t.Fatal(err)
	}
	if !verify(second, newer) || verify(second, older) {
		t.Error("older tokens replaced newer ones")
	}
	if err := auth.Import(one, export(other), false); err != nil {
		t.Fatal(err)
	}
	first, created := open(one)
	if created != "" || !verify(first, newer) || verify(first, older) {
		t.Errorf("the newer tokens do not count on the other node (created %q)", created)
	}
	if err := auth.Import(other, export(other), true); err != nil {
		t.Fatal(err)
	}
	if err := auth.Import(one, []byte("{}"), true); err == nil {
		t.Error("damaged tokens are taken over")
	}
}
