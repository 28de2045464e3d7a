package fault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// authority signs certificates of this machine.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of a fault run"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	return a
}

// sign signs by the authority, or by itself if there is none yet.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<60))
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed, key
}

// leaf returns a server's certificate for an address or a name, valid until then.
func (a *authority) leaf(host string, until time.Time) *tls.Certificate {
	a.t.Helper()
	request := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
	}
	if ip := net.ParseIP(host); ip != nil {
		request.IPAddresses = []net.IP{ip}
	} else {
		request.DNSNames = []string{host}
	}
	cert, key := a.sign(request)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) file() string {
	a.t.Helper()
	path := filepath.Join(a.t.TempDir(), "authority.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// TestF13Certificates is F13: Jira shows a certificate that has expired, then one of
// another host, then one of an authority that is not ours: nothing is sent to it, and
// it is said why. With a good one all is done, and others take its place under load.
func TestF13Certificates(t *testing.T) {
	t.Parallel() // it mostly waits, and measures nothing
	faults, rotations := 1, 2
	if *full {
		faults, rotations = 3, 10
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	ours, other := newAuthority(t), newAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	var shown atomic.Pointer[tls.Certificate]
	site := httptest.NewUnstartedServer(w.jira)
	site.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*shown.Load()}}, nil
	}}
	shown.Store(ours.leaf("127.0.0.1", time.Now().Add(-time.Hour)))
	site.Config.ErrorLog = log.New(io.Discard, "", 0)
	site.StartTLS()
	t.Cleanup(site.Close)
	w.before(t, site.URL)
	w.configure(t, func(text string) string {
		return strings.Replace(text, "    integration: jira\n", "    integration: jira\n    tls: {ca_file: \""+ours.file()+"\"}\n", 1)
	})
	w.start(t, nil)
	l := w.startLoad(ctx, t, 12, 50_000, false)

	r := result{name: "F13 certificates"}
	bad := []struct {
		cert *tls.Certificate
		said string
	}{
		{shown.Load(), "expired"},
		{ours.leaf("127.0.0.2", tomorrow), "127.0.0.2"},
		{other.leaf("127.0.0.1", tomorrow), "ca_file"},
	}
	for _, bad := range bad[:faults] { // the server asks ever more rarely
		shown.Store(bad.cert)
		for !strings.Contains(w.says("/status"), bad.said) {
			if ctx.Err() != nil {
				t.Fatalf("/status does not say %q: %s", bad.said, w.says("/status"))
			}
			pause(20 * time.Millisecond)
		}
	}
	if n := len(w.jira.Journal()); n > 0 {
		r.fault("%d requests were sent to a server that did not prove who it is", n)
	}
	shown.Store(ours.leaf("127.0.0.1", tomorrow))
	for range rotations {
		opened := len(w.jira.Issues())
		for len(w.jira.Issues()) < opened+3 { // work goes on …
			if ctx.Err() != nil {
				t.Fatalf("no tickets are opened: %s", w.says("/status"))
			}
			pause(10 * time.Millisecond)
		}
		shown.Store(ours.leaf("127.0.0.1", tomorrow))
		site.CloseClientConnections() // … while connections end and the next certificate is shown
	}
	acked := l.stop(t)
	w.waitIdle(ctx, t)
	v := w.judge(acked).result()
	r.count, r.lost, r.double, r.notes, r.wrong = v.count, v.lost, v.double, v.notes, append(r.wrong, v.wrong...)
	for _, run := range w.runs(t) {
		if run.State == "failed" {
			r.fault("run %s of %s failed: %s", run.ID, run.Playbook, run.Why)
		}
	}
	w.measure(&r)
	r.note("%d bad certificates, each named on /status, then %d rotations; p99 is listening", faults, rotations)
	r.mustBeClean(t)
}
