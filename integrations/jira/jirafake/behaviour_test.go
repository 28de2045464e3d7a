package jirafake_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestScriptedFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault     jirafake.Fault
		status    int // 0: the connection broke
		processed int
		check     func(*testing.T, http.Header, []byte)
	}{
		"rate limited": {jirafake.RateLimited("jira-burst-based", 1500*time.Millisecond), 429, 0, func(t *testing.T, h http.Header, _ []byte) {
			if h.Get("RateLimit-Reason") != "jira-burst-based" || h.Get("Retry-After") != "2" {
				t.Errorf("headers %v", h)
			}
		}},
		"unavailable":      {jirafake.Unavailable(-1), 503, 0, nil},
		"any other status": {jirafake.Fault{Kind: jirafake.Reply, Status: 500, Body: "oops"}, 500, 0, nil},
		"answer lost":      {jirafake.Fault{Kind: jirafake.AnswerLost}, 0, 1, nil},
		"dropped before":   {jirafake.Fault{Kind: jirafake.DropBefore}, 0, 0, nil},
		"malformed": {jirafake.Fault{Kind: jirafake.MalformedJSON}, 201, 1, func(t *testing.T, _ http.Header, b []byte) {
			if json.Valid(b) || len(b) == 0 {
				t.Errorf("not malformed: %s", b)
			}
		}},
		"sign-in page": {jirafake.Fault{Kind: jirafake.HTML200}, 200, 0, func(t *testing.T, h http.Header, _ []byte) {
			if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
				t.Errorf("content type %s", h.Get("Content-Type"))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, jirafake.Options{})
			s.Next(jirafake.IsCreate, tt.fault)
			if code, _, _ := s.send("GET", "/rest/api/3/myself", nil); code != 200 {
				t.Errorf("a request that does not match: status %d", code)
			}
			code, header, answer := s.send("POST", "/rest/api/3/issue", newIssue("x"))
			if code != tt.status {
				t.Errorf("status %d, want %d", code, tt.status)
			}
			if n := len(s.Issues()); n != tt.processed {
				t.Errorf("%d issues, want %d", n, tt.processed)
			}
			if tt.check != nil {
				tt.check(t, header, answer)
			}
			for _, e := range s.Journal() {
				if e.AnswerLost != (tt.fault.Kind == jirafake.AnswerLost) {
					t.Errorf("journal: %+v", e)
				}
			}
			s.create("after the one fault") // fails unless the fault was for once
		})
	}
}

// TestHang lets a request hang until its client gives up, or until the site is closed.
func TestHang(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind      jirafake.FaultKind
		client    bool // who ends it
		processed int
	}{
		"before, client gives up": {jirafake.Hang, true, 0},
		"before, site closes":     {jirafake.Hang, false, 0},
		"after, client gives up":  {jirafake.HangAfter, true, 1},
		"after, site closes":      {jirafake.HangAfter, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			// It has begun when the request has arrived or, if it is to be processed, when its webhook has.
			begun := make(chan struct{})
			hooks := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				if tt.kind == jirafake.HangAfter {
					close(begun)
				}
			}))
			defer hooks.Close()
			s := start(t, jirafake.Options{WebhookURL: hooks.URL, Webhooks: jirafake.WebhookMode{BeforeAnswer: true, Retries: -1}})
			s.Next(func(*http.Request) bool {
				if tt.kind == jirafake.Hang {
					close(begun)
				}
				return true
			}, jirafake.Fault{Kind: tt.kind})
			go func() {
				<-begun
				if tt.client {
					giveUp()
				} else {
					s.Close()
				}
			}()
			req, err := http.NewRequestWithContext(ctx, "POST", s.server.URL+"/rest/api/3/issue", strings.NewReader(asJSON(t, newIssue("x"))))
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth(jirafake.DefaultEmail, jirafake.DefaultToken)
			if resp, err := s.server.Client().Do(req); err == nil {
				resp.Body.Close()
				t.Error("got an answer")
			}
			s.server.Close() // returns when the handler has
			if n := len(s.Issues()); n != tt.processed {
				t.Errorf("%d issues, want %d", n, tt.processed)
			}
		})
	}
}

