//go:build faultpoint

package faultpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// hitter makes a child of this test hit a point a few times.
const hitter = "FUNNEL_FAULTPOINT_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(hitter) != "" {
		for range 3 {
			Hit("a.b")
			Hit("a.c")
			_, _ = os.Stdout.WriteString("x")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKill: the process dies by SIGKILL in the middle of the chosen hit.
func TestKill(t *testing.T) {
	for _, c := range []struct {
		choice, out string
		killed      bool
	}{{"kill a.b 2", "x", true}, {"kill a.c 1", "", true}, {"kill a.b 4", "xxx", false}, {"kill z 1", "xxx", false}, {"", "xxx", false}} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), hitter+"=1", Variable+"="+c.choice)
		out, err := cmd.Output()
		exit, _ := errors.AsType[*exec.ExitError](err)
		killed := exit != nil && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if string(out) != c.out || killed != c.killed {
			t.Errorf("%q: wrote %q, killed %v (%v)", c.choice, out, killed, err)
		}
	}
}

// TestStop: who hits the point says so and waits for the file.
func TestStop(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go-on")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hitter+"=1", Variable+"=stop a.b 2 "+file)
	if out, err := cmd.Output(); err != nil || string(out) != "xxx" {
		t.Errorf("wrote %q, %v", out, err)
	}
	if _, err := os.Stat(file + ".reached"); err != nil {
		t.Error(err)
	}
}

// TestParse: what is not understood is an error, never a run without its fault.
func TestParse(t *testing.T) {
	for _, bad := range []string{"kill", "kill a", "kill a 0", "kill a x", "kill a 1 file", "stop a 1", "end a 1"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}
