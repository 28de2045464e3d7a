package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

const (
	publicName   = "funnel.example.com"
	splunkSecret = "e2e-nginx/splunk secret+0123456789" // has what a path has to escape
	splunkPath   = "/hooks/splunk/e2e-nginx%2Fsplunk%20secret+0123456789"
	jiraSecret   = "e2e-nginx-jira-secret-0123456789"
)

// guideBlock returns the block of a language in a guide with replacements made,
// each of which has to be of use.
func guideBlock(t *testing.T, guide, language string, replace ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", guide))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	if len(m) != 1 {
		t.Fatalf("%s has %d blocks of %s, want one", guide, len(m), language)
	}
	text := m[0][1]
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s has no %q any more", guide, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return text
}

// freePort returns an address of 127.0.0.1 on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// certificates writes a certificate for the public name, signed by an authority
// of the test's own, and returns that.
func certificates(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	rootKey, leafKey := key(), key()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: publicName}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, DNSNames: []string{publicName}}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "fullchain.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(rootDER)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// front is a Funnel with an nginx in front.
type front struct {
	dir, nginx, funnel string // addresses of nginx and Funnel
	token              string
	pool               *x509.CertPool
	inside             *http.Client // from the network that may use the API
	outside            *http.Client
	site               *jirafake.Site
	stopFunnel         func()
}

func startFront(t *testing.T) *front {
	t.Helper()
	nginx := installed(t, "nginx", "nginx-light")
	f := &front{dir: t.TempDir(), nginx: freePort(t), funnel: freePort(t)}
	logs, temp := filepath.Join(f.dir, "logs"), filepath.Join(f.dir, "temp")
	for _, d := range []string{logs, temp} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f.pool = certificates(t, f.dir)
	f.inside, f.outside = f.client("127.0.0.1"), f.client("127.0.0.2")
	f.startFunnel(t)
	write(t, filepath.Join(f.dir, "funnel.conf"), guideBlock(t, "nginx.md", "nginx",
		"server 127.0.0.1:8080;", "server "+f.funnel+";", "listen 443 ssl;", "listen "+f.nginx+" ssl;",
		"/etc/ssl/funnel/", f.dir+"/", "/var/log/nginx/", logs+"/", "allow 10.0.0.0/8;", "allow 127.0.0.1;",
		"client_body_timeout     10s;", "client_body_timeout 1s;"))
	var paths strings.Builder
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "%s_temp_path %s;\n", name, filepath.Join(temp, name))
	}
	// The rest of Debian's nginx.conf that matters: how it logs what no server block says.
	write(t, filepath.Join(f.dir, "nginx.conf"), fmt.Sprintf("daemon off;\nuser root;\nworker_processes 1;\npid %[1]s/nginx.pid;\nerror_log %[2]s/error.log;\nevents {}\nhttp {\naccess_log %[2]s/access.log;\n%[3]sinclude %[1]s/funnel.conf;\n}\n", f.dir, logs, paths.String()))
	cmd := exec.Command(nginx, "-c", filepath.Join(f.dir, "nginx.conf"), "-p", f.dir, "-e", filepath.Join(logs, "error.log"))
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx said: %s", out)
		}
	})
	within(t, "nginx to answer", func() bool {
		res, err := f.inside.Get("https://" + publicName + "/healthz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return f
}

// within polls until what is awaited is so.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond) // between two looks at another process
	}
	t.Fatalf("waited 30 seconds for %s", what)
}

// client returns a client that calls from the address and trusts the test's
// authority only.
func (f *front) client(from string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	return &http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", f.nginx)
			},
			TLSClientConfig: &tls.Config{RootCAs: f.pool, MinVersion: tls.VersionTLS12},
		},
	}
}

