// Package underway keeps outside the database which runs the process works on, so
// that the next process knows at whose work this one ended, and whether it crashed
// by itself or was ended from outside.
//
// What it keeps need not survive a power cut, for then nothing is to be learned
// from it: a run's slot is written with one small write that is never flushed. Such
// a write survives the end of the process, however that comes. Only the new beginning
// is flushed, lest after a power cut an old death is read once more.
package underway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The files in the data directory.
const (
	fileName  = "underway"
	crashName = "crash.log"      // of the process that runs: what Go writes when it crashes
	lastName  = "last-crash.log" // of the process that crashed last
)

// The file: a header, then a slot of 8 bytes for each run under way, 0 when free.
// Numbers are little-endian. A run that is alone has the bit aloneBit.
const (
	magic      = "FUNNEL\x00\x01"
	atDeaths   = 8  // how many processes ended without saying so, in all
	atCrashes  = 16 // how many of these crashed by themselves
	atLast     = 24 // when the process was started of which the latest death is, in seconds since 1970
	atStarted  = 32 // when the process was started that runs, 0 when it has ended in order
	atNode     = 40 // the node, 32 bytes
	headerSize = 72
	slots      = 4096
	aloneBit   = 1 << 62
)

// Past is what is known of the processes before this one.
type Past struct {
	Deaths  int64     // how many ended without saying so, in all
	Crashes int64     // how many of these crashed by themselves
	Started time.Time // when the one was started that ended so last, zero: none
	// Trace is what the process before this one said when it crashed: the first
	// lines. Empty: it did not crash, or left no trace, as with kill -9.
	Trace string
	Node  string  // the process before this one, as a node
	Runs  []int64 // which it worked on when it ended
	Alone int64   // of these, the one beside which nothing was begun; 0: none
}

// Died reports whether the process before this one ended without saying so.
func (p Past) Died() bool { return p.Runs != nil }

// Crashed reports whether it crashed by itself, as far as can be seen.
func (p Past) Crashed() bool { return p.Trace != "" }

// Said returns in one line what the process said when it crashed, empty if it did
// not. Of some errors the runtime keeps only where they were.
func (p Past) Said() string {
	first, rest, _ := strings.Cut(p.Trace, "\n")
	if first != "runtime stack:" {
		return first
	}
	if _, rest, found := strings.Cut(rest, " [running]:\n"); found {
		frame, _, _ := strings.Cut(rest, "\n")
		function, _, _ := strings.Cut(frame, "(0x")
		return "fatal error in " + function
	}
	return "fatal error"
}

// Book is this process's. A nil Book keeps nothing.
type Book struct {
	file, crash *os.File

	mu   sync.Mutex
	free []int64 // offsets of slots
	top  int64   // the first offset that was not used yet
}

// Open reads what the process before this one left, and begins anew for the node.
// Only one process has the book of a directory: for a second there is none, and
// an error that says so.
func Open(dir, node string, now time.Time) (*Book, Past, error) {
	var past Past
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, past, fmt.Errorf("keeping what is under way: %w", err)
	}
	b := &Book{file: f, top: headerSize}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		past, err = b.renew(dir, node, now)
	}
	if err != nil {
		return nil, past, errors.Join(fmt.Errorf("keeping what is under way in %s: %w", f.Name(), err), f.Close())
	}
	return b, past, nil
}

