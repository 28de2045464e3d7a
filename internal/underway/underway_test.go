package underway_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel/internal/underway"
)

// The environment of a child, which is this test as a process that dies.
const childDir, childDies = "UNDERWAY_DIR", "UNDERWAY_DIES"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		live(dir, os.Getenv(childDies))
	}
	os.Exit(m.Run())
}

// live works on the runs 3, 4 and 6, the last one alone, and ends as told.
func live(dir, dies string) {
	book, _, err := underway.Open(dir, "child", time.Now())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	three, four, five := book.Begin(3), book.Begin(4), book.Begin(5)
	five()
	book.BeginAlone(6, time.Hour) // in the place of 5
	switch dies {
	case "in order":
		three()
		four()
		_ = book.Close()
		os.Exit(0)
	case "exit":
		os.Exit(3)
	case "overflow":
		var deep func(int) int
		deep = func(n int) int { return deep(n+1) + n }
		deep(0)
	case "panic":
		go func() { panic("over") }()
	}
	fmt.Println("works")
	time.Sleep(time.Hour)
}

// TestHowItEnded: the next process knows what the one before worked on, and tells
// a crash from an end that came from outside.
func TestHowItEnded(t *testing.T) {
	dir := t.TempDir()
	var deaths, crashes int64
	for _, c := range []struct{ dies, said string }{
		{"overflow", "fatal error in github.com/funnelsec/funnel/internal/underway_test.live.func1"}, {"in order", ""}, {"exit", ""}, {"panic", "panic: over"}, {"kill", ""}, {"quit", ""}, {"in order", ""},
	} {
		began := time.Now().Truncate(time.Second)
		child(t, dir, c.dies)
		book, past, err := underway.Open(dir, "test", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if died := c.dies != "in order"; died {
			deaths++
			slices.Sort(past.Runs)
			if !past.Died() || !slices.Equal(past.Runs, []int64{3, 4, 6}) || past.Alone != 6 || past.Node != "child" || past.Started.Before(began) {
				t.Errorf("after %s: %+v", c.dies, past)
			}
		} else if past.Died() {
			t.Errorf("after an end in order: %+v", past)
		}
		if c.said != "" {
			crashes++
			if text, err := os.ReadFile(filepath.Join(dir, "last-crash.log")); err != nil || !strings.HasPrefix(strings.TrimSpace(string(text)), past.Trace[:50]) {
				t.Errorf("after %s, the last crash is %.100q (%v)", c.dies, text, err)
			}
		}
		if past.Crashed() != (c.said != "") || past.Said() != c.said {
			t.Errorf("after %s, it is said %q of %.100q", c.dies, past.Said(), past.Trace)
		}
		if past.Deaths != deaths || past.Crashes != crashes {
			t.Errorf("after %s there were %d deaths and %d crashes, want %d and %d", c.dies, past.Deaths, past.Crashes, deaths, crashes)
		}
		if _, _, err := underway.Open(dir, "second", time.Now()); err == nil {
			t.Error("a second process has the book")
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAloneForATime: a run is alone for the time at the most, and what has ended is
// not written again when the time is over.
func TestAloneForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		book, _, err := underway.Open(dir, "n", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		is := func(what string, alone int64, runs ...int64) {
			t.Helper()
			content, err := os.ReadFile(filepath.Join(dir, "underway"))
			next := t.TempDir()
			if err == nil {
				err = os.WriteFile(filepath.Join(next, "underway"), content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			after, past, err := underway.Open(next, "next", time.Now())
			if err != nil || past.Alone != alone || !slices.Equal(past.Runs, runs) {
				t.Errorf("%s: %+v %v, want %v under way and %d alone", what, past, err, runs, alone)
			}
			if err := after.Close(); err != nil {
				t.Error(err)
			}
		}
		end := book.BeginAlone(8, 5*time.Second)
		time.Sleep(4 * time.Second)
		is("before the time is over", 8, 8)
		time.Sleep(2 * time.Second)
		is("after it", 0, 8)
		end()
		book.BeginAlone(9, 5*time.Second)()
		time.Sleep(6 * time.Second)
		is("when it has ended before", 0)
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestForeignFile: what is no book is begun anew.
func TestForeignFile(t *testing.T) {
	for _, content := range []string{"", "x", strings.Repeat("y", 100_000)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "underway"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		book, past, err := underway.Open(dir, "n", time.Now())
		if err != nil || past.Died() || past.Deaths != 0 {
			t.Errorf("from %.3q: %+v %v", content, past, err)
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	}
	var none *underway.Book
	none.Begin(1)()
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

// child has a process live and die in the directory.
func child(t *testing.T, dir, dies string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childDies+"="+dies)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	signal := map[string]syscall.Signal{"kill": syscall.SIGKILL, "quit": syscall.SIGQUIT}[dies]
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "works" && signal != 0 {
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
}
