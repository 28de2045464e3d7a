package engine

import (
	"maps"
	"slices"
	"sync"

	"github.com/funnelsec/funnel/internal/record"
)

// serialPrefix begins the WaitOn of a run that waits for its turn.
const serialPrefix = "serial:"

// turn is a step that works on a thing that only one may work on.
type turn struct {
	run  int64
	path string
}

// serialLocks says which step works on a thing that only one may work on, and
// which runs asked for it meanwhile.
type serialLocks struct {
	mu      sync.Mutex
	holder  map[string]turn
	waiting map[string]map[int64]bool
}

func newSerialLocks() serialLocks {
	return serialLocks{holder: map[string]turn{}, waiting: map[string]map[int64]bool{}}
}

// take gives the thing to the step unless another holds it. Then the run is
// remembered, so that free tells of it even if it is not parked in the table yet.
func (l *serialLocks) take(name string, t turn) (holder int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, taken := l.holder[name]; taken && h != t {
		if l.waiting[name] == nil {
			l.waiting[name] = map[int64]bool{}
		}
		l.waiting[name][t.run] = true
		return h.run, false
	}
	l.holder[name] = t
	return t.run, true
}

// free takes the thing from the step and returns who asked for it meanwhile.
func (l *serialLocks) free(name string, t turn) (waiting []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holder[name] != t {
		return nil
	}
	delete(l.holder, name)
	waiting = slices.Sorted(maps.Keys(l.waiting[name]))
	delete(l.waiting, name)
	return waiting
}

// held returns what the run's steps hold.
func (l *serialLocks) held(run int64) map[string]turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := map[string]turn{}
	for name, t := range l.holder {
		if t.run == run {
			held[name] = t
		}
	}
	return held
}

// freeSerial frees what an ended run still holds and wakes who waited for it.
func (e *Engine) freeSerial(run int64) {
	if e.o.Shared != nil {
		return
	}
	held := e.serial.held(run)
	if len(held) == 0 {
		return
	}
	var names []string
	var waiting []int64
	for name, t := range held {
		names = append(names, name)
		waiting = append(waiting, e.serial.free(name, t)...)
	}
	if _, err := e.commit(record.Change{Release: names}); err != nil {
		e.o.Log.Error("waking runs that wait for their turn", "error", err)
	}
	e.o.Queue.Add(waiting...)
}
