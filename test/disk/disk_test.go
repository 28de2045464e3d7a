package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/funnelsec/funnel/test/disk"
)

// mounted returns a disk and where it is. This process may use it, for it maps
// none of the files into its memory.
func mounted(t *testing.T, o disk.Options) (*disk.Disk, string) {
	t.Helper()
	d, dir := disk.New(o), t.TempDir()
	mount(t, d, dir)
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d, dir
}

func mount(t *testing.T, d *disk.Disk, dir string) {
	t.Helper()
	err := d.Mount(dir)
	if errors.Is(err, disk.ErrAbsent) {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// must is for what has to work.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	must(t, f.Sync(), f.Close())
}

// cut cuts the power and has it come back.
func cut(t *testing.T, d *disk.Disk, dir string, loss disk.Loss, seed uint64) {
	t.Helper()
	d.Cut(loss, rand.New(rand.NewPCG(seed, 0)))
	must(t, d.Unmount())
	mount(t, d, dir)
}

// TestPowerCut: what was flushed is there, and what was not is not, the names of
// files too.
func TestPowerCut(t *testing.T) {
	d, dir := mounted(t, disk.Options{Mark: func(b []byte) []string { return []string{string(b)} }})
	f, err := os.Create(filepath.Join(dir, "a"))
	must(t, err)
	write := func(text string) {
		_, err := f.WriteString(text)
		must(t, err)
	}
	write("one")
	if d.Flushed("one") {
		t.Error("one is said to be flushed before it is")
	}
	must(t, f.Sync())
	syncDir(t, dir)
	write("two")
	if !d.Flushed("one") || d.Flushed("two") || d.Syncs() != 2 {
		t.Errorf("flushed: one %v, two %v, by %d syncs; want one of them by 2", d.Flushed("one"), d.Flushed("two"), d.Syncs())
	}
	must(t, os.WriteFile(filepath.Join(dir, "b"), []byte("b"), 0o600), os.Remove(filepath.Join(dir, "a")))
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was removed is there: %v", err)
	}
	must(t, f.Close())
	cut(t, d, dir, disk.All, 1)
	text, err := os.ReadFile(filepath.Join(dir, "a"))
	if string(text) != "one" || err != nil {
		t.Errorf("a holds %q (%v) after the cut, want what was flushed", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name that was never flushed is there after the cut: %v", err)
	}
}

// TestLosses: a cut may keep pages or the first writes, never what was not written.
func TestLosses(t *testing.T) {
	d, dir := mounted(t, disk.Options{})
	old, young := bytes.Repeat([]byte("o"), 8*4096), bytes.Repeat([]byte("y"), 4096)
	path := filepath.Join(dir, "f")
	seen := map[string]bool{}
	for seed := range uint64(30) {
		loss := disk.Losses[seed%3]
		must(t, os.WriteFile(path, old, 0o600))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		must(t, f.Sync())
		syncDir(t, dir)
		for page := range int64(8) {
			_, err := f.WriteAt(young, page*4096)
			must(t, err)
		}
		must(t, f.Close())
		cut(t, d, dir, loss, seed)
		data, err := os.ReadFile(path)
		must(t, err)
		kept := ""
		for page := range 8 {
			switch part := data[page*4096 : (page+1)*4096]; {
			case bytes.Equal(part, young):
				kept += "y"
			case bytes.Equal(part, old[:4096]):
				kept += "o"
			default:
				kept += "-"
			}
		}
		seen[fmt.Sprintf("%v %s", loss, kept)] = true
		if loss == disk.All && kept != "oooooooo" {
			t.Errorf("a cut that loses all kept %s", kept)
		}
	}
	if !seen["all oooooooo"] || len(seen) < 12 {
		t.Errorf("the cuts are all alike: %v", seen)
	}
}

// TestFaults: a disk that is full, or fails to flush.
func TestFaults(t *testing.T) {
	d, dir := mounted(t, disk.Options{})
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, []byte("safe"), 0o600))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	must(t, f.Sync())
	syncDir(t, dir)
	d.Set(disk.Faults{Size: 10_000})
	if _, err := f.WriteAt(make([]byte, 9_000), 4); err != nil {
		t.Errorf("there is space: %v", err)
	}
	var space syscall.Statfs_t
	must(t, syscall.Statfs(dir, &space))
	if space.Bavail != 0 {
		t.Errorf("%d blocks are said to be free", space.Bavail)
	}
	if _, err := f.WriteAt(make([]byte, 9_000), 9_000); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("there is no space: %v", err)
	}
	d.Set(disk.Faults{Sync: syscall.EIO})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("flushing fails: %v", err)
	}
	d.Set(disk.Faults{})
	must(t, f.Sync(), f.Close()) // as a kernel's: the second one knows nothing of what was lost
	cut(t, d, dir, disk.All, 1)
	text, err := os.ReadFile(path)
	if string(text) != "safe" || err != nil {
		t.Errorf("after a flush that failed and one that did not there is %q (%v)", text, err)
	}
}
