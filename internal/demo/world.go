package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/mockscan"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// world is the outside of the demo: every system that the server talks to,
// simulated, each behind a real listener on this machine.
type world struct {
	jira      *jirafake.Site
	directory *directoryfake.Server
	scanner   *virustotalfake.Server
	splunk    *splunkfake.Search
	searches  *splunkfake.API
	servers   []*http.Server

	jiraURL, scannerURL, splunkURL, searchesURL, chatURL string
}

// newWorld starts the fakes; the directory knows the workstations. The tracker's search index lags a little, as the
// real one does.
func newWorld(workstations []string) (_ *world, err error) {
	w := &world{splunk: splunkfake.NewSearch()}
	w.searches = splunkfake.NewAPI(splunkfake.APIOptions{Token: splunkfake.DemoToken, Jobs: splunkfake.DemoJobs(), Events: splunkfake.DemoEvents()})
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	w.jira = jirafake.New(jirafake.Options{IndexLag: jirafake.UniformLag(200*time.Millisecond, time.Second), Seed: 1})
	w.scanner = virustotalfake.New(virustotalfake.Options{APIKey: scannerKey, Files: virustotalfake.Demo(), URLs: virustotalfake.DemoURLs(), Domains: virustotalfake.DemoDomains(), IPs: virustotalfake.DemoIPs()})
	w.scanner.Misbehave(virustotalfake.Faults{Latency: 150 * time.Millisecond})
	if w.directory, err = directoryfake.Start(directoryfake.Options{Entries: directoryfake.Demo(workstations...), Passwords: directoryfake.DemoPasswords()}); err != nil {
		return nil, fmt.Errorf("starting the simulated directory: %w", err)
	}
	for _, s := range []struct {
		url     *string
		handler http.Handler
	}{{&w.jiraURL, w.jira}, {&w.scannerURL, w.scanner}, {&w.splunkURL, w.splunk}, {&w.searchesURL, w.searches}, {&w.chatURL, http.HandlerFunc(hear)}} {
		if *s.url, err = w.serve(s.handler); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// hear is a chat that takes every message.
func hear(res http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(req.Body, 1<<20))
	res.WriteHeader(http.StatusNoContent)
}

func (w *world) serve(h http.Handler) (string, error) {
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for a simulated system: %w", err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	w.servers = append(w.servers, s)
	go func() { _ = s.Serve(listen) }()
	return "http://" + listen.Addr().String(), nil
}

func (w *world) close() {
	for _, s := range w.servers {
		_ = s.Close()
	}
	if w.jira != nil {
		w.jira.Close()
	}
	if w.directory != nil {
		w.directory.Close()
	}
}

// scannerKey is the simulated scanner's API key; it opens nothing else.
const scannerKey = "demo-only-scanner-key-0000000000"

// detections are the alerts that the demo plays.
func detections(n int) []mockscan.Detection {
	var files []mockscan.File
	for _, f := range virustotalfake.Demo() {
		files = append(files, mockscan.File{Name: f.Name, MD5: f.MD5, SHA256: f.SHA256})
	}
	var links []mockscan.Link
	for i, u := range virustotalfake.DemoURLs() {
		links = append(links, mockscan.Link{URL: u.URL, Domain: virustotalfake.DemoDomains()[i].Name, IP: virustotalfake.DemoIPs()[i].IP})
	}
	return mockscan.Alerts(7, n, mockscan.Options{Links: links, Users: []string{"jdoe", "rroe", "mmajor", "jstiles", "jpublic"}, Files: files, Start: time.Now().Add(-time.Duration(n) * 3 * time.Minute)})
}

// workstations are the computers of the alerts that the directory knows: all but
// every fourth, so that one shows what is said of an unknown one.
func workstations(alerts []mockscan.Detection) []string {
	var names []string
	seen := map[string]bool{}
	for _, d := range alerts {
		if d.Host != "" && !seen[d.Host] {
			if seen[d.Host] = true; len(seen)%4 != 0 {
				names = append(names, d.Host)
			}
		}
	}
	return names
}

// configuration writes what the server needs into the directory and returns the
// path of funnel.yaml and the environment with the secrets.
func (w *world) configuration(dir, listen string) (path string, env []string, hooks hookSecrets, err error) {
	hooks = hookSecrets{splunk: random(), jira: random()}
	ca := filepath.Join(dir, "directory-ca.pem")
	if err := os.WriteFile(ca, w.directory.CAPEM(), 0o600); err != nil {
		return "", nil, hooks, fmt.Errorf("writing the simulated directory's authority: %w", err)
	}
	text := fmt.Sprintf(template, listen, w.jiraURL, jirafake.DefaultEmail, w.directory.URL(), directoryfake.DemoBaseDN, directoryfake.DemoBindName, ca, w.scannerURL, w.searchesURL, w.chatURL, w.splunkURL)
	path = filepath.Join(dir, "funnel.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", nil, hooks, fmt.Errorf("writing the demo's configuration: %w", err)
	}
	env = append(os.Environ(),
		"DEMO_JIRA_TOKEN="+jirafake.DefaultToken, "DEMO_DIRECTORY_PASSWORD="+directoryfake.DemoPassword, "DEMO_SCANNER_KEY="+scannerKey, "DEMO_SPLUNK_TOKEN="+splunkfake.DemoToken,
		"DEMO_SPLUNK_HOOK="+hooks.splunk, "DEMO_JIRA_HOOK="+hooks.jira)
	return path, env, hooks, nil
}

type hookSecrets struct{ splunk, jira string }

func random() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

const template = `# Written by funnel demo. A production example is examples/funnel.yaml.
server:
  listen: %s
data: data
connections:
  jira:
    integration: jira
    options: {url: "%s", email: "%s", token: "${env:DEMO_JIRA_TOKEN}"}
  directory:
    integration: activedirectory
    options: {url: "%s", base_dn: "%s", bind_name: "%s", password: "${env:DEMO_DIRECTORY_PASSWORD}", ca_file: "%s"}
  virustotal:
    integration: virustotal
    options: {url: "%s", api_key: "${env:DEMO_SCANNER_KEY}"}
    limits: {rate: 240/m, daily: 100000}
  splunk:
    integration: splunk
    options: {url: "%s", token: "${env:DEMO_SPLUNK_TOKEN}"}
  chat:
    integration: webhook
    options: {url: "%s"}
sources:
  splunk:
    trigger: splunk.alert
    connection: splunk
    auth: {path_secret: ["${env:DEMO_SPLUNK_HOOK}"]}
  jira:
    trigger: jira.issue_created
    connection: jira
    auth: {signature: {secret: "${env:DEMO_JIRA_HOOK}"}}
playbooks:
  open_ticket: {options: {splunk_url: "%s", verify: true}}
  relate_tickets: {options: {wait: 2s, most: 5}}
engine: {lookups: [1s, 3s, 6s, 12s], quiet: 1m, tell_after: 5s}
`

// FreeAddress returns the wanted address or, if it is taken or has the port 0, one
// on 127.0.0.1 that a server gets again after every restart: its port is below
// those that systems give to outgoing connections.
func FreeAddress(wanted string) (string, error) {
	for try := range 50 {
		if try > 0 || strings.HasSuffix(wanted, ":0") {
			wanted = fmt.Sprintf("127.0.0.1:%d", 20_000+mathrand.IntN(10_000))
		}
		listen, err := net.Listen("tcp", wanted)
		if err == nil {
			_ = listen.Close()
			return wanted, nil
		}
	}
	return "", errors.New("finding a free port on 127.0.0.1: fifty are taken")
}

// play fires the alerts one after the other. Splunk sends an alert once; the
// demo gives it a patient administrator who sends an unanswered one again, so
// that killing the server loses nothing.
func (w *world) play(ctx context.Context, sender *splunkfake.Sender, alerts []mockscan.Detection, every time.Duration, fired func(mockscan.Detection, bool)) error {
	for _, d := range alerts {
		rows := d.Rows()
		w.searches.Add(splunkfake.Job{SID: d.SID(), Search: d.Rule, Rows: rows})
		for _, row := range rows[1:] { // the sender tells the page of the first
			w.splunk.Add(splunkfake.Alert{SID: d.SID(), Search: d.Rule, Row: row})
		}
		for {
			status, _, err := sender.Fire(ctx, splunkfake.Alert{SID: d.SID(), Search: d.Rule, Row: rows[0], Marker: d.ID})
			if err == nil && status/100 == 2 {
				fired(d, true)
				break
			}
			fired(d, false)
			if err := pause(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
