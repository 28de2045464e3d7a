package fault

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
	"github.com/funnelsec/funnel/internal/demo"
)

const (
	splunkSecret = "fault-run-splunk-secret-0123456789"
	jiraSecret   = "fault-run-jira-secret-0123456789"
	scannerKey   = "fault-run-scanner-key-0123456789"
)

// world is the simulated outside and the server's process.
type world struct {
	jira      *jirafake.Site
	directory *directoryfake.Server
	server    string
	config    string
	dir       string
	homes     []string // of nodes, one of which made the token
	program   string   // which the server is a process of: this test, or another build of it

	unhang func()                   // see hang
	in     func(func() error) error // does something where the server is; nil: it is here

	mu        sync.Mutex
	process   *process        // the latest
	listening []time.Duration // how long each start took until the server accepted
	peak      int64           // bytes of the largest process
}

func newWorld(t *testing.T, o jirafake.Options) *world {
	t.Helper()
	scanner := virustotalfake.New(virustotalfake.Options{APIKey: scannerKey, Files: files()})
	return newWorldWith(t, o, scanner, "concurrency: 8, rate: 100000/s, daily: 1000000")
}

// newWorldWith returns a world with a scanner of its own, and the limits of the
// connection to it.
func newWorldWith(t *testing.T, o jirafake.Options, s *virustotalfake.Server, limits string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), program: os.Args[0]}
	w.jira = jirafake.New(o)
	site := httptest.NewServer(w.jira)
	t.Cleanup(func() { site.Close(); w.jira.Close() })
	scanner := httptest.NewServer(s)
	t.Cleanup(scanner.Close)
	directory, err := directoryfake.Start(directoryfake.Options{Entries: directoryfake.Demo(), Passwords: directoryfake.DemoPasswords()})
	if err != nil {
		t.Fatal(err)
	}
	w.directory = directory
	t.Cleanup(func() { _ = directory.Close() })
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, directory.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := demo.FreeAddress("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.server = "http://" + address
	w.config = filepath.Join(w.dir, "funnel.yaml")
	account := `email: "` + jirafake.DefaultEmail + `"`
	if o.Deployment == jirafake.DataCenter {
		account = "deployment: data_center"
	}
	text := fmt.Sprintf(configuration, address, site.URL, account, directory.URL(), directoryfake.DemoBaseDN, directoryfake.DemoBindName, ca, scanner.URL, limits)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.jira.SetWebhook(w.server+"/hooks/jira", jiraSecret)
	t.Cleanup(w.kill)
	return w
}

const configuration = `
server: {listen: "%s"}
data: data
connections:
  jira:
    integration: jira
    options: {url: "%s", %s, token: "${env:FAULT_JIRA}"}
    limits: {concurrency: 16, timeout: 5s}
  directory:
    integration: activedirectory
    options: {url: "%s", base_dn: "%s", bind_name: "%s", password: "${env:FAULT_DIRECTORY}", ca_file: "%s"}
  virustotal:
    integration: virustotal
    options: {url: "%s", api_key: "${env:FAULT_SCANNER}"}
    limits: {%s}
sources:
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${env:FAULT_SPLUNK_HOOK}"]}}
  jira: {trigger: jira.issue_created, connection: jira, auth: {signature: {secret: "${env:FAULT_JIRA_HOOK}"}}}
playbooks: {relate_tickets: {options: {wait: 200ms, most: 3, close_duplicates: same_observables}}}
engine: {workers: 32, lookups: [50ms, 300ms, 1200ms, 6s], quiet: 18s, tell_after: 1s, attempts: 8}
`

func hash(i int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(marker(i)))) }

// files are those whose hash the scanner knows: every other one.
func files() []virustotalfake.File {
	var list []virustotalfake.File
	for i := 0; i < 1000; i += 2 {
		list = append(list, virustotalfake.File{Name: marker(i) + ".exe", SHA256: hash(i), MD5: hash(i)[:32], SHA1: hash(i)[:40], Malicious: i % 60, Undetected: 10})
	}
	return list
}

// waitIdle returns when the server has no live run and the tracker has nothing
// under way.
func (w *world) waitIdle(ctx context.Context, t *testing.T) {
	t.Helper()
	for idle := 0; idle < 3; {
		if err := ctx.Err(); err != nil {
			t.Fatalf("the server is not done: %v\n%s\n%s", err, w.says("/status"), w.unfinished(t))
		}
		if w.live() == 0 && w.jira.Settle(ctx) == nil {
			idle++
		} else {
			idle = 0
		}
		time.Sleep(100 * time.Millisecond) // between two looks from outside; nothing is ordered by it
	}
}

