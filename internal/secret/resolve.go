package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxFile is the largest secret that is read from a file, in bytes.
const maxFile = 64 << 10

// Resolver turns references into secrets. Its zero value reads the process's environment and relative files from the working
// directory.
type Resolver struct {
	Getenv         func(string) string // default os.Getenv
	BaseDir        string              // where relative paths start: the configuration's directory
	CredentialsDir string              // default $CREDENTIALS_DIRECTORY, which systemd sets
}

// Resolve reads the secret that ref names. An absent or empty one is an error, which says what to do and holds no part of a value.
func (r Resolver) Resolve(ref Ref) (Secret, error) {
	s, err := r.resolve(ref)
	if err != nil {
		return Secret{}, fmt.Errorf("reading secret %s: %w", ref, err)
	}
	return s, nil
}

func (r Resolver) resolve(ref Ref) (Secret, error) {
	getenv := r.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	switch ref.Kind {
	case Env:
		v := getenv(ref.Name)
		if v == "" {
			return Secret{}, fmt.Errorf("the environment variable %s is unset or empty; set it before the start", ref.Name)
		}
		return text([]byte(v))
	case File:
		path := ref.Name
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.BaseDir, path)
		}
		return readFile(path)
	case Credential:
		dir := r.CredentialsDir
		if dir == "" {
			dir = getenv("CREDENTIALS_DIRECTORY")
		}
		if dir == "" {
			return Secret{}, fmt.Errorf("$CREDENTIALS_DIRECTORY is not set; run as a systemd service with LoadCredential=%s:PATH", ref.Name)
		}
		if !credentialName(ref.Name) {
			return Secret{}, errors.New("the name is not allowed")
		}
		return readFile(filepath.Join(dir, ref.Name))
	}
	return Secret{}, errors.New("the kind of reference is unknown")
}

// readFile reads a secret of at most 64 KiB from a file that only its owner may write and nobody outside owner and group may read.
// One line break at the end, which editors add, is dropped.
func readFile(path string) (Secret, error) {
	// O_NONBLOCK: opening a named pipe must not hang the start; it is refused below.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Secret{}, err // names the path and the reason
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Secret{}, err
	}
	if !info.Mode().IsRegular() {
		return Secret{}, fmt.Errorf("%s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o037 != 0 {
		return Secret{}, fmt.Errorf("%s has mode %04o, which lets others than its owner and group read it or its group change it; run: chmod 0640 %s", path, perm, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Secret{}, err
	}
	if len(b) > maxFile {
		return Secret{}, fmt.Errorf("%s is larger than %d KiB; a secret is expected there", path, maxFile>>10)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if s == "" {
		return Secret{}, fmt.Errorf("%s is empty", path)
	}
	return text([]byte(s))
}

func text(b []byte) (Secret, error) {
	if !utf8.Valid(b) {
		return Secret{}, errors.New("it is not UTF-8 text; store binary secrets as base64 or hex")
	}
	return New(string(b)), nil
}
