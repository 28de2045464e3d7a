package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const credential = "Bearer s3cr3t-t0ken"

// newClient returns a client that is bound to the address and sends the credential.
func newClient(t *testing.T, address string, o upstream.Options) *http.Client {
	t.Helper()
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	client := upstream.NewHTTP(o)(base, func(h http.Header) { h.Set("Authorization", credential) })
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func newServer(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// exchange sends the request and reads the answer.
func exchange(t *testing.T, client *http.Client, method, address, body string) (*http.Response, string, error) {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = bytes.NewReader([]byte(body)) // with GetBody, as callers have it
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, reader)
	if err != nil {
		t.Fatal(err)
	}
	return do(client, req)
}

func do(client *http.Client, req *http.Request) (*http.Response, string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp, string(got), err
}

// wantCode checks the code of the *funnel.Error in the chain and that its text is clean.
func wantCode(t *testing.T, err error, want funnel.Code, text string) {
	t.Helper()
	e, ok := errors.AsType[*funnel.Error](err)
	if !ok {
		t.Fatalf("error is %v (%T), want a *funnel.Error", err, err)
	}
	if e.Code != want || !strings.Contains(e.Error(), text) {
		t.Errorf("error is %s: %q, want %s: ...%s...", e.Code, e, want, text)
	}
	for _, secret := range []string{"s3cr3t", "hunter2", "query-secret"} {
		if strings.Contains(e.Error(), secret) {
			t.Errorf("error %q holds the secret %s", e, secret)
		}
	}
}

func TestRequestIsAuthorizedAndNamed(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != credential || r.UserAgent() != "funnel/1.2.3" ||
			r.Header.Get("Accept-Encoding") != "" || r.Header.Get("X-Own") != "yes" ||
			r.Host == "another.example.com" {
			t.Errorf("host is %s, header is %v", r.Host, r.Header)
		}
		_, _ = io.Copy(w, r.Body)
	})
	client := newClient(t, server.URL, upstream.Options{Version: "1.2.3"})
	req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/x?y=z", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Own", "yes")
	req.Header.Set("Accept-Encoding", "gzip") // has no effect, nor has this:
	req.Host = "another.example.com"
	resp, got, err := do(client, req)
	if err != nil || got != "hello" {
		t.Errorf("answer is %q, %v", got, err)
	}
	if len(req.Header) != 2 || req.GetBody == nil || resp.Request.Header.Get("Authorization") != "" {
		t.Errorf("the caller's request was changed: %v", req.Header)
	}
}

func TestOtherAddressesAreRefusedBeforeDialling(t *testing.T) {
	t.Parallel()
	var lookups, authorized atomic.Int32
	options := upstream.Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		lookups.Add(1)
		return nil, errors.New("must not be asked")
	}}
	base, _ := url.Parse("https://jira.example.com/base")
	client := upstream.NewHTTP(options)(base, func(http.Header) { authorized.Add(1) })
	for _, address := range []string{
		"http://jira.example.com/", "https://jira.example.com:8443/", "https://jira.example.com.evil.test/",
		"https://evil.test/?query-secret", "https://jira.example.com@evil.test/", "https://jira.example.com./",
		"https://user:hunter2@jira.example.com/", "ftp://jira.example.com/", "https://[::1]/",
	} {
		_, _, err := exchange(t, client, "GET", address, "")
		wantCode(t, err, funnel.Invalid, "refusing to call")
	}
	if lookups.Load() != 0 || authorized.Load() != 0 {
		t.Errorf("%d look-ups, %d uses of the credential, want none", lookups.Load(), authorized.Load())
	}
	_, _, err := exchange(t, client, "GET", "HTTPS://Jira.Example.com:443/x", "") // the same address
	wantCode(t, err, funnel.Unavailable, "")
	if lookups.Load() != 1 {
		t.Errorf("the base address itself was looked up %d times, want 1", lookups.Load())
	}
}

func TestBaseMustBeHTTP(t *testing.T) {
	t.Parallel()
	for _, base := range []*url.URL{nil, {Scheme: "ldap", Host: "dc.example.com"}, {Scheme: "https"}} {
		client := upstream.NewHTTP(upstream.Options{})(base, nil)
		_, _, err := exchange(t, client, "GET", "https://dc.example.com/", "")
		wantCode(t, err, funnel.Invalid, "base address")
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var caught atomic.Int32
	thief := newServer(t, func(http.ResponseWriter, *http.Request) { caught.Add(1) })
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	client := newClient(t, server.URL, upstream.Options{})
	for _, method := range []string{"GET", "POST"} {
		resp, _, err := exchange(t, client, method, server.URL, "")
		if err != nil || resp.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s: answer is %v, %v, want the redirect itself", method, resp, err)
		}
	}
	if caught.Load() != 0 {
		t.Errorf("the other host got %d requests", caught.Load())
	}
}

