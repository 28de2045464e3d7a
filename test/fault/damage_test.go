package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/store"
)

// damages are what can happen to a file: name and what it makes of it.
var damages = []struct {
	name string
	make func(data []byte, random *rand.Rand) []byte
}{
	{"a bit", func(data []byte, random *rand.Rand) []byte {
		data[random.IntN(len(data))] ^= 1 << random.IntN(8)
		return data
	}},
	{"a page of zeros", func(data []byte, random *rand.Rand) []byte {
		at := random.IntN(len(data)/4096+1) * 4096
		clear(data[at:min(at+4096, len(data))])
		return data
	}},
	{"a page of noise", func(data []byte, random *rand.Rand) []byte {
		at := random.IntN(len(data)/4096+1) * 4096
		for i := at; i < min(at+4096, len(data)); i++ {
			data[i] = byte(random.Uint32())
		}
		return data
	}},
	{"cut short", func(data []byte, random *rand.Rand) []byte { return data[:random.IntN(len(data))] }},
	{"gone", func([]byte, *rand.Rand) []byte { return nil }},
}

// TestF06Damage is F6: the files of a server that is off are damaged at random. It
// refuses to start and says so, or finds out and refuses what comes in, or the
// database is whole: what SQLite cannot see, a changed bit inside a value, is
// counted and told.
func TestF06Damage(t *testing.T) {
	smallTogether(t)
	n := 8
	if *full {
		n = 200
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(n)*3*time.Second)
	defer cancel()
	w := newWorld(t, faulty())
	w.start(t, nil)
	acked := w.fire(ctx, t, 20)
	w.waitIdle(ctx, t)
	w.kill() // what it wrote last is in the log
	data := filepath.Join(w.dir, "data")
	whole := map[string][]byte{}
	for _, name := range []string{store.FileName, store.FileName + "-wal"} {
		raw, err := os.ReadFile(filepath.Join(data, name))
		if err != nil || len(raw) == 0 {
			t.Fatalf("%s is not there: %v", name, err)
		}
		whole[name] = raw
	}
	random := rand.New(rand.NewPCG(*seed, 6))
	r := result{name: "F06 damage", count: len(acked)}
	refused, found, fine := 0, 0, 0
	for i := range n {
		kind := damages[i%len(damages)]
		name := []string{store.FileName, store.FileName + "-wal"}[random.IntN(2)]
		if kind.name == "gone" { // that the log alone was removed cannot be seen
			name = store.FileName
		}
		_ = os.Remove(filepath.Join(data, store.FileName+"-shm"))
		for file, raw := range whole {
			bad := append([]byte{}, raw...)
			if file == name {
				bad = kind.make(bad, random)
			}
			if err := os.WriteFile(filepath.Join(data, file), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if bad == nil {
				_ = os.Remove(filepath.Join(data, file))
			}
		}
		what := fmt.Sprintf("%s of %s", kind.name, name)
		before := len(w.log())
		p := w.launch(t, nil)
		if !w.answers(ctx, t, p) { // it says why, and what to do
			refused++
			if said := w.log()[before:]; p.killed() || !strings.Contains(said, "restore") || strings.Contains(said, "panic") {
				r.fault("%s: it ended with %v and said %q", what, p.cmd.ProcessState, said)
			}
			continue
		}
		w.awaitVerified(ctx, t)
		if ready, _ := w.ready(); !ready {
			found++
		} else {
			fine++
			w.kill()
			w.checkIntegrity(t, &r)
			continue
		}
		w.kill()
	}
	r.note("%d times damaged: %d refused at the start, %d found and refused afterwards, %d whole by SQLite's own check", n, refused, found, fine)
	r.mustBeClean(t)
}

// answers waits until the server answers, or has ended.
func (w *world) answers(ctx context.Context, t *testing.T, p *process) bool {
	t.Helper()
	for {
		if _, answered := w.ready(); answered {
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-ctx.Done():
			t.Fatal("the server neither answers nor ends")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// awaitVerified waits until the server has looked its database over.
func (w *world) awaitVerified(ctx context.Context, t *testing.T) {
	t.Helper()
	for !strings.Contains(w.says("/status"), `"verified":true`) {
		if ready, answered := w.ready(); answered && !ready {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the database is never verified: %s", w.says("/status"))
		}
		pause(5 * time.Millisecond)
	}
}
