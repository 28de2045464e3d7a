package jirafake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

type obj = map[string]any

// para is a document of one paragraph.
func para(text string) obj {
	return obj{"type": "doc", "version": 1, "content": []obj{
		{"type": "paragraph", "content": []obj{{"type": "text", "text": text}}},
	}}
}

// newIssue is the body of a legal create request.
func newIssue(summary string, labels ...string) obj {
	return obj{"fields": obj{
		"project": obj{"key": "SIRT"}, "issuetype": obj{"name": "Task"}, "summary": summary,
		"description": para("text of " + summary), "labels": append([]string{}, labels...), "priority": obj{"name": "High"},
	}}
}

// site is a running site and a client with its credentials.
type site struct {
	*jirafake.Site
	t          *testing.T
	server     *httptest.Server
	dataCenter bool
}

// sign adds the credentials to a request.
func (s *site) sign(req *http.Request) {
	if s.dataCenter {
		req.Header.Set("Authorization", "Bearer "+jirafake.DefaultToken)
		return
	}
	req.SetBasicAuth(jirafake.DefaultEmail, jirafake.DefaultToken)
}

func start(t *testing.T, o jirafake.Options) *site {
	t.Helper()
	s := jirafake.New(o)
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close() // first, so that hanging requests end
		srv.Close()
	})
	return &site{s, t, srv, o.Deployment == jirafake.DataCenter}
}

// send sends a request and returns its answer; status 0 means that the connection broke.
func (s *site) send(method, path string, body any) (status int, header http.Header, answer []byte) {
	s.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = bytes.NewReader([]byte(b))
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	req.GetBody = nil // or net/http repeats a request whose connection broke
	req.Header.Set("Content-Type", "application/json")
	s.sign(req)
	resp, err := s.server.Client().Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil
	}
	return resp.StatusCode, resp.Header, answer
}

// must sends a request, expects the status and decodes the answer into a T.
func must[T any](s *site, status int, method, path string, body any) T {
	s.t.Helper()
	code, _, answer := s.send(method, path, body)
	if code != status {
		s.t.Fatalf("%s %s: status %d, want %d: %s", method, path, code, status, answer)
	}
	var out T
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return out
}

type created struct{ ID, Key, Self string }

func (s *site) create(summary string, labels ...string) created {
	s.t.Helper()
	return must[created](s, 201, "POST", "/rest/api/3/issue", newIssue(summary, labels...))
}

type page struct {
	Issues        []struct{ ID, Key string }
	NextPageToken string
	IsLast        bool
}

func (s *site) search(jql string, more obj) page {
	s.t.Helper()
	body := obj{"jql": jql, "fields": []string{"key"}}
	for k, v := range more {
		body[k] = v
	}
	return must[page](s, 200, "POST", "/rest/api/3/search/jql", body)
}

func (p page) keys() []string {
	out := []string{}
	for _, i := range p.Issues {
		out = append(out, i.Key)
	}
	return out
}

func (s *site) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// clock is a clock that only tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 3, 9, 30, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}
