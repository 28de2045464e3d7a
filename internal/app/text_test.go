package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/virustotal"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/playbooks"
)

// Observables in the text of an issue that a person made, and of an alert, are
// looked up and commented; what is ours is not asked about, and an issue that
// names nothing gets no comment. The journals of the simulated systems say so.
func TestObservablesInText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const key = "test-scanner-key-0123456789"
	for name, text := range map[string]string{"token": jirafake.DefaultToken, "hook": hookSecret, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := jirafake.New(jirafake.Options{})
	tracker := httptest.NewServer(site)
	scanner := virustotalfake.New(virustotalfake.Options{APIKey: key, URLs: virustotalfake.DemoURLs(), IPs: virustotalfake.DemoIPs()})
	scans := httptest.NewServer(scanner)
	t.Cleanup(func() { tracker.Close(); site.Close(); scans.Close() })
	c, err := config.Parse(filepath.Join(dir, "funnel.yaml"), fmt.Appendf(nil, `
server: {listen: "127.0.0.1:0", public_url: "http://127.0.0.1"}
data: data
connections:
  jira: {integration: jira, options: {url: %q, email: %q, token: "${file:token}"}}
  virustotal: {integration: virustotal, options: {url: %q, api_key: "${file:key}"}, limits: {rate: 6000/m, daily: 1000}}
sources:
  jira: {trigger: jira.issue_created, connection: jira, auth: {path_secret: ["${file:hook}"]}}
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${file:hook}"]}, text: [comment]}
observables: {own_domains: [corp.example.com]}
`, tracker.URL, jirafake.DefaultEmail, scans.URL))
	if err != nil {
		t.Fatal(err)
	}
	registry := funnel.NewRegistry().Add(splunk.Integration(), jira.Integration(), virustotal.Integration()).AddPlaybooks(playbooks.OpenTicket, playbooks.EnrichNetwork)
	a := start(t, app.Options{Config: c, Registry: registry, Version: "test"})
	post := func(url string, body any, auth bool, status int) []byte {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		for {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if auth {
				req.SetBasicAuth(jirafake.DefaultEmail, jirafake.DefaultToken)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var answer bytes.Buffer
			_, err = answer.ReadFrom(res.Body)
			_ = res.Body.Close()
			switch {
			case err != nil || res.StatusCode != status && res.StatusCode != http.StatusServiceUnavailable:
				t.Fatalf("status %d, error %v: %s", res.StatusCode, err, &answer)
			case res.StatusCode == status:
				return answer.Bytes()
			}
			time.Sleep(20 * time.Millisecond) // it asks to be asked again
		}
	}
	type object = map[string]any
	hook := func(source string) string { return "http://" + a.Addr() + "/hooks/" + source + "/" + hookSecret }
	// A person's issue: the tracker has it, and its webhook comes.
	person := func(summary, description string) string {
		fields := object{"project": object{"key": "SIRT"}, "issuetype": object{"name": "Task"}, "summary": summary}
		var made struct{ ID, Key string }
		if err := json.Unmarshal(post(tracker.URL+"/rest/api/3/issue", object{"fields": fields}, true, http.StatusCreated), &made); err != nil {
			t.Fatal(err)
		}
		fields["description"], fields["creator"] = description, object{"accountId": "712020:jdoe"}
		fields["issuetype"] = nil
		post(hook("jira"), object{
			"webhookEvent": "jira:issue_created", "user": object{"accountId": "712020:jdoe"}, "issue": object{"id": made.ID, "key": made.Key, "fields": fields},
		}, false, http.StatusAccepted)
		return made.Key
	}
	quiet := person("A printer is out of paper", "It is http://printer.corp.example.com/ at 10.20.30.40, ask it@corp.example.com.")
	asked := person("Is this mail ours?", "h2. Link\n[click|hxxp://login-update[.]example[.]com/invoice?id=417] came from *192.88.99[.]66* to mail.corp.example.com.")
	post(hook("splunk"), object{"sid": "1", "search_name": "Test search", "result": object{
		"user": "jdoe", "src_ip": "10.20.30.40", "url": "https://www.corp.example.com/", "comment": "seen before: 192.88.99.7", "message": "not read: 8.8.8.8",
	}}, false, http.StatusAccepted)

	comments := func(issue string) string {
		i, _ := site.Issue(issue)
		var all []string
		for _, c := range i.Comments {
			all = append(all, string(c.Body))
		}
		return strings.Join(all, "\n")
	}
	ticket := func() (key string) {
		for _, i := range site.Issues() {
			if strings.Contains(i.Summary, "Test search") {
				key = i.Key
			}
		}
		return key
	}
	for end := time.Now().Add(time.Minute); comments(asked) == "" || comments(ticket()) == ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute %s has %q, %s has %q", asked, comments(asked), ticket(), comments(ticket()))
		}
	}
	for issue, want := range map[string][]string{
		asked:    {"Network: malicious", "hxxp://login-update[.]example[.]com/invoice?id=417", "192.88.99.66"},
		ticket(): {"Network: suspicious", "192.88.99.7", "What belongs to us is not asked about: 2."},
	} {
		for _, w := range want {
			if got := comments(issue); !strings.Contains(got, w) {
				t.Errorf("the comment on %s does not say %q:\n%s", issue, w, got)
			}
		}
	}
	if got := comments(quiet); got != "" {
		t.Errorf("the issue about our own has a comment: %s", got)
	}
	if i, _ := site.Issue(ticket()); !strings.Contains(string(i.Description), "192.88.99.7") || !strings.Contains(string(i.Description), "(named in the text)") {
		t.Errorf("the ticket says %s", i.Description)
	}
	var looked []string
	for _, l := range scanner.Journal() {
		looked = append(looked, l.Kind+" "+l.ID)
	}
	slices.Sort(looked)
	if got := strings.Join(looked, ", "); got != "ip_address 192.88.99.66, ip_address 192.88.99.7, url "+base64.RawURLEncoding.EncodeToString([]byte("http://login-update.example.com/invoice?id=417")) {
		t.Errorf("the scanner was asked for %s", got)
	}
}