func (f *front) startFunnel(t *testing.T) {
	t.Helper()
	if f.site == nil {
		f.site = jirafake.New(jirafake.Options{Token: "e2e-nginx-jira-token"})
		site := httptest.NewServer(f.site)
		t.Cleanup(func() { site.Close(); f.site.Close() })
		server := guideBlock(t, "nginx.md", "yaml", "127.0.0.1:8080", f.funnel)
		write(t, filepath.Join(f.dir, "funnel.yaml"), server+fmt.Sprintf(`data: data
connections:
  jira: {integration: jira, options: {url: "%s", email: "%s", token: "${env:E2E_JIRA}"}}
sources:
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${env:E2E_SPLUNK_HOOK}"]}, max_body: 512KiB}
  jira: {trigger: jira.issue_created, connection: jira, auth: {signature: {secret: "${env:E2E_JIRA_HOOK}"}}}
playbooks:
  open_ticket: {options: {project: SIRT}}
  enrich_file: {enabled: false}
  enrich_user: {enabled: false}
  enrich_network: {enabled: false}
`, site.URL, jirafake.DefaultEmail))
	}
	cmd := exec.Command(program(t), "serve", "--config", filepath.Join(f.dir, "funnel.yaml"))
	cmd.Env = append(os.Environ(), "E2E_JIRA=e2e-nginx-jira-token", "E2E_SPLUNK_HOOK="+splunkSecret, "E2E_JIRA_HOOK="+jiraSecret)
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	f.stopFunnel = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(func() {
		f.stopFunnel()
		if t.Failed() {
			t.Logf("Funnel said: %s", stderr)
		}
	})
	within(t, "Funnel to answer", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.funnel+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	if m := regexp.MustCompile(`fnl_[A-Za-z0-9_-]+`).FindString(stderr.String()); m != "" {
		f.token = m
	}
	if f.token == "" {
		t.Fatalf("Funnel printed no token: %s", stderr)
	}
}

// ask sends a request and returns status, headers and body.
func (f *front) ask(t *testing.T, c *http.Client, method, target string, header http.Header, body io.Reader) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+publicName+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return res.StatusCode, res.Header, string(raw)
}

func alert(sid string) string {
	return fmt.Sprintf(`{"result":{"user":"jdoe","dest":"WS-0142","rule":"Test rule"},"sid":%q,"search_name":"Test search","app":"search","owner":"admin","results_link":"http://splunk.example.com/x"}`, sid)
}

func signed(body string) http.Header {
	mac := hmac.New(sha256.New, []byte(jiraSecret))
	mac.Write([]byte(body))
	return http.Header{"X-Hub-Signature": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}}
}