func TestAlwaysUntilRemoved(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	mine := func(r *http.Request) bool { // a match may read the body
		b, err := io.ReadAll(r.Body)
		return err == nil && strings.Contains(string(b), "special")
	}
	remove := s.Always(mine, jirafake.Unavailable(0))
	for range 3 {
		if code, _, _ := s.send("POST", "/rest/api/3/issue", newIssue("special")); code != 503 {
			t.Errorf("status %d, want 503", code)
		}
	}
	s.create("ordinary")
	remove()
	s.create("special")
}

func TestOutages(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	for _, path := range []string{"/rest/api/3/myself", "/browse"} {
		s.Down(true)
		if code, _, _ := s.send("GET", path, nil); code != 503 {
			t.Errorf("%s while down: status %d, want 503", path, code)
		}
		s.Unplug(true)
		if code, _, _ := s.send("GET", path, nil); code != 0 {
			t.Errorf("%s while unplugged: status %d, want a broken connection", path, code)
		}
		s.Unplug(false)
		if code, _, _ := s.send("GET", path, nil); code != 200 {
			t.Errorf("%s afterwards: status %d, want 200", path, code)
		}
	}
}

func TestChance(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, lose, late float64) string {
		s := start(t, jirafake.Options{Seed: seed, LoseAnswers: lose, LateProcessing: late, LateDelay: time.Millisecond})
		var b strings.Builder
		for range 60 {
			code, _, _ := s.send("POST", "/rest/api/3/issue", newIssue("x"))
			b.WriteByte("x."[min(code, 1)])
			if code, _, _ := s.send("GET", "/rest/api/3/myself", nil); code != 200 {
				t.Errorf("a read was lost: status %d", code)
			}
		}
		s.settle()
		var lost, lateOnes int
		for _, e := range s.Journal() {
			if e.AnswerLost {
				lost++
			}
			if e.Late {
				lateOnes++
			}
		}
		if broken := strings.Count(b.String(), "x"); len(s.Issues()) != 60 || lost != broken || late == 0 && lateOnes > 0 {
			t.Errorf("lose %v late %v: %d issues, %d lost in the journal, %d late, %d broken connections", lose, late, len(s.Issues()), lost, lateOnes, broken)
		}
		if late == 1 && lateOnes != 60 {
			t.Errorf("%d of 60 were processed late", lateOnes)
		}
		return b.String()
	}
	a := run(7, 0.3, 0)
	if a != run(7, 0.3, 0) {
		t.Error("the same seed decided differently")
	}
	if a == run(8, 0.3, 0) {
		t.Error("another seed decided the same")
	}
	if n := strings.Count(a, "x"); n < 8 || n > 30 {
		t.Errorf("%d of 60 answers lost at 0.3", n)
	}
	run(7, 0, 1)
	run(7, 0.2, 0.2)
}

func TestIssueWriteLimit(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := start(t, jirafake.Options{Now: clk.now, IssueWriteLimit: 2, IssueWriteWindow: 10 * time.Second})
	s.create("One")
	s.create("Two")
	comment := func(key string) (int, http.Header) {
		code, h, _ := s.send("POST", "/rest/api/3/issue/"+key+"/comment", obj{"body": para("x")})
		return code, h
	}
	comment("SIRT-1")
	clk.add(4 * time.Second)
	comment("SIRT-1")
	code, h := comment("SIRT-1")
	if code != 429 || h.Get("RateLimit-Reason") != "jira-per-issue-on-write" || h.Get("Retry-After") != "6" {
		t.Errorf("third write: status %d, headers %v; want 429 and a Retry-After of 6", code, h)
	}
	if code, _ := comment("SIRT-2"); code != 201 {
		t.Errorf("another issue: status %d", code)
	}
	clk.add(6 * time.Second)
	if code, _ := comment("SIRT-1"); code != 201 {
		t.Errorf("after Retry-After: status %d", code)
	}
	s.SetIssueWriteLimit(0, 0)
	for range 5 {
		if code, _ := comment("SIRT-1"); code != 201 {
			t.Errorf("without a limit: status %d", code)
		}
	}
}
