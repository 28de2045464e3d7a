package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
)

// exchange is one request and its answer; it knows whether anything was written.
type exchange struct {
	ctx     context.Context
	timeout time.Duration
	method  string
	to      origin

	mu    sync.Mutex
	conn  *tracked // of the latest attempt; nil before the first
	start int64    // bytes that the connection had written before us
	wrote bool     // by an earlier attempt, or not known
}

// harmless reports whether the method changes nothing (RFC 9110, section 9.2.1).
func (x *exchange) harmless() bool {
	return x.method == "" || x.method == http.MethodGet || x.method == http.MethodHead
}

func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	conn := info.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn != nil && x.conn.written() > x.start {
		x.wrote = true
	}
	t, ok := conn.(*tracked)
	if !ok {
		x.wrote = true // cannot tell, so the worse holds
		return
	}
	x.conn, x.start = t, t.written()
}

// mayHaveWritten reports whether a byte of the request may have left. After it
// said no, none can leave any more.
func (x *exchange) mayHaveWritten() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.wrote || x.conn != nil && !x.conn.sealUnlessWritten(x.start)
}

// failure turns an error of net/http into ours.
func (x *exchange) failure(err error) *funnel.Error {
	text, cause := x.reason(err)
	return x.failed(text, cause)
}

func (x *exchange) failed(text string, cause error) *funnel.Error {
	method := x.method
	if method == "" {
		method = http.MethodGet
	}
	e := &funnel.Error{Code: funnel.Unavailable, Message: method + " " + x.to.String() + ": " + text, Err: cause}
	if !x.harmless() && x.mayHaveWritten() {
		e.Code = funnel.Uncertain
		e.Message += "; the request may have been carried out"
	}
	return e
}

// reason returns a text that is free of addresses' queries, of header values
// and of pieces of the answer, all of which errors of net/http can hold, and the
// cause if its text is free of them too.
func (x *exchange) reason(err error) (string, error) {
	switch ended := x.ctx.Err(); {
	case errors.Is(ended, context.Canceled):
		return "cancelled", ended
	case ended != nil:
		return "no complete answer within " + x.timeout.String(), ended
	}
	return networkReason(err)
}

// networkReason describes what went wrong on the way.
func networkReason(err error) (string, error) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.Error(), r
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		return "looking up the host name: " + d.Err, d
	}
	if c, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not valid: " + c.Err.Error() + certificateHint(c.Err), c
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server does not speak TLS on this port: check the address", nil
	}
	if a, ok := errors.AsType[tls.AlertError](err); ok {
		return "the TLS handshake failed: " + a.Error(), a
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		return o.Op + ": " + o.Err.Error(), o
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled", context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection in time", context.DeadlineExceeded
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "the connection ended before the whole answer was there", io.ErrUnexpectedEOF
	}
	return "the connection broke or the answer is not valid HTTP", nil
}

func certificateHint(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "; if it is your own authority, name the file with its certificate in the configuration: tls: {ca_file: PATH}, beside the connection's options"
	}
	return ""
}

// answer is the body of an answer, with a cap.
type answer struct {
	body      io.ReadCloser
	left, max int64
	exchange  *exchange
	cancel    context.CancelFunc
	err       error // the end, once there is one
}

// Read reads the body; beyond the cap it fails.
func (a *answer) Read(p []byte) (int, error) {
	if a.err != nil || len(p) == 0 {
		return 0, a.err
	}
	if int64(len(p)) > a.left+1 { // one more, to see whether there is more
		p = p[:a.left+1]
	}
	n, err := a.body.Read(p)
	switch {
	case int64(n) > a.left:
		n = int(a.left)
		a.err = a.exchange.failed("answer larger than "+bytesText(a.max), nil)
	case err == io.EOF:
		a.err = io.EOF
	case err != nil:
		a.err = a.exchange.failure(err)
	}
	a.left -= int64(n)
	if a.err != nil {
		a.cancel()
	}
	return n, a.err
}

// Close ends the exchange.
func (a *answer) Close() error {
	defer a.cancel()
	return a.body.Close()
}
