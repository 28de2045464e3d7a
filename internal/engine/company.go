package engine

import (
	"sync"
	"time"
)

// company lets runs be worked on together, or one alone. Who is to be alone comes
// first: until then nobody new begins.
//
// It is no sync.RWMutex, for one holds it while the journal is written: tests in
// virtual time would wait for ever.
type company struct {
	mu       sync.Mutex
	together int
	alone    bool
	wanting  int           // who wait to be alone
	changed  chan struct{} // closed at the next change
}

// enter returns when the caller may begin. It calls leave at its end. Who is alone
// is so for the time at the most; then others may join.
func (c *company) enter(alone bool, most time.Duration) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if alone {
		c.wanting++
		defer func() { c.wanting-- }()
	}
	for c.alone || !alone && c.wanting > 0 {
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		<-changed
		c.mu.Lock()
	}
	c.together++
	if !alone {
		return c.leave
	}
	c.alone = true
	join := sync.OnceFunc(c.join)
	timer := time.AfterFunc(most, join)
	return func() {
		timer.Stop()
		join()
		c.leave()
	}
}

// join ends that somebody is alone.
func (c *company) join() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alone = false
	c.tell()
}

func (c *company) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.together--
	c.tell()
}

func (c *company) tell() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}
