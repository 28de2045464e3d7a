// Package e2e runs the built program from the outside, as a newcomer would. With
// FUNNEL_E2E_REAL=1, as make e2e sets it, it also uses real parts that it
// installs: a directory server, nginx, a browser, clients that others wrote.
package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var build struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if build.dir != "" {
		_ = os.RemoveAll(build.dir)
	}
	os.Exit(code)
}

// program builds the command once for all tests and returns its path.
func program(t *testing.T) string {
	t.Helper()
	build.once.Do(func() {
		if build.dir, build.err = os.MkdirTemp("", "funnel-e2e-"); build.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(build.dir, "funnel"), "../../cmd/funnel").CombinedOutput()
		if err != nil {
			build.err = errors.New(string(out))
		}
	})
	if build.err != nil {
		t.Fatalf("building the program: %v", build.err)
	}
	return filepath.Join(build.dir, "funnel")
}

// useReal skips the test unless real parts are asked for; then a part that is
// missing is a failure.
func useReal(t *testing.T) {
	t.Helper()
	if os.Getenv("FUNNEL_E2E_REAL") != "1" {
		t.Skip("NOT RUN: it installs real parts; set FUNNEL_E2E_REAL=1, as make e2e does")
	}
}

var apt sync.Mutex // one apt-get at a time

// installed makes sure that a command exists, from Debian's packages if need be.
func installed(t *testing.T, command string, packages ...string) string {
	t.Helper()
	if path, err := exec.LookPath(command); err == nil {
		return path
	}
	apt.Lock()
	defer apt.Unlock()
	install := append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)
	for _, args := range [][]string{install, {"update", "-q"}, install} {
		cmd := exec.CommandContext(t.Context(), "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		out, err := cmd.CombinedOutput()
		if err != nil && args[0] == "update" {
			t.Fatalf("apt-get update: %v\n%s", err, out)
		}
		if path, missing := exec.LookPath(command); missing == nil {
			return path
		}
	}
	t.Fatalf("%s is not there, and the packages %v could not be installed", command, packages)
	return ""
}

// npm installs the exact versions of testdata/name/package.json and returns the
// folder.
func npm(t *testing.T, name string) string {
	t.Helper()
	installed(t, "npm", "nodejs", "npm")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	command(t, dir, nil, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
	return dir
}

// command runs a command in a folder and returns its output; it has to succeed.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// demo is a demo that runs until the test ends.
type demo struct {
	server, token string
	path          string
}

var (
	docsLine  = regexp.MustCompile(`(http://\S+)/docs`)
	tokenLine = regexp.MustCompile(`Bearer (fnl_[A-Za-z0-9_-]+)`)
)

// startDemo starts the demo and returns once all of its alerts are handled.
func startDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{path: program(t)}
	cmd := exec.Command(d.path, "demo", "--every", "50ms", "--listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	ready, ended := make(chan struct{}), make(chan struct{})
	var all strings.Builder
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			if m := docsLine.FindStringSubmatch(lines.Text()); m != nil {
				d.server = m[1]
			}
			if m := tokenLine.FindStringSubmatch(lines.Text()); m != nil {
				d.token = m[1]
			}
			if strings.Contains(lines.Text(), "Every alert has its ticket") {
				close(ready)
			}
		}
	}()
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("the demo ended early:\n%s", all.String())
	case <-time.After(2 * time.Minute):
		t.Fatal("the demo is not ready after two minutes")
	}
	if d.server == "" || d.token == "" {
		t.Fatal("the demo tells no address or token")
	}
	return d
}

// funnel runs a command against the demo's server.
func (d *demo) funnel(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.path, args...)
	cmd.Env = append(os.Environ(), "FUNNEL_SERVER="+d.server, "FUNNEL_TOKEN="+d.token)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("funnel %s: %v", strings.Join(args, " "), err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
