package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/playbooks"
)

// patient is a server's surroundings, to be made ill.
type patient struct {
	dir, data string
	tracker   *httptest.Server
	skew      time.Duration // of the tracker's clock
	options   app.Options
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{dir: t.TempDir()}
	p.data = filepath.Join(p.dir, "data")
	for name, text := range map[string]string{"token": jirafake.DefaultToken, "hook": hookSecret} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := jirafake.New(jirafake.Options{})
	t.Cleanup(site.Close)
	p.tracker = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(p.skew).UTC().Format(http.TimeFormat))
		site.ServeHTTP(w, r)
	}))
	t.Cleanup(p.tracker.Close)
	c, err := config.Parse(filepath.Join(p.dir, "funnel.yaml"), fmt.Appendf(nil, `
server: {listen: "127.0.0.1:1"}
data: data
connections:
  jira: {integration: jira, options: {url: %q, email: %q, token: "${file:token}"}}
sources:
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${file:hook}"]}}
`, p.tracker.URL, jirafake.DefaultEmail))
	if err != nil {
		t.Fatal(err)
	}
	p.options = app.Options{Config: c, Version: "test", Registry: funnel.NewRegistry().Add(jira.Integration(), splunk.Integration()).AddPlaybooks(playbooks.OpenTicket)}
	s, err := store.Open(p.data)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestExamine: what is ill is found, with its place and what to do, and nothing else.
func TestExamine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ill   func(*testing.T, *patient)
		level string // of the finding
		about string
		says  string
	}{
		"well":                 {func(*testing.T, *patient) {}, "ok", "database", "nothing damaged"},
		"jira answers":         {func(*testing.T, *patient) {}, "ok", "connection jira", "answers"},
		"the clock is right":   {func(*testing.T, *patient) {}, "ok", "clock", "agrees with 1"},
		"no server":            {func(*testing.T, *patient) {}, "note", "server", "nobody answers"},
		"no process":           {func(*testing.T, *patient) {}, "note", "process", "no server works"},
		"others read the data": {func(t *testing.T, p *patient) { chmod(t, p.data, 0o755) }, "wrong", "data directory", "mode 0755"},
		"others read a file":   {func(t *testing.T, p *patient) { chmod(t, filepath.Join(p.data, store.FileName), 0o644) }, "wrong", "data directory", "mode 0644"},
		"half restored": {func(t *testing.T, p *patient) {
			if err := os.WriteFile(filepath.Join(p.data, "restoring"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "wrong", "database", "restore was interrupted"},
		"damaged":           {damage, "wrong", "database", ""},
		"a wrong token":     {func(t *testing.T, p *patient) { overwrite(t, filepath.Join(p.dir, "token"), "another-token") }, "wrong", "connection jira", "token"},
		"a missing secret":  {func(t *testing.T, p *patient) { _ = os.Remove(filepath.Join(p.dir, "token")) }, "wrong", "connections", "token"},
		"jira is down":      {func(_ *testing.T, p *patient) { p.tracker.Close() }, "wrong", "connection jira", "connection refused"},
		"the clock differs": {func(_ *testing.T, p *patient) { p.skew = 5 * time.Minute }, "warning", "clock", "differs by"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			c.ill(t, p)
			found := app.Examine(t.Context(), p.options)
			hit := false
			for _, f := range found {
				if f.About == c.about && f.Level == c.level && strings.Contains(f.Says, c.says) {
					hit = true
					if f.Level == "wrong" && f.Do == "" {
						t.Errorf("it does not say what to do: %+v", f)
					}
				} else if f.Level == "wrong" || f.Level == "warning" {
					t.Errorf("something else is found: %+v", f)
				}
				if strings.Contains(f.Says, jirafake.DefaultToken) || strings.Contains(f.Says, hookSecret) {
					t.Errorf("a secret is told: %+v", f)
				}
			}
			if !hit {
				t.Errorf("it is not found: %+v", found)
			}
		})
	}
}

// TestExamineBesideAServer: a server that runs does not mind, and is found.
func TestExamineBesideAServer(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	s, err := store.Open(p.data)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, f := range app.Examine(t.Context(), p.options) {
		if f.Level == "wrong" || f.About == "process" && f.Level != "ok" {
			t.Errorf("%+v", f)
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// damage overwrites the pages in the middle of the database.
func damage(t *testing.T, p *patient) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(p.data, store.FileName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for page := int64(3); page < 12; page++ {
		if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4096)), page*4096); err != nil {
			t.Fatal(err)
		}
	}
}
