package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/playbooks"
)

// childConfig names the configuration's path in the environment of a child,
// which is this test program run as a server.
const childConfig = "FUNNEL_BENCH_CONFIG"

// serve is the shipped server; it ends with its standard input, so that no child
// outlives the test.
func serve(ctx context.Context, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	c, err := config.Load(path, os.Getenv)
	if err != nil {
		return err
	}
	registry := funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
	a, err := app.New(ctx, app.Options{Config: c, Registry: registry, Log: slog.NewTextHandler(os.Stderr, nil), Notices: io.Discard})
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	drain, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	return a.Stop(drain)
}

const configuration = `
server: {listen: "%s"}
data: data
connections:
  jira:
    integration: jira
    options: {url: "%s", email: "%s", token: "${env:BENCH_JIRA}"}
    limits: {concurrency: 4, rate: 10/s, daily: 20000, timeout: 30s}
  directory:
    integration: activedirectory
    options: {url: "%s", base_dn: "%s", bind_name: "%s", password: "${env:BENCH_DIRECTORY}", ca_file: "%s"}
  virustotal:
    integration: virustotal
    options: {url: "%s", api_key: "${env:BENCH_SCANNER}"}
    limits: {rate: 4/m, daily: 500}
sources:
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${env:BENCH_HOOK}"]}}
  jira: {trigger: jira.issue_created, connection: jira, auth: {signature: {secret: "${env:BENCH_HOOK}"}}}
`

// TestIdle looks at a server that has nothing to do, from the outside.
func TestIdle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a process's anonymous memory and processor time are read from /proc, which only Linux has")
	}
	settle, watch := 100*time.Millisecond, 100*time.Millisecond
	if *full {
		settle, watch = 10*time.Second, 10*time.Second
	}
	pid := startServer(t)
	time.Sleep(settle) // what the start leaves behind: look-ups of accounts, garbage
	before := ticks(t, pid)
	time.Sleep(watch)
	used, memory := ticks(t, pid)-before, anonymous(t, pid)
	// /proc counts in ticks of 10 ms: USER_HZ is 100 on all of Go's Linux ports.
	say(t, "idle: %.1f MB anonymous memory, target under 40 MB; %d ms of processor time in %v, target at most 10 ms (one tick of the clock)",
		float64(memory)/1e6, used*10, watch)
	if memory == 0 {
		t.Error("a server without any memory cannot be")
	}
	if *full && (memory >= 40e6 || used > 1) {
		t.Error("an idle server takes too much")
	}
}

// startServer starts a server as a process of its own, with all of its
// connections to systems that answer, and returns its process ID.
func startServer(t *testing.T) int {
	t.Helper()
	dir := t.TempDir()
	site := jirafake.New(jirafake.Options{})
	jira := httptest.NewServer(site)
	t.Cleanup(func() { jira.Close(); site.Close() })
	const key = "bench-scanner-key-0123456789"
	scanner := httptest.NewServer(virustotalfake.New(virustotalfake.Options{APIKey: key}))
	t.Cleanup(scanner.Close)
	directory, err := directoryfake.Start(directoryfake.Options{Entries: directoryfake.Demo(), Passwords: directoryfake.DemoPasswords()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { directory.Close() })
	ca, path := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "funnel.yaml")
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listen.Addr().String()
	_ = listen.Close()
	text := fmt.Sprintf(configuration, address, jira.URL, jirafake.DefaultEmail, directory.URL(), directoryfake.DemoBaseDN, directoryfake.DemoBindName, ca, scanner.URL)
	for name, content := range map[string][]byte{ca: directory.CAPEM(), path: []byte(text)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+path, "BENCH_JIRA="+jirafake.DefaultToken, "BENCH_DIRECTORY="+directoryfake.DemoPassword,
		"BENCH_SCANNER="+key, "BENCH_HOOK=bench-hook-secret-0123456789")
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = stdin.Close(); <-ended })
	for {
		if res, err := http.Get("http://" + address + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return cmd.Process.Pid
			}
		}
		select {
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("the server ended at start: %v\n%s", err, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// anonymous returns the process's resident anonymous memory in bytes.
func anonymous(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kilobytes, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Skip("this kernel does not tell anonymous memory apart")
	return 0
}

// ticks returns the processor time that the process has used: fields 14 and 15
// of proc_pid_stat(5).
func ticks(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // the name before it may hold spaces
	sum := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