// unfinished says of each run that has not ended well what it waits for.
func (w *world) unfinished(t *testing.T) string {
	var text strings.Builder
	for _, state := range []string{"failed", "queued", "running", "waiting"} {
		var page struct {
			Runs []map[string]any
		}
		if w.get(t, "/api/v1/runs?limit=20&state="+state, &page) {
			for _, r := range page.Runs {
				fmt.Fprintln(&text, r)
			}
		}
	}
	return text.String()
}

// says returns what the server answers at the path.
func (w *world) says(path string) string {
	res, err := http.Get(w.server + path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return res.Status + " " + string(text)
}

// counts is what /status says of the runs.
type counts struct {
	Queue     struct{ Queued, Running, Waiting int } `json:"queue"`
	Attention int                                    `json:"needs_attention"`
}

// live returns how many runs have something to do, -1 if the server does not say.
func (w *world) live() int {
	c, err := w.counts()
	if err != nil {
		return -1
	}
	return c.Queue.Queued + c.Queue.Running + c.Queue.Waiting
}

// attention returns how many runs are left to a person.
func (w *world) attention(t *testing.T) int {
	t.Helper()
	c, err := w.counts()
	if err != nil {
		t.Fatal(err)
	}
	return c.Attention
}

func (w *world) counts() (c counts, err error) {
	res, err := http.Get(w.server + "/status")
	if err != nil {
		return c, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return c, errors.New(res.Status)
	}
	return c, json.NewDecoder(res.Body).Decode(&c)
}

// verdict is what the tracker's state says about the acknowledged alerts.
type verdict struct {
	acked, tickets, lost, doubleTickets, missingComments, doubleComments int
	examples                                                             []string
}

// judge compares the acknowledged alerts with the tickets that exist.
func (w *world) judge(acked map[string]bool) verdict {
	v, hooked := verdict{}, w.hooked()
	byMarker := map[string][]jirafake.Issue{}
	for _, issue := range w.jira.Issues() {
		text := jirafake.Text(issue.Description)
		if i := strings.Index(text, "marker-"); i >= 0 {
			byMarker[text[i:i+len("marker-00000")]] = append(byMarker[text[i:i+len("marker-00000")]], issue)
		}
		v.tickets++
		names := map[string]int{}
		for _, c := range issue.Comments {
			names[commentName(c)]++
		}
		for _, name := range []string{"enrich_user", "enrich_host", "enrich_file", "relate_tickets"} {
			switch n := names[name]; {
			case n == 0 && name == "enrich_host" && !strings.Contains(text, "WS-"): // the alert names no computer
			case n == 0 && byPerson(issue) && (name != "enrich_file" || !hooked[issue.Key]): // it names a file and nothing else, or nobody told us of it
			case n == 0:
				v.missingComments++
				v.example("%s has no comment of %s", issue.Key, name)
			case n > 1:
				v.doubleComments++
				v.example("%s has %d comments of %s", issue.Key, n, name)
			}
		}
	}
	for m, ok := range acked {
		if !ok {
			continue
		}
		v.acked++
		switch n := len(byMarker[m]); {
		case n == 0:
			v.lost++
			v.example("%s was acknowledged and has no ticket", m)
		case n > 1:
			v.doubleTickets++
			v.example("%s has %d tickets", m, n)
		}
	}
	return v
}

// commentName reads the name of a living comment from its property or, where the
// site keeps none, from its mark.
func commentName(c jirafake.Comment) string {
	var p struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(c.Properties["funnel.comment"], &p)
	for _, name := range []string{"enrich_user", "enrich_host", "enrich_file", "relate_tickets", "seen"} {
		if p.Name == "" && strings.HasSuffix(jirafake.Text(c.Body), "."+funnel.Fingerprint(name)) {
			return name
		}
	}
	return p.Name
}

func (v *verdict) example(format string, args ...any) {
	if len(v.examples) < 10 {
		v.examples = append(v.examples, fmt.Sprintf(format, args...))
	}
}

// String returns the figures in one line.
func (v verdict) String() string {
	return fmt.Sprintf("acknowledged %d, tickets %d, lost %d, double tickets %d, missing comments %d, double comments %d",
		v.acked, v.tickets, v.lost, v.doubleTickets, v.missingComments, v.doubleComments)
}

func (v verdict) mustBeClean(t *testing.T) {
	t.Helper()
	if v.acked == 0 || v.lost+v.doubleTickets+v.missingComments+v.doubleComments > 0 {
		t.Errorf("%s\n%s", v, strings.Join(v.examples, "\n"))
	}
}
