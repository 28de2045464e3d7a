package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestOneTicketForOneFingerprint fires two alerts about the same thing at the
// same moment: one ticket, and the other is counted on it.
func TestOneTicketForOneFingerprint(t *testing.T) {
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) { oneTicket(t, o) })
	}
}

func oneTicket(t *testing.T, o jirafake.Options) {
	o.IndexLag = jirafake.UniformLag(100*time.Millisecond, 200*time.Millisecond)
	w := newWorld(t, o)
	w.start(t, nil)
	var both sync.WaitGroup
	for _, sid := range []string{"first", "second"} {
		both.Add(1)
		go func() {
			defer both.Done()
			w.mustPost(t, row(t, sid, map[string]any{"user": "jdoe", "dest": "WS-1", "_raw": "marker-00001 " + sid}))
		}()
	}
	both.Wait()
	w.waitIdle(within(t), t)
	issues := w.jira.Issues()
	if len(issues) != 1 {
		t.Fatalf("there are %d tickets, want 1", len(issues))
	}
	if seen := comment(issues[0], "seen"); !strings.Contains(seen, "2 times") {
		t.Errorf("the ticket counts %q, want that it was seen 2 times", seen)
	}
}

// TestDoneTicketIsFollowed has the same thing again after its ticket was done: a
// new ticket, linked to the old one.
func TestDoneTicketIsFollowed(t *testing.T) {
	w := newWorld(t, jirafake.Options{Seed: *seed})
	w.start(t, nil)
	fire := func(sid string) {
		w.mustPost(t, row(t, sid, map[string]any{"user": "jdoe", "dest": "WS-1"}))
		w.waitIdle(within(t), t)
	}
	fire("first")
	if err := w.jira.Transition(w.jira.Issues()[0].Key, "Done"); err != nil {
		t.Fatal(err)
	}
	fire("second")
	fire("third")
	issues := w.jira.Issues()
	if len(issues) != 2 {
		t.Fatalf("there are %d tickets, want the done one and one that follows it", len(issues))
	}
	links := 0
	for _, i := range issues {
		links += len(i.Links)
	}
	if links == 0 {
		t.Error("the new ticket is not linked to the done one")
	}
}

// TestDirectoryDown takes the directory away: the scanner's comment arrives at
// once, the user's comment says what is awaited, the run shows why it waits, and
// the directory's entry arrives in the same comment when it is back.
func TestDirectoryDown(t *testing.T) {
	w := newWorld(t, jirafake.Options{Seed: *seed})
	if err := w.directory.Down(true); err != nil {
		t.Fatal(err)
	}
	w.start(t, nil)
	ctx := within(t)
	w.mustPost(t, row(t, "one", map[string]any{"user": "jdoe", "file_hash": hash(2)}))

	w.await(ctx, t, "the scanner's comment", func(i jirafake.Issue) bool { return comment(i, "enrich_file") != "" })
	if user := comment(w.jira.Issues()[0], "enrich_user"); strings.Contains(user, "Jane Doe") {
		t.Fatalf("the directory is down, and yet the ticket says %q", user)
	}
	w.await(ctx, t, "the note that the directory is awaited", func(i jirafake.Issue) bool {
		return strings.Contains(comment(i, "enrich_user"), "waiting for") && strings.Contains(comment(i, "enrich_user"), "directory")
	})
	if why := w.waitingWhy(t); !strings.Contains(why, "directory") {
		t.Errorf("the run says that it waits because %q, want the directory named", why)
	}
	if err := w.directory.Down(false); err != nil {
		t.Fatal(err)
	}
	w.await(ctx, t, "the directory's entry", func(i jirafake.Issue) bool { return strings.Contains(comment(i, "enrich_user"), "Jane Doe") })
	w.waitIdle(ctx, t)
	if v := w.judge(map[string]bool{}); v.doubleComments+v.missingComments > 0 {
		t.Errorf("%s\n%s", v, strings.Join(v.examples, "\n"))
	}
}

// TestHostileFields sends markup, mentions, links and filters in every field:
// they arrive as inert text, and the runs succeed.
func TestHostileFields(t *testing.T) {
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) { hostileFields(t, o) })
	}
}

