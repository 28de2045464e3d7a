package funneltest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stage is a system on a socket: it answers the first requests as the healthy
// one does and the rest as it likes.
type stage struct {
	t        testing.TB
	healthy  http.Handler
	at       int // the first request that is answered badly; -1: none
	play     func(*wire)
	stamp    string // names our client in the User-Agent: on a busy machine others may ask at a port that was theirs
	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex
	requests []answered
	conns    map[net.Conn]bool
	closed   bool
}

// wire is a connection on which the system may write whatever it likes.
type wire struct {
	net.Conn
	request *http.Request
	healthy answered
}

func newStage(t testing.TB, healthy http.Handler, at int, play func(*wire)) *stage {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, healthy: healthy, at: at, play: play, stamp: rand.Text(), listener: l, conns: map[net.Conn]bool{}}
	s.wait.Go(s.accept)
	return s
}

func (s *stage) base() string { return "http://" + s.listener.Addr().String() }

func (s *stage) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.conns[conn] = true
		s.mu.Unlock()
		s.wait.Go(func() {
			s.serve(conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// serve answers one request; the connection ends with it.
func (s *stage) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil || r.UserAgent() != "funnel/"+s.stamp {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body, r.RemoteAddr = io.NopCloser(bytes.NewReader(body)), conn.RemoteAddr().String()
	rec := httptest.NewRecorder()
	s.healthy.ServeHTTP(rec, r.WithContext(s.t.Context()))
	got := answered{method: r.Method, path: r.URL.Path, header: rec.Header(), status: rec.Code, body: rec.Body.Bytes()}
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, got)
	s.mu.Unlock()
	w := &wire{Conn: conn, request: r, healthy: got}
	if s.at >= 0 && n >= s.at {
		s.play(w)
		return
	}
	w.answer(got.status, got.header, got.body)
}

func (s *stage) log() []answered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]answered(nil), s.requests...)
}

func (s *stage) close() {
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	s.wait.Wait()
}

// trap listens where a hostile system would like to lead us.
type trap struct {
	listener net.Listener
	wait     sync.WaitGroup
	n        atomic.Int32
}

func newTrap(t testing.TB) *trap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &trap{listener: l}
	x.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			x.n.Add(1)
			_ = conn.Close()
		}
	})
	return x
}

func (x *trap) address() string { return "http://" + x.listener.Addr().String() + "/latest/meta-data/" }
func (x *trap) visits() int     { return int(x.n.Load()) }

func (x *trap) close() {
	_ = x.listener.Close()
	x.wait.Wait()
}
