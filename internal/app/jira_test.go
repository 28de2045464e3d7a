package app_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
)

const hookSecret = "webhook-secret-0123456789abcdef"

// jiraServer is a running server with a source for all of Jira's webhooks.
type jiraServer struct {
	site *jirafake.Site
	url  string
}

func startJira(t *testing.T, playbooks ...*funnel.Playbook) jiraServer {
	t.Helper()
	return startJiraBehind(t, func(site http.Handler) http.Handler { return site }, playbooks...)
}

// startJiraBehind lets the server reach the site through a handler.
func startJiraBehind(t *testing.T, proxy func(http.Handler) http.Handler, playbooks ...*funnel.Playbook) jiraServer {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"token": jirafake.DefaultToken, "hook": hookSecret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := jirafake.New(jirafake.Options{})
	server := httptest.NewServer(proxy(site))
	t.Cleanup(server.Close)
	t.Cleanup(site.Close)
	c, err := config.Parse(filepath.Join(dir, "funnel.yaml"), fmt.Appendf(nil, `
server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1"}
data: data
connections:
  jira: {integration: jira, options: {url: %q, email: %q, token: "${file:token}"}}
sources:
  jira: {trigger: [jira.issue_created, jira.issue_updated, jira.comment_created], connection: jira, auth: {signature: {secret: "${file:hook}"}}}
engine: {lookups: [100ms, 1s], quiet: 10s}
`, server.URL, jirafake.DefaultEmail))
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, app.Options{Config: c, Registry: funnel.NewRegistry().Add(jira.Integration()).AddPlaybooks(playbooks...), Version: "test"})
	return jiraServer{site, "http://" + a.Addr()}
}

// start starts a server, which ends with the test.
func start(t *testing.T, o app.Options) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

// deliver posts a webhook as Jira does, again while the server asks for it, and
// returns the status and the verdict or the reason.
func (s jiraServer) deliver(t *testing.T, id string, body []byte) (int, string) {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write(body)
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/hooks/jira", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		req.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		req.Header.Set("X-Atlassian-Webhook-Identifier", id)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Verdict, Reason, Detail string }
		err = json.NewDecoder(res.Body).Decode(&said)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusServiceUnavailable { // it does not know its own account yet
			time.Sleep(20 * time.Millisecond) // as a sender waits; nothing is ordered by it
			continue
		}
		text := said.Verdict
		if said.Reason != "" {
			text += ": " + said.Reason
		}
		return res.StatusCode, text + said.Detail
	}
}

// TestCapturedWebhooksPassIntake says what becomes of every captured payload of
// Jira Cloud and Jira Server that is posted to a server's hook.
func TestCapturedWebhooksPassIntake(t *testing.T) {
	t.Parallel()
	const none = "reading a Jira webhook: /webhookEvent is missing"
	want := map[string]string{
		"webhook-cloud-comment-created.json":                "202 accepted",
		"webhook-cloud-issue-created-many-fields.json":      "202 accepted",
		"webhook-issue-created-no-description.json":         "200 duplicate", // of the next, which is about the same issue
		"webhook-issue-created.json":                        "202 accepted",
		"webhook-issue-deleted.json":                        "200 ignored: it is about jira:issue_deleted, not jira:issue_created; it is about jira:issue_deleted, not jira:issue_updated; it is about jira:issue_deleted, not comment_created",
		"webhook-issue-updated-assigned.json":               "202 accepted",
		"webhook-issue-updated-labels.json":                 "202 accepted",
		"webhook-issue-updated-resolved.json":               "202 accepted",
		"webhook-server-comment-created.json":               "202 accepted",
		"webhook-server-issue-updated-closed.json":          "202 accepted",
		"cloud-get-create-issue-metadata-for-project.json":  "422 " + none, // answers of the REST API, no webhooks
		"server-get-create-issue-metadata-for-project.json": "422 " + none,
	}
	const folder = "../../../shared/fixtures/jira/webhooks/"
	files, err := filepath.Glob(folder + "*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("NOT CHECKED: the captured payloads are not beside the module in %s", folder)
	}
	s := startJira(t)
	post := func(file string) string {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		status, text := s.deliver(t, filepath.Base(file), body)
		return fmt.Sprint(status, " ", text)
	}
	if got := post(folder + "webhook-issue-created.json"); got != "202 accepted" {
		t.Errorf("the first: %s", got)
	}
	for _, file := range files {
		got, name := "", filepath.Base(file)
		if got = post(file); name == "webhook-issue-created.json" && got == "200 duplicate" {
			got = "202 accepted" // it was above
		}
		if got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
		if again := post(file); got[:3] == "202" && again != "200 duplicate" {
			t.Errorf("%s again: %s", name, again)
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d payloads, %d are known here", len(files), len(want))
	}
}

// TestOwnCommentsStartNothing: a playbook that comments on every comment answers a
// person once, and not itself, although Jira tells it of its own comments too.
func TestOwnCommentsStartNothing(t *testing.T) {
	t.Parallel()
	done := make(chan string, 100)
	answer := funnel.NewPlaybook("answer", "Answer every comment.", jira.CommentCreated, func(r *funnel.Run, e jira.CommentEvent) error {
		in := jira.AddCommentInput{Issue: e.Key, Body: funnel.NewDocument(funnel.Paragraph(funnel.Text("You said: "), funnel.Data(e.Body)))}
		_, err := funnel.Step(r, "answer", jira.AddComment, in)
		done <- e.Body
		return err
	})
	s := startJira(t, answer)
	s.site.SetWebhook(s.url+"/hooks/jira", hookSecret)
	person := jirafake.Person{AccountID: "jdoe", DisplayName: "Jane Doe"}
	if _, err := s.site.PersonCreates(person, jirafake.NewIssue{Summary: "Help"}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if _, err := s.site.PersonComments(person, "SIRT-1", text); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != text {
			t.Fatalf("the playbook answers %q, want %q", got, text)
		}
	}
	// Every comment has been told, and the server has answered, before this returns.
	if err := s.site.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, d := range s.site.Deliveries() {
		if d.Event == "comment_created" && d.Status == http.StatusAccepted {
			told++
		}
	}
	issue, _ := s.site.Issue("SIRT-1")
	if len(issue.Comments) != 4 || told != 4 || len(done) != 0 {
		t.Errorf("%d comments, %d of them told, %d more answers: want 4, 4 and none", len(issue.Comments), told, len(done))
	}
}
