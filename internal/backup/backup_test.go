package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/backup"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// accept stores an event.
func accept(t *testing.T, s *store.Store, key string) {
	t.Helper()
	_, _, _, err := s.Accept(record.Delivery{Source: "s", ReceivedAt: noon}, record.NewEvent{Event: record.Event{Source: "s", Trigger: "t.x", Key: key, ReceivedAt: noon, Body: []byte("{}"), Data: []byte("{}"), Disposition: record.Unmatched}})
	must(t, err)
}

// keys returns the keys of the events in a data directory.
func keys(t *testing.T, dir string) (list []string) {
	t.Helper()
	s, err := store.Open(dir)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	events, err := s.Events(t.Context(), store.EventFilter{Page: store.Page{Limit: 100}})
	must(t, err)
	for _, e := range events {
		list = append(list, e.Key)
	}
	slices.Sort(list)
	return list
}

// made returns a data directory with a server's data, still open, and a backup that
// was made before its last event.
func made(t *testing.T) (s *store.Store, dir, file string) {
	t.Helper()
	dir, file = filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "b.tar")
	s, err := store.Open(dir)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, os.WriteFile(filepath.Join(dir, "tokens.json"), []byte(`{"version":1}`), 0o600))
	accept(t, s, "one")
	m, err := backup.Write(t.Context(), dir, file, "1.2.3", noon)
	must(t, err)
	if m.Schema == 0 || len(m.Files) != 2 || !m.MadeAt.Equal(noon) {
		t.Errorf("the manifest is %+v", m)
	}
	accept(t, s, "two")
	return s, dir, file
}

