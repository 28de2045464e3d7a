package activedirectory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/funnelsec/funnel"
)

// tlv writes one element.
func tlv(tag byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	head := []byte{tag, 0x84, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	return append(head, body...)
}

func octets(s string) []byte { return tlv(0x04, []byte(s)) }

// answer writes a message with ID 1.
func answer(op []byte) []byte { return tlv(0x30, []byte{0x02, 0x01, 0x01}, op) }

func nest(n int) []byte {
	b := tlv(0x30)
	for range n {
		b = tlv(0x30, b)
	}
	return b
}

// A hostile directory gets an error, not a panic, a hang or much memory.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	done := answer([]byte{0x65, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00})
	many := bytes.Repeat([]byte{0x05, 0x00}, maxElements)
	for name, b := range map[string][]byte{
		"http":                  []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"indefinite":            {0x30, 0x80, 0x02, 0x01, 0x01},
		"2 GiB":                 {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff},
		"length of eight bytes": {0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 1},
		"nested":                answer(nest(20)),
		"many elements":         answer(tlv(0x30, many)),
		"child too long":        {0x30, 0x05, 0x02, 0x01, 0x01, 0x64, 0x7f},
		"entry without name":    answer(tlv(0x64)),
		"name is no string":     answer(tlv(0x64, []byte{0x02, 0x01, 0x05}, tlv(0x30))),
		"attribute is no pair":  answer(tlv(0x64, octets("CN=x"), tlv(0x30, tlv(0x30)))),
		"value is no string":    answer(tlv(0x64, octets("CN=x"), tlv(0x30, tlv(0x30, octets("cn"), tlv(0x31, []byte{0x02, 0x01, 0x05}))))),
		"reference of nothing":  answer(tlv(0x73)),
		"message id is text":    tlv(0x30, octets("x"), tlv(0x64)),
		"no operation":          {0x30, 0x03, 0x02, 0x01, 0x01},
		"endless entries":       bytes.Repeat(answer(tlv(0x64, octets("CN=x"), tlv(0x30, tlv(0x30, octets("cn"), tlv(0x31, octets(strings.Repeat("x", 10_000))))))), 200),
		"cut":                   done[:len(done)-1],
	} {
		ours, theirs := net.Pipe()
		go func() { // reads the request, answers and hangs up
			_, _ = theirs.Read(make([]byte, 4096))
			_, _ = theirs.Write(b)
			theirs.Close()
		}()
		l := &link{wire: newWire(ours)}
		l.Conn = ldap.NewConn(l.wire, true)
		l.SetTimeout(20 * time.Second)
		l.Start()
		err := l.run(t.Context(), func() error {
			_, err := l.Search(ldap.NewSearchRequest("", 0, 0, 0, 0, false, "(cn=*)", nil, nil))
			return err
		})
		l.close()
		if !lost(err) {
			t.Errorf("%s: error is %v", name, err)
		}
		c := &Client{addr: "dc1:636"}
		if got := c.explain(context.Background(), "asking", err); funnel.CodeOf(got) != funnel.Unavailable {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestReadMessage(t *testing.T) {
	t.Parallel()
	done := []byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x65, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00}
	r := bufio.NewReader(bytes.NewReader(append(append([]byte{}, done...), answer(nest(3))...)))
	for i, want := range [][]byte{done, answer(nest(3))} {
		got, used, err := readMessage(r, maxAnswer, maxElements)
		if err != nil || used < 2 || used > 7 || !bytes.Equal(got, want) {
			t.Errorf("message %d is %x, %v", i, got, err)
		}
	}
	if _, _, err := readMessage(r, maxAnswer, maxElements); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, _, err := readMessage(bufio.NewReader(bytes.NewReader(done)), int64(len(done)-1), maxElements); !errors.Is(err, errMalformed) {
		t.Errorf("over the budget: %v", err)
	}
	many := bytes.Repeat([]byte{0x05, 0x00}, maxElements)
	for name, b := range map[string][]byte{
		"nested":         nest(maxDepth),
		"many elements":  tlv(0x30, many),
		"child too long": {0x30, 0x03, 0x02, 0x7f, 0x01},
		"long tag":       {0x30, 0x03, 0x1f, 0x01, 0x00},
		"no sequence":    {0x31, 0x00},
	} {
		if _, _, err := readMessage(bufio.NewReader(bytes.NewReader(b)), maxAnswer, maxElements); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := readMessage(bufio.NewReader(bytes.NewReader(nest(maxDepth-1))), maxAnswer, maxElements); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
}

// The plain exchange before TLS takes nothing more than its answer: what is
// sent along with it would be read as if it had come under TLS.
func TestRequestTLS(t *testing.T) {
	t.Parallel()
	yes := answer(tlv(0x78, []byte{0x0a, 0x01, 0x00}, octets(""), octets("")))
	for name, tt := range map[string]struct {
		reply []byte
		ok    bool
		text  string
	}{
		"yes":       {yes, true, ""},
		"no":        {answer(tlv(0x78, []byte{0x0a, 0x01, 0x34}, octets(""), octets("no TLS here"))), false, "refused"},
		"injected":  {append(append([]byte{}, yes...), answer(tlv(0x64))...), false, "malformed"},
		"not LDAP":  {[]byte("hello, hello"), false, "malformed"},
		"hangs up":  {nil, false, "EOF"},
		"no result": {answer(tlv(0x78)), false, "Invalid packet"},
	} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Read(make([]byte, 64))
			_, _ = theirs.Write(tt.reply)
			theirs.Close()
		}()
		err := requestTLS(ours)
		if (err == nil) != tt.ok || (err != nil && !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: %v", name, err)
		}
		ours.Close()
	}
}

// Every result code says something about who has to act.
func TestExplainCodes(t *testing.T) {
	t.Parallel()
	c := &Client{addr: "dc1:636", bindName: "svc"}
	for code, want := range map[uint16]funnel.Code{
		ldap.LDAPResultOperationsError: funnel.Unavailable, ldap.LDAPResultTimeLimitExceeded: funnel.Unavailable,
		ldap.LDAPResultSizeLimitExceeded: funnel.Unavailable, ldap.LDAPResultBusy: funnel.Unavailable, ldap.LDAPResultUnavailable: funnel.Unavailable,
		ldap.LDAPResultStrongAuthRequired: funnel.Unauthorized, ldap.LDAPResultInsufficientAccessRights: funnel.Unauthorized,
		ldap.LDAPResultInvalidCredentials: funnel.Unauthorized, ldap.LDAPResultNoSuchObject: funnel.NotFound, ldap.LDAPResultReferral: funnel.NotFound,
		ldap.LDAPResultInvalidDNSyntax: funnel.Invalid, ldap.LDAPResultProtocolError: funnel.Internal, ldap.ErrorNetwork: funnel.Unavailable,
	} {
		err := c.explain(context.Background(), "asking", ldap.NewError(code, errors.New("the directory's own text")))
		if funnel.CodeOf(err) != want || !strings.Contains(err.Error(), "asking the directory at dc1:636: ") ||
			code < ldap.ErrorNetwork && strings.Contains(err.Error(), "own text") {
			t.Errorf("%d: %s %v", code, funnel.CodeOf(err), err)
		}
	}
}
