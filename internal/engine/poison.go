package engine

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
)

// Underway keeps which runs are being worked on, outside the process.
type Underway interface {
	Begin(run int64) (end func())
	// BeginAlone is Begin of a run beside which nothing is begun for the time at the
	// most.
	BeginAlone(run int64, most time.Duration) (end func())
}

// A run that ends the process would do so for ever: whoever starts the server again
// has it worked on again. So who was under way when a process ended is suspected,
// and a suspect is worked on while nothing else is. If the process ends then too, it
// is the suspect's doing, or somebody ended it from outside. A crash of its own says
// which it was; kill -9, the kernel's want of memory, a power cut and os.Exit leave
// no trace. Of these it is proof that the run came no further from one to the next,
// although it was not tried before the process had lived for a while.
const (
	mostProven = 2 // while the run was alone, of both kinds; with the first, in company, it is the third
	mostDeaths = 6 // in a row, of any kind
)

// mostAlone is how long the others wait for a suspect. One that ends the process
// later is found all the same: it is there each time, and they are not.
const mostAlone = 5 * time.Second

// calm is how long the process has to live before a run is tried that has died without
// a trace while it was alone. Who ends the process from outside every moment has done
// it once more by then, and the run was not there.
const calm = 5 * time.Second

// awaitCalm returns when the process has lived for that long, or ctx ends. It reports
// whether that took a while.
func (e *Engine) awaitCalm(ctx context.Context) (waited bool) {
	wait := time.Until(e.began.Add(calm))
	if wait <= 0 {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

// poisonous returns why the run is not to be worked on again without a person, nil
// if it may be.
func poisonous(r record.Run) error {
	switch proven := r.Crashes + r.Silent; {
	case proven >= mostProven && r.Crashes > 0:
		return funnel.Errorf(funnel.Internal, "the server ended %d times while it worked on this run and nothing else, %d of them crashes: last-crash.log in the data directory says how; mend that, then retry the run", proven, r.Crashes)
	case proven >= mostProven:
		return funnel.Errorf(funnel.Internal, "the server ended %d times in a row while it worked on this run, the last %d times on nothing else and in the same step, and left no trace: find out whether the machine ran out of memory, then retry the run", r.Deaths, r.Silent)
	case r.Deaths >= mostDeaths:
		return funnel.Errorf(funnel.Internal, "the server ended %d times in a row while it worked on this run, and left no trace: find out whether the machine ran out of memory, then retry the run", r.Deaths)
	}
	return nil
}

// suspected is work on a run that may end the process: nothing else goes on
// meanwhile. A run that was worked on and did not is cleared.
func (e *Engine) suspected(run record.Run, work func(waited bool)) {
	e.o.Log.Warn("the server ended while it worked on this run: it is worked on alone", "run", run.ID, "playbook", run.Playbook, "deaths", run.Deaths, "crashes", run.Crashes)
	leave, waited := e.company.enter(true, mostAlone)
	defer leave()
	if err := e.o.Journal.Alone(run.ID); err != nil {
		e.o.Log.Error("noting that a suspect is worked on", "run", run.ID, "error", err)
	}
	end := e.underway().BeginAlone(run.ID, mostAlone)
	work(waited)
	end()
	if err := e.o.Journal.Survived(run.ID); err != nil {
		e.o.Log.Error("clearing a run of suspicion", "run", run.ID, "error", err)
	}
}

// inCompany is work on any other run.
func (e *Engine) inCompany(run record.Run, work func(waited bool)) {
	leave, waited := e.company.enter(false, 0)
	defer leave()
	end := e.underway().Begin(run.ID)
	work(waited)
	end() // not deferred: a panic here ends the process
}

func (e *Engine) underway() Underway {
	if e.o.Underway == nil {
		return forgetful{}
	}
	return e.o.Underway
}

// forgetful keeps nothing.
type forgetful struct{}

func (forgetful) Begin(int64) func()                     { return func() {} }
func (forgetful) BeginAlone(int64, time.Duration) func() { return func() {} }

// step counts a step as under way until done is called. A playbook that was left
// alone ends here.
func (x *exec) step() (done func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hung {
		runtime.Goexit()
	}
	x.inside++
	return func() {
		x.mu.Lock()
		x.inside--
		x.since = time.Now()
		x.mu.Unlock()
	}
}

// hangs reports whether the playbook has done nothing for too long. From then on it
// comes no further.
func (x *exec) hangs() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hung = x.inside == 0 && time.Since(x.since) >= x.e.o.Patience
	return x.hung
}

// Faults of our own: an action panics, or does not end when its time is up. They
// rarely pass, and each may have done half of something, so they are given fewer
// attempts than what an outside system answers.
const mostFaults = 3

// errFault is the cause of such a failure.
var errFault = errors.New("a fault of the action")

func fault(format string, args ...any) error {
	e := funnel.Errorf(funnel.Internal, format, args...)
	e.Err = errFault
	return e
}

// spend uses up attempts of the step for a fault of our own, so that its third is
// the last.
func (x *exec) spend(s *record.Step, err error) {
	if errors.Is(err, errFault) {
		s.Attempts = max(s.Attempts, x.e.live().Attempts-mostFaults)
	}
}

// spent reports whether a step whose effect was not made has no attempt left. Of a
// failure that an outside system answered, again has seen to it.
func (x *exec) spent(s *record.Step) bool {
	return s.State == record.Uncertain && s.Attempts >= x.e.live().Attempts
}

// hangGrace is how long an action may take to notice that its time is up.
const hangGrace = 5 * time.Second
