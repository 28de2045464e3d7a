package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

const sambaHook = "samba-test-hook-0123456789abcdef"

const sambaConfiguration = `
server: {listen: "%s"}
data: data
connections:
  jira:
    integration: jira
    options: {url: "%s", email: "%s", token: "${env:SAMBA_JIRA}"}
  directory:
    integration: activedirectory
    options: {url: "ldaps://%s", base_dn: "%s", domain: LAB, bind_name: svc-funnel@lab.test, password: "${env:SAMBA_PASSWORD}", ca_file: "%s"}
sources:
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${env:SAMBA_HOOK}"]}}
playbooks:
  open_ticket: {options: {project: SIRT}}
  enrich_file: {enabled: false}
  enrich_network: {enabled: false}
`

// sambaServer runs the real server with this directory: the command answers, and
// an alert's ticket says who the user is.
func sambaServer(t *testing.T, d *domain) {
	site := jirafake.New(jirafake.Options{})
	jira := httptest.NewServer(site)
	t.Cleanup(func() { jira.Close(); site.Close() })
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, dir := listen.Addr().String(), t.TempDir()
	_ = listen.Close()
	config := filepath.Join(dir, "funnel.yaml")
	text := fmt.Sprintf(sambaConfiguration, address, jira.URL, jirafake.DefaultEmail, d.ip, sambaBase, filepath.Join(d.dir, "tls", "ca.pem"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "SAMBA_JIRA="+jirafake.DefaultToken, "SAMBA_PASSWORD="+sambaPassword, "SAMBA_HOOK="+sambaHook, "FUNNEL_SERVER=http://"+address)
	funnel := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program(t), args...)
		cmd.Env = env
		return cmd
	}
	if out, err := funnel("check", "--config", config).CombinedOutput(); err != nil {
		t.Fatalf("the configuration: %s", out)
	}
	server, log := funnel("serve", "--config", config), &bytes.Buffer{}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			_ = server.Process.Signal(os.Interrupt)
			_ = server.Wait()
			stopped = true
		}
	}
	t.Cleanup(stop)
	ready := false
	for deadline := time.Now().Add(time.Minute); !ready && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // between two looks from outside
		if res, err := http.Get("http://" + address + "/readyz"); err == nil {
			_ = res.Body.Close()
			ready = res.StatusCode == http.StatusOK
		}
	}
	token, err := funnel("token", "--config", config).Output()
	if err != nil || !ready {
		t.Fatalf("ready %v, token %v", ready, err)
	}
	env = append(env, "FUNNEL_TOKEN="+strings.TrimSpace(string(token)))

	out, err := funnel("run", "activedirectory.lookup_user", "--account", `LAB\jdoe`, "--json").Output()
	var u activedirectory.User
	if err != nil || json.Unmarshal(out, &u) != nil || u.Account != "jdoe" || u.Manager.DisplayName != "The boss" || u.SID != d.attributes(t, "jdoe")["objectSid"] || !u.Enabled {
		t.Errorf("funnel run says %s (%v)", out, err)
	}
	alert := fmt.Sprintf(`{"sid":"scheduler__admin__search__samba_at_1","search_name":"Malware","app":"search","owner":"admin","results_link":"","result":{"user":%q,"dest":"WS-0142","_time":"1"}}`, `LAB\jdoe`)
	res, err := http.Post("http://"+address+"/hooks/splunk/"+sambaHook, "application/json", strings.NewReader(alert))
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("the alert: %v, %v", res, err)
	}
	_ = res.Body.Close()
	said := func() string {
		var all strings.Builder
		for _, i := range site.Issues() {
			for _, c := range i.Comments {
				all.WriteString(asJSON(t, c))
			}
		}
		return all.String()
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(said(), "Clerk") && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond) // between two looks from outside
	}
	for _, want := range []string{"Clerk", "The boss", "Middle, Outer", "Finance"} {
		if !strings.Contains(said(), want) {
			t.Errorf("the ticket does not say %q: %s", want, said())
		}
	}
	stop()
	if strings.Contains(log.String(), sambaPassword) {
		t.Error("the password is in the server's log")
	}
	if t.Failed() {
		t.Logf("the server's log:\n%s", log.String())
	}
}
