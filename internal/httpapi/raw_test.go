package httpapi

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Requests that Go's client would not send, over a real connection.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	server := Server(h.handler, "")
	go func() { _ = server.Serve(LimitListener(l, 100, 10)) }()
	t.Cleanup(func() { _ = server.Close() })
	host := l.Addr().String()
	long := strings.Repeat("x", 40<<10)
	for name, c := range map[string]struct {
		raw     string
		want    int
		problem bool // else net/http answers before the handler
	}{
		"a good one":            {"GET /healthz HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 200, false},
		"options of everything": {"OPTIONS * HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 404, true},
		"another absolute form": {"GET http://evil.test/healthz HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 421, true},
		"connect":               {"CONNECT evil.test:443 HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 421, true},
		"no host in HTTP/1.0":   {"GET /healthz HTTP/1.0\r\n\r\n", 421, true},
		"no host":               {"GET /healthz HTTP/1.1\r\n\r\n", 400, false},
		"two hosts":             {"GET /healthz HTTP/1.1\r\nHost: " + host + "\r\nHost: evil.test\r\n\r\n", 400, false},
		// net/http takes the chunks and drops the length, as RFC 9112 section 6.1 allows.
		"a length and chunks": {"POST /api/v1/runs/1/retry HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 401, true},
		"two lengths":         {"POST /hooks/splunk HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400, false},
		"a header too large":  {"GET /healthz HTTP/1.1\r\nHost: " + host + "\r\nX-Long: " + long + "\r\n\r\n", 431, false},
		"folded header":       {"GET /healthz HTTP/1.1\r\nHost: " + host + "\r\nX-A : b\r\n\r\n", 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := fmt.Fprint(conn, c.raw); err != nil {
				t.Fatal(err)
			}
			method, _, _ := strings.Cut(c.raw, " ")
			res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != c.want {
				t.Errorf("status %d, want %d", res.StatusCode, c.want)
			}
			if got := res.Header.Get("Content-Type") == problemType; got != c.problem {
				t.Errorf("a problem: %v, want %v", got, c.problem)
			}
		})
	}
	if len(h.received) > 0 || len(h.done) > 0 {
		t.Errorf("something happened: %v %v", h.received, h.done)
	}
}
