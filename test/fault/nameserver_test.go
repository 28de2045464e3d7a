package fault

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is the only one that a place knows. It answers for each name as it is
// told, over UDP and TCP.
type nameServer struct {
	mu  sync.Mutex
	say map[string]naming // by name, with its dot
}

// naming is what the name server says about a name.
type naming struct {
	code      dnsmessage.RCode
	silent    bool // it says nothing
	addresses []netip.Addr
}

// here is the answer of a name server in order.
var here = naming{addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}

// newNameServer starts one on the place's loopback. Whatever the world starts from
// now on is in the place and asks it.
func newNameServer(t *testing.T, w *world, p *place) *nameServer {
	t.Helper()
	s := &nameServer{say: map[string]naming{}}
	var packets net.PacketConn
	var streams net.Listener
	err := p.in(func() (err error) {
		if packets, err = net.ListenPacket("udp", "127.0.0.1:53"); err == nil {
			streams, err = net.Listen("tcp", "127.0.0.1:53")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = packets.Close(), streams.Close() })
	go s.servePackets(packets)
	go s.serveStreams(streams)

	// A file system of its own, so that the file of this machine stays as it is.
	resolv, program := filepath.Join(w.dir, "resolv.conf"), filepath.Join(w.dir, "server.sh")
	script := "#!/bin/sh\nexec unshare -m sh -c 'mount --bind \"" + resolv + "\" /etc/resolv.conf && exec \"" + w.program + "\"'\n"
	for name, text := range map[string]string{resolv: "nameserver 127.0.0.1\n", program: script} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.in, w.program = p.in, program
	return s
}

// set decides what is said about a name from now on.
func (s *nameServer) set(name string, n naming) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say[name+"."] = n
}

func (s *nameServer) servePackets(conn net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.answer(buf[:n], 1232); answer != nil { // what Go's resolver takes in a packet
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func (s *nameServer) serveStreams(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			for {
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, query); err != nil {
					return
				}
				if answer := s.answer(query, 1<<16-1); answer != nil {
					_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				}
			}
		}()
	}
}

// answer returns the answer in so many bytes at most, truncated if it does not fit,
// nil if there is none.
func (s *nameServer) answer(query []byte, most int) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	s.mu.Lock()
	n, known := s.say[q.Name.String()]
	s.mu.Unlock()
	if !known {
		n.code = dnsmessage.RCodeNameError
	}
	if n.silent {
		return nil
	}
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true, RCode: n.code},
		Questions: m.Questions,
	}
	for _, a := range n.addresses {
		if q.Type == dnsmessage.TypeA {
			answer.Answers = append(answer.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
	packed, err := answer.Pack()
	if err == nil && len(packed) > most {
		answer.Truncated, answer.Answers = true, nil
		packed, err = answer.Pack()
	}
	if err != nil {
		return nil
	}
	return packed
}
