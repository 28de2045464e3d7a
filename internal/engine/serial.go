package engine

import (
	"sync"

	"github.com/funnelsec/funnel/internal/record"
)

// serialLocks says which run works on a thing that only one may work on.
type serialLocks struct {
	mu     sync.Mutex
	holder map[string]int64
}

// take gives the thing to the run unless another holds it.
func (l *serialLocks) take(name string, run int64) (holder int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, taken := l.holder[name]; taken && h != run {
		return h, false
	}
	l.holder[name] = run
	return run, true
}

func (l *serialLocks) free(name string, run int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder[name] == run {
		delete(l.holder, name)
	}
}

func (l *serialLocks) isFree(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, taken := l.holder[name]
	return !taken
}

// freeSerial frees what an ended run still holds and wakes who waited for it.
func (e *Engine) freeSerial(run int64) {
	e.serial.mu.Lock()
	var names []string
	for name, holder := range e.serial.holder {
		if holder == run {
			names = append(names, name)
			delete(e.serial.holder, name)
		}
	}
	e.serial.mu.Unlock()
	if len(names) == 0 {
		return
	}
	if _, err := e.commit(record.Change{Release: names}); err != nil {
		e.o.Log.Error("waking runs that wait for their turn", "error", err)
	}
}
