package directoryfake

import (
	"io"
	"net"
	"time"
)

// faults is how the server was told to misbehave.
type faults struct {
	hang bool
	drip time.Duration
	busy int
	drop int
	raw  []func(id int64) io.Reader
}

// fate is what happens to one operation.
type fate struct{ hang, busy, drop bool }

// Down takes the server off the network: the listeners and all connections are
// closed and new ones refused. Down(false) brings it back on the same port; the
// error says why that failed.
func (s *Server) Down(down bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if down {
		return s.unlisten()
	}
	if s.ctx.Err() != nil {
		return net.ErrClosed
	}
	return s.listen()
}

// Hang makes the server accept and read, but never answer: neither the TLS
// handshake of a new connection nor an operation on an old one. Hang(false)
// ends it; what was swallowed stays unanswered.
func (s *Server) Hang(hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.hang = hang
	if hang {
		return
	}
	for c, swallowed := range s.conns {
		if swallowed { // its handshake is lost for good
			c.Close()
		}
	}
}

// SlowDrip sends every answer byte by byte with the pause before each byte; 0
// ends it.
func (s *Server) SlowDrip(pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.drip = pause
}

// BusyNext answers the next n binds and searches with busy (51).
func (s *Server) BusyNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.busy = n
}

// DropNext closes the connection in the middle of the answers to the next n
// binds and searches.
func (s *Server) DropNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.drop = n
}

// RawNext answers the next searches with bytes of the test's own, one function
// for each search: it gets the message ID. An answer that does not end is sent
// until the client hangs up.
func (s *Server) RawNext(answers ...func(id int64) io.Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.raw = answers
}

// nextRaw returns what the next search is answered with, nil for what the
// directory says.
func (s *Server) nextRaw() func(id int64) io.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults.raw) == 0 {
		return nil
	}
	raw := s.faults.raw[0]
	s.faults.raw = s.faults.raw[1:]
	return raw
}

// nextFate decides about one operation and uses up the counters when it is a
// bind or a search.
func (s *Server) nextFate(counts bool) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := fate{hang: s.faults.hang}
	if f.hang || !counts {
		return f
	}
	if s.faults.busy > 0 {
		s.faults.busy--
		f.busy = true
	}
	if s.faults.drop > 0 {
		s.faults.drop--
		f.drop = true
	}
	return f
}

// swallow reads until the connection is closed.
func swallow(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// send writes an answer, whole, dripping or only its first half.
func (s *Server) send(c net.Conn, answer []byte, f fate) error {
	if f.drop {
		_, _ = c.Write(answer[:len(answer)/2])
		return io.ErrUnexpectedEOF // the session ends and closes
	}
	s.mu.Lock()
	pause := s.faults.drip
	s.mu.Unlock()
	if pause <= 0 {
		_, err := c.Write(answer)
		return err
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range answer {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
		if _, err := c.Write(answer[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}
