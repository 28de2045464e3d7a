package fault

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// process is one life of the server.
type process struct {
	cmd   *exec.Cmd
	began time.Time
	ready chan struct{} // closed when it accepts
	ended chan struct{} // closed when it is gone; cmd.ProcessState says how
}

// launch starts the server and does not wait until it accepts.
func (w *world) launch(t *testing.T, env []string) *process {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(w.program)
	cmd.Env = append(os.Environ(), childConfig+"="+w.config, "FAULT_JIRA="+jirafake.DefaultToken, "FAULT_DIRECTORY="+directoryfake.DemoPassword,
		"FAULT_SCANNER="+scannerKey, "FAULT_SPLUNK_HOOK="+splunkSecret, "FAULT_JIRA_HOOK="+jiraSecret)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	p := &process{cmd: cmd, ready: make(chan struct{}), ended: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		p.began = time.Now()
		if w.in != nil {
			err = w.in(cmd.Start)
		} else {
			err = cmd.Start()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.process = p
	w.mu.Unlock()
	go func() {
		_ = cmd.Wait()
		_, _ = stdin.Close(), log.Close()
		close(p.ended)
	}()
	go w.awaitReady(p)
	go w.watchSize(p)
	return p
}

// awaitReady looks for the moment at which the server accepts.
func (w *world) awaitReady(p *process) {
	for {
		if res, err := http.Get(w.server + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				w.mu.Lock()
				w.listening = append(w.listening, time.Since(p.began))
				w.mu.Unlock()
				close(p.ready)
				return
			}
		}
		select {
		case <-p.ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// watchSize keeps the largest size that the server had in memory.
func (w *world) watchSize(p *process) {
	for {
		w.seeSize(p)
		select {
		case <-p.ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// seeSize reads the peak of the process. The one that rusage tells would be that
// of the test, if it is larger: exec carries it over.
func (w *world) seeSize(p *process) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return // it has just ended
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			w.mu.Lock()
			w.peak = max(w.peak, kb<<10)
			w.mu.Unlock()
		}
	}
}

// start starts the server and returns when it accepts.
func (w *world) start(t *testing.T, env []string) {
	t.Helper()
	p := w.launch(t, env)
	select {
	case <-p.ready:
	case <-p.ended:
		t.Errorf("the server ended at start: %v\n%s", p.cmd.ProcessState, w.log())
	case <-time.After(time.Minute):
		t.Error("the server did not become ready within a minute")
	}
}

// kill ends the server as kill -9 does and waits until it is gone.
func (w *world) kill() {
	w.mu.Lock()
	p := w.process
	w.mu.Unlock()
	if p == nil {
		return
	}
	w.seeSize(p)
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// signal sends the server a signal.
func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Errorf("sending %v: %v", s, err)
	}
}

// exit waits until the server has ended by itself and returns its exit code.
func (w *world) exit(t *testing.T, p *process, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		w.kill()
		t.Errorf("the server did not end within %v:\n%s", within, w.log())
		return -1
	}
}

// configure changes the text of the configuration.
func (w *world) configure(t *testing.T, change func(text string) string) {
	t.Helper()
	text, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		t.Fatal("the configuration does not change")
	}
	if err := os.WriteFile(w.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ready reports whether the server says that it can accept; answered is false if
// it says nothing.
func (w *world) ready() (ready, answered bool) {
	res, err := http.Get(w.server + "/readyz")
	if err != nil {
		return false, false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK, true
}

// killed reports whether the process was ended by SIGKILL.
func (p *process) killed() bool {
	s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// log returns what the servers of this world have logged.
func (w *world) log() string {
	text, _ := os.ReadFile(filepath.Join(w.dir, "server.log"))
	return string(text)
}

// measure adds how long starts took, until the server accepted, and its size.
func (w *world) measure(r *result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.p99, r.rss = percentile(w.listening, 0.99), max(r.rss, w.peak)
}
