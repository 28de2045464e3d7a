package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goccy/go-yaml"
)

const canary = "c4n4ry-s3cret-value/+%"

type parent struct {
	Exported Secret
	hidden   Secret
	Pointer  *Secret
	nested   struct{ list []Secret }
}

func TestSecretNeverShows(t *testing.T) {
	t.Parallel()
	s := New(canary)
	p := parent{Exported: s, hidden: s, Pointer: &s}
	p.nested.list = []Secret{s}
	values := []any{s, &s, p, &p, []Secret{s}, map[string]Secret{"k": s}, [1]any{s}, fmt.Errorf("at %v: %w", s, errors.New("x"))}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%10.3s", "%+q", "%U", "%b", "%o", "%c", "%e"} {
			noLeak(t, verb, fmt.Sprintf(verb, v))
		}
		noLeak(t, "Sprint", fmt.Sprint(v))
		b, err := json.Marshal(v)
		noLeak(t, "json", string(b)+fmt.Sprint(err))
		b, err = yaml.Marshal(v)
		noLeak(t, "yaml", string(b)+fmt.Sprint(err))
		var buf bytes.Buffer
		err = gob.NewEncoder(&buf).Encode(v)
		noLeak(t, "gob", buf.String()+fmt.Sprint(err))
		slog.New(slog.NewJSONHandler(&buf, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&buf, nil)).Info("x", "v", v)
		noLeak(t, "slog", buf.String())
	}
	if got := fmt.Sprintf("%v %#v %d", s, s, s); got != "[secret] [secret] [secret]" {
		t.Errorf("got %q", got)
	}
	if b, _ := json.Marshal(map[string]any{"a": s}); string(b) != `{"a":"[secret]"}` {
		t.Errorf("got %s", b)
	}
	if s.Reveal() != canary || s.Len() != len(canary) {
		t.Error("the value is not there when it is asked for")
	}
}

func noLeak(t *testing.T, how, got string) {
	t.Helper()
	for _, form := range forms(canary) {
		if strings.Contains(got, form) {
			t.Errorf("%s tells the secret: %s", how, got)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	s := New(canary)
	for candidate, want := range map[string]bool{canary: true, "": false, canary + "x": false, canary[1:]: false, Mask: false} {
		if s.Equal([]byte(candidate)) != want {
			t.Errorf("candidate %q: want %v", candidate, want)
		}
	}
	var unset Secret
	if !unset.IsZero() || !New("").IsZero() || s.IsZero() || unset.Equal(nil) || unset.Equal([]byte("")) || unset.Reveal() != "" {
		t.Error("an unset secret equals something, or is not unset")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]Ref{
		"${env:JIRA_TOKEN}":                {Env, "JIRA_TOKEN"},
		"${file:/etc/funnel/a b:c.token}":  {File, "/etc/funnel/a b:c.token"},
		"${file:secrets/jira}":             {File, "secrets/jira"},
		"${credential:jira-token.1}":       {Credential, "jira-token.1"},
		"${env:_}":                         {Env, "_"},
		"${credential:..jira}":             {Credential, "..jira"},
		"${file:../outside/the/directory}": {File, "../outside/the/directory"},
	} {
		got, err := Parse(ref)
		if err != nil || got != want || got.String() != ref {
			t.Errorf("%s: got %v, %v", ref, got, err)
		}
	}
	for ref, want := range map[string]string{
		canary:                     "plain text",
		"":                         "plain text",
		"$JIRA_TOKEN":              "plain text",
		"${{ steps." + canary:      "plain text",
		"Bearer ${env:X}":          "whole value",
		"${env:X} ":                "ends with",
		"${env:X":                  "ends with",
		"${env:${env:X}}":          "ends with",
		"${" + canary + "}":        "needs its kind",
		"${" + canary + ":x}":      "unknown kind",
		"${ENV:X}":                 "unknown kind",
		"${env:}":                  "environment variable",
		"${env:1X}":                "environment variable",
		"${env:X:-" + canary + "}": "environment variable",
		"${file:}":                 "path",
		"${file:a\x00b}":           "path",
		"${credential:../shadow}":  "credential",
		"${credential:..}":         "credential",
		"${credential:}":           "credential",
	} {
		_, err := Parse(ref)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want one with %q", ref, err, want)
			continue
		}
		if !strings.Contains(err.Error(), "${") {
			t.Errorf("%q: the error gives no hint: %v", ref, err)
		}
		noLeak(t, "error", err.Error())
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
	}
	write("ok", canary+"\n", 0o600)
	write("group", canary+"\r\n", 0o640)
	write("lines", canary+"\nmore\n\n", 0o400)
	write("world", canary, 0o644)
	write("groupwrite", canary, 0o660)
	write("other", canary, 0o601)
	write("empty", "\n", 0o600)
	write("binary", canary+"\xff", 0o600)
	write("max", strings.Repeat("x", maxFile), 0o600)
	write("large", strings.Repeat("x", maxFile+1), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ok", filepath.Join(dir, "link")); err != nil { // as Kubernetes mounts secrets
		t.Fatal(err)
	}
	env := map[string]string{"TOKEN": canary, "BINARY": "\xff" + canary}
	r := Resolver{Getenv: func(k string) string { return env[k] }, BaseDir: dir}
	withDir := r
	withDir.CredentialsDir = dir

	tests := []struct {
		r         Resolver
		ref       Ref
		want, err string
	}{
		{r, Ref{Env, "TOKEN"}, canary, ""},
		{r, Ref{Env, "ABSENT"}, "", "ABSENT is unset or empty"},
		{r, Ref{Env, "BINARY"}, "", "not UTF-8"},
		{r, Ref{File, "ok"}, canary, ""},
		{r, Ref{File, filepath.Join(dir, "ok")}, canary, ""},
		{r, Ref{File, "group"}, canary, ""},
		{r, Ref{File, "lines"}, canary + "\nmore\n", ""},
		{r, Ref{File, "link"}, canary, ""},
		{r, Ref{File, "max"}, strings.Repeat("x", maxFile), ""},
		{r, Ref{File, "world"}, "", "chmod 0640"},
		{r, Ref{File, "groupwrite"}, "", "chmod 0640"},
		{r, Ref{File, "other"}, "", "chmod 0640"},
		{r, Ref{File, "empty"}, "", "is empty"},
		{r, Ref{File, "binary"}, "", "not UTF-8"},
		{r, Ref{File, "large"}, "", "larger than 64 KiB"},
		{r, Ref{File, "folder"}, "", "not a regular file"},
		{r, Ref{File, "pipe"}, "", "not a regular file"},
		{r, Ref{File, "absent"}, "", "no such file"},
		{r, Ref{Credential, "ok"}, "", "LoadCredential=ok:"},
		{withDir, Ref{Credential, "ok"}, canary, ""},
		{withDir, Ref{Credential, "../ok"}, "", "not allowed"},
		{r, Ref{"vault", "x"}, "", "unknown"},
	}
	for _, tt := range tests {
		got, err := tt.r.Resolve(tt.ref)
		switch {
		case tt.err == "" && (err != nil || got.Reveal() != tt.want):
			t.Errorf("%s: got %d bytes, %v", tt.ref, got.Len(), err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !got.IsZero()):
			t.Errorf("%s: got %v, want an error with %q", tt.ref, err, tt.err)
		}
		noLeak(t, "error", fmt.Sprint(err))
	}
}
