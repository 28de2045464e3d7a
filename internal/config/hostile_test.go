package config

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile holds files that must be refused, and the word that the error must hold.
func hostile() map[string]string {
	return map[string]string{
		strings.Repeat("[", 20_000):                        "deeper",
		strings.Repeat("[", 250<<10):                       "deeper",
		strings.Repeat("- ", 100_000):                      "deeper",
		strings.Repeat("{a: ", 20_000):                     "deeper",
		strings.Repeat("? ", 20_000):                       "?",
		deep(40):                                           "deeper",
		"data: " + strings.Repeat("[", 33) + "\n":          "deeper",
		strings.Repeat("a: &a [*a,*a]\n", 3):               "anchors",
		"a: &a [x]\nb: [*a, *a]\n":                         "anchors",
		"data: !!binary aGk=\n":                            "tags",
		"data: !<tag:yaml.org,2002:str> x\n":               "tags",
		"%YAML 1.1\n---\ndata: x\n":                        "directives",
		"server: {<<: {listen: x}}\n":                      "merge",
		"data: x\n---\ndata: y\n":                          "second document",
		"data: x\ndata: y\n":                               "twice",
		"data: x\n\"data\": y\n":                           "twice",
		"data: x\n'\\x64ata': y\n\"\\x64ata\": z\n":        "twice",
		"[a, b]: x\n":                                      "",
		"{a: b}: x\n":                                      "",
		"data: \"\xff\"\n":                                 "UTF-8",
		"data: \"\x00\"\n":                                 "control character",
		"data: x\rserver: y\n":                             "control character",
		"data: x\u2028server: y\n":                         "invisible",
		"data: x\u0085server: y\n":                         "control character",
		strings.Repeat("#", 256<<10+1):                     "256 KiB",
		"data: |\n" + strings.Repeat(" x\n", 10) + "\tx\n": "",
		"data":                    "must be a mapping",
		"~: x\n":                  "a key must be",
		"- a\n- b":                "must be a mapping",
		"engine: {attempts: 1e1}": "several ways",
		"engine: {attempts: -0}":  "whole number",
		"engine: {attempts: 99999999999999999999}":               "",
		"engine: {quiet: 9999999h}":                              "",
		"engine: {quiet: -5s}":                                   "longer than 0",
		"engine: {quiet: 1.5}":                                   "unit",
		"engine: {lookups: 5s}":                                  "list",
		"engine: {lookups: [" + strings.Repeat("5s,", 21) + "]}": "1 to 20",
		"sources: {a: {max_body: 1023}}":                         "1KiB",
		"sources: {a: {max_body: 99999999999999999999MiB}}":      "",
		"sources: {a: {max_body: 1GiB}}":                         "must be from",
		"sources: {a: {max_body: {a: b}}}":                       "size",
		"sources: [a]":                                           "mapping",
		"sources: {../a: {}}":                                    "cannot be the name",
		"sources: {" + strings.Repeat("a", 64) + ": {}}":         "cannot be the name",
		"notify: {url: ftp://x.test}":                            "must be a URL",
		"notify: {url: 'https://u:p@x.test'}":                    "password",
		"notify: {url: 'http://[::ffff:127.0.0.1.evil]/'}":       "must be a URL",
		"notify: {url: 'http://localhost.example.com/'}":         "https",
		"notify: {}": "needs a url",
		"notify: x":  "mapping",
		"server: {public_url: 'javascript:alert(1)'}": "must be a URL",
		"server: {public_url: 'https://x.test/?a=b'}": "path",
		"data: ${env:HOME}":                           "cannot be a reference",
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestHostile(t *testing.T) {
	t.Parallel()
	for src, want := range hostile() {
		_, err := Parse("f.yaml", []byte(src))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %.300v, want an error with %q", src, err, want)
		}
		checkError(t, err)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	es, ok := errors.AsType[Errors](err)
	if !ok || len(es) == 0 {
		t.Fatalf("got a %T: %v", err, err)
	}
	text := err.Error()
	if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\r\t") || len(text) > 20<<10 {
		t.Errorf("not fit for a terminal (%d bytes): %.300q", len(text), text)
	}
}

// TestBombsAreCheap: what is too deep is refused before the parser sees it, which would take hundreds of megabytes.
// The same holds for what is too wide.
func TestBombsAreCheap(t *testing.T) {
	var wide strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&wide, "a%d: x\n", i)
	}
	for _, src := range []string{strings.Repeat("[", 20_000), wide.String(), "data:\n" + strings.Repeat("- \n", 80_000)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Parse("f.yaml", []byte(src)); err == nil {
			t.Fatalf("%.20q: accepted", src)
		}
		runtime.ReadMemStats(&after)
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 100 {
			t.Errorf("%.20q: took %d MB", src, mb)
		}
	}
}

func TestExcerptHidesSecrets(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"token: canary\n", "a: {password: canary, b: 1}\n", "a: [{api_key: 'canary'}]\n", "x: 1\npath_secret:\n- canary\n", "path_secret:\n  - canary\n",
		"path_secret: [\n  canary,\n  ]\n", "client_secret: |\n  canary\n  canary\n", "Token: \"canary\n  canary\"\n", "a: https://u:canary@x.test\n",
		"bearer: [\"${env:A}\", canary]\n", "signature: {secret: canary}\n", "\"secret\": canary\n", "- secret: canary\n", "credentials:\n    - - canary\n",
		"key: canary", "passwd:\tcanary", "secret:\n\n# note\n  canary\n",
	} {
		s := newSource("f.yaml", src)
		for line := range s.lines {
			for column := range 30 {
				if e := s.err(line+1, column+1, "x", ""); strings.Contains(e.Error(), "canary") {
					t.Fatalf("%q: shown:\n%v", src, e)
				}
			}
		}
	}
	// What is no secret stays readable.
	for _, line := range []string{"listen: 127.0.0.1:8080", `auth: {path_secret: ["${env:A}", "${env:B}"], bogus: 1}`, `token: ${env:A} # note`, "connection: jira", "data: x"} {
		if got := newSource("f.yaml", line).masked(0); got != line {
			t.Errorf("%s became %s", line, got)
		}
	}
	if got := newSource("f.yaml", strings.Repeat("é", 300)).excerpt(1, 150, false); utf8.RuneCountInString(got) > 2*maxWidth+20 {
		t.Errorf("a long line is not cut: %s", got)
	}
}

// FuzzConfig: no file panics, takes the parser's depth, or gives an error that is unfit for a terminal; what is accepted has
// options that are JSON.
func FuzzConfig(f *testing.F) {
	for src := range hostile() {
		if len(src) < 4096 {
			f.Add([]byte(src))
		}
	}
	f.Add([]byte(optionsSrc))
	f.Add([]byte("sources: {s: {trigger: a.b, auth: {path_secret: ['${env:A}']}, fields: {user: u}, max_body: 2MiB}}\nplaybooks: {p: {options: {a: [1, x]}}}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse("f.yaml", src)
		checkError(t, err)
		if err != nil {
			return
		}
		for _, p := range c.Playbooks {
			var v any
			if err := p.Options.Decode(&v); err != nil {
				if _, ok := errors.AsType[*Error](err); !ok {
					t.Fatalf("got a %T: %v", err, err)
				}
			}
		}
		for name, s := range c.Sources {
			if len(s.Triggers) == 0 || s.Auth.Kind == "" || s.Auth.Kind != None && len(s.Auth.Secrets) == 0 || s.Name != name {
				t.Fatalf("accepted %+v", s)
			}
		}
	})
}
