// Package disk is a disk for tests that fails as real ones do. It is a file system
// in memory, mounted by FUSE, that knows what was flushed and what was not: when
// the power is cut, it forgets what was not, or keeps some of it as a disk's cache
// may. It can also fail to flush, take its time, or be full.
//
// The process that has the disk must not use it itself: one that waits for a page
// of its own file system may wait for ever. Its files are for a child process.
package disk

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pageSize is what a disk writes as a whole.
const pageSize = 4096

// Loss says what a power cut does with writes that were not flushed.
type Loss int

// The losses.
const (
	All    Loss = iota // all of them are gone
	Torn               // of each, any pages are there
	Prefix             // the first ones are there, of the last one a part
)

// Losses are all of them.
var Losses = []Loss{All, Torn, Prefix}

// String names the loss.
func (l Loss) String() string { return [...]string{"all", "torn", "prefix"}[l] }

// Faults are what the disk does wrong from now on.
type Faults struct {
	Sync      syscall.Errno // what flushing answers, 0: it works
	SyncTakes time.Duration // how long flushing takes
	Size      int64         // bytes after which the disk is full, 0: it never is
}

// Disk is a disk with one directory.
type Disk struct {
	mark func([]byte) []string // the names of what is written, see Options

	mu      sync.Mutex
	files   map[string]*file // as processes see them
	entries map[string]*file // the directory's entries that are flushed
	faults  Faults
	once    bool // the next failure to flush is the last
	off     bool // the power is cut
	flushed map[string]bool
	syncs   int
	created uint64
	mount   *mount
}

// Options set a disk up.
type Options struct {
	// Mark returns the names of the things in a piece of data, for Flushed. Nil: none.
	Mark func([]byte) []string
}

// New returns an empty disk.
func New(o Options) *Disk {
	return &Disk{mark: o.Mark, files: map[string]*file{}, entries: map[string]*file{}, flushed: map[string]bool{}}
}

// file is a file's data, as processes see it and as it is on the platters.
type file struct {
	now, durable []byte
	volatile     bool // never flushed: shared memory
	pending      []write
	mode         uint32
	ino          uint64
}

// write is one that was not flushed yet.
type write struct {
	at    int64
	data  []byte // nil: the file was cut to the size at
	marks []string
}

// apply makes the write to the data.
func (w write) apply(data []byte) []byte {
	end := w.at + int64(len(w.data))
	switch {
	case w.data == nil && w.at <= int64(len(data)):
		return data[:w.at]
	case end > int64(len(data)):
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[w.at:], w.data)
	return data
}

// Set changes what the disk does wrong.
func (d *Disk) Set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults, d.once = f, false
}

// FailOnce has the next flush of a file fail, and no other.
func (d *Disk) FailOnce(answer syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults.Sync, d.once = answer, true
}

// Failing reports whether the next flush will fail.
func (d *Disk) Failing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults.Sync != 0
}

// Full reports whether there is an end to the space.
func (d *Disk) Full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults.Size > 0
}

// Flushed reports whether something that Mark named was written and flushed.
func (d *Disk) Flushed(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushed[name]
}

// Syncs returns how often files were flushed.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Used returns how many bytes the files have.
func (d *Disk) Used() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *Disk) used() (n int64) {
	for _, f := range d.files {
		n += int64(len(f.now))
	}
	return n
}

// full reports whether so many bytes more are too many.
func (d *Disk) full(more int64) bool {
	return d.faults.Size > 0 && more > 0 && d.used()+more > d.faults.Size
}

// Cut cuts the power: from now on every access fails. What was not flushed is lost
// as the loss says, a directory's entries too. Whoever uses the disk is to be
// killed; then Mount makes what is left accessible.
func (d *Disk) Cut(loss Loss, random *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	d.files = maps.Clone(d.entries)
	for _, f := range d.files {
		f.lose(loss, random)
	}
}

