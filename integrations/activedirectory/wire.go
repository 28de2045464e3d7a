package activedirectory

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Bounds of the answers to one operation. An entry with 1,000 groups has about
// 100 KiB and 1,000 elements, a page of 500 members 8,000 elements; answers nest
// about eight elements deep. go-ldap keeps some 500 bytes of an element.
const (
	maxAnswer   = 1 << 20
	maxDepth    = 16
	maxElements = 40_000
)

// errMalformed marks an answer that is not LDAP.
var errMalformed = errors.New("the answer is malformed or too large")

// wire hands whole, checked messages to go-ldap. The library itself takes
// messages of up to 2 GiB, and its decoder copies the content of an element at
// each level.
type wire struct {
	net.Conn
	r    *bufio.Reader
	rest []byte

	left     atomic.Int64 // bytes that the current operation may still receive
	elements atomic.Int64 // the same of elements
}

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c, r: bufio.NewReader(c)}
	w.renew()
	return w
}

// renew starts the budget of the next operation.
func (w *wire) renew() {
	w.left.Store(maxAnswer)
	w.elements.Store(maxElements)
}

// Read returns the next bytes of a checked message.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		b, used, err := readMessage(w.r, w.left.Load(), w.elements.Load())
		if err != nil {
			return 0, err
		}
		w.left.Add(-int64(len(b)))
		w.elements.Add(-used)
		w.rest = b
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// readMessage reads one LDAP message (RFC 4511 section 5.1: definite lengths
// only) of at most limit bytes and checks its structure. It returns how many
// elements the message has.
func readMessage(r *bufio.Reader, limit, elements int64) (b []byte, used int64, err error) {
	b = make([]byte, 2, 64)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, 0, err
	}
	if n := int(b[1]); n > 0x80 && n <= 0x84 {
		b = b[:2+n-0x80]
		if _, err := io.ReadFull(r, b[2:]); err != nil {
			return nil, 0, err
		}
	}
	head, length, ok := header(b)
	if !ok || b[0] != 0x30 || int64(head)+length > limit {
		return nil, 0, errMalformed
	}
	b = append(b, make([]byte, length)...)
	if _, err := io.ReadFull(r, b[head:]); err != nil {
		return nil, 0, err
	}
	left := elements
	if err := check(b, maxDepth, &left); err != nil {
		return nil, 0, err
	}
	return b, elements - left, nil
}

// header returns the size of an element's header and the length behind it.
func header(b []byte) (head int, length int64, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, 0, false
	}
	n := int(b[1])
	if n < 0x80 {
		return 2, int64(n), true
	}
	if n -= 0x80; n < 1 || n > 4 || len(b) < 2+n {
		return 0, 0, false
	}
	for _, c := range b[2 : 2+n] {
		length = length<<8 | int64(c)
	}
	return 2 + n, length, true
}

// check walks the elements without building anything.
func check(b []byte, depth int, elements *int64) error {
	for len(b) > 0 {
		head, length, ok := header(b)
		if *elements--; !ok || depth == 0 || *elements < 0 || length > int64(len(b)-head) {
			return errMalformed
		}
		end := head + int(length)
		if b[0]&0x20 != 0 {
			if err := check(b[head:end], depth-1, elements); err != nil {
				return err
			}
		}
		b = b[end:]
	}
	return nil
}

// startTLS is the extended request 1.3.6.1.4.1.1466.20037 (RFC 4511 section
// 4.14.1) with message ID 1. go-ldap's own StartTLS knows no deadline.
const startTLS = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"

// requestTLS asks for TLS on a plain connection. Nothing that came before the
// handshake may be taken for something that came under it.
func requestTLS(c net.Conn) error {
	if _, err := io.WriteString(c, startTLS); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	b, _, err := readMessage(r, 16<<10, 100)
	if err != nil {
		return err
	}
	p, err := ber.DecodePacketErr(b)
	if err != nil || r.Buffered() > 0 {
		return errMalformed
	}
	if err := ldap.GetLDAPError(p); err != nil {
		return fmt.Errorf("the directory refused: %w", err)
	}
	return nil
}
