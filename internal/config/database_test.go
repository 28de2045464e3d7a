package config

import (
	"strings"
	"testing"
	"time"
)

// TestDatabase: a shared database is named by its URL or by a reference to it,
// never with a password, and over a network only by TLS that proves who answers.
func TestDatabase(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://funnel@127.0.0.1/funnel":                              "",
		"postgres:///funnel?host=/run/postgresql":                         "",
		"postgresql://funnel@db.example.com/funnel?sslmode=verify-full":   "",
		"postgres://funnel@127.0.0.1,localhost:5433/funnel":               "",
		"postgres://funnel@127.0.0.1,db.example.com/funnel":               "without proof of who answers",
		"postgres://funnel@db.example.com,127.0.0.1/funnel":               "without proof of who answers",
		"postgres:///funnel?host=/run,db.example.com":                     "without proof of who answers",
		"${env:FUNNEL_DATABASE}":                                          "",
		"postgres://funnel@db.example.com/funnel":                         "without proof of who answers",
		"postgres://funnel@db.example.com/funnel?sslmode=require":         "without proof of who answers",
		"postgres://funnel:hunter2@127.0.0.1/funnel":                      "must not hold a password",
		"mysql://funnel@127.0.0.1/funnel":                                 "must be the URL of a PostgreSQL",
		"funnel.db":                                                       "must be the URL of a PostgreSQL",
		"postgres://funnel@127.0.0.1.evil.example/funnel?sslmode=disable": "without proof of who answers",
	} {
		c, err := Parse("funnel.yaml", []byte("database: \""+text+"\"\ncluster: {node: n1, lease: 5s}\n"))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want == "":
			if !c.Database.Shared() || c.Cluster.Node != "n1" || c.Cluster.Lease != 5*time.Second {
				t.Errorf("%s: read as %+v, %+v", text, c.Database, c.Cluster)
			}
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: got %v, want %q", text, err, want)
		case strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error repeats the password: %v", err)
		}
	}
	if c, err := Parse("funnel.yaml", []byte("data: d\n")); err != nil || c.Database.Shared() {
		t.Errorf("without the key, the database is shared (%v)", err)
	}
	if _, err := Parse("funnel.yaml", []byte("cluster: {lease: 10ms}\n")); err == nil || !strings.Contains(err.Error(), "shorter than a second") {
		t.Errorf("a lease of 10 ms: %v", err)
	}
}

// TestDatabaseByReference: what a reference holds is judged when it is read.
func TestDatabaseByReference(t *testing.T) {
	t.Parallel()
	c, err := Parse("funnel.yaml", []byte("database: ${env:DB}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"postgres://funnel:hunter2@127.0.0.1/funnel":      "",
		"postgres://funnel:hunter2@db.example.com/funnel": "without proof of who answers",
		"hunter2": "not the URL of a PostgreSQL",
	} {
		c.secrets.Getenv = func(string) string { return value }
		s, err := c.ResolveDatabase()
		switch {
		case want == "" && (err != nil || s.Reveal() != value):
			t.Errorf("a good URL is refused: %v", err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("got %v, want %q and no password", err, want)
		}
	}
}
