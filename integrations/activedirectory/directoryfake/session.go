package directoryfake

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Tags of the operations and their answers (RFC 4511 appendix B).
const (
	opBind           ber.Tag = 0
	opBindResponse   ber.Tag = 1
	opUnbind         ber.Tag = 2
	opSearch         ber.Tag = 3
	opSearchEntry    ber.Tag = 4
	opSearchDone     ber.Tag = 5
	opModify         ber.Tag = 6
	opModifyResponse ber.Tag = 7
	opAdd            ber.Tag = 8
	opDelete         ber.Tag = 10
	opModifyDN       ber.Tag = 12
	opCompare        ber.Tag = 14
	opAbandon        ber.Tag = 16
	opSearchRef      ber.Tag = 19
	opExtended       ber.Tag = 23
	opExtendedAnswer ber.Tag = 24
)

// Result codes (RFC 4511 section 4.1.9).
const (
	codeSuccess           = 0
	codeOperationsError   = 1
	codeProtocolError     = 2
	codeSizeLimit         = 4
	codeAuthMethod        = 7
	codeStrongAuth        = 8
	codeReferral          = 10
	codeCriticalExtension = 12
	codeNoSuchObject      = 32
	codeInvalidDN         = 34
	codeInvalidCreds      = 49
	codeBusy              = 51
	codeUnwilling         = 53
)

// Names of extended operations.
const (
	oidStartTLS   = "1.3.6.1.4.1.1466.20037"
	oidWhoAmI     = "1.3.6.1.4.1.4203.1.11.3"
	oidDisconnect = "1.3.6.1.4.1.1466.20036"
)

const diagBusy = "0000200E: SvcErr: DSID-020A0DDE, problem 5001 (BUSY), data 0"

// session is one connection. It handles one operation after the other.
type session struct {
	srv    *Server
	conn   net.Conn // the TLS connection once there is one
	r      *bufio.Reader
	secure bool
	bound  *object // nil: anonymous
	pages  map[string]*pagedSearch
}

// answer is what the server sends for one operation.
type answer struct {
	bytes []byte
	op    Op
	last  bool // close the connection afterwards
	tls   bool // start TLS afterwards
}

// serve handles a connection until it ends.
func serve(srv *Server, conn net.Conn, secure bool) {
	s := &session{srv: srv, conn: conn, r: bufio.NewReader(conn), pages: map[string]*pagedSearch{}}
	if secure && !s.startTLS() {
		return
	}
	for {
		m, err := readMessage(s.r)
		if err != nil {
			if errors.Is(err, errProtocol) {
				s.disconnect()
			}
			return
		}
		counts := m.op.Tag == opBind || m.op.Tag == opSearch
		f := srv.nextFate(counts)
		if f.hang {
			continue
		}
		a, err := s.handle(m, f)
		if err != nil {
			s.disconnect()
			return
		}
		srv.record(a.op)
		if m.op.Tag == opSearch {
			if raw := srv.nextRaw(); raw != nil {
				if _, err := io.Copy(s.conn, raw(m.id)); err != nil {
					return
				}
				continue
			}
		}
		if len(a.bytes) > 0 {
			if srv.send(s.conn, a.bytes, f) != nil {
				return
			}
		}
		if a.last || (a.tls && !s.startTLS()) {
			return
		}
	}
}

// startTLS performs the handshake. Bytes that came before it must not be taken
// for bytes that came under TLS, so they end the connection.
func (s *session) startTLS() bool {
	if s.r.Buffered() > 0 {
		return false
	}
	c := tls.Server(s.conn, s.srv.tls)
	if c.HandshakeContext(s.srv.ctx) != nil {
		return false
	}
	s.conn, s.r, s.secure = c, bufio.NewReader(c), true
	return true
}

// disconnect sends the notice of disconnection (RFC 4511 section 4.4.1).
func (s *session) disconnect() {
	name := ber.NewString(ber.ClassContext, ber.TypePrimitive, 10, oidDisconnect, "")
	_ = s.srv.send(s.conn, envelope(0, outcome(opExtendedAnswer, codeProtocolError, "", "malformed request", name)), fate{})
}

// handle processes one operation. An error means that the bytes were malformed.
func (s *session) handle(m message, f fate) (answer, error) {
	reply := func(kind string, tag ber.Tag, code int, diagnostic string) (answer, error) {
		return answer{bytes: envelope(m.id, outcome(tag, code, "", diagnostic)), op: Op{Kind: kind, Result: code}}, nil
	}
	readOnly := func(kind string, tag ber.Tag) (answer, error) {
		return reply(kind, tag, codeUnwilling, "the simulated directory does not support "+kind)
	}
	switch m.op.Tag {
	case opBind:
		return s.bind(m, f)
	case opSearch:
		return s.search(m, f)
	case opUnbind:
		return answer{op: Op{Kind: "unbind"}, last: true}, nil
	case opAbandon: // answers are complete before the next request is read
		return answer{op: Op{Kind: "abandon"}}, nil
	case opExtended:
		return s.extended(m)
	case opModify:
		return readOnly("modify", opModifyResponse)
	case opAdd:
		return readOnly("add", opAdd+1)
	case opDelete:
		return readOnly("delete", opDelete+1)
	case opModifyDN:
		return readOnly("rename", opModifyDN+1)
	case opCompare:
		return readOnly("compare", opCompare+1)
	default:
		return answer{}, errProtocol
	}
}

// extended handles StartTLS and "who am I".
func (s *session) extended(m message) (answer, error) {
	if len(m.op.Children) == 0 {
		return answer{}, errProtocol
	}
	oid, ok := octets(m.op.Children[0])
	if !ok {
		return answer{}, errProtocol
	}
	a := answer{op: Op{Kind: "extended"}}
	diagnostic := ""
	var more []*ber.Packet
	switch oid {
	case oidStartTLS:
		a.op.Kind = "starttls"
		if a.tls = !s.secure; !a.tls {
			a.op.Result, diagnostic = codeOperationsError, "TLS is already active on the connection"
		}
		more = append(more, ber.NewString(ber.ClassContext, ber.TypePrimitive, 10, oidStartTLS, ""))
	case oidWhoAmI:
		a.op.Kind = "whoami"
		who := ""
		if s.bound != nil {
			who = "u:" + s.srv.dir.netBIOS() + `\` + s.bound.first("samaccountname")
		}
		more = append(more, ber.NewString(ber.ClassContext, ber.TypePrimitive, 11, who, ""))
	default:
		a.op.Result, diagnostic = codeUnwilling, "the simulated directory does not support this extended operation"
	}
	a.bytes = envelope(m.id, outcome(opExtendedAnswer, a.op.Result, "", diagnostic, more...))
	return a, nil
}
