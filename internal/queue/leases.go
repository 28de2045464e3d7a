package queue

import (
	"context"
	"sync"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// leases are those that this node holds. When one may have run out, the work on
// its run is interrupted: by then another node may have begun.
//
// The database decides who has a lease, by its own clock. The node's idea of when
// it ends is the earlier one: it counts from before it asked.
type leases struct {
	o RiverOptions

	mu    sync.Mutex
	held  map[int64]*lease
	last  time.Time // when the last heartbeat that succeeded was begun
	ended bool      // no new one is taken
}

// lease is the right to work on a run.
type lease struct {
	run, fence int64
	ctx        context.Context
	cancel     context.CancelFunc

	mu    sync.Mutex
	until time.Time
}

func newLeases(o RiverOptions) *leases { return &leases{o: o, held: map[int64]*lease{}} }

func (l *lease) end() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// begin takes the lease of a job's run, nil if it is not to be had.
func (s *leases) begin(j record.Job) (*lease, error) {
	asked := time.Now()
	fence, ok, err := s.o.Cluster.Begin(j, s.o.Node.ID, s.o.Lease)
	if err != nil || !ok {
		return nil, err
	}
	l := &lease{run: j.Run, fence: fence, until: asked.Add(s.o.Lease)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		l.cancel()
	}
	s.held[j.Run] = l
	return l, nil
}

// end gives a lease back. If that cannot be written, it runs out by itself.
func (s *leases) end(l *lease, again bool) {
	s.mu.Lock()
	if s.held[l.run] == l {
		delete(s.held, l.run)
	}
	s.mu.Unlock()
	l.cancel()
	if err := s.o.Cluster.End(l.run, l.fence, again); err != nil {
		s.o.Log.Error("giving a lease back", "run", l.run, "error", err)
	}
}

// interrupt ends the work on all runs.
func (s *leases) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, l := range s.held {
		l.cancel()
	}
}

// keep prolongs the leases until ctx ends.
func (s *leases) keep(ctx context.Context) {
	beats := time.NewTicker(s.o.Lease / 3)
	defer beats.Stop()
	checks := time.NewTicker(s.o.Lease / 30)
	defer checks.Stop()
	beating := make(chan error, 1)
	busy := false
	for {
		select {
		case <-ctx.Done():
			if busy {
				<-beating
			}
			return
		case <-beats.C:
			if !busy { // one that hangs must not keep the checks from being made
				busy = true
				go func() { beating <- s.beat() }()
			}
		case err := <-beating:
			busy = false
			if err != nil {
				s.o.Log.Error("telling the database that this node is alive", "error", err)
			}
		case <-checks.C:
			s.expire(time.Now())
		}
	}
}

// beat tells the database that this node is alive and prolongs the leases.
func (s *leases) beat() error {
	begun := time.Now()
	s.mu.Lock()
	fences := make(map[int64]int64, len(s.held))
	leases := make([]*lease, 0, len(s.held))
	for run, l := range s.held {
		fences[run] = l.fence
		leases = append(leases, l)
	}
	s.mu.Unlock()
	lost, err := s.o.Cluster.Beat(s.o.Node, s.o.Lease, fences)
	if err != nil {
		return err
	}
	gone := make(map[int64]bool, len(lost))
	for _, run := range lost {
		gone[run] = true
	}
	for _, l := range leases {
		if gone[l.run] {
			l.cancel() // or it has ended in between
			continue
		}
		l.mu.Lock()
		l.until = begun.Add(s.o.Lease)
		l.mu.Unlock()
	}
	s.mu.Lock()
	s.last = begun
	s.mu.Unlock()
	return nil
}

// expire interrupts the work under leases that have run out.
func (s *leases) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.held {
		if !now.Before(l.end()) && l.ctx.Err() == nil {
			s.o.Metrics.LeaseLost()
			s.o.Log.Warn("a lease has run out, for the database was not reached", "run", l.run)
			l.cancel()
		}
	}
}

func (s *leases) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// alive reports whether a heartbeat reached the database within a lease.
func (s *leases) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.last) < s.o.Lease
}
