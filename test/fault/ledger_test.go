package fault

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ledger is the load client's own memory of what it sent and of what was
// acknowledged. Each entry is on the disk before the client goes on, so that it
// can be held against what became of the alerts whatever happened to whom.
type ledger struct {
	path    string
	entries chan entry
	stop    chan struct{}
	ended   chan struct{}
}

type entry struct {
	line string
	done chan error
}

// newLedger opens a new ledger in a directory of the test.
func newLedger(t *testing.T) *ledger {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{path: path, entries: make(chan entry, 256), stop: make(chan struct{}), ended: make(chan struct{})}
	go l.write(f)
	t.Cleanup(func() { close(l.stop); <-l.ended; _ = f.Close() })
	return l
}

// write puts whatever waits into the file by one write and one fsync.
func (l *ledger) write(f *os.File) {
	defer close(l.ended)
	for {
		var group []entry
		select {
		case e := <-l.entries:
			group = append(group, e)
		case <-l.stop:
			return
		}
		for more := true; more && len(group) < cap(l.entries); {
			select {
			case e := <-l.entries:
				group = append(group, e)
			default:
				more = false
			}
		}
		var text strings.Builder
		for _, e := range group {
			text.WriteString(e.line)
		}
		_, err := f.WriteString(text.String())
		if err == nil {
			err = f.Sync()
		}
		for _, e := range group {
			e.done <- err
		}
	}
}

func (l *ledger) put(t *testing.T, word, key string) {
	t.Helper()
	e := entry{line: word + " " + key + "\n", done: make(chan error, 1)}
	l.entries <- e
	if err := <-e.done; err != nil {
		t.Errorf("writing the client's ledger: %v", err)
	}
}

// sent notes, on the disk, that the alert is about to be sent.
func (l *ledger) sent(t *testing.T, key string) { t.Helper(); l.put(t, "sent", key) }

// acked notes, on the disk, that the alert was acknowledged.
func (l *ledger) acked(t *testing.T, key string) { t.Helper(); l.put(t, "acked", key) }

// read returns how often each alert was sent and acknowledged, from the file.
func (l *ledger) read(t *testing.T) (sent, acked map[string]int) {
	t.Helper()
	f, err := os.Open(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	sent, acked = map[string]int{}, map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch word, key, _ := strings.Cut(lines.Text(), " "); word {
		case "sent":
			sent[key]++
		case "acked":
			acked[key]++
		}
	}
	return sent, acked
}

// acknowledged returns the alerts that were acknowledged at least once.
func (l *ledger) acknowledged(t *testing.T) map[string]bool {
	t.Helper()
	_, acked := l.read(t)
	out := map[string]bool{}
	for key := range acked {
		out[key] = true
	}
	return out
}
