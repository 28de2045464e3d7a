package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCommands uses the program's commands from the outside.
func TestCommands(t *testing.T) {
	t.Parallel()
	path := program(t)
	t.Run("demo once", func(t *testing.T) {
		out := run(t, path, 0, "demo", "--once", "--every", "50ms", "--listen", "127.0.0.1:0")
		for _, want := range []string{"8 alerts accepted, 7 tickets opened, 1 repeats", "Every alert has its ticket, every ticket has each comment exactly once."} {
			if !strings.Contains(out, want) {
				t.Errorf("the demo does not say %q:\n%s", want, out)
			}
		}
	})
	t.Run("demo killed", func(t *testing.T) { killed(t, path) })
	t.Run("version", func(t *testing.T) {
		if out := run(t, path, 0, "version"); !strings.HasPrefix(out, "funnel ") {
			t.Errorf("version prints %q", out)
		}
	})
	t.Run("check", func(t *testing.T) {
		if out := run(t, path, 0, "check", "--config", "../../examples/funnel.yaml"); !strings.Contains(out, "is fine") {
			t.Errorf("the example is not fine:\n%s", out)
		}
		if out := run(t, path, 78, "check", "--config", "testdata/wrong.yaml"); !strings.Contains(out, "wrong.yaml:4:5") || !strings.Contains(out, "jirra") {
			t.Errorf("the wrong file is not told by line and column:\n%s", out)
		}
		run(t, path, 78, "serve", "--config", "testdata/absent.yaml")
	})
	t.Run("usage", func(t *testing.T) {
		if out := run(t, path, 2, "serv"); !strings.Contains(out, "serve") {
			t.Errorf("a misspelt command gets no suggestion:\n%s", out)
		}
		if out := run(t, path, 0, "list", "actions"); !strings.Contains(out, "jira.open_ticket") {
			t.Errorf("list actions prints:\n%s", out)
		}
		if out := run(t, path, 1, "list", "runs"); !strings.Contains(out, "FUNNEL_TOKEN") {
			t.Errorf("list runs without a token prints:\n%s", out)
		}
	})
}

// run runs the program and returns all of its output; the exit code has to be
// as wanted.
func run(t *testing.T, path string, code int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(cmd.Environ(), "FUNNEL_TOKEN=")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("funnel %s: %v", strings.Join(args, " "), err)
	case cmd.ProcessState.ExitCode() != code:
		t.Fatalf("funnel %s ended with %d, want %d:\n%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), code, out)
	}
	return string(out)
}

var killLine = regexp.MustCompile(`^\s+kill -9 (\d+)$`)

// killed follows the demo's own suggestion: kill -9 of the server, in the middle.
func killed(t *testing.T, path string) {
	if runtime.GOOS == "windows" {
		t.Skip("the demo's suggestion is a Unix command")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "demo", "--once", "--every", "200ms", "--alerts", "12", "--listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	lines, pid, shot := bufio.NewScanner(io.TeeReader(stdout, &all)), 0, false
	for lines.Scan() {
		if m := killLine.FindStringSubmatch(lines.Text()); m != nil {
			pid, _ = strconv.Atoi(m[1])
		}
		if pid != 0 && !shot && strings.Contains(lines.Text(), "enrich_") {
			shot = true
			if out, err := exec.Command("kill", "-9", strconv.Itoa(pid)).CombinedOutput(); err != nil {
				t.Fatalf("killing the server: %v %s", err, out)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !shot {
		t.Fatalf("the demo ended with %v, killed: %v\n%s%s", err, shot, all.String(), stderr.String())
	}
	if out := all.String(); !strings.Contains(out, "The server died. It is started again (1).") || !strings.Contains(out, "exactly once") {
		t.Errorf("after the kill the demo says:\n%s", out)
	}
}
