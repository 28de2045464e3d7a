package engine

import "sync"

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

// enter returns when the caller may begin. It calls leave at its end.
func (c *company) enter(alone bool) (leave func()) {
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
	if c.alone = alone; !alone {
		c.together++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.alone {
			c.alone = false
		} else {
			c.together--
		}
		if c.changed != nil {
			close(c.changed)
			c.changed = nil
		}
	}
}
