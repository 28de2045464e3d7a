package directoryfake

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Bounds of one request. A real request is a few hundred bytes.
const (
	maxMessage  = 256 << 10
	maxDepth    = 64
	maxElements = 10_000
)

// errProtocol marks bytes that are no LDAP message; the connection cannot be
// used any further.
var errProtocol = errors.New("malformed LDAP message")

// message is one decoded request (RFC 4511 section 4.1.1).
type message struct {
	id       int64
	op       *ber.Packet
	controls []control
}

// control is one request control (RFC 4511 section 4.1.11).
type control struct {
	oid      string
	critical bool
	value    string
}

// readMessage reads the next request. It returns errProtocol for anything that
// is not one, and the reader's error when the connection ended.
func readMessage(r *bufio.Reader) (message, error) {
	body, err := readElement(r)
	if err != nil {
		return message{}, err
	}
	p, err := decode(body)
	if err != nil {
		return message{}, err
	}
	return parseMessage(p)
}

// decode decodes one element after bounding its depth and size.
func decode(b []byte) (*ber.Packet, error) {
	elements := maxElements
	if err := checkBER(b, maxDepth, &elements); err != nil {
		return nil, err
	}
	p, err := ber.DecodePacketErr(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return p, nil
}

// readElement reads one SEQUENCE with its header, refusing a length above
// maxMessage before anything is allocated. LDAP allows only definite lengths
// (RFC 4511 section 5.1).
func readElement(r *bufio.Reader) ([]byte, error) {
	head := make([]byte, 2, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if head[0] != 0x30 {
		return nil, fmt.Errorf("%w: not a sequence", errProtocol)
	}
	length := int(head[1])
	if length >= 0x80 {
		n := length & 0x7f
		if n == 0 || n > 4 {
			return nil, fmt.Errorf("%w: length form", errProtocol)
		}
		head = head[:2+n]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		length = 0
		for _, b := range head[2:] {
			length = length<<8 | int(b)
		}
	}
	if length < 0 || length > maxMessage {
		return nil, fmt.Errorf("%w: longer than %d bytes", errProtocol, maxMessage)
	}
	body := make([]byte, len(head)+length)
	copy(body, head)
	if _, err := io.ReadFull(r, body[len(head):]); err != nil {
		return nil, err
	}
	return body, nil
}

// checkBER walks the elements without building anything. The decoder copies the
// content of an element at each level, so depth times size bounds its memory.
func checkBER(b []byte, depth int, elements *int) error {
	for len(b) > 0 {
		if depth == 0 {
			return fmt.Errorf("%w: nested too deeply", errProtocol)
		}
		if *elements--; *elements < 0 {
			return fmt.Errorf("%w: too many elements", errProtocol)
		}
		if b[0]&0x1f == 0x1f || len(b) < 2 {
			return fmt.Errorf("%w: element header", errProtocol)
		}
		length, head := int(b[1]), 2
		if length >= 0x80 {
			n := length & 0x7f
			if n == 0 || n > 4 || len(b) < 2+n {
				return fmt.Errorf("%w: element length", errProtocol)
			}
			length, head = 0, 2+n
			for _, c := range b[2:head] {
				length = length<<8 | int(c)
			}
		}
		if length < 0 || length > len(b)-head {
			return fmt.Errorf("%w: element longer than its parent", errProtocol)
		}
		if b[0]&0x20 != 0 {
			if err := checkBER(b[head:head+length], depth-1, elements); err != nil {
				return err
			}
		}
		b = b[head+length:]
	}
	return nil
}

// parseMessage takes the envelope apart.
func parseMessage(p *ber.Packet) (message, error) {
	if len(p.Children) < 2 || len(p.Children) > 3 {
		return message{}, fmt.Errorf("%w: envelope", errProtocol)
	}
	id, ok := integer(p.Children[0], ber.TagInteger)
	if !ok || id < 0 || id > 1<<31-1 {
		return message{}, fmt.Errorf("%w: message id", errProtocol)
	}
	m := message{id: id, op: p.Children[1]}
	if m.op.ClassType != ber.ClassApplication {
		return message{}, fmt.Errorf("%w: operation", errProtocol)
	}
	if len(p.Children) < 3 {
		return m, nil
	}
	if c := p.Children[2]; c.ClassType != ber.ClassContext || c.Tag != 0 {
		return message{}, fmt.Errorf("%w: controls", errProtocol)
	}
	for _, c := range p.Children[2].Children {
		ctl, err := parseControl(c)
		if err != nil {
			return message{}, err
		}
		m.controls = append(m.controls, ctl)
	}
	return m, nil
}

// parseControl decodes one control.
func parseControl(p *ber.Packet) (control, error) {
	bad := fmt.Errorf("%w: control", errProtocol)
	if len(p.Children) == 0 || len(p.Children) > 3 {
		return control{}, bad
	}
	oid, ok := octets(p.Children[0])
	if !ok {
		return control{}, bad
	}
	ctl := control{oid: oid}
	for _, c := range p.Children[1:] {
		if critical, ok := c.Value.(bool); ok {
			ctl.critical = critical
			continue
		}
		// Some clients mark the value's OCTET STRING as primitive but nest the
		// sequence in it, others do not: the bytes are the same.
		ctl.value = c.Data.String()
	}
	return ctl, nil
}

// octets returns the bytes of a primitive string.
func octets(p *ber.Packet) (string, bool) {
	if p.TagType != ber.TypePrimitive {
		return "", false
	}
	return p.Data.String(), true
}

// integer returns the value of a universal INTEGER or ENUMERATED.
func integer(p *ber.Packet, tag ber.Tag) (int64, bool) {
	if p.ClassType != ber.ClassUniversal || p.TagType != ber.TypePrimitive || p.Tag != tag || p.Data.Len() > 8 {
		return 0, false
	}
	v, ok := p.Value.(int64)
	return v, ok
}

// str encodes an OCTET STRING.
func str(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

// seq encodes a SEQUENCE.
func seq(children ...*ber.Packet) *ber.Packet {
	p := ber.NewSequence("")
	for _, c := range children {
		p.AppendChild(c)
	}
	return p
}

// outcome encodes an LDAPResult (RFC 4511 section 4.1.9) as the given response.
func outcome(tag ber.Tag, code int, matched, diagnostic string, more ...*ber.Packet) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(str(matched))
	p.AppendChild(str(diagnostic))
	for _, m := range more {
		p.AppendChild(m)
	}
	return p
}

// envelope encodes one LDAPMessage.
func envelope(id int64, op *ber.Packet, controls ...*ber.Packet) []byte {
	p := seq(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""), op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			list.AppendChild(c)
		}
		p.AppendChild(list)
	}
	return p.Bytes()
}