func TestAnswerCap(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		size := map[string]int{"/fits": 1000, "/over": 1001}[r.URL.Path]
		if size == 0 {
			for r.Context().Err() == nil { // without end
				_, _ = w.Write(make([]byte, 4096))
			}
			return
		}
		_, _ = w.Write(make([]byte, size))
	})
	client := newClient(t, server.URL, upstream.Options{MaxAnswer: 1000})
	if _, got, err := exchange(t, client, "GET", server.URL+"/fits", ""); err != nil || len(got) != 1000 {
		t.Errorf("got %d bytes, %v, want all 1000", len(got), err)
	}
	for _, path := range []string{"/over", "/endless"} {
		_, got, err := exchange(t, client, "GET", server.URL+path, "")
		wantCode(t, err, funnel.Unavailable, "answer larger than 1000 bytes")
		if len(got) != 1000 {
			t.Errorf("%s: got %d bytes before the error, want 1000", path, len(got))
		}
		_, _, err = exchange(t, client, "POST", server.URL+path, "x")
		wantCode(t, err, funnel.Uncertain, "answer larger than 1000 bytes")
	}
}

func TestCompressedAnswerIsNotExpanded(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("raw"))
	})
	_, got, err := exchange(t, newClient(t, server.URL, upstream.Options{}), "GET", server.URL, "")
	if err != nil || got != "raw" {
		t.Errorf("answer is %q, %v, want the bytes as they came", got, err)
	}
}

func TestSlowDripEndsByTheDeadline(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-r.Context().Done():
				tick.Stop()
				return
			case <-tick.C:
				_, _ = w.Write([]byte("."))
				w.(http.Flusher).Flush()
			}
		}
	})
	client := newClient(t, server.URL, upstream.Options{Timeout: 100 * time.Millisecond})
	_, got, err := exchange(t, client, "GET", server.URL, "")
	wantCode(t, err, funnel.Unavailable, "no complete answer within 100ms")
	if !errors.Is(err, context.DeadlineExceeded) || got == "" {
		t.Errorf("got %q and %v, want some bytes and the deadline", got, err)
	}
	_, _, err = exchange(t, client, "PUT", server.URL, "x")
	wantCode(t, err, funnel.Uncertain, "no complete answer within 100ms; the request may have been carried out")
}

func TestCallersCancelIsKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	req, err := http.NewRequestWithContext(ctx, "POST", server.URL, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = do(newClient(t, server.URL, upstream.Options{}), req)
	wantCode(t, err, funnel.Uncertain, "cancelled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v is not context.Canceled", err)
	}
}

// hangUp reads the request and closes the connection without an answer.
func hangUp(t *testing.T, w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_ = conn.Close()
}

func TestLostAnswer(t *testing.T) {
	t.Parallel()
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) { hangUp(t, w, r) })
	client := newClient(t, server.URL, upstream.Options{})
	for method, want := range map[string]funnel.Code{
		"GET": funnel.Unavailable, "HEAD": funnel.Unavailable,
		"POST": funnel.Uncertain, "PUT": funnel.Uncertain, "PATCH": funnel.Uncertain, "DELETE": funnel.Uncertain,
	} {
		_, _, err := exchange(t, client, method, server.URL+"/?query-secret", "")
		wantCode(t, err, want, "the connection ended")
	}
}

func TestMalformedAnswerIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"s3cr3t nonsense\r\n\r\n",
		"HTTP/1.1 200 OK\r\ns3cr3t without colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: s3cr3t\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cr3t\r\n\r\n",
	} {
		server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write([]byte(raw))
			_ = conn.Close()
		})
		_, _, err := exchange(t, newClient(t, server.URL, upstream.Options{}), "POST", server.URL, "x")
		wantCode(t, err, funnel.Uncertain, "")
	}
}

