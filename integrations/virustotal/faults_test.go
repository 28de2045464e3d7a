package virustotal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
	"github.com/funnelsec/funnel/internal/upstream"
)

const (
	key     = "k3y-of-the-fault-table"
	timeout = 400 * time.Millisecond // of one exchange; a hanging server needs all of it
)

// TestFaultTable: whatever the other side sends, or does not, each action ends
// within its time limit, is told apart as the engine needs it, says nothing of the
// answer and nothing of the key, and leaves nothing behind.
func TestFaultTable(t *testing.T) {
	defer goleak.VerifyNone(t)
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	object := `{"data":{"type":"file","id":"hunter2","attributes":{"last_analysis_stats":{"malicious":0}}}}`
	whole := func(status, more, body string) func(net.Conn) error {
		return text(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), more, body))
	}
	faults := map[string]struct {
		serve func(net.Conn) error
		code  funnel.Code
	}{
		"closes at once":       {func(net.Conn) error { return nil }, funnel.Unavailable},
		"resets at once":       {reset, funnel.Unavailable},
		"never answers":        {hang, funnel.Unavailable},
		"drips the head":       {drip("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("x", 1000)), funnel.Unavailable},
		"drips the body":       {drip(head + "Content-Length: 5000\r\n\r\n" + strings.Repeat(" ", 5000)), funnel.Unavailable},
		"stops in the head":    {text("HTTP/1.1 200 OK\r\nContent-Le"), funnel.Unavailable},
		"stops in the body":    {text(head + "Content-Length: 500\r\n\r\n" + object), funnel.Unavailable},
		"stops after a report": {text(head + "Content-Length: 500000\r\n\r\n" + report(t)), funnel.Unavailable},
		"resets in the body": {func(c net.Conn) error {
			return errors.Join(text(head+"Content-Length: 500\r\n\r\n"+object)(c), reset(c))
		}, funnel.Unavailable},
		"stops in a chunk":           {text(head + "Transfer-Encoding: chunked\r\n\r\n40\r\n{\"data\":"), funnel.Unavailable},
		"sends a chunk of no length": {text(head + "Transfer-Encoding: chunked\r\n\r\nhunter2\r\n"), funnel.Unavailable},
		"does not speak HTTP":        {text("220 hunter2 ESMTP\r\n"), funnel.Unavailable},
		"sends an endless head":      {endless("HTTP/1.1 200 OK\r\n", "X-More: hunter2\r\n"), funnel.Unavailable},
		"sends endless early hints":  {endless("", "HTTP/1.1 103 Early Hints\r\nX-More: hunter2\r\n\r\n"), funnel.Unavailable},
		"sends an endless body":      {endless(head+"\r\n", strings.Repeat(" ", 64<<10)), funnel.Unavailable},
		"claims a huge length":       {text(head + "Content-Length: 10737418240\r\n\r\n" + object), funnel.Unavailable},
		"claims a negative length":   {text(head + "Content-Length: -1\r\n\r\n" + object), funnel.Unavailable},
		"claims two lengths":         {text(head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n" + object), funnel.Unavailable},
		"compresses unasked":         {whole("200 OK", "Content-Encoding: gzip\r\n", "\x1f\x8b\x08\x00hunter2"), funnel.Unavailable},
		"answers with a page":        {whole("200 OK", "Content-Type: text/html\r\n", "<h1>hunter2</h1>"), funnel.Unavailable},
		"answers with nothing":       {whole("200 OK", "", ""), funnel.Unavailable},
		"answers with a BOM":         {whole("200 OK", "", "\ufeff"+object), funnel.Unavailable},
		"nests deeply":               {whole("200 OK", "", `{"data":`+strings.Repeat("[", 200_000)), funnel.Unavailable},
		"nests deeply and closes":    {whole("200 OK", "", `{"x":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+`}`), funnel.Unavailable},
		"another type of object":     {whole("200 OK", "", `{"data":{"type":"analysis","id":"hunter2"}}`), funnel.Unavailable},
		"wrong types":                {whole("200 OK", "", `{"data":{"type":["hunter2"],"attributes":7}}`), funnel.Unavailable},
		"numbers beyond all":         {whole("200 OK", "", `{"data":{"type":"file","attributes":{"last_analysis_stats":{"malicious":1e999}}}}`), funnel.Unavailable},
		"two answers in one":         {whole("200 OK", "", object+object), funnel.Unavailable},
		"no content":                 {text("HTTP/1.1 204 No Content\r\n\r\n"), funnel.Unavailable},
		"partial content":            {whole("206 Partial Content", "", object), funnel.Unavailable},
		"a redirect elsewhere":       {whole("302 Found", "Location: http://evil.example.test/hunter2\r\n", ""), funnel.Unavailable},
		"a redirect to itself":       {whole("301 Moved Permanently", "Location: /api/v3/files/hunter2\r\n", ""), funnel.Unavailable},
		"not found, by a proxy":      {whole("404 Not Found", "", "<h1>hunter2</h1>"), funnel.Unavailable},
		"a malformed error":          {whole("503 Service Unavailable", "", `{"error":"hunter2"}`), funnel.Unavailable},
		"an error without end":       {endless("HTTP/1.1 500 Internal Server Error\r\n\r\n", "hunter2 "), funnel.Unavailable},
		"an unknown status":          {whole("799 Hunter2", "", ""), funnel.Unavailable},
		"bad request":                {whole("400 Bad Request", "", `{"error":{"code":"InvalidArgumentError","message":"hunter2"}}`), funnel.Invalid},
		"wrong key":                  {whole("401 Unauthorized", "", `{"error":{"code":"WrongCredentialsError","message":"hunter2"}}`), funnel.Unauthorized},
		"forbidden":                  {whole("403 Forbidden", "", "hunter2"), funnel.Unauthorized},
		"too many":                   {whole("429 Too Many Requests", "", "hunter2"), funnel.Throttled},
		"too many, for ever":         {whole("429 Too Many Requests", "Retry-After: 9999999999999999999\r\n", "hunter2"), funnel.Throttled},
		"too many, until yesterday":  {whole("429 Too Many Requests", "Retry-After: Sat, 01 Jan 2000 00:00:00 GMT\r\n", "hunter2"), funnel.Throttled},
		"too many, negative":         {whole("429 Too Many Requests", "Retry-After: -5\r\n", "hunter2"), funnel.Throttled},
		"down for maintenance":       {whole("503 Service Unavailable", "Retry-After: hunter2\r\n", ""), funnel.Unavailable},
	}
	actions := map[string]string{
		"virustotal.file_report": `{"hash":"44d88612fea8a8f36de82e1278abb02f"}`, "virustotal.url_report": `{"url":"https://www.example.org/"}`,
		"virustotal.domain_report": `{"domain":"www.example.org"}`, "virustotal.ip_report": `{"ip":"8.8.8.8"}`,
	}
	registry := funnel.NewRegistry().Add(virustotal.Integration())
	t.Run("all", func(t *testing.T) {
		for name, fault := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				client, idle := connected(t, fault.serve)
				defer idle()
				for id, input := range actions {
					spec, ok := registry.Action(id)
					if !ok {
						t.Fatalf("there is no action %s", id)
					}
					// The limit of the engine is twice that of an exchange; nothing may need it.
					ctx, cancel := context.WithTimeout(t.Context(), 100*timeout)
					out, err := spec.Invoke(ctx, client, []byte(input))
					if ctx.Err() != nil {
						t.Errorf("%s did not end by itself", id)
					}
					cancel()
					e, ok := errors.AsType[*funnel.Error](err)
					switch {
					case !ok || e.Code != fault.code:
						t.Errorf("%s gives %s, %v (%s), want %s", id, out, err, funnel.CodeOf(err), fault.code)
					case strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "api/v3") || len(err.Error()) > 300:
						t.Errorf("%s says too much: %v", id, err)
					case fault.code == funnel.Throttled && !e.RetryAt.After(time.Now()):
						t.Errorf("%s is to be asked again at %v, which has passed", id, e.RetryAt)
					}
				}
			})
		}
	})
}

// connected returns a client by the server's own way out to what serves each
// connection with the function, after it has read the request.
func connected(t *testing.T, serve func(net.Conn) error) (client any, idle func()) {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listen.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(20 * timeout))
			if _, err = http.ReadRequest(bufio.NewReader(conn)); err == nil {
				err = serve(conn)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the client did not give up in time")
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listen.Close(); <-ended })
	var clients []*http.Client
	out := upstream.NewHTTP(upstream.Options{Timeout: timeout})
	env := funnel.Env{
		Connection: "virustotal", Clock: time.Now, Timeout: timeout,
		HTTP: func(base *url.URL, authorize func(http.Header)) *http.Client {
			c := out(base, authorize)
			clients = append(clients, c)
			return c
		},
	}
	client, err = virustotal.Integration().Connect.Connect(t.Context(), env, []byte(`{"api_key":"`+key+`","url":"http://`+listen.Addr().String()+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	return client, func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
	}
}

func text(s string) func(net.Conn) error {
	return func(c net.Conn) error { _, err := io.WriteString(c, s); return err }
}

// hang keeps the connection open until the other side gives up.
func hang(c net.Conn) error { _, err := io.Copy(io.Discard, c); return err }

// reset ends the connection by a RST instead of a FIN.
func reset(c net.Conn) error { return c.(*net.TCPConn).SetLinger(0) }

// drip sends a byte in each tenth of the time limit.
func drip(s string) func(net.Conn) error {
	return func(c net.Conn) error {
		for i := range len(s) {
			if _, err := io.WriteString(c, s[i:i+1]); err != nil {
				return err
			}
			time.Sleep(timeout / 10)
		}
		return nil
	}
}

func endless(head, more string) func(net.Conn) error {
	return func(c net.Conn) error {
		_, err := io.WriteString(c, head)
		for err == nil {
			_, err = io.WriteString(c, more)
		}
		return err
	}
}

// report returns a whole answer about the file that the table asks about.
func report(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/api/v3/files/44d88612fea8a8f36de82e1278abb02f", nil)
	r.Header.Set("X-Apikey", key)
	virustotalfake.New(virustotalfake.Options{Files: virustotalfake.Demo()}).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("the fake answers %d", w.Code)
	}
	return w.Body.String()
}
