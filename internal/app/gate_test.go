package app

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

// TestGateStoresBeforeTheCall: who is let in is on the disk, the pause that the
// other side asks for is too, and whoever comes after a crash keeps to both.
func TestGateStoresBeforeTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits := funnel.Limits{Concurrency: 4, Rate: 2, Per: time.Minute, Daily: 5}
		var disk upstream.State
		open := func() *gate {
			g := &gate{Governor: upstream.NewGovernor("virustotal", limits, time.Now), put: func(s upstream.State) error { disk = s; return nil }}
			g.Restore(disk)
			return g
		}
		g := open()
		leave, err := g.Enter(t.Context())
		if err != nil || disk.QuotaUsed != 1 || disk.InFlight != 1 {
			t.Fatalf("on the disk is %+v, error %v", disk, err)
		}
		g.Close() // it dies, and the call with it
		time.Sleep(10 * time.Second)
		g = open()
		if s := g.State(); s.QuotaUsed != 1 || s.RateLeft != 1 {
			t.Errorf("after a crash the state is %+v", s)
		}
		leave(nil) // of a dead process: nobody hears it
		if leave, err = g.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(time.Hour)
		leave(&funnel.Error{Code: funnel.Throttled, Message: "later", RetryAt: until})
		leave(nil)
		g.Close()
		g = open()
		defer g.Close()
		if _, err = g.Enter(t.Context()); err == nil || !strings.Contains(err.Error(), until.UTC().Format(time.RFC3339)) {
			t.Errorf("after another crash it answers %v, want that it waits until %s", err, until)
		}
	})
}

// TestGateThatCannotStore lets nobody in, and loses no place by it.
func TestGateThatCannotStore(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	g := &gate{Governor: upstream.NewGovernor("virustotal", funnel.Limits{Concurrency: 1}, time.Now), put: func(upstream.State) error { return full }}
	defer g.Close()
	for range 5 {
		if _, err := g.Enter(t.Context()); !errors.Is(err, full) {
			t.Errorf("error is %v", err)
		}
	}
	if s := g.State(); s.InFlight != 0 || !s.LastSuccess.IsZero() {
		t.Errorf("the state is %+v", s)
	}
}

func TestWhatIsCountedEach(t *testing.T) {
	t.Parallel()
	var got []bool
	for _, l := range []funnel.Limits{
		{Rate: 4, Per: time.Minute, Daily: 500},
		{Rate: 10, Per: time.Second},
		{Daily: 100_000},
		{Rate: 11, Per: time.Second},
		{Rate: 100_000, Per: time.Second, Daily: 1_000_000},
		{},
		{Concurrency: 8},
	} {
		got = append(got, countedEach(l))
	}
	if want := []bool{true, true, true, false, false, false, false}; !slices.Equal(got, want) {
		t.Errorf("each call is stored: %v, want %v", got, want)
	}
}