// lose leaves of the file what a power cut leaves.
func (f *file) lose(loss Loss, random *rand.Rand) {
	pending := f.pending
	switch {
	case f.volatile || loss == All:
		pending = nil
	case loss == Prefix && len(pending) > 0:
		pending = pending[:random.IntN(len(pending)+1)]
		if n := len(pending); n > 0 && len(pending[n-1].data) > 1 {
			last := &pending[n-1]
			last.data = last.data[:1+random.IntN(len(last.data)-1)]
		}
	case loss == Torn:
		pending = torn(pending, random)
	}
	for _, w := range pending {
		f.durable = w.apply(f.durable)
	}
	f.now, f.pending = bytes.Clone(f.durable), nil
}

// torn returns any pages of the writes.
func torn(pending []write, random *rand.Rand) (kept []write) {
	for _, w := range pending {
		if w.data == nil {
			if random.IntN(2) == 0 {
				kept = append(kept, w)
			}
			continue
		}
		for at, rest := w.at, w.data; len(rest) > 0; {
			n := min(pageSize-at%pageSize, int64(len(rest)))
			if random.IntN(2) == 0 {
				kept = append(kept, write{at: at, data: rest[:n]})
			}
			at, rest = at+n, rest[n:]
		}
	}
	return kept
}

// Save writes the files to a directory, as processes see them.
func (d *Disk) Save(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.files {
		if strings.HasSuffix(name, "-shm") { // is nothing without the processes that shared it
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), f.now, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Damage lets change change a file's data, which is then on the disk.
func (d *Disk) Damage(name string, change func([]byte) []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		return fmt.Errorf("damaging %s: %w", name, os.ErrNotExist)
	}
	f.durable = change(bytes.Clone(f.now))
	f.now, f.pending = bytes.Clone(f.durable), nil
	return nil
}

// writeAt writes to a file.
func (d *Disk) writeAt(f *file, data []byte, at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.off:
		return syscall.EIO
	case d.full(at + int64(len(data)) - int64(len(f.now))):
		return syscall.ENOSPC
	}
	w := write{at: at, data: bytes.Clone(data)}
	f.now = w.apply(f.now)
	if f.volatile {
		return nil
	}
	if d.mark != nil {
		w.marks = d.mark(data)
	}
	f.pending = append(f.pending, w)
	return nil
}

// truncate cuts a file to the size, or makes it longer.
func (d *Disk) truncate(f *file, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.off:
		return syscall.EIO
	case d.full(size - int64(len(f.now))):
		return syscall.ENOSPC
	case size == int64(len(f.now)):
		return nil
	}
	w := write{at: size}
	if size > int64(len(f.now)) {
		w = write{at: int64(len(f.now)), data: make([]byte, size-int64(len(f.now)))}
	}
	f.now = w.apply(f.now)
	if !f.volatile {
		f.pending = append(f.pending, w)
	}
	return nil
}

// sync flushes a file, or with nil the directory. After a failure the writes are
// neither on the disk nor tried again: that is what a kernel makes of it.
func (d *Disk) sync(f *file) error {
	d.mu.Lock()
	takes := d.faults.SyncTakes
	d.mu.Unlock()
	if takes > 0 {
		time.Sleep(takes) // the fault itself
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return syscall.EIO
	}
	d.syncs++
	if d.faults.Sync != 0 {
		answer := d.faults.Sync
		if f != nil {
			f.pending = nil
		}
		if d.once {
			d.faults.Sync, d.once = 0, false
		}
		return answer
	}
	if f == nil {
		d.entries = maps.Clone(d.files)
		return nil
	}
	for _, w := range f.pending {
		f.durable = w.apply(f.durable)
		for _, name := range w.marks {
			d.flushed[name] = true
		}
	}
	f.pending = nil
	return nil
}

// errOff says that a disk without power was to be mounted while it is used.
var errOff = errors.New("the disk is mounted")
