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
	"slices"
	"time"

	"github.com/funnelsec/funnel/internal/store"
)

// ErrOccupied says that there is data that a restore would replace.
var ErrOccupied = errors.New("the data directory has a database already")

// Restore puts a backup into the data directory, after everything in it has been
// checked. What is there is kept in a directory beside it, if replace allows that;
// it returns where. Nobody may work on the data directory.
func Restore(ctx context.Context, file, dir string, replace bool, now time.Time) (m Manifest, aside string, err error) {
	wrong := func(err error) (Manifest, string, error) {
		return m, aside, fmt.Errorf("restoring %s: %w", file, err)
	}
	if _, err := os.Stat(filepath.Join(dir, store.FileName)); err == nil && !replace {
		return wrong(fmt.Errorf("%w: %s; give --replace to have it moved aside", ErrOccupied, dir))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return wrong(err)
	}
	temp, err := os.MkdirTemp(dir, ".restore-") // on the same disk as where it goes
	if err != nil {
		return wrong(err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if m, err = extract(file, temp); err != nil {
		return wrong(err)
	}
	database := filepath.Join(temp, store.FileName)
	if _, err := store.Check(ctx, database); err != nil {
		return wrong(err)
	}
	if err := store.MarkRestored(ctx, database, store.Restored{MadeAt: m.MadeAt, At: now.UTC()}); err != nil {
		return wrong(err)
	}
	if aside, err = os.MkdirTemp(dir, "before-restore-"+now.UTC().Format("20060102T150405Z-")); err != nil {
		return wrong(err)
	}
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Name)
		if err := syncFile(filepath.Join(temp, f.Name)); err != nil {
			return wrong(err)
		}
	}
	if err := store.Replace(dir, temp, aside, names); err != nil {
		return wrong(err)
	}
	if err := os.Remove(aside); err == nil { // it is empty: nothing was there before
		aside = ""
	}
	return m, aside, nil
}

// extract unpacks the archive into the directory and compares everything with its
// manifest.
func extract(file, dir string) (m Manifest, err error) {
	in, err := os.Open(file)
	if err != nil {
		return m, err
	}
	defer func() { _ = in.Close() }()
	r := tar.NewReader(in)
	h, err := r.Next()
	if err != nil || h.Name != manifestName || h.Size > 1<<20 {
		return m, errors.New("it is no backup of Funnel's: a tar archive that begins with manifest.json")
	}
	d := json.NewDecoder(r)
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("reading the manifest: %w", err)
	}
	if m.Format != format {
		return m, fmt.Errorf("the backup has the format %d, and this version of Funnel knows %d: use the version that made it (%s) or a later one", m.Format, format, m.Version)
	}
	var seen []string
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, fmt.Errorf("the backup is cut short or damaged: %w", err)
		}
		i := slices.IndexFunc(m.Files, func(f File) bool { return f.Name == h.Name })
		if i < 0 || h.Name != store.FileName && h.Name != tokensName || slices.Contains(seen, h.Name) {
			return m, fmt.Errorf("the backup holds %q, which does not belong there", h.Name)
		}
		if err := extractOne(r, filepath.Join(dir, h.Name), m.Files[i]); err != nil {
			return m, err
		}
		seen = append(seen, h.Name)
	}
	if len(seen) != len(m.Files) || !slices.Contains(seen, store.FileName) {
		return m, errors.New("the backup is cut short: it has not all the files of its manifest")
	}
	return m, nil
}

func extractOne(r io.Reader, path string, want File) (err error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), r)
	if err != nil {
		return fmt.Errorf("the backup is cut short or damaged: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); n != want.Size || got != want.SHA256 {
		return fmt.Errorf("%s in the backup is damaged: its SHA-256 is %s, and the manifest says %s", want.Name, got, want.SHA256)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
