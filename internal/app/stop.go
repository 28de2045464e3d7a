package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/funnelsec/funnel/internal/queue"
)

// lastWait is for steps that were cut off to notice it.
const lastWait = 3 * time.Second

// Stop drains the server. At once it says that it is not ready; for the
// configured delay it still accepts, until load balancers have seen that. Then it
// takes no new connection, answers the requests under way and lets running steps
// finish, until the configured limit or ctx ends: the others are cut off, which
// the journal survives and which uses up no attempt.
func (a *App) Stop(ctx context.Context) error {
	a.stopping.Store(true)
	a.reloading.Lock() // one that is under way ends first
	defer a.reloading.Unlock()
	server := a.o.Config.Server
	if a.server != nil {
		a.log.Info("stopping", "delay", server.DrainDelay, "limit", server.DrainLimit)
		pause(ctx, server.DrainDelay)
	}
	ctx, cancel := context.WithTimeout(ctx, server.DrainLimit)
	defer cancel()
	err := a.drain(ctx)
	a.cancel()
	a.wg.Wait()
	a.setup.Load().close(nil)
	return errors.Join(err, a.tokens.Close(), a.book.Close(), a.store.Close())
}

// drain waits for what is under way. Requests and steps have the same time.
func (a *App) drain(ctx context.Context) error {
	finished := make(chan struct{})
	go func() { a.queue.Stop(); close(finished) }()
	a.engine.Drain()
	var err error
	if a.server != nil { // nil: it could not listen
		err = a.server.Shutdown(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		a.log.Warn("requests under way are cut off")
		err = a.server.Close()
	}
	select {
	case <-finished:
		return err
	case <-ctx.Done():
	}
	a.log.Warn("steps under way are cut off; they go on at the next start")
	a.cancel()
	if q, ok := a.queue.(*queue.River); ok {
		q.Interrupt()
	}
	select {
	case <-finished:
		return err
	case <-time.After(lastWait):
		return errors.Join(err, fmt.Errorf("stopping: a step does not end within %s after it was cut off; it goes on at the next start", lastWait))
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
