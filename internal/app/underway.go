package app

import (
	"os"
	"time"

	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/underway"
)

// openBook learns how the process before this one ended: the runs that it worked
// on then are suspected of it. Without the book the server works all the same.
func (a *App) openBook() error {
	var book *underway.Book
	var past underway.Past
	err := os.MkdirAll(a.o.Config.Data, 0o700) // with PostgreSQL nobody has made it yet
	if err == nil {
		book, past, err = underway.Open(a.o.Config.Data, a.node.ID, a.o.Clock())
	}
	if err != nil {
		a.log.Warn("should the server crash, it will not be known of which run", "error", err)
		return nil
	}
	a.book, a.past = book, past
	if !past.Died() {
		return nil
	}
	if past.Crashed() {
		a.log.Error("the server crashed before this start: last-crash.log in the data directory has the trace", "said", past.Said(), "runs", past.Runs)
	}
	if len(past.Runs) == 0 {
		return nil
	}
	n, err := a.store.Died(past.Node, past.Runs, past.Alone, past.Crashed())
	if n > 0 {
		a.log.Warn("the server ended without being told to; the runs that it worked on are first worked on one at a time", "runs", n)
	}
	return err
}

// deaths tells of the processes before this one.
func (a *App) deaths() *httpapi.Deaths {
	if a.past.Deaths == 0 {
		return nil
	}
	d := &httpapi.Deaths{Count: a.past.Deaths, Crashes: a.past.Crashes, Said: a.past.Said()}
	if !a.past.Started.IsZero() {
		at := a.past.Started.UTC().Truncate(time.Second)
		d.Started = &at
	}
	return d
}
