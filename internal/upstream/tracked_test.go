package upstream

import (
	"errors"
	"net"
	"testing"
)

func TestSealedConnectionWritesNothing(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	_ = far.Close() // a write that gets through fails with another error
	conn := &tracked{Conn: near}
	if !conn.sealUnlessWritten(0) {
		t.Fatal("a fresh connection counts as written to")
	}
	if n, err := conn.Write([]byte("late")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a sealed connection wrote %d bytes, %v", n, err)
	}
}

func TestWriteUnderWayCounts(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	conn := &tracked{Conn: near}
	written := make(chan error)
	go func() {
		_, err := conn.Write([]byte("ab"))
		written <- err
	}()
	if _, err := far.Read(make([]byte, 1)); err != nil { // half of it: the write goes on
		t.Fatal(err)
	}
	if conn.sealUnlessWritten(0) {
		t.Error("a write under way counts as nothing written")
	}
	_ = far.Close()
	<-written
	if conn.sealUnlessWritten(0) || conn.written() != 1 {
		t.Errorf("%d bytes count as written, want the 1 that left", conn.written())
	}
	if !conn.sealUnlessWritten(1) {
		t.Error("what an earlier request wrote counts for this one")
	}
}

// The two checks of the egress rule, each without the other.
func TestEgressIsCheckedTwice(t *testing.T) {
	t.Parallel()
	d := newDialer(Options{}.withDefaults())
	if addrs, err := d.resolve(t.Context(), "169.254.169.254"); err == nil {
		t.Errorf("resolving allowed %v", addrs)
	}
	for _, address := range []string{"169.254.169.254:80", "[fe80::1%lo]:80", "[::ffff:169.254.169.254]:80", "nonsense"} {
		if err := d.control("tcp", address, nil); err == nil {
			t.Errorf("the second check allowed %s", address)
		}
	}
}
