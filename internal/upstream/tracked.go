package upstream

import (
	"fmt"
	"net"
	"sync"
)

// tracked is a connection that counts what was written to it.
type tracked struct {
	net.Conn
	mu     sync.Mutex
	bytes  int64
	busy   int // writes under way
	sealed bool
}

// Write counts before and after, so that a write that is under way is known.
func (t *tracked) Write(p []byte) (int, error) {
	t.mu.Lock()
	if t.sealed {
		t.mu.Unlock()
		return 0, net.ErrClosed
	}
	t.busy++
	t.mu.Unlock()
	n, err := t.Conn.Write(p)
	t.mu.Lock()
	t.busy--
	t.bytes += int64(n)
	t.mu.Unlock()
	return n, err
}

func (t *tracked) written() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

// sealUnlessWritten reports whether nothing was written after the first start
// bytes, and then sees to it that nothing ever will be.
func (t *tracked) sealUnlessWritten(start int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bytes > start || t.busy > 0 {
		return false
	}
	t.sealed = true
	return true
}

func bytesText(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
