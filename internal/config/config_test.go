package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/observables"
	"github.com/funnelsec/funnel/internal/secret"
)

func TestExampleIsWhole(t *testing.T) {
	t.Parallel()
	c, err := Load(filepath.Join("..", "..", "examples", "funnel.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// What the example calls a default is one.
	if d := defaults(); !reflect.DeepEqual(c.Engine, d.Engine) || c.Server.Listen != d.Server.Listen {
		t.Errorf("the example's defaults differ: %+v, %+v", c.Engine, c.Server)
	}
	if s := c.Sources["splunk"]; s.MaxBody != defaultMaxBody || s.Auth.Kind != PathSecret || len(s.Auth.Secrets) != 1 || len(s.Fields[funnel.User]) != 2 {
		t.Errorf("got %+v", s)
	}
	if s := c.Sources["jira"]; s.Auth.Kind != Signature || s.Connection != "jira" {
		t.Errorf("got %+v", s)
	}
	if got, want := c.Connections["jira"].Limits, (funnel.Limits{Concurrency: 4, Rate: 10, Per: time.Second, Daily: 20000, Timeout: 30 * time.Second}); got != want {
		t.Errorf("got %+v", got)
	}
	if o := c.Observables; len(o.OwnDomains) != 2 || !slices.Equal(o.OwnNetworks, observables.PrivateNetworks()) {
		t.Errorf("got %+v", o)
	}
	if c.Data != "/var/lib/funnel" || c.Server.PublicURL != "https://funnel.example.com" || c.Notify == nil || c.Notify.Secret.IsZero() {
		t.Errorf("got %+v", c)
	}
	var settings struct {
		Project   string            `json:"project"`
		IssueType string            `json:"issue_type"`
		Priority  map[string]string `json:"priority"`
		Labels    []string          `json:"labels"`
		SplunkURL string            `json:"splunk_url"`
		Verify    bool              `json:"verify"`
		Rules     []map[string]any  `json:"rules"`
	}
	if err := c.Playbooks["open_ticket"].Options.Decode(&settings); err != nil || settings.Priority["critical"] != "Highest" {
		t.Errorf("got %+v, %v", settings, err)
	}
}

// What the guide shows is accepted.
func TestGuideOfObservables(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", "observables.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(guide), "```yaml\n")[1:]
	if len(blocks) != 2 {
		t.Fatalf("the guide has %d blocks", len(blocks))
	}
	src := ""
	for _, b := range blocks {
		block, _, _ := strings.Cut(b, "```")
		src += block
	}
	c, err := Parse("observables.md", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Sources["splunk"].Fields; len(f[funnel.User]) != 2 || f[funnel.Email] == nil || len(f[funnel.Email]) != 0 || !slices.Equal(c.Observables.OwnNetworks, observables.PrivateNetworks()) {
		t.Errorf("got %+v, %+v", f, c.Observables)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"", "# nothing\n", "---\n", "server:\nengine:\nnotify:\nsources: {}\n", "\ufeffserver:\r\n  behind_proxy: false\r\n"} {
		c, err := Parse("/etc/funnel/funnel.yaml", []byte(src))
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		if c.Server.Listen != "127.0.0.1:8080" || c.Server.PublicURL != "http://127.0.0.1:8080" || c.Data != "/etc/funnel/data" || c.Engine.Workers != 32 || c.Notify != nil {
			t.Errorf("%q: got %+v", src, c)
		}
	}
}

// An empty list says "none", an absent one "the default".
func TestNoneIsNotTheDefault(t *testing.T) {
	t.Parallel()
	const source = "sources: {s: {trigger: splunk.alert, auth: {none: true}%s}}\n"
	for _, c := range []struct{ src, want string }{
		{fmt.Sprintf(source, ""), "map[] [] true; [] [] true"},
		{fmt.Sprintf(source, ", text: [], fields: {ip: []}") + "observables: {own_networks: []}", "map[ip:[]] [] false; [] [] false"},
		{fmt.Sprintf(source, ", text: message") + "observables: {own_domains: corp.example.com, own_networks: 2001:db8::1}", "map[] [message] false; [corp.example.com] [2001:db8::1/128] false"},
	} {
		cfg, err := Parse("f.yaml", []byte(c.src))
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		s, o := cfg.Sources["s"], cfg.Observables
		if got := fmt.Sprintf("%v %v %v; %v %v %v", s.Fields, s.Text, s.Text == nil, o.OwnDomains, o.OwnNetworks, o.OwnNetworks == nil); got != c.want {
			t.Errorf("%s: got %s, want %s", c.src, got, c.want)
		}
	}
}

func TestAuthNeedsLoopback(t *testing.T) {
	t.Parallel()
	const source = "sources: {demo: {trigger: mockscan.finding, auth: {none: true}}}\n"
	for server, ok := range map[string]bool{
		"": true, "server: {listen: 'localhost:0'}\n": true, "server: {listen: '[::1]:80'}\n": true, "server: {listen: '127.9.9.9:80'}\n": true,
		"server: {behind_proxy: true}\n": false, "server: {listen: ':80', behind_proxy: true}\n": false, "server: {listen: '[::ffff:10.0.0.1]:80'}\n": false,
		"server: {listen: ':80'}\n": false, "server: {listen: '10.0.0.1:80'}\n": false, "server: {listen: 'funnel:80'}\n": false, "server: {listen: '127.0.0.1:99999'}\n": false,
		"server: {listen: '127.0.0.1'}\n": false,
	} {
		if _, err := Parse("f.yaml", []byte(server+source)); (err == nil) != ok {
			t.Errorf("%s: got %v", server, err)
		}
	}
	// Each of the two is an error of its own.
	if _, err := Parse("f.yaml", []byte("server: {listen: '10.0.0.1:80'}\n"+source)); err == nil || !strings.Contains(err.Error(), "a source without authentication") {
		t.Errorf("got %v", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "funnel.yaml")
	if _, err := Load(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := Load(dir, nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	const src = `sources:
  one: {trigger: a.b, auth: {path_secret: ["${env:LONG}", "${file:next}"]}}
  two: {trigger: a.b, auth: {bearer: "${env:SHORT}"}}
  three: {trigger: a.b, auth: {signature: {secret: "${env:ABSENT}"}}}
`
	for name, content := range map[string]string{path: src, filepath.Join(dir, "next"): strings.Repeat("n", 30) + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"LONG": strings.Repeat("l", 24), "SHORT": "sh0rt-canary-of-23-byte"}
	c, err := Load(path, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ResolveAuth(c.Sources["one"].Auth)
	if err != nil || len(got) != 2 || !got[0].Equal([]byte(env["LONG"])) || got[1].Len() != 30 {
		t.Errorf("got %v, %v", got, err)
	}
	for name, want := range map[string]string{"two": ":3:38: sources.two.auth.bearer: the secret behind ${env:SHORT} has 23 bytes", "three": "the environment variable ABSENT is unset"} {
		_, err := c.ResolveAuth(c.Sources[name].Auth)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := c.Resolve(c.Sources["three"].Auth.Secrets[0]); err == nil || !strings.Contains(err.Error(), "funnel.yaml:4:") {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(path, 0o602); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a file that everybody may write: %v", err)
	}
	if e := c.ErrorAt("/sources/two/trigger", `there is no trigger "a.b"`, ""); e.Line != 3 || e.Column != 9 {
		t.Errorf("got %v", e)
	}
}

const optionsSrc = `connections:
  jira:
    integration: jira
    options:
      url: https://example.atlassian.net
      token: "${env:TOKEN}"
      nested: {a/b: [1.50, "${env:TOKEN}", true, null, "é<\"\n"]}
      wait: 24h
      "~k": 10000000000000000001
`

func options(t *testing.T, src string) Options {
	t.Helper()
	c, err := Parse("f.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return c.Connections["jira"].Options
}

func TestOptionsJSON(t *testing.T) {
	t.Parallel()
	o := options(t, optionsSrc)
	got, err := o.JSON(func(ref string) (string, error) { return `<"` + ref[6:len(ref)-1] + `>`, nil })
	want := `{"url":"https://example.atlassian.net","token":"\u003c\"TOKEN\u003e","nested":{"a/b":[1.50,"\u003c\"TOKEN\u003e",true,null,"é\u003c\"\n"]},"wait":"24h","~k":10000000000000000001}`
	if err != nil || string(got) != want || !json.Valid(got) {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	_, err = o.JSON(func(string) (string, error) { return "", errors.New("TOKEN is unset") })
	if err == nil || !strings.HasPrefix(err.Error(), "f.yaml:6:14: TOKEN is unset") {
		t.Errorf("got %v", err)
	}
	if got := fmt.Sprint(o.SecretPaths()); got != "[/token /nested/a~1b/1]" {
		t.Errorf("got %s", got)
	}
	for pointer, want := range map[string]string{"": "5 7", "/url": "5 7", "/token": "6 7", "/nested/a~1b": "7 16", "/nested/a~1b/3": "7 50", "/nested/nope/x": "7 7", "/~0k": "9 7", "/nope": "5 7"} {
		line, column := o.Position(pointer)
		if got := fmt.Sprint(line, column); got != want {
			t.Errorf("%q is at %s, want %s", pointer, got, want)
		}
	}
	var zero Options
	if b, err := zero.JSON(nil); err != nil || string(b) != "{}" || !zero.IsEmpty() || zero.SecretPaths() != nil || zero.ErrorAt("/a", "b", "").Error() == "" {
		t.Errorf("the zero Options: %s, %v", b, err)
	}
}

type jiraOptions struct {
	URL    string          `json:"url"`
	Token  funnel.Secret   `json:"token"`
	Wait   funnel.Duration `json:"wait"`
	Labels []string        `json:"labels"`
	Kind   string          `json:"kind" enum:"cloud,data_center"`
	Deep   struct {
		Keys []funnel.Secret `json:"keys"`
	} `json:"deep"`
}

func TestOptionsCheck(t *testing.T) {
	t.Parallel()
	head := "connections:\n  jira:\n    integration: jira\n    options:\n"
	for line, want := range map[string]string{
		`      token: "${env:TOKEN}"`:                  "",
		`      url: https://x.test`:                    "",
		`      deep: {keys: ["${env:A}", "${env:B}"]}`: "",
		`      wait: 24h`:                              "",
		`      tokn: x`:                                "f.yaml:5:7: connections.jira.options.tokn: the key is not known here\n  5 |       tokn: x\n    |       ^\n    = did you mean \"token\"?",
		`      Token: "${env:TOKEN}"`:                  "f.yaml:5:7: connections.jira.options.Token: the key differs from the known key",
		`      token: hunter2-canary`:                  "f.yaml:5:14: a secret must not stand here in plain text",
		`      deep: {keys: ["${env:A}", "canary"]}`:   "f.yaml:5:33: a secret must not stand here in plain text",
		`      labels: [a, {b: c}]`:                    "f.yaml:5:19: connections.jira.options.labels.1: a string is expected here, not an object",
		`      wait: soon`:                             "f.yaml:5:7: connections.jira.options.wait: the value cannot be read: a duration such as \"30s\" or \"1h30m\" is expected here",
		`      kind: cloud`:                            "",
		`      kind: clud`:                             "f.yaml:5:13: the value is not one that can stand here\n  5 |       kind: clud\n    |             ^\n    = did you mean \"cloud\"?",
		`      kind: x`:                                "f.yaml:5:13: the value is not one that can stand here\n  5 |       kind: x\n    |             ^\n    = one of: cloud, data_center",
		`      url: 7`:                                 "f.yaml:5:7: connections.jira.options.url: a string is expected here, not a number",
	} {
		err := options(t, head+line+"\n").Check(reflect.TypeFor[jiraOptions]())
		got := fmt.Sprint(err)
		if want == "" && err != nil || want != "" && !strings.HasPrefix(got, want) || strings.Contains(got, "canary") {
			t.Errorf("%s: got %s", line, got)
		}
	}
}

func TestResolveText(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yaml", []byte(optionsSrc))
	if err != nil {
		t.Fatal(err)
	}
	c.secrets.Getenv = func(string) string { return "value" }
	var seen []secret.Secret
	if _, err := c.Connections["jira"].Options.JSON(c.ResolveText(func(s secret.Secret) { seen = append(seen, s) })); err != nil || len(seen) != 2 {
		t.Errorf("saw %d secrets, %v", len(seen), err)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"listen", "behind_proxy", "public_url", "auth"}
	for word, want := range map[string]string{"lisetn": "listen", "behindproxy": "behind_proxy", "public-url": "public_url", "aut": "auth", "xyz": "", "a": "", "": "", "listener": "listen"} {
		if got := Suggest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
