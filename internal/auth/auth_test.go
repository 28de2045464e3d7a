package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t *testing.T, dir string) (*Tokens, string) {
	t.Helper()
	tokens, created, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tokens.Close() })
	return tokens, created
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

func knows(tokens *Tokens, token string) bool {
	_, ok := tokens.Verify(bearer(token))
	return ok
}

func present(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	tokens, created := open(t, dir)
	if !regexp.MustCompile(`^fnl_[A-Za-z0-9_-]{43}$`).MatchString(created) {
		t.Fatal("the first token is not fnl_ and 256 bits in base64url")
	}
	for _, name := range []string{tokensFile, FirstRunFile, lockFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v; want a file of mode 0600", name, err, info.Mode())
		}
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, FirstRunFile)); string(raw) != created+"\n" {
		t.Error("the first-run file does not hold the token")
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, tokensFile)); strings.Contains(string(raw), created) {
		t.Error("the token is stored, not only its hash")
	}
	again, none := open(t, dir)
	if none != "" {
		t.Error("a second start made another token")
	}
	if who, ok := again.Verify(bearer(created)); !ok || who != (Principal{"admin", "admin"}) {
		t.Errorf("Verify = %v, %v; want the admin", who, ok)
	}
	if present(t, filepath.Join(dir, FirstRunFile)) {
		t.Error("the first-run file is there after the token's first use")
	}
	if !knows(tokens, created) {
		t.Error("the token is worth nothing after its first use")
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	tokens, created := open(t, dataDir(t))
	last := "A"
	if strings.HasSuffix(created, last) {
		last = "E"
	}
	for name, header := range map[string]http.Header{
		"nothing":        {},
		"empty":          {"Authorization": {""}},
		"no scheme":      {"Authorization": {created}},
		"basic":          {"Authorization": {"Basic " + created}},
		"no token":       {"Authorization": {"Bearer "}},
		"shorter":        bearer(created[:len(created)-1]),
		"longer":         bearer(created + "A"),
		"other end":      bearer(created[:len(created)-1] + last),
		"blank in front": bearer(" " + created),
		"sent twice":     {"Authorization": {"Bearer " + created, "Bearer " + created}},
		"huge":           bearer(prefix + strings.Repeat("A", 1<<16)),
		"the hash":       bearer(prefix + string(tokens.kept[0].SHA256[:])),
	} {
		if who, ok := tokens.Verify(header); ok {
			t.Errorf("%s: let in as %v", name, who)
		}
	}
	if present(t, filepath.Join(tokens.root.Name(), FirstRunFile)) == false {
		t.Error("a wrong token removed the first-run file")
	}
	if _, ok := tokens.Verify(http.Header{"Authorization": {"bearer " + created}}); !ok {
		t.Error("the scheme's case matters; RFC 7235 section 2.1 says it does not")
	}
}

// Many start on one directory: one gets the token, and it is the one that counts.
func TestRaceOfFirstStart(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for range 100 {
		wg.Go(func() {
			tokens, created, err := Open(dir, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = tokens.Close() }()
			if created != "" {
				mu.Lock()
				made = append(made, created)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(made) != 1 {
		t.Fatalf("%d of 100 got a first token, want 1", len(made))
	}
	raw, err := os.ReadFile(filepath.Join(dir, FirstRunFile))
	if err != nil || string(raw) != made[0]+"\n" {
		t.Error("the first-run file does not hold the winner's token")
	}
	if tokens, _ := open(t, dir); !knows(tokens, made[0]) {
		t.Error("the winner's token is refused")
	}
}

func TestRaceOfRotation(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	server, first := open(t, dir)
	fresh := make([]string, 100)
	var wg sync.WaitGroup
	for i := range fresh {
		wg.Go(func() {
			tokens, _, err := Open(dir, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = tokens.Close() }()
			if fresh[i], err = tokens.Rotate(); err != nil {
				t.Error(err)
			}
			server.Verify(bearer(fresh[i]))
		})
	}
	wg.Wait()
	valid := 0
	for _, token := range fresh {
		if knows(server, token) {
			valid++
		}
	}
	if valid != 1 {
		t.Errorf("%d tokens of 100 rotations are valid, want 1", valid)
	}
	if knows(server, first) {
		t.Error("the running server takes the old token after a rotation")
	}
	if present(t, filepath.Join(dir, FirstRunFile)) {
		t.Error("the worthless first token still lies in its file")
	}
}

func TestFirstRunFileExpires(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	path := filepath.Join(dir, FirstRunFile)
	synctest.Test(t, func(t *testing.T) {
		tokens, created, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tokens.Close() }()
		time.Sleep(FirstRunLife - time.Second)
		synctest.Wait()
		if !present(t, path) {
			t.Error("the first-run file went too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if present(t, path) {
			t.Error("the first-run file is there after its time")
		}
		if !knows(tokens, created) {
			t.Error("the token ended with its file")
		}
	})
}

// A server that was down when the time ran out removes the file at its start.
func TestFirstRunFileExpiresWhileDown(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	tokens, _, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = tokens.Close()
	later, _, err := Open(dir, func() time.Time { return time.Now().Add(FirstRunLife + time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	_ = later.Close()
	if present(t, filepath.Join(dir, FirstRunFile)) {
		t.Error("the first-run file is there after its time")
	}
}

func TestDenyIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 15, 0, time.UTC)
	tokens := &Tokens{now: func() time.Time { return now }, callers: callers{counts: map[key]int{}}}
	one := netip.MustParseAddr("192.0.2.1")
	for i := range maxFailures {
		if wait := tokens.Deny(one); wait != 0 {
			t.Fatalf("try %d is limited", i+1)
		}
	}
	if wait := tokens.Deny(one); wait != 45*time.Second {
		t.Errorf("wait = %v, want the rest of the minute", wait)
	}
	if tokens.Deny(netip.MustParseAddr("::ffff:192.0.2.1")) == 0 {
		t.Error("an IPv4 address in IPv6 form counts apart")
	}
	if tokens.Deny(netip.MustParseAddr("192.0.2.2")) != 0 {
		t.Error("another address is limited")
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff")
	if caller(a) != caller(b) {
		t.Error("two addresses of one /64 count apart")
	}
	var ip [4]byte
	for i := range 2 * maxCallers {
		ip = [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		tokens.Deny(netip.AddrFrom4(ip))
	}
	if n := len(tokens.callers.counts); n > maxCallers+1 {
		t.Errorf("%d callers are remembered, want at most %d", n, maxCallers+1)
	}
	now = now.Add(time.Minute)
	if tokens.Deny(one) != 0 {
		t.Error("the next minute is limited too")
	}
}

func TestStoredForm(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	open(t, dir)
	raw, err := os.ReadFile(filepath.Join(dir, tokensFile))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version int
		Tokens  []struct {
			Name, Role, SHA256 string
			CreatedAt          time.Time `json:"created_at"`
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || len(got.Tokens) != 1 || len(got.Tokens[0].SHA256) != 64 || got.Tokens[0].CreatedAt.IsZero() {
		t.Errorf("tokens.json has not the expected form: %+v", got)
	}
}
