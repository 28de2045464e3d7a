package engine

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/funnelsec/funnel"
)

// answerPrefix begins the WaitOn of a run that waits for another's answer.
const answerPrefix = "answer:"

// flights says which step asks for something that others want to know too, and
// who they are. It lives in memory: what must not be forgotten is in the run
// table, where those who wait are parked; after a restart they all ask again.
type flights struct {
	mu    sync.Mutex
	open  map[string]*flight
	steps map[int64]map[string]place // by run and path
}

// flight is a question under way, from the moment at which a step wants to ask.
type flight struct {
	asker   turn
	waiting map[turn]bool
}

// place is what a step has to do with a question. failed is what became of it, for
// a step that waited.
type place struct {
	name   string
	failed *funnel.Error
}

func newFlights() flights {
	return flights{open: map[string]*flight{}, steps: map[int64]map[string]place{}}
}

// take makes the step the one that asks, unless another does; then it is
// remembered as waiting. A step that waited for a question which failed for good
// gets the failure, once. One that had to do with another question, because its
// playbook is not the same in every replay, leaves that to heir (0: to nobody).
func (f *flights) take(name string, t turn) (mine bool, failed *funnel.Error, heir int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch p, ok := f.steps[t.run][t.path]; {
	case ok && p.name != name:
		heir = f.drop(p.name, t)
		f.forget(t)
	case p.failed != nil:
		f.forget(t)
		return false, p.failed, 0
	}
	if f.steps[t.run] == nil {
		f.steps[t.run] = map[string]place{}
	}
	f.steps[t.run][t.path] = place{name: name}
	q := f.open[name]
	if q == nil {
		f.open[name] = &flight{asker: t, waiting: map[turn]bool{}}
		return true, nil, heir
	}
	if q.asker != t {
		q.waiting[t] = true
	}
	return q.asker == t, nil, heir
}

// end ends the question of the step and returns the runs that waited for it. They
// get the failure, if it is one.
func (f *flights) end(name string, t turn, failed *funnel.Error) (waiting []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.open[name]
	if q == nil || q.asker != t {
		return nil
	}
	delete(f.open, name)
	f.forget(t)
	for w := range q.waiting {
		waiting = append(waiting, w.run)
		if failed == nil {
			f.forget(w)
		} else {
			f.steps[w.run][w.path] = place{name, failed}
		}
	}
	slices.Sort(waiting)
	return slices.Compact(waiting)
}

// leave takes the run out of all questions, for it has ended. Of those who wait
// for one that it asked, the oldest run asks in its place; these are returned.
func (f *flights) leave(run int64) (heirs []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, p := range f.steps[run] {
		if heir := f.drop(p.name, turn{run, path}); heir != 0 && heir != run {
			heirs = append(heirs, heir)
		}
	}
	delete(f.steps, run)
	return heirs
}

// drop takes the step out of the question and returns the run that asks in its
// place, 0 if none.
func (f *flights) drop(name string, t turn) (heir int64) {
	q := f.open[name]
	if q == nil {
		return 0
	}
	delete(q.waiting, t)
	switch {
	case q.asker != t:
		return 0
	case len(q.waiting) == 0:
		delete(f.open, name)
		return 0
	}
	q.asker = slices.MinFunc(slices.Collect(maps.Keys(q.waiting)), func(a, b turn) int {
		return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.path, b.path))
	})
	delete(q.waiting, q.asker)
	return q.asker.run
}

func (f *flights) forget(t turn) {
	delete(f.steps[t.run], t.path)
	if len(f.steps[t.run]) == 0 {
		delete(f.steps, t.run)
	}
}
