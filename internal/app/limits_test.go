package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// sent is a request that reached the site, at the site's clock.
type sent struct {
	at    time.Time
	write bool
	path  string
}

// TestEveryLimitIsObeyed lets Jira refuse one write for each reason and in each
// form that it is known to have: nothing that the refusal binds is sent before the
// time that it names, what it does not bind goes on, and in the end all is written
// once.
func TestEveryLimitIsObeyed(t *testing.T) {
	t.Parallel()
	const wait = 2 * time.Second
	reply := func(status int, header ...string) func(time.Time) jirafake.Fault {
		return func(until time.Time) jirafake.Fault {
			f := jirafake.Fault{Kind: jirafake.Reply, Status: status, Header: http.Header{}, Body: `{"errorMessages":["Rate limit exceeded."],"errors":{}}`}
			for i := 0; i < len(header); i += 2 {
				value := strings.NewReplacer("DATE", until.UTC().Format(http.TimeFormat), "ISO", until.UTC().Format(time.RFC3339)).Replace(header[i+1])
				f.Header.Set(header[i], value)
			}
			return f
		}
	}
	for name, tt := range map[string]struct {
		fault func(until time.Time) jirafake.Fault
		issue bool // it binds the issue only
	}{
		"per issue":       {reply(429, "RateLimit-Reason", "jira-per-issue-on-write", "Retry-After", "2"), true},
		"burst":           {reply(429, "RateLimit-Reason", "jira-burst-based", "Retry-After", "2"), false},
		"quota, global":   {reply(429, "RateLimit-Reason", "jira-quota-global-based", "Retry-After", "2"), false},
		"quota, tenant":   {reply(429, "RateLimit-Reason", "jira-quota-tenant-based", "Retry-After", "DATE"), false},
		"another reason":  {reply(429, "RateLimit-Reason", "jira-something-new", "Retry-After", "2"), false},
		"no reason":       {reply(429, "X-RateLimit-Reset", "ISO"), false},
		"Data Center":     {reply(429, "X-RateLimit-Limit", "5", "X-RateLimit-Remaining", "0", "X-RateLimit-FillRate", "5", "X-RateLimit-Interval-Seconds", "2"), false},
		"503 with a time": {reply(503, "Retry-After", "2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var log []sent
			var refusedAt time.Time
			var refused string
			written := make(chan struct{}, 100)
			note := funnel.NewPlaybook("note", "Comment twice.", jira.IssueCreated, func(r *funnel.Run, e jira.IssueEvent) error {
				for i := range 2 {
					in := jira.AddCommentInput{Issue: e.Key, Body: funnel.NewDocument(funnel.Paragraph(funnel.Text(fmt.Sprint("note ", i))))}
					if _, err := funnel.Step(r, fmt.Sprint("note", i), jira.AddComment, in); err != nil {
						return err
					}
				}
				written <- struct{}{}
				return nil
			})
			s := startJiraBehind(t, func(site http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					log = append(log, sent{time.Now(), jirafake.IsWrite(r), r.URL.Path})
					mu.Unlock()
					site.ServeHTTP(w, r)
				})
			}, note)
			s.site.SetWebhook(s.url+"/hooks/jira", hookSecret)
			// A time in whole seconds, as a date is, and never less than a second ahead.
			until := time.Now().Add(wait).Truncate(time.Second).Add(time.Second)
			s.site.Next(func(r *http.Request) bool {
				if !jirafake.IsComment(r) {
					return false
				}
				mu.Lock()
				refusedAt, refused = time.Now(), r.URL.Path
				mu.Unlock()
				return true
			}, tt.fault(until))
			for range 3 {
				if _, err := s.site.PersonCreates(jirafake.Person{AccountID: "jdoe", DisplayName: "Jane"}, jirafake.NewIssue{Summary: "x"}); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				<-written
			}
			mu.Lock()
			defer mu.Unlock()
			asked := tt.fault(until).Header
			end := refusedAt.Add(wait)
			if strings.Contains(fmt.Sprint(asked), until.UTC().Format("15:04:05")) {
				end = until
			}
			// Requests that were on their way when it was refused are not too early.
			grace := refusedAt.Add(200 * time.Millisecond)
			other := 0
			for _, r := range log {
				if !r.write {
					continue
				}
				switch early := r.at.After(grace) && r.at.Before(end); {
				case early && (!tt.issue || r.path == refused):
					t.Errorf("%s was written to %v after the refusal, want %v", r.path, r.at.Sub(refusedAt), end.Sub(refusedAt))
				case r.at.Before(end) && r.path != refused:
					other++
				}
			}
			if tt.issue && other != 4 { // two comments on each of the two others
				t.Errorf("a limit on one issue held back the others: %d writes to them meanwhile, want 4", other)
			}
			for _, i := range s.site.Issues() {
				if len(i.Comments) != 2 {
					t.Errorf("%s has %d comments, want 2", i.Key, len(i.Comments))
				}
			}
		})
	}
}