func (b *Book) renew(dir, node string, now time.Time) (past Past, err error) {
	content, err := io.ReadAll(io.LimitReader(b.file, headerSize+8*slots))
	if err != nil {
		return past, err
	}
	trace := readTrace(filepath.Join(dir, crashName))
	if len(content) >= headerSize && string(content[:len(magic)]) == magic {
		past = read(content, trace)
	}
	if trace != "" {
		if err := os.Rename(filepath.Join(dir, crashName), filepath.Join(dir, lastName)); err != nil {
			return past, err
		}
	}
	fresh := make([]byte, headerSize+8*slots)
	copy(fresh, magic)
	put := binary.LittleEndian.PutUint64
	put(fresh[atDeaths:], uint64(past.Deaths))
	put(fresh[atCrashes:], uint64(past.Crashes))
	if !past.Started.IsZero() {
		put(fresh[atLast:], uint64(past.Started.Unix()))
	}
	put(fresh[atStarted:], uint64(now.Unix()))
	copy(fresh[atNode:headerSize], node)
	if _, err := b.file.WriteAt(fresh, 0); err != nil { // all of it: a full disk does not matter later
		return past, err
	}
	if err := b.file.Sync(); err != nil {
		return past, err
	}
	if b.crash, err = os.OpenFile(filepath.Join(dir, crashName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return past, err
	}
	return past, debug.SetCrashOutput(b.crash, debug.CrashOptions{})
}

// read takes the past from the file's content.
func read(content []byte, trace string) Past {
	get := func(at int) int64 { return int64(binary.LittleEndian.Uint64(content[at:])) }
	p := Past{Deaths: get(atDeaths), Crashes: get(atCrashes), Node: strings.TrimRight(string(content[atNode:headerSize]), "\x00")}
	if last := get(atLast); last != 0 {
		p.Started = time.Unix(last, 0)
	}
	started := get(atStarted)
	if started == 0 {
		return p
	}
	p.Runs, p.Trace, p.Started = []int64{}, trace, time.Unix(started, 0)
	p.Deaths++
	if trace != "" {
		p.Crashes++
	}
	for at := headerSize; at+8 <= len(content); at += 8 {
		run := get(at)
		if run&aloneBit != 0 {
			run &^= aloneBit
			p.Alone = run
		}
		if run > 0 {
			p.Runs = append(p.Runs, run)
		}
	}
	return p
}

// readTrace returns the first lines of a crash's trace, empty if there is none. A
// trace that somebody asked for with a signal is no crash.
func readTrace(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	head, _ := io.ReadAll(io.LimitReader(f, 2000))
	text := strings.TrimSpace(string(head))
	if strings.HasPrefix(text, "SIG") {
		return ""
	}
	return text
}

// Begin notes that a run is under way until end is called.
func (b *Book) Begin(run int64) (end func()) {
	_, end = b.begin(run)
	return end
}

// BeginAlone is Begin of a run beside which nothing is begun for the time at the most.
func (b *Book) BeginAlone(run int64, most time.Duration) (end func()) {
	put, free := b.begin(run | aloneBit)
	var mu sync.Mutex
	over := false
	timer := time.AfterFunc(most, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			put(run)
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		free()
	}
}

// begin writes a value until end is called; put writes another in its place.
func (b *Book) begin(value int64) (put func(int64), end func()) {
	if b == nil {
		return func(int64) {}, func() {}
	}
	b.mu.Lock()
	at := b.top
	if n := len(b.free); n > 0 {
		at, b.free = b.free[n-1], b.free[:n-1]
	} else {
		b.top += 8
	}
	b.mu.Unlock()
	if at >= headerSize+8*slots {
		return func(int64) {}, func() {} // more workers than anybody has
	}
	put = func(value int64) { b.put(at, value) }
	put(value)
	return put, func() {
		b.put(at, 0)
		b.mu.Lock()
		b.free = append(b.free, at)
		b.mu.Unlock()
	}
}

// put writes a number. That it can fail is of no consequence: a run is then not
// suspected that should be, or the other way round, until the next time.
func (b *Book) put(at, value int64) {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], uint64(value))
	_, _ = b.file.WriteAt(raw[:], at)
}

// Close notes that the process ends in order.
func (b *Book) Close() error {
	if b == nil {
		return nil
	}
	b.put(atStarted, 0)
	return errors.Join(debug.SetCrashOutput(nil, debug.CrashOptions{}), b.crash.Close(), b.file.Close())
}
