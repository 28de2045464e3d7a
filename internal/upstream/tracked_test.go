package upstream

import (
	"errors"
	"net"
	"testing"
)

func TestSealedConnectionWritesNothing(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
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
