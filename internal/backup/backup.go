// Package backup writes the data of a server to one file and reads it back.
//
// The file is a tar archive: manifest.json first, which names the others with
// their sizes and SHA-256 sums, then funnel.db, a copy of the database as it was
// at one moment, and tokens.json, the API's tokens. The secrets of the configuration
// are not in it; what alerts and answers held is.
package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/funnelsec/funnel/internal/store"
)

const (
	manifestName = "manifest.json"
	tokensName   = "tokens.json"
	format       = 1
)

// Manifest says what is in a backup.
type Manifest struct {
	Format  int       `json:"format"`
	Version string    `json:"funnel"` // which made it
	MadeAt  time.Time `json:"made_at"`
	Schema  int       `json:"schema"` // version of the database's
	Files   []File    `json:"files"`
}

// File is one in a backup.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Write writes a backup of the data directory to a new file, which is there when it
// is complete and on the disk, or not at all. A server may work meanwhile.
func Write(ctx context.Context, dir, file, version string, now time.Time) (m Manifest, err error) {
	if _, err := os.Lstat(file); err == nil {
		return m, fmt.Errorf("writing the backup: %s exists: choose another name", file)
	}
	temp, err := os.MkdirTemp(filepath.Dir(file), ".funnel-backup-")
	if err != nil {
		return m, fmt.Errorf("writing the backup: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	m = Manifest{Format: format, Version: version, MadeAt: now.UTC()}
	copied := filepath.Join(temp, store.FileName)
	if err := store.Copy(ctx, dir, copied); err != nil {
		return m, err
	}
	if m.Schema, err = store.Check(ctx, copied); err != nil {
		return m, fmt.Errorf("checking the copy: %w", err)
	}
	paths := []string{copied}
	if _, err := os.Stat(filepath.Join(dir, tokensName)); err == nil {
		paths = append(paths, filepath.Join(dir, tokensName))
	}
	part := filepath.Join(temp, "part")
	if err := writeArchive(part, &m, paths); err != nil {
		return m, fmt.Errorf("writing the backup: %w", err)
	}
	if err := os.Link(part, file); err != nil { // unlike a rename it takes no other's place
		return m, fmt.Errorf("writing the backup: %w", err)
	}
	return m, syncDir(filepath.Dir(file))
}

func writeArchive(path string, m *Manifest, paths []string) (err error) {
	for _, p := range paths {
		f, err := sum(p)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(text)), ModTime: m.MadeAt}); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	for i, p := range paths {
		if err := w.WriteHeader(&tar.Header{Name: m.Files[i].Name, Mode: 0o600, Size: m.Files[i].Size, ModTime: m.MadeAt}); err != nil {
			return err
		}
		if err := add(w, p); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), out.Sync())
}

func add(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(w, f)
	return err
}

func sum(path string) (File, error) {
	h := sha256.New()
	if err := add(h, path); err != nil {
		return File{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	return File{Name: filepath.Base(path), Size: info.Size(), SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
