package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// TestFit: a database that is too large loses its oldest until it fits, and never
// what is younger than a week.
func TestFit(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	now := time.Now()
	var log bytes.Buffer
	a := &App{store: s, log: slog.New(slog.NewTextHandler(&log, nil))}
	accept := func(n int, age time.Duration) {
		t.Helper()
		for i := range n {
			at := now.Add(-age + time.Duration(i)*time.Second)
			e := record.Event{Source: "s", Trigger: "t", Key: fmt.Sprint(age, i), ReceivedAt: at, Body: bytes.Repeat([]byte("x"), 8<<10), Data: []byte("{}"), Disposition: record.Unmatched}
			if _, _, _, err := s.Accept(record.Delivery{Source: "s", ReceivedAt: at, Bytes: 8 << 10}, record.NewEvent{Event: e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	accept(300, 30*24*time.Hour)
	accept(100, 24*time.Hour)
	used := func() int64 {
		t.Helper()
		n, err := s.Used(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	count := func() int {
		t.Helper()
		sum, err := s.Summarize(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return sum.Events[record.Unmatched]
	}
	before := used()
	if before < 400*8<<10 {
		t.Fatalf("400 events of 8 KB take up %d bytes", before)
	}
	week := now.Add(-config.LeastKept)
	if _, events, _ := a.fit(t.Context(), 0, week); events != 0 || count() != 400 {
		t.Errorf("without a size, %d were dropped", events)
	}
	size := before * 2 / 3
	if _, events, _ := a.fit(t.Context(), size, week); used() > size || events < 100 || events > 250 || count() != 400-int(events) {
		t.Errorf("%d events were dropped, %d are left, and the database takes up %d bytes of %d", events, count(), used(), size)
	}
	if strings.Contains(log.String(), "larger than") {
		t.Errorf("it fits, and the log says %s", log.String())
	}
	if _, _, _ = a.fit(t.Context(), 1<<16, week); count() != 100 {
		t.Errorf("%d events are left, want the 100 that are younger than a week", count())
	}
	if !strings.Contains(log.String(), "larger than retention.size") {
		t.Errorf("it does not fit, and the log says %q", log.String())
	}
}
