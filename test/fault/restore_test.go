package fault

import (
	"bytes"
	"context"
	"database/sql"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// command prepares a command line of the program.
func (w *world) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(w.program)
	cmd.Env = append(os.Environ(), childArgs+"="+strings.Join(append(args, "--config", w.config), " "))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// killedAfter runs the command and kills it after a time; done says that it was
// quicker and succeeded.
func killedAfter(t *testing.T, cmd *exec.Cmd, out *bytes.Buffer, d time.Duration) (done bool) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	switch err := cmd.Wait(); {
	case err == nil:
		return true
	case cmd.ProcessState.ExitCode() >= 0:
		t.Fatalf("the command failed: %v\n%s", err, out)
	}
	return false
}

// TestF23Restore is F23: a backup is made under load, and put back after much more
// has happened. What Splunk still knows is read again and half of it sent again;
// for nothing a second ticket is opened. Backup and restore are killed on the way.
func TestF23Restore(t *testing.T) {
	t.Parallel() // it mostly waits, and no figure of it has an aim
	n := 12
	if *full {
		n = 80
	}
	r := restored(t, "F23 restore", n, nil)
	r.mustBeClean(t)
}

// TestF23NeedsTheMark: a server that does not know that its data was restored opens
// tickets a second time.
func TestF23NeedsTheMark(t *testing.T) {
	smallTogether(t)
	r := restored(t, "F23 restore without its mark", 12, func(w *reconciling) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "data", "funnel.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), "DELETE FROM setting WHERE name = 'restored'"); err != nil {
			t.Fatal(err)
		}
	})
	r.mustBeRed(t, "the mark of a restore")
}

func restored(t *testing.T, name string, n int, forget func(*reconciling)) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	random := rand.New(rand.NewPCG(*seed, 23))
	w := newReconciling(t, "1s")
	env := []string{"FAULT_SPLUNK_API=" + splunkToken}
	w.start(t, env)
	pause(1100 * time.Millisecond) // what fired before the start is not read
	fire := func(n int) {
		for range n {
			if !w.fire(ctx, false, w.rows(1)...) {
				t.Fatal("a webhook was not taken")
			}
		}
	}
	fire(n)
	file := filepath.Join(w.dir, "backup.tar")
	fired := make(chan struct{})
	go func() { defer close(fired); fire(n) }()
	for late := 5; ; late++ { // at last it succeeds
		cmd, out := w.command("backup", file)
		if killedAfter(t, cmd, out, time.Duration(late+random.IntN(100))*time.Millisecond) {
			break
		}
		if _, err := os.Stat(file); err == nil { // killed after it was there: then it is whole
			break
		}
	}
	made := time.Now()
	<-fired
	fire(n) // of this the backup knows nothing
	w.waitIdle(ctx, t)
	w.kill()
	lost := time.Since(made)

	cmd, out := w.command("restore", file)
	if err := cmd.Run(); err == nil || !strings.Contains(out.String(), "--replace") {
		t.Fatalf("a restore over data that is there is not refused: %v\n%s", err, out)
	}
	began, tries := time.Now(), 1
	for ; ; tries++ {
		cmd, out := w.command("restore", file, "--replace")
		late := time.Duration(5+random.IntN(25)+tries/5) * time.Millisecond // at last it succeeds
		if killedAfter(t, cmd, out, late) && tries > 3 {
			break
		}
	}
	took := time.Since(began)
	if forget != nil {
		forget(w)
	}
	w.start(t, env)
	w.reconciled(ctx, t, time.Now())
	fire(n / 2) // and life goes on
	for _, body := range w.line.all {
		if random.IntN(2) == 0 && !w.post(http.DefaultClient, body) {
			t.Error("an alert that is sent again is not taken")
		}
	}
	w.reconciled(ctx, t, time.Now().Add(1100*time.Millisecond))
	w.waitIdle(ctx, t)
	all := map[string]bool{}
	for _, m := range w.sent {
		all[m] = true
	}
	v := w.judge(all)
	r := v.result()
	r.name = name
	for _, issue := range w.jira.Issues() {
		for _, c := range issue.Comments {
			if commentName(c) == "seen" {
				r.fault("%s is told again: %s", issue.Key, jirafake.Text(c.Body))
			}
		}
	}
	w.measure(&r)
	r.note("restored what was made %v before, in %v with %d tries; p99 is listening again", lost.Round(time.Millisecond), took.Round(time.Millisecond), tries)
	return r
}