// Debian's nginx with the configuration of the guide in front of the server.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	useReal(t)
	f := startFront(t)
	api := http.Header{"Authorization": {"Bearer " + f.token}}
	want := func(what string, got, status int, body string) {
		t.Helper()
		if got != status {
			t.Errorf("%s: status %d, want %d: %s", what, got, status, body)
		}
	}

	// An alert with the secret in the path becomes a ticket, from anywhere.
	status, _, body := f.ask(t, f.outside, "POST", splunkPath, nil, strings.NewReader(alert("a1")))
	want("an alert", status, http.StatusAccepted, body)
	status, _, body = f.ask(t, f.outside, "POST", splunkPath, nil, strings.NewReader(alert("a1")))
	want("the same alert", status, http.StatusOK, body)
	within(t, "the ticket", func() bool { return len(f.site.Issues()) == 1 })

	// A signed body passes as it is: odd white space, escapes, in pieces, one bit less.
	captured, err := os.ReadFile(filepath.Join("..", "..", "integrations", "jira", "testdata", "webhook-issue-created.json"))
	if err != nil {
		t.Fatal(err)
	}
	odd := " \r\n\t" + string(captured) + "\n\n "
	status, _, body = f.ask(t, f.outside, "POST", "/hooks/jira", signed(odd), io.MultiReader(strings.NewReader(odd[:1000]), strings.NewReader(odd[1000:]))) // chunked
	want("a signed body", status, http.StatusAccepted, body)
	status, _, body = f.ask(t, f.outside, "POST", "/hooks/jira", signed(odd), strings.NewReader(strings.TrimSpace(odd)))
	want("a signed body that was trimmed", status, http.StatusNotFound, body)
	status, _, body = f.ask(t, f.outside, "POST", "/hooks/splunk/wrong-secret-0123456789012345", nil, strings.NewReader(alert("a2")))
	want("a wrong secret", status, http.StatusNotFound, body)

	// Too large for the source, and too large for nginx.
	status, header, body := f.ask(t, f.outside, "POST", splunkPath, nil, strings.NewReader(`{"x":"`+strings.Repeat("a", 600<<10)+`"}`))
	want("too large for the source", status, http.StatusRequestEntityTooLarge, body)
	if header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "524288") {
		t.Errorf("Funnel's own 413 does not pass: %v %s", header, body)
	}
	status, header, body = f.ask(t, f.outside, "POST", splunkPath, nil, strings.NewReader(strings.Repeat("a", 9<<20)))
	want("too large for nginx", status, http.StatusRequestEntityTooLarge, body)
	if header.Get("Content-Type") != "text/html" {
		t.Errorf("a body over nginx's limit reached Funnel: %v", header)
	}

	// A slow body in time passes; one that stops is given up by nginx.
	slow, push := io.Pipe()
	go func() {
		text := alert("slow")
		for len(text) > 0 {
			n := min(40, len(text))
			_, _ = io.WriteString(push, text[:n])
			text = text[n:]
			time.Sleep(100 * time.Millisecond) // it is the slowness that is tested
		}
		_ = push.Close()
	}()
	status, _, body = f.ask(t, f.outside, "POST", splunkPath, nil, slow)
	want("a slow body", status, http.StatusAccepted, body)
	f.stall(t)

	// The API is for the inside; strangers get at nothing by any spelling.
	for _, path := range []string{
		"/", "/docs", "/openapi.json", "/api/v1/runs", "/status", "/metrics", "/readyz", "/api/v1/actions/jira.get_issue", "/hooks/../api/v1/runs", "/hooks/%2e%2e/api/v1/runs",
		"/hooks/..%2fapi/v1/runs", "/hooks//../../api/v1/runs", "/healthz/../api/v1/runs", "/healthz/", "//api/v1/runs", "/hooks/x/../../status", "/api/v1/../../hooks/../api/v1/runs",
		"/hooks/..;/api/v1/runs", "/hooks%2f..%2fapi/v1/runs", "/HOOKS/../status",
	} {
		status, _, body := f.ask(t, f.outside, "GET", path, api, nil)
		if status != http.StatusForbidden && status != http.StatusNotFound && status != http.StatusMethodNotAllowed && status != http.StatusBadRequest || strings.Contains(body, `"runs"`) {
			t.Errorf("GET %s from outside: %d %s", path, status, body)
		}
	}
	status, _, body = f.ask(t, f.outside, "GET", "/healthz", nil, nil)
	want("/healthz", status, http.StatusOK, body)
	status, _, body = f.ask(t, f.inside, "GET", "/api/v1/deliveries?source=splunk", api, nil)
	want("the API", status, http.StatusOK, body)
	var list struct{ Deliveries []struct{ Verdict string } }
	counts := map[string]int{}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Error(err)
	}
	for _, d := range list.Deliveries {
		counts[d.Verdict]++
	}
	// Every delivery that authenticated has its row: what was refused too.
	if counts["accepted"] != 2 || counts["duplicate"] != 1 || counts["refused"] != 1 || len(list.Deliveries) != 4 {
		t.Errorf("deliveries %v, want 2 accepted, 1 duplicate, 1 refused", counts)
	}
	status, _, body = f.ask(t, f.inside, "GET", "/api/v1/runs", nil, nil)
	want("the API without a token", status, http.StatusUnauthorized, body)
	status, _, body = f.ask(t, f.inside, "GET", "/status", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, nil)
	want("/status without a token, as if from this machine", status, http.StatusUnauthorized, body)
	status, _, body = f.ask(t, f.inside, "POST", "/api/v1/actions/jira.get_issue", http.Header{"Authorization": api["Authorization"], "Origin": {"https://" + publicName}, "Sec-Fetch-Site": {"same-origin"}}, strings.NewReader(`{"issue":"SIRT-1"}`))
	want("an action from the page at /docs", status, http.StatusOK, body)
	status, header, body = f.ask(t, f.inside, "GET", "/docs", nil, nil)
	want("/docs", status, http.StatusOK, body)
	if !strings.Contains(header.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Errorf("the policy of /docs does not pass: %v", header)
	}
	other, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+publicName+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	other.Host = "evil.example.net"
	if res, err := f.inside.Do(other); err != nil || res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host name: %v %v, want 421", res, err)
	}
	f.wrongTLS(t)

	// Funnel's own 503 passes as it is; without Funnel nginx says when to come back.
	f.stopFunnel()
	status, header, body = f.ask(t, f.outside, "POST", splunkPath, nil, strings.NewReader(alert("down")))
	want("without Funnel", status, http.StatusServiceUnavailable, body)
	if header.Get("Retry-After") != "10" || header.Get("Content-Type") != "application/problem+json" || !json.Valid([]byte(body)) {
		t.Errorf("without Funnel: %v %s", header, body)
	}
	stand, err := net.Listen("tcp", f.funnel)
	if err != nil {
		t.Fatal(err)
	}
	var got *http.Request
	busy := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"title":"Busy","status":503}`)
	})}
	go func() { _ = busy.Serve(stand) }()
	status, header, body = f.ask(t, f.outside, "POST", splunkPath, http.Header{"X-Atlassian-Webhook-Identifier": {"id-7"}, "X-Forwarded-For": {"127.0.0.1"}}, strings.NewReader(alert("busy")))
	_ = busy.Close()
	want("Funnel that is busy", status, http.StatusServiceUnavailable, body)
	if header.Get("Retry-After") != "7" || body != `{"title":"Busy","status":503}` {
		t.Errorf("Funnel's own 503 does not pass: %v %s", header, body)
	}
	if got == nil || got.RequestURI != splunkPath || got.Host != publicName || got.Header.Get("X-Atlassian-Webhook-Identifier") != "id-7" {
		t.Errorf("what arrives is %+v", got)
	}
	f.startFunnel(t)
	status, _, body = f.ask(t, f.outside, "POST", splunkPath, nil, strings.NewReader(alert("a3")))
	want("Funnel that is back", status, http.StatusAccepted, body)

	f.logsHoldNoSecret(t)
}

// stall sends the beginning of a body and then nothing.
func (f *front) stall(t *testing.T) {
	t.Helper()
	conn, err := tls.Dial("tcp", f.nginx, &tls.Config{RootCAs: f.pool, ServerName: publicName, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"sid\":", splunkPath, publicName); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if text := string(answer); err != nil || text != "" && !strings.HasPrefix(text, "HTTP/1.1 408") {
		t.Errorf("a body that stops: %v %s, want a closed connection or 408", err, text)
	}
}

// wrongTLS makes sure that the certificate counts and that plain HTTP gets nothing.
func (f *front) wrongTLS(t *testing.T) {
	t.Helper()
	for name, config := range map[string]*tls.Config{
		"an unknown authority": {ServerName: publicName, MinVersion: tls.VersionTLS12},
		"another name":         {ServerName: "other.example.com", RootCAs: f.pool, MinVersion: tls.VersionTLS12},
		"TLS 1.1":              {ServerName: publicName, RootCAs: f.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		if conn, err := tls.Dial("tcp", f.nginx, config); err == nil {
			_ = conn.Close()
			t.Errorf("%s is accepted", name)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.nginx+"/hooks/splunk/plain", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("plain HTTP gets %d", res.StatusCode)
		}
	}
}

// logsHoldNoSecret looks for the secret of the path in everything that nginx
// wrote, and for what the access log should show instead.
func (f *front) logsHoldNoSecret(t *testing.T) {
	t.Helper()
	found, lines := 0, ""
	for _, dir := range []string{"logs", "temp"} {
		err := filepath.WalkDir(filepath.Join(f.dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found++
			if strings.HasSuffix(path, "funnel.log") {
				lines = string(raw)
			}
			for _, secret := range []string{"e2e-nginx", "0123456789"} {
				if i := strings.Index(string(raw), secret); i >= 0 {
					t.Errorf("%s holds the secret: %s", filepath.Base(path), raw[max(0, i-200):min(len(raw), i+100)])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 2 || !strings.Contains(lines, "127.0.0.2 [") || !strings.Contains(lines, "POST /hooks/splunk/(secret) 202 ") || !strings.Contains(lines, " 413 ") || !strings.Contains(lines, " 503 ") {
		t.Errorf("%d files; the access log says:\n%s", found, lines)
	}
}
