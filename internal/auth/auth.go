// Package auth knows who may use the API: one admin token that is made at the
// first start. Only its hash is kept.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Principal is who a token stands for.
type Principal struct {
	Name string
	Role string // "admin"
}

// prefix makes a token known to secret scanners and to people.
const prefix = "fnl_"

// FirstRunFile holds the first token, so that a script on the machine can pick
// it up. It goes away when the token is first used, at the latest after
// FirstRunLife.
const FirstRunFile = "first-run-token"

// FirstRunLife is how long FirstRunFile stays.
const FirstRunLife = 30 * time.Minute

// Tokens are the tokens of a data directory. They follow changes that another
// process makes there.
type Tokens struct {
	root    *os.Root
	now     func() time.Time
	callers callers

	mu       sync.Mutex
	seen     stamp // of the file that kept was read from
	kept     []entry
	firstRun bool        // FirstRunFile may exist
	expiry   *time.Timer // removes it
}

type entry struct {
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	SHA256    digest    `json:"sha256"`
	CreatedAt time.Time `json:"created_at"`
}

type digest [sha256.Size]byte

// Open opens the tokens of the data directory, a directory of mode 0700 that it
// makes if there is none. If it holds no token yet, one is made, written to
// FirstRunFile and returned; otherwise created is "". However many open the
// directory at the same time, one gets it.
//
// It refuses files that others can read, that are not the process's own, and
// symbolic links. now is nil for the time of day.
func Open(dir string, now func() time.Time) (t *Tokens, created string, err error) {
	if now == nil {
		now = time.Now
	}
	root, err := openDir(dir)
	if err != nil {
		return nil, "", err
	}
	t = &Tokens{root: root, now: now, callers: callers{counts: map[key]int{}}}
	if created, err = t.start(); err != nil {
		_ = root.Close()
		return nil, "", fmt.Errorf("reading the tokens in %s: %w", dir, err)
	}
	return t, created, nil
}

// start makes the first token if there is none, and sees to FirstRunFile.
func (t *Tokens) start() (created string, err error) {
	unlock, err := t.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	found, err := t.load()
	if err != nil {
		return "", err
	}
	if !found {
		if created, err = t.replace(true); err != nil {
			return "", err
		}
	}
	t.firstRun, err = exists(t.root, FirstRunFile)
	if err != nil || !t.firstRun {
		return created, err
	}
	left := t.kept[0].CreatedAt.Add(FirstRunLife).Sub(t.now())
	if left <= 0 {
		return created, t.forget()
	}
	t.expiry = time.AfterFunc(left, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		_ = t.forget() // tried again at the next start
	})
	return created, nil
}

// replace makes a token in place of the kept ones. Before the hash of a first
// one is stored, the token lies in FirstRunFile: a crash in between makes
// another, and locks nobody out.
func (t *Tokens) replace(first bool) (string, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails, see its documentation
	raw := prefix + base64.RawURLEncoding.EncodeToString(random[:])
	if first {
		if err := t.write(FirstRunFile, []byte(raw+"\n")); err != nil {
			return "", err
		}
	}
	kept := []entry{{Name: "admin", Role: "admin", SHA256: sha256.Sum256([]byte(raw)), CreatedAt: t.now().UTC()}}
	if err := t.save(kept); err != nil {
		return "", err
	}
	return raw, nil
}

// Rotate replaces the token by a new one, which it returns. The old one is
// refused from then on, also by a server that is running.
func (t *Tokens) Rotate() (string, error) {
	unlock, err := t.lock()
	if err != nil {
		return "", fmt.Errorf("rotating the token: %w", err)
	}
	defer unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	raw, err := t.replace(false)
	if err == nil {
		err = t.forget() // the first token is worth nothing any more
	}
	if err != nil {
		return "", fmt.Errorf("rotating the token: %w", err)
	}
	return raw, nil
}

// Verify tells who sent the header's bearer token (RFC 6750), false if nobody
// known. Tokens are compared as digests, in constant time.
func (t *Tokens) Verify(header http.Header) (Principal, bool) {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return Principal{}, false
	}
	scheme, raw, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || len(raw) > 256 || !strings.HasPrefix(raw, prefix) {
		return Principal{}, false
	}
	candidate := sha256.Sum256([]byte(raw))
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.load(); err != nil {
		return Principal{}, false // unreadable or tampered with: nobody comes in
	}
	for _, k := range t.kept {
		if subtle.ConstantTimeCompare(k.SHA256[:], candidate[:]) == 1 {
			_ = t.forget()
			return Principal{Name: k.Name, Role: k.Role}, true
		}
	}
	return Principal{}, false
}

// forget removes FirstRunFile; t.mu is held.
func (t *Tokens) forget() error {
	if !t.firstRun {
		return nil
	}
	if t.expiry != nil {
		t.expiry.Stop()
	}
	if err := t.root.Remove(FirstRunFile); err != nil && !os.IsNotExist(err) {
		return err
	}
	t.firstRun = false
	return nil
}

// Close ends the watch over FirstRunFile.
func (t *Tokens) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expiry != nil {
		t.expiry.Stop()
	}
	return t.root.Close()
}
