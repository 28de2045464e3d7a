package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The configuration in the guide "Connect Jira" passes the check, for Cloud and
// for Data Center, and with a mixture of both the server does not start.
func TestJiraGuide(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", "jira.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(blocks) != 4 {
		t.Fatalf("the guide has %d blocks of yaml, want 4", len(blocks))
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"jira.token": "token", "jira-hook": strings.Repeat("0123456789", 3)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := func(command string, code int, want string, parts ...string) {
		t.Helper()
		text := "data: data\n" + strings.ReplaceAll(strings.Join(parts, ""), "/etc/funnel/", dir+"/")
		file := filepath.Join(dir, "funnel.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run(t, program(t), code, command, "--config", file); !strings.Contains(out, want) {
			t.Errorf("%s\nis said to be %s\nwant %q", text, out, want)
		}
	}
	cloud, dataCenter, playbook, source := blocks[0][1], blocks[1][1], blocks[2][1], blocks[3][1]
	said("check", 0, "is fine", cloud, playbook, source)
	noCA := regexp.MustCompile(`(?m)^ *tls:.*\n`).ReplaceAllString(dataCenter, "")
	said("check", 0, "is fine", noCA, playbook, source)
	said("check", 78, "reading the authorities", dataCenter) // there is no such file here
	said("check", 78, "did you mean \"data_center\"?", strings.Replace(noCA, "data_center", "datacenter", 1))
	said("serve", 78, "email is for Jira Cloud", strings.Replace(noCA, "deployment:", "email: funnel@example.com\n      deployment:", 1))
	said("serve", 78, "set deployment to data_center", strings.Replace(noCA, "      deployment: data_center\n", "", 1))
}
