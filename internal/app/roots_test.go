package app

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
)

type probeConfig struct {
	URL string `json:"url"`
}

// probe is a client that knows nothing of certificates.
type probe struct {
	url   string
	http  *http.Client
	roots bool
}

func probing() funnel.Integration {
	return funnel.Integration{Name: "probe", Connect: funnel.Connect(func(_ context.Context, env funnel.Env, c probeConfig) (*probe, error) {
		base, err := url.Parse(c.URL)
		return &probe{c.URL, env.HTTP(base, nil), env.RootCAs != nil}, err
	})}
}

func configured(t *testing.T, dir, url, caFile string) *config.Config {
	t.Helper()
	text := fmt.Sprintf("data: %s\nconnections:\n  one:\n    integration: probe\n    options: {url: %q}\n", filepath.Join(t.TempDir(), "data"), url)
	if caFile != "" {
		text += "    tls: {ca_file: " + caFile + "}\n"
	}
	c, err := config.Parse(filepath.Join(dir, "funnel.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A connection trusts the authority that its ca_file names, whatever its
// integration; another connection does not.
func TestOwnAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for caFile, want := range map[string]string{"ca.pem": "", "": "certificate is not valid"} { // a relative path starts at the configuration
		a, err := New(t.Context(), Options{Config: configured(t, dir, server.URL, caFile), Registry: funnel.NewRegistry().Add(probing())})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.store.Close(); _ = a.tokens.Close() })
		p := a.setup.Load().links["one"].Client.(*probe)
		res, err := p.http.Get(p.url)
		if err == nil {
			_ = res.Body.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with ca_file %q the error is %v, want %q", caFile, err, want)
		}
		if p.roots != (caFile != "") {
			t.Errorf("with ca_file %q Env.RootCAs are there: %v", caFile, p.roots)
		}
	}
}

func TestAuthorityThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"empty.pem": "", "key.pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "huge.pem": strings.Repeat("#", maxCAFile+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for caFile, want := range map[string]string{
		"absent.pem": "no such file", ".": "is not a regular file", "empty.pem": "there is no PEM certificate", "key.pem": "there is no PEM certificate", "huge.pem": "larger than 1 MiB",
	} {
		c := configured(t, dir, "https://localhost", caFile)
		err := Check(c, funnel.NewRegistry().Add(probing()))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "funnel.yaml:6:11") {
			t.Errorf("ca_file %s: the error is %v, want %q at its line", caFile, err, want)
		}
		if _, err := New(t.Context(), Options{Config: c, Registry: funnel.NewRegistry().Add(probing())}); err == nil {
			t.Errorf("ca_file %s: the server starts", caFile)
		}
	}
}