// TestBackupAndRestore: a copy of the moment goes back, what is there is kept, and
// the database knows that it was restored.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s, dir, file := made(t)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the backup: %v %v", info.Mode(), err)
	}
	if _, err := backup.Write(t.Context(), dir, file, "1.2.3", noon); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a backup takes another's place: %v", err)
	}
	if _, _, err := backup.Restore(t.Context(), file, dir, true, noon); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a restore beside a server that runs: %v", err)
	}
	must(t, s.Close())
	if _, _, err := backup.Restore(t.Context(), file, dir, false, noon); !errors.Is(err, backup.ErrOccupied) {
		t.Errorf("data is replaced without being asked to: %v", err)
	}
	if got := keys(t, dir); !slices.Equal(got, []string{"one", "two"}) {
		t.Fatalf("refused restores have changed the data: %v", got)
	}
	must(t, os.WriteFile(filepath.Join(dir, "tokens.json"), []byte("newer"), 0o600))
	_, aside, err := backup.Restore(t.Context(), file, dir, true, noon.Add(time.Hour))
	must(t, err)
	if got := keys(t, dir); !slices.Equal(got, []string{"one"}) {
		t.Errorf("there are the events %v, want what the backup has", got)
	}
	if got := keys(t, aside); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("aside are the events %v, want what was there", got)
	}
	if tokens, err := os.ReadFile(filepath.Join(dir, "tokens.json")); err != nil || string(tokens) != `{"version":1}` {
		t.Errorf("the tokens are %q (%v)", tokens, err)
	}
	s, err = store.Open(dir)
	must(t, err)
	defer func() { _ = s.Close() }()
	if r, err := s.Restored(); err != nil || !r.MadeAt.Equal(noon) || !r.At.Equal(noon.Add(time.Hour)) {
		t.Errorf("it says of its restore %+v (%v)", r, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".restore-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestRestoreElsewhere: a machine that has nothing yet.
func TestRestoreElsewhere(t *testing.T) {
	t.Parallel()
	_, _, file := made(t)
	dir := filepath.Join(t.TempDir(), "new", "data")
	_, aside, err := backup.Restore(t.Context(), file, dir, false, noon)
	must(t, err)
	if got := keys(t, dir); !slices.Equal(got, []string{"one"}) || aside != "" {
		t.Errorf("there are the events %v, aside is %q", got, aside)
	}
}

// TestInterruptedRestore: half a restore is not taken for data.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	s, dir, file := made(t)
	must(t, s.Close())
	must(t, os.WriteFile(filepath.Join(dir, "restoring"), nil, 0o600), os.Remove(filepath.Join(dir, store.FileName)))
	if s, err := store.Open(dir); !errors.Is(err, store.ErrHalfRestored) || !strings.Contains(err.Error(), "funnel restore") {
		t.Fatalf("it is opened: %v %v", s, err)
	}
	_, _, err := backup.Restore(t.Context(), file, dir, false, noon)
	must(t, err)
	if got := keys(t, dir); !slices.Equal(got, []string{"one"}) {
		t.Errorf("after another try there are %v", got)
	}
}

// TestBadBackups: what is not whole, not ours or too new is refused, and changes
// nothing.
func TestBadBackups(t *testing.T) {
	t.Parallel()
	s, dir, file := made(t)
	must(t, s.Close())
	good, err := os.ReadFile(file)
	must(t, err)
	newer := func(t *testing.T) []byte {
		t.Helper()
		other := filepath.Join(t.TempDir(), "data")
		_, _, err := backup.Restore(t.Context(), file, other, false, noon)
		must(t, err)
		db, err := sql.Open("sqlite", "file:"+filepath.Join(other, store.FileName))
		must(t, err)
		_, err = db.ExecContext(t.Context(), "INSERT INTO schema_version (version, applied_at, compatible) VALUES (999, 0, 999)")
		must(t, err, db.Close())
		path := filepath.Join(t.TempDir(), "n.tar")
		// Write refuses such a copy, so the archive is made by hand.
		raw, err := os.ReadFile(filepath.Join(other, store.FileName))
		must(t, err)
		return rewrite(t, good, path, raw)
	}
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":          {nil, "no backup"},
		"text":             {[]byte(strings.Repeat("hello ", 1000)), "no backup"},
		"cut in the head":  {good[:100], "no backup"},
		"cut short":        {good[:len(good)/2], "cut short"},
		"one byte differs": {flip(good, 6000), "damaged"},
		"a further file":   {appendFile(t, good, "../evil"), "does not belong"},
		"newer":            {newer(t), "newer version"},
	} {
		path := filepath.Join(t.TempDir(), "bad.tar")
		must(t, os.WriteFile(path, c.data, 0o600))
		if _, _, err := backup.Restore(t.Context(), path, dir, true, noon); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
		}
	}
	if got := keys(t, dir); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("bad backups have changed the data: %v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "evil")); err == nil {
		t.Error("a file was written outside")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	into := filepath.Join(t.TempDir(), "c.tar")
	if _, err := backup.Write(gone, dir, into, "1", noon); err == nil {
		t.Error("a backup that was cancelled succeeds")
	}
	if left, _ := os.ReadDir(filepath.Dir(into)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func flip(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 1
	return out
}

// entries reads an archive.
func entries(t *testing.T, data []byte, do func(h *tar.Header, body []byte)) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		must(t, err)
		body, err := io.ReadAll(r)
		must(t, err)
		do(h, body)
	}
}

func appendFile(t *testing.T, data []byte, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	entries(t, data, func(h *tar.Header, body []byte) {
		must(t, w.WriteHeader(h))
		_, err := w.Write(body)
		must(t, err)
	})
	must(t, w.WriteHeader(&tar.Header{Name: name, Size: 1, Mode: 0o600}))
	_, err := w.Write([]byte("x"))
	must(t, err, w.Close())
	return out.Bytes()
}

// rewrite makes a backup with another database, with the right sums.
func rewrite(t *testing.T, data []byte, path string, database []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	sums := map[string]string{}
	entries(t, data, func(h *tar.Header, body []byte) {
		if h.Name == store.FileName {
			sums["old"], sums["new"] = hash(body), hash(database)
			sums["oldsize"], sums["newsize"] = size(body), size(database)
		}
	})
	entries(t, data, func(h *tar.Header, body []byte) {
		switch h.Name {
		case "manifest.json":
			body = []byte(strings.NewReplacer(sums["old"], sums["new"], sums["oldsize"], sums["newsize"]).Replace(string(body)))
		case store.FileName:
			body = database
		}
		h.Size = int64(len(body))
		must(t, w.WriteHeader(h))
		_, err := w.Write(body)
		must(t, err)
	})
	must(t, w.Close(), os.WriteFile(path, out.Bytes(), 0o600))
	return out.Bytes()
}

func hash(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// size is as the manifest writes it.
func size(data []byte) string { return `"size": ` + strconv.Itoa(len(data)) }
