package fault

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// caller is a client that costs little, for it has the machine in common with the
// server, which is to be the one that is busy: net/http's cannot send as many requests
// as the overload is made of. It keeps its connections.
type caller struct {
	addr string

	mu   sync.Mutex
	idle []*keptConn
}

// keptConn is a connection; one request at a time is on it.
type keptConn struct {
	net.Conn
	read  *bufio.Reader
	since time.Time // nothing has been asked on it
}

// keepFor is how long a connection that nobody needs is kept: half as long as the server
// keeps it, so that none is used that the server has just closed.
const keepFor = 30 * time.Second

func newCaller(server string) *caller {
	return &caller{addr: strings.TrimPrefix(server, "http://")}
}

func (c *caller) conn(ctx context.Context) (*keptConn, error) {
	c.mu.Lock()
	n := len(c.idle) - 1
	if n >= 0 && time.Since(c.idle[n].since) < keepFor { // the others are older
		l := c.idle[n]
		c.idle = c.idle[:n]
		c.mu.Unlock()
		return l, nil
	}
	for _, l := range c.idle {
		_ = l.Close()
	}
	c.idle = nil
	c.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	return &keptConn{Conn: conn, read: bufio.NewReader(conn)}, nil
}

// ask sends a request and reads the answer to its end.
func (c *caller) ask(ctx context.Context, method, path string, body net.Buffers) (res *http.Response, err error) {
	l, err := c.conn(ctx)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			_ = l.Close()
			return
		}
		c.mu.Lock()
		l.since = time.Now()
		c.idle = append(c.idle, l)
		c.mu.Unlock()
	}()
	length := 0
	for _, part := range body {
		length += len(part)
	}
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", method, path, c.addr, length)
	all := append(net.Buffers{head}, body...)
	if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := all.WriteTo(l.Conn); err != nil {
		return nil, err
	}
	if res, err = http.ReadResponse(l.read, nil); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return nil, err
	}
	keep = !res.Close
	return res, nil
}

// TestCaller: a server of net/http gets what the client sends, in several parts and
// with and without a body, on one connection until it closes that or it is old.
func TestCaller(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	conns := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body))
		conns[r.RemoteAddr] = true
		if len(got) == 3 {
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, strings.Repeat("an answer ", 1000))
	}))
	defer s.Close()
	c := newCaller(s.URL)
	for i := range 5 {
		if i == 4 {
			c.idle[0].since = time.Now().Add(-keepFor)
		}
		method, path, body := http.MethodGet, "/", net.Buffers(nil)
		if i%2 == 1 {
			method, path, body = http.MethodPost, "/hook", net.Buffers{[]byte("one "), []byte("two")}
		}
		res, err := c.ask(t.Context(), method, path, body)
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatalf("request %d: %v, %v", i, res, err)
		}
	}
	if want := []string{"GET / ", "POST /hook one two", "GET / ", "POST /hook one two", "GET / "}; !slices.Equal(got, want) || len(conns) != 3 {
		t.Errorf("the server got %q on %d connections, want %q on 3", got, len(conns), want)
	}
	s.Close()
	if _, err := c.ask(t.Context(), http.MethodGet, "/", nil); err == nil {
		t.Error("a server that is gone answers")
	}
}

// sort is a kind of request in the overload.
type sort struct {
	name   string
	method string
	path   string
	body   func(i int) net.Buffers

	next     atomic.Int64
	mu       sync.Mutex
	accepted []time.Duration // from when it was due
	shed     []time.Duration
	late     []time.Duration // how long after it was due the client came to it
	bad      []string
	acked    map[string]bool
}

// whole is a body in one part.
func whole(body func(i int) []byte) func(i int) net.Buffers {
	return func(i int) net.Buffers { return net.Buffers{body(i)} }
}

// send makes the request and notes how it was answered. The time counts from when
// it was due, so that a client that comes late does not make the server look fast.
func (s *sort) send(ctx context.Context, client *caller, due time.Time) {
	i := int(s.next.Add(1))
	var body net.Buffers
	if s.body != nil {
		body = s.body(i)
	}
	late := time.Since(due)
	res, err := client.ask(ctx, s.method, s.path, body)
	if err != nil {
		if ctx.Err() == nil {
			s.note(func() { s.bad = append(s.bad, err.Error()) })
		}
		return
	}
	took := time.Since(due)
	s.note(func() {
		s.late = append(s.late, late)
		switch {
		case res.StatusCode/100 == 2:
			s.accepted = append(s.accepted, took)
			if s.acked != nil {
				s.acked[marker(i)] = true
			}
		case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
			s.shed = append(s.shed, took)
		default:
			s.bad = append(s.bad, res.Status)
		}
	})
}

func (s *sort) note(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *sort) counts() (accepted, shed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted), len(s.shed)
}

// openLoop sends so many a second for a time, whatever becomes of them.
func (s *sort) openLoop(ctx context.Context, all *sync.WaitGroup, client *caller, perSecond float64, lasts time.Duration) {
	all.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			due := began.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
			if due.Sub(began) > lasts || ctx.Err() != nil {
				return
			}
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait) // until it is due
			}
			all.Go(func() { s.send(ctx, client, due) })
		}
	})
}

// capacity measures how many deliveries a second the server accepts from many
// clients that wait for the answer.
func (s *sort) capacity(ctx context.Context, client *caller) float64 {
	const lasts = 3 * time.Second
	began := time.Now()
	before, _ := s.counts()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for time.Since(began) < lasts {
				s.send(ctx, client, time.Now())
			}
		})
	}
	all.Wait()
	n, _ := s.counts()
	return float64(n-before) / time.Since(began).Seconds()
}
