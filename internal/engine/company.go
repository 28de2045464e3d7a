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
	over     int           // who were alone and took too long: nobody waits for them
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
	for c.alone || alone && c.together > c.over || !alone && c.wanting > 0 {
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
		return func() { c.change(func() { c.together-- }) }
	}
	c.alone = true
	ended, late := false, false
	timer := time.AfterFunc(most, func() {
		c.change(func() {
			if !ended {
				c.alone, late = false, true
				c.over++
			}
		})
	})
	return func() {
		timer.Stop()
		c.change(func() {
			ended = true
			c.together--
			if late {
				c.over--
			} else {
				c.alone = false
			}
		})
	}
}

// change makes a change and tells who waits for one.
func (c *company) change(make func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	make()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}
