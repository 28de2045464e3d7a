package app

import (
	"context"
	"time"

	"github.com/funnelsec/funnel/internal/httpapi"
)

// lowDisk is how much space must be left before the server says that there is
// little: some hours' worth of alerts, and what compacting needs.
const lowDisk = 512 << 20

// diskEvery is between two looks at the disk.
const diskEvery = 30 * time.Second

// disk returns what is left of the disk, nil if the database is elsewhere.
func (a *App) disk() *httpapi.Disk {
	d, ours, err := a.store.Disk()
	if !ours {
		return nil
	}
	view := &httpapi.Disk{Database: d.Database, Free: d.Free, Low: d.Free < lowDisk, Verified: a.store.Verified()}
	if err != nil {
		view.Low = false
		view.Error = err.Error()
	}
	return view
}

// watchDisk says in the log when there begins to be little space, and when there
// is enough again.
func (a *App) watchDisk(ctx context.Context) {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	was := false
	for {
		d := a.disk()
		switch {
		case d == nil:
			return
		case d.Low && !was:
			a.log.Warn("little space is left on the disk of the data directory; when there is none, alerts are refused with 503", "free_bytes", d.Free, "database_bytes", d.Database)
		case was && !d.Low:
			a.log.Info("there is enough space on the disk again", "free_bytes", d.Free)
		}
		was = d.Low
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// verify looks the database over, once after the start.
func (a *App) verify(ctx context.Context) {
	if err := a.store.Verify(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("looking the database over", "error", err)
	}
}