// The first request warms a keep-alive connection; the second is received on it
// and dropped. Go's transport would send it again if it could.
func TestPostIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"with body": "x", "without body": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var posts, gets atomic.Int32
			var reused atomic.Bool
			var warm atomic.Value // the address of the client's first connection
			server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/warm" {
					warm.Store(r.RemoteAddr)
					return
				}
				if r.Method == "GET" {
					gets.Add(1)
					return
				}
				posts.Add(1)
				reused.Store(r.RemoteAddr == warm.Load())
				for name := range r.Header {
					if strings.Contains(name, "Idempotency") {
						t.Errorf("the header %s was sent", name)
					}
				}
				hangUp(t, w, r)
			})
			client := newClient(t, server.URL, upstream.Options{})
			if _, _, err := exchange(t, client, "GET", server.URL+"/warm", ""); err != nil {
				t.Fatal(err)
			}
			var reader io.Reader
			if body != "" {
				reader = strings.NewReader(body)
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, reader)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Idempotency-Key"] = []string{"k"}
			req.Header["x-idempotency-key"] = []string{"k"}
			_, _, err = do(client, req)
			wantCode(t, err, funnel.Uncertain, "may have been carried out")
			if posts.Load() != 1 || !reused.Load() {
				t.Errorf("the server got %d posts (connection reused: %t), want 1 on the warm connection", posts.Load(), reused.Load())
			}
		})
	}
}

func TestRefusedConnectionSendsNothing(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	_ = listener.Close()
	_, _, err = exchange(t, newClient(t, address, upstream.Options{}), "POST", address+"/?query-secret", "x")
	wantCode(t, err, funnel.Unavailable, "connection refused")
}

func TestNameThatDoesNotResolveSendsNothing(t *testing.T) {
	t.Parallel()
	options := upstream.Options{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}}
	_, _, err := exchange(t, newClient(t, "https://gone.example.com", options), "POST", "https://gone.example.com/", "x")
	wantCode(t, err, funnel.Unavailable, "no such host")
}

func TestDeadlineBeforeTheConnectionSendsNothing(t *testing.T) {
	t.Parallel()
	options := upstream.Options{Timeout: 20 * time.Millisecond, Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	_, _, err := exchange(t, newClient(t, "http://slow.example.com", options), "POST", "http://slow.example.com/", "x")
	wantCode(t, err, funnel.Unavailable, "") // the dialer's deadline and the exchange's come together
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v is not context.DeadlineExceeded", err)
	}
}

func TestTLSIsVerified(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, _, err := exchange(t, newClient(t, server.URL, upstream.Options{}), "POST", server.URL, "x")
	wantCode(t, err, funnel.Unavailable, "certificate is not valid")
	if requests.Load() != 0 {
		t.Error("the server that could not prove its name got the request")
	}

	roots, err := upstream.Roots(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if err != nil {
		t.Fatal(err)
	}
	trusting := newClient(t, server.URL, upstream.Options{RootCAs: roots})
	if _, _, err := exchange(t, trusting, "POST", server.URL, "x"); err != nil || requests.Load() != 1 {
		t.Errorf("with the authority's certificate: %v, %d requests", err, requests.Load())
	}
	if _, err := upstream.Roots([]byte("no certificate")); err == nil {
		t.Error("Roots took data without a certificate")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots, err := upstream.Roots(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = exchange(t, newClient(t, server.URL, upstream.Options{RootCAs: roots}), "POST", server.URL, "x")
	wantCode(t, err, funnel.Unavailable, "protocol version")
}

func TestLostAnswerOverTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hangUp(t, w, r) }))
	t.Cleanup(server.Close)
	roots, err := upstream.Roots(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = exchange(t, newClient(t, server.URL, upstream.Options{RootCAs: roots}), "POST", server.URL, "x")
	wantCode(t, err, funnel.Uncertain, "")
}

// Not parallel: it sets the environment.
func TestProxyFromTheEnvironmentIsIgnored(t *testing.T) {
	var proxied atomic.Int32
	proxy := newServer(t, func(http.ResponseWriter, *http.Request) { proxied.Add(1) })
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	server := newServer(t, func(http.ResponseWriter, *http.Request) {})
	options := upstream.Options{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	address := "http://jira.example.com:" + port // net/http never sends loopback through a proxy
	if _, _, err := exchange(t, newClient(t, address, options), "GET", address, ""); err != nil || proxied.Load() != 0 {
		t.Errorf("error %v, %d requests at the proxy", err, proxied.Load())
	}
}
