package app

import (
	"context"
	"sync"
	"time"

	"github.com/funnelsec/funnel/internal/httpapi"
)

// lowDisk is how much space must be left before the server says that there is
// little: some hours' worth of alerts, and what compacting needs.
const lowDisk = 512 << 20

// diskEvery is between two looks at the disk.
const diskEvery = 30 * time.Second

// reserve is how much of a disk of the size is kept for deliveries that nobody
// repeats: some ten thousand alerts, but not much of a small disk.
func reserve(size int64) int64 { return min(128<<20, size/20) }

// spare knows whether only the reserve is left. It is asked at each delivery, and
// looks at the disk once in a second.
type spare struct {
	disk func() *httpapi.Disk

	mu      sync.Mutex
	looked  time.Time
	reached bool
}

// only reports whether only the reserve is left.
func (s *spare) only() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) >= time.Second {
		d := s.disk()
		s.looked, s.reached = now, d != nil && d.Reserved
	}
	return s.reached
}

// disk returns what is left of the disk, nil if the database is elsewhere.
func (a *App) disk() *httpapi.Disk {
	d, ours, err := a.store.Disk()
	if !ours {
		return nil
	}
	view := &httpapi.Disk{Database: d.Database, Free: d.Free, Low: d.Free < lowDisk, Reserved: d.Free < reserve(d.Size), Verified: a.store.Verified()}
	if err != nil {
		view.Low, view.Reserved = false, false
		view.Error = err.Error()
	}
	return view
}

// watchDisk says in the log when there begins to be little space, and when there
// is enough again.
func (a *App) watchDisk(ctx context.Context) {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	was, reserved := false, false
	for {
		d := a.disk()
		if d != nil && d.Reserved && !reserved {
			a.log.Warn("hardly any space is left on the disk of the data directory: deliveries whose senders come again are refused with 503, so that the others have it", "free_bytes", d.Free)
		}
		switch {
		case d == nil:
			return
		case d.Low && !was:
			a.log.Warn("little space is left on the disk of the data directory; when there is none, alerts are refused with 503", "free_bytes", d.Free, "database_bytes", d.Database)
		case was && !d.Low:
			a.log.Info("there is enough space on the disk again", "free_bytes", d.Free)
		}
		was, reserved = d.Low, d.Reserved
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
