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
	mu      sync.Mutex
	present map[*member]bool
	alone   bool
	wanting int           // who wait to be alone
	changed chan struct{} // closed at the next change
}

// member is one who is there. Nobody waits for one that is late.
type member struct{ late bool }

// enter returns when the caller may begin, and whether it had to wait. It calls leave
// at its end. Who is to be alone waits for the others for the time at the most, and
// is alone for as long; then others may join.
func (c *company) enter(alone bool, most time.Duration) (leave func(), waited bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if alone {
		c.wanting++
		patience := time.AfterFunc(most, func() {
			c.change(func() {
				for m := range c.present {
					m.late = m.late || !c.alone
				}
			})
		})
		defer func() { c.wanting--; patience.Stop() }()
	}
	for c.alone || alone && c.awaited() || !alone && c.wanting > 0 {
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		waited = true
		c.mu.Unlock()
		<-changed
		c.mu.Lock()
	}
	m := &member{}
	if c.present == nil {
		c.present = map[*member]bool{}
	}
	c.present[m] = true
	if !alone {
		return func() { c.change(func() { delete(c.present, m) }) }, waited
	}
	c.alone = true
	end := func() { // once: somebody else may be alone by then
		if !m.late {
			c.alone, m.late = false, true
		}
	}
	timer := time.AfterFunc(most, func() { c.change(end) })
	return func() {
		timer.Stop()
		c.change(func() { end(); delete(c.present, m) })
	}, waited
}

// awaited reports whether somebody is there who is not late.
func (c *company) awaited() bool {
	for m := range c.present {
		if !m.late {
			return true
		}
	}
	return false
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
