package auth

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tokensFile = "tokens.json"
	lockFile   = "tokens.lock"
	maxFile    = 64 << 10
)

// content is what tokens.json holds.
type content struct {
	Version int     `json:"version"`
	Tokens  []entry `json:"tokens"`
}

// stamp tells one state of a file from another. A rename gives a new inode.
type stamp struct {
	inode uint64
	size  int64
	at    time.Time
}

// MarshalText writes the digest in hex.
func (d digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads a digest in hex.
func (d *digest) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(d) {
		return errors.New("a digest is 64 hex digits")
	}
	_, err := hex.Decode(d[:], b)
	return err
}

func openDir(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
	}
	info, err := root.Stat(".")
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("it has mode %04o, so others can reach it: run chmod 700 %s", info.Mode().Perm(), dir)
	}
	if err == nil {
		err = owned(info, dir)
	}
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("opening the data directory %s: %w", dir, err)
	}
	return root, nil
}

// private refuses what is not a plain file of ours that only we can read.
func private(info os.FileInfo, name string) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file: remove it and make a token with funnel token", name)
	}
	if perm := info.Mode().Perm(); perm&0o177 != 0 {
		return fmt.Errorf("%s has mode %04o, wider than 0600: run chmod 600 %s, and funnel token if others may have read it", name, perm, name)
	}
	return owned(info, name)
}

func owned(info os.FileInfo, name string) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to this process's user %d: run chown %d %s", name, s.Uid, os.Geteuid(), os.Geteuid(), name)
	}
	return nil
}

func stampOf(info os.FileInfo) stamp {
	s := stamp{size: info.Size(), at: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

func exists(root *os.Root, name string) (bool, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, private(info, name)
}

// lock keeps other processes and other openers of the directory out.
func (t *Tokens) lock() (unlock func(), err error) {
	f, err := t.root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", lockFile, err)
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}

// load reads tokens.json if it changed; t.mu is held.
func (t *Tokens) load() (found bool, err error) {
	info, err := t.root.Lstat(tokensFile)
	if errors.Is(err, os.ErrNotExist) {
		t.kept, t.seen = nil, stamp{}
		return false, nil
	}
	if err == nil {
		err = private(info, tokensFile)
	}
	if err != nil {
		return false, err
	}
	if stampOf(info) == t.seen {
		return true, nil
	}
	f, err := t.root.OpenFile(tokensFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil {
		return false, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return false, err
	}
	var c content
	if err := json.Unmarshal(raw, &c); err != nil || c.Version != 1 || len(c.Tokens) == 0 {
		return false, fmt.Errorf("%s is damaged or of a newer version: restore it, or remove it to get a new token", tokensFile)
	}
	t.kept, t.seen = c.Tokens, stampOf(info)
	return true, nil
}

// save stores the tokens; t.mu is held.
func (t *Tokens) save(kept []entry) error {
	raw, err := json.MarshalIndent(content{Version: 1, Tokens: kept}, "", "  ")
	if err != nil {
		return err
	}
	if err := t.write(tokensFile, append(raw, '\n')); err != nil {
		return err
	}
	t.seen = stamp{}
	_, err = t.load()
	return err
}

// write replaces a file: all of it or nothing, also through a power cut.
func (t *Tokens) write(name string, data []byte) (err error) {
	temp := "." + name + ".new" // of ours alone: the lock is held
	if err := t.root.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := t.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = t.root.Rename(temp, name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(t.root.Name(), name), err)
	}
	dir, err := t.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