func hostileFields(t *testing.T, o jirafake.Options) {
	w := newWorld(t, o)
	w.start(t, nil)
	hostile := []string{
		"*)(uid=*", "*)(|(objectClass=*", `\2a)`, "[~admin]", "@here", "{html}<script>alert(1)</script>", "!http://evil.example.test/x.png!",
		"[x|http://evil.example.test]", "http://evil.example.test/x", `{"type":"mention","attrs":{"id":"1"}}`, "a\u202eb\u0000c", strings.Repeat("x", 5000),
	}
	for n, value := range hostile {
		w.mustPost(t, row(t, "hostile-"+hash(n), map[string]any{"user": value, "dest": value, "signature": value, "file_name": value, value: value, "file_hash": value, "_raw": value}))
	}
	w.waitIdle(within(t), t)
	if n := len(w.jira.Issues()); n != len(hostile) {
		t.Errorf("%d hostile alerts made %d tickets", len(hostile), n)
	}
	for _, e := range w.jira.Journal() {
		for _, target := range e.Targets {
			if strings.Contains(target, "evil") {
				t.Errorf("%s of %s links to %q", e.Kind, e.IssueKey, target)
			}
		}
		if e.Mentions+e.Media+e.Macros > 0 {
			t.Errorf("%s of %s has %d mentions, %d media and %d macros", e.Kind, e.IssueKey, e.Mentions, e.Media, e.Macros)
		}
	}
	for _, op := range w.directory.Journal() {
		if op.Kind == "search" && op.Entries > 1 {
			t.Errorf("the filter %s found %d entries", op.Filter, op.Entries)
		}
	}
	for _, r := range w.runs(t) {
		if r.State != "succeeded" {
			t.Errorf("run %s of %s is %s: %s", r.ID, r.Playbook, r.State, r.Why)
		}
	}
	if v := w.judge(map[string]bool{}); v.doubleComments+v.missingComments > 0 {
		t.Errorf("%s\n%s", v, strings.Join(v.examples, "\n"))
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func row(t *testing.T, sid string, fields map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"sid": sid, "search_name": "Scenario", "result": fields, "results_link": "http://evil.example.test/"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) mustPost(t *testing.T, body []byte) {
	t.Helper()
	res, err := http.Post(w.server+"/hooks/splunk/"+splunkSecret, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusAccepted {
		t.Errorf("the alert was answered %s: %s", res.Status, answer)
	}
}

// comment returns the text of the issue's comment of the name.
func comment(i jirafake.Issue, name string) string {
	for _, c := range i.Comments {
		if commentName(c) == name {
			return jirafake.Text(c.Body)
		}
	}
	return ""
}

// await returns when the first ticket is as wanted.
func (w *world) await(ctx context.Context, t *testing.T, what string, wanted func(jirafake.Issue) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if issues := w.jira.Issues(); len(issues) > 0 && wanted(issues[0]) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(w.dir, "server.log"))
			t.Fatalf("%s did not arrive; the server's log:\n%s", what, log)
		}
	}
}

type runView struct{ ID, Playbook, Kind, State, Why string }

func (w *world) runs(t *testing.T) []runView {
	t.Helper()
	var page struct{ Runs []runView }
	if !w.get(t, "/api/v1/runs?limit=200", &page) {
		t.Fatal("the server does not list its runs")
	}
	return page.Runs
}

// token returns the API's token, which the server shows until it is used.
func (w *world) token(t *testing.T) string {
	t.Helper()
	kept := filepath.Join(w.dir, "token")
	token, err := os.ReadFile(kept)
	for _, home := range append([]string{w.dir}, w.homes...) {
		if err != nil {
			token, err = os.ReadFile(filepath.Join(home, "data", "first-run-token"))
		}
	}
	if err == nil {
		err = os.WriteFile(kept, token, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

func (w *world) waitingWhy(t *testing.T) string {
	for _, r := range w.runs(t) {
		if r.State == "waiting" && r.Playbook == "enrich_user" {
			return r.Why
		}
	}
	return ""
}
