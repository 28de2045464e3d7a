package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

var (
	errDown   = funnel.Errorf(funnel.Unavailable, "connection refused")
	errDenied = funnel.Errorf(funnel.Unauthorized, "the password is wrong")
)

// enter goes in and fails the test if it is not let in.
func enter(t *testing.T, g *upstream.Governor) func(error) {
	t.Helper()
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatalf("Enter: %v", err)
	}
	return leave
}

// wantBlocked checks that nobody is let in until the instant, and returns why.
func wantBlocked(t *testing.T, g *upstream.Governor, until time.Time) string {
	t.Helper()
	started := time.Now()
	_, err := g.Enter(t.Context())
	b, ok := errors.AsType[*upstream.Blocked](err)
	if !ok {
		t.Fatalf("Enter: %v, want *Blocked", err)
	}
	if !b.Until.Equal(until) {
		t.Errorf("blocked until %v, want %v (%s)", b.Until, until, b.Why)
	}
	if free := g.Free(); free != 0 {
		t.Errorf("Free is %d, but Enter says %v", free, err)
	}
	if waited := time.Since(started); waited != 0 {
		t.Errorf("it took %v to say so", waited)
	}
	return b.Why
}

// notes records when OnFree was called.
func notes(g *upstream.Governor) func() []time.Duration {
	var mu sync.Mutex
	var at []time.Duration
	start := time.Now()
	g.OnFree(func() {
		mu.Lock()
		defer mu.Unlock()
		if g.Free() == 0 {
			panic("OnFree was called while there is no room")
		}
		at = append(at, time.Since(start))
	})
	return func() []time.Duration {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(at)
	}
}

func TestRetryAfterIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 2}, time.Now)
		noted := notes(g)
		until := time.Now().Add(7*time.Second + 123456789)
		stay := enter(t, g)
		enter(t, g)(&funnel.Error{Code: funnel.Throttled, Message: "come back later", RetryAt: until})
		wantBlocked(t, g, until)
		stay(nil) // an answer to somebody else ends no pause

		time.Sleep(time.Until(until) - 1) // one nanosecond too early
		wantBlocked(t, g, until)
		if n := noted(); len(n) != 0 {
			t.Errorf("OnFree was called at %v, before the end of the pause", n)
		}
		time.Sleep(time.Nanosecond)
		enter(t, g)(nil)
		if n := noted(); len(n) == 0 || n[0] != 7*time.Second+123456789 {
			t.Errorf("OnFree was called at %v, want at the very end of the pause", n)
		}
	})
}

func TestLongestPauseHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 3}, time.Now)
		long, short := time.Now().Add(time.Hour), time.Now().Add(time.Minute)
		a, b, c := enter(t, g), enter(t, g), enter(t, g)
		a(&funnel.Error{Code: funnel.Throttled, RetryAt: long})
		b(&funnel.Error{Code: funnel.Throttled, RetryAt: short})
		c(&funnel.Error{Code: funnel.Throttled})
		wantBlocked(t, g, long)
	})
}

func TestNarrowLimitsBindNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 1}, time.Now)
		for range 5 {
			enter(t, g)(&funnel.Error{Code: funnel.Throttled, RetryAt: time.Now().Add(time.Hour), Narrow: true})
			enter(t, g)(&funnel.Error{Code: funnel.Unauthorized, Message: "no permission for this project", Narrow: true})
		}
		enter(t, g)(nil)
	})
}

func TestPauseOfUnknownLengthGrowsWithJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 4}, time.Now)
		different := map[time.Duration]bool{}
		for i := range 20 {
			leaves := []func(error){enter(t, g), enter(t, g), enter(t, g)}
			for _, leave := range leaves { // three refusals at the same time are one
				leave(&funnel.Error{Code: funnel.Throttled, RetryAt: time.Now().Add(-time.Second)})
			}
			until := g.State().ThrottledUntil
			pause, most := time.Until(until), min(time.Second<<i, 5*time.Minute)
			if pause <= 0 || pause > most {
				t.Errorf("pause %d is %v, want at most %v", i, pause, most)
			}
			different[pause] = true
			wantBlocked(t, g, until)
			time.Sleep(pause)
		}
		if len(different) < 15 {
			t.Errorf("there are only %d different pauses of 20: no jitter", len(different))
		}
		enter(t, g)(nil) // an answer begins anew
		enter(t, g)(&funnel.Error{Code: funnel.Throttled})
		if pause := time.Until(g.State().ThrottledUntil); pause > time.Second {
			t.Errorf("the first pause after an answer is %v, want at most 1s", pause)
		}
	})
}

func TestQuotaEndsAtMidnightUTC(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// synctest begins at midnight UTC of 2000-01-01. The clock's zone must not matter.
		clock := func() time.Time { return time.Now().In(time.FixedZone("east", 9*3600)) }
		time.Sleep(20 * time.Hour)
		g := upstream.NewGovernor("virustotal", funnel.Limits{Daily: 3}, clock)
		noted := notes(g)
		for range 3 {
			enter(t, g)(nil)
		}
		midnight := time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)
		if why := wantBlocked(t, g, midnight); !strings.Contains(why, "quota of 3") {
			t.Errorf("blocked because %q", why)
		}
		before := len(noted())

		time.Sleep(time.Until(midnight) - 1)
		wantBlocked(t, g, midnight)
		time.Sleep(time.Nanosecond)
		if n := noted(); len(n) != before+1 || n[before] != 4*time.Hour {
			t.Errorf("OnFree was called at %v, want once more, at midnight", n)
		}
		if s := g.State(); s.QuotaUsed != 0 || s.QuotaLeft != 3 || !s.Day.Equal(midnight) {
			t.Errorf("state at midnight is %+v", s)
		}
		for range 3 {
			enter(t, g)(nil)
		}
		wantBlocked(t, g, midnight.AddDate(0, 0, 1))
	})
}

// TestClockIsPutRight: a refusal that ends by the clock ends soon after the clock was
// put forward, whatever its timer was set to.
func TestClockIsPutRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wrong atomic.Int64
		wrong.Store(int64(5 * 365 * 24 * time.Hour))
		g := upstream.NewGovernor("virustotal", funnel.Limits{Daily: 1}, func() time.Time { return time.Now().Add(-time.Duration(wrong.Load())) })
		noted := notes(g)
		enter(t, g)(nil)
		time.Sleep(10 * time.Minute)
		if n := noted(); len(n) > 1 {
			t.Fatalf("OnFree was called at %v although the quota is used up", n)
		}
		before := len(noted())
		wrong.Store(0)
		time.Sleep(time.Minute)
		if n := noted(); len(n) != before+1 {
			t.Errorf("OnFree was called at %v, want once more within a minute", n)
		}
		enter(t, g)(nil)
	})
}

func TestQuotaCountsCallersInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("virustotal", funnel.Limits{Concurrency: 2, Daily: 3}, time.Now)
		first, second := enter(t, g), enter(t, g)
		go func() {
			if third, err := g.Enter(t.Context()); err == nil {
				third(nil)
			}
		}()
		synctest.Wait()
		wantBlocked(t, g, time.Now().AddDate(0, 0, 1)) // synctest begins at midnight
		first(nil)
		second(nil)
		synctest.Wait()
		if s := g.State(); s.QuotaUsed != 3 || s.InFlight != 0 {
			t.Errorf("state is %+v", s)
		}
	})
}

func TestRestore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits := funnel.Limits{Concurrency: 1, Daily: 5}
		old := upstream.NewGovernor("virustotal", limits, time.Now)
		until := time.Now().Add(time.Hour)
		enter(t, old)(nil)
		enter(t, old)(&funnel.Error{Code: funnel.Throttled, Message: "slow down", RetryAt: until})
		kept := old.State()
		old.Close()

		g := upstream.NewGovernor("virustotal", limits, time.Now)
		noted := notes(g)
		g.Restore(kept)
		wantBlocked(t, g, until)
		if s := g.State(); s.QuotaUsed != 2 || s.LastError != "slow down" || s.LastSuccess.IsZero() {
			t.Errorf("restored state is %+v", s)
		}
		time.Sleep(time.Hour)
		if n := noted(); !slices.Equal(n, []time.Duration{time.Hour}) {
			t.Errorf("OnFree was called at %v, want at the end of the restored pause", n)
		}

		// The use of another day is of no interest.
		time.Sleep(24 * time.Hour)
		next := upstream.NewGovernor("virustotal", limits, time.Now)
		next.Restore(kept)
		if s := next.State(); s.QuotaUsed != 0 {
			t.Errorf("yesterday's use counts today: %+v", s)
		}
	})
}

func TestClockGoingBackGivesNoSecondQuota(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 0, 0, 1, 0, time.UTC)
	g := upstream.NewGovernor("virustotal", funnel.Limits{Daily: 1}, func() time.Time { return now })
	t.Cleanup(g.Close)
	enter(t, g)(nil)
	now = now.Add(-2 * time.Second) // the day before
	if n := g.Free(); n != 0 {
		t.Errorf("Free is %d after the clock went back over midnight", n)
	}
}

// Whatever callers do, and also after a restart in the middle, no more calls are
// under way in any window of the length than allowed: the other side, which counts
// a call at some moment of it, sees no more.
func TestRateHoldsInEveryWindow(t *testing.T) {
	t.Parallel()
	type caller struct{ Pause, Work time.Duration }
	rapid.Check(t, func(rt *rapid.T) {
		per := time.Duration(rapid.IntRange(1, 90_000).Draw(rt, "per ms")) * time.Millisecond
		limits := funnel.Limits{
			Rate: rapid.IntRange(1, 6).Draw(rt, "rate"), Per: per,
			Concurrency: rapid.IntRange(0, 3).Draw(rt, "places"),
		}
		callers := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) caller {
			return caller{
				Pause: time.Duration(rapid.Int64Range(0, int64(per/2)).Draw(rt, "pause")),
				Work:  time.Duration(rapid.Int64Range(0, int64(per)).Draw(rt, "work")),
			}
		}), 1, 40).Draw(rt, "callers")
		type call struct{ from, to time.Time }
		var calls []call
		restartAt := rapid.IntRange(0, 60).Draw(rt, "restart before") // mostly never
		synctest.Test(t, func(t *testing.T) {
			g := upstream.NewGovernor("virustotal", limits, time.Now)
			kept := g.Keep()
			var mu sync.Mutex
			var all sync.WaitGroup
			ctx, die := context.WithCancel(t.Context())
			for i, c := range callers {
				if i == restartAt { // calls under way are cut off, and may still have arrived
					mu.Lock()
					die()
					mu.Unlock()
					all.Wait()
					g.Close()
					ctx, die = context.WithCancel(t.Context())
					g = upstream.NewGovernor("virustotal", limits, time.Now)
					g.Restore(kept)
				}
				time.Sleep(c.Pause)
				ctx, g := ctx, g
				all.Go(func() {
					leave, err := g.Enter(ctx)
					if err != nil {
						return
					}
					mu.Lock() // a call is on the disk before it is made
					if ctx.Err() != nil {
						mu.Unlock()
						leave(ctx.Err())
						return
					}
					kept = g.Keep()
					from := time.Now()
					mu.Unlock()
					select {
					case <-time.After(c.Work):
					case <-ctx.Done():
					}
					mu.Lock()
					calls = append(calls, call{from, time.Now()})
					mu.Unlock()
					leave(nil)
				})
			}
			all.Wait()
			die()
			g.Close()
		})
		if len(calls) == 0 {
			rt.Fatal("nobody was let in")
		}
		for _, c := range calls {
			n := 0
			for _, other := range calls {
				if !other.from.After(c.from) && other.to.After(c.from.Add(-per)) {
					n++
				}
			}
			if n > limits.Rate {
				rt.Fatalf("when a call began, %d were under way or had ended less than %v ago, allowed are %d", n, per, limits.Rate)
			}
		}
	})
}

func TestFourPerMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("virustotal", funnel.Limits{Concurrency: 4, Rate: 4, Per: time.Minute}, time.Now)
		noted := notes(g)
		first := time.Now()
		for range 4 {
			enter(t, g)(nil)
			time.Sleep(time.Second)
		}
		wantBlocked(t, g, first.Add(time.Minute))
		before := len(noted())
		time.Sleep(time.Until(first.Add(58 * time.Second)))
		if n := noted(); len(n) != before+1 || n[before] != 58*time.Second {
			t.Errorf("OnFree was called at %v, want once more, two seconds before the turn", n)
		}
		began := make(chan time.Duration)
		go func() { // waits inline
			if leave, err := g.Enter(t.Context()); err == nil {
				leave(nil)
			}
			began <- time.Since(first)
		}()
		synctest.Wait()
		wantBlocked(t, g, first.Add(61*time.Second)) // the turn is promised; the next is too far away
		if d := <-began; d != time.Minute {
			t.Errorf("the fifth call began after %v, want one minute", d)
		}
	})
}

func TestBreakerCadence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("directory", funnel.Limits{Concurrency: 4}, time.Now)
		noted := notes(g)
		for range 2 {
			enter(t, g)(errDown)
		}
		enter(t, g)(nil) // in a row means in a row
		for range 3 {
			enter(t, g)(errDown)
		}
		before := len(noted())
		var distances []time.Duration
		for range 6 {
			down := time.Now()
			until := g.State().BlockedUntil
			why := wantBlocked(t, g, until)
			if !strings.Contains(why, "connection refused") || g.State().Breaker != "open" {
				t.Errorf("blocked because %q, breaker %s", why, g.State().Breaker)
			}
			time.Sleep(time.Until(until) - 1)
			wantBlocked(t, g, until)
			time.Sleep(time.Nanosecond)
			synctest.Wait() // for the timer of the same instant
			if g.Free() != 1 || g.State().Breaker != "half-open" {
				t.Errorf("at the probe's time Free is %d, breaker %s", g.Free(), g.State().Breaker)
			}
			probe := enter(t, g)
			distances = append(distances, time.Since(down))
			wantBlocked(t, g, time.Time{}) // one at a time
			time.Sleep(10 * time.Second)
			wantBlocked(t, g, time.Time{})
			probe(errDown)
		}
		want := []time.Duration{5, 10, 20, 30, 30, 30}
		for i := range want {
			if want[i] *= time.Second; distances[i] != want[i] {
				t.Errorf("distances of the probes are %v, want 5s 10s 20s 30s 30s 30s", distances)
				break
			}
		}
		if n := len(noted()) - before; n != 6 {
			t.Errorf("OnFree was called %d times for 6 probes", n)
		}
		time.Sleep(30 * time.Second)
		enter(t, g)(nil)
		if s := g.State(); s.Breaker != "closed" || s.Failures != 0 || g.Free() != 8 {
			t.Errorf("after a good probe the state is %+v, Free %d", s, g.Free())
		}
	})
}

func TestBreakerHears(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		wait time.Duration // of the block after three of them
	}{
		"success":            {nil, 0},
		"not found":          {funnel.Errorf(funnel.NotFound, "x"), 0},
		"invalid":            {funnel.Errorf(funnel.Invalid, "x"), 0},
		"conflict":           {funnel.Errorf(funnel.Conflict, "x"), 0},
		"internal":           {funnel.Errorf(funnel.Internal, "x"), 0},
		"no code":            {errors.New("x"), 0},
		"cancelled":          {context.Canceled, 0},
		"cancelled exchange": {&funnel.Error{Code: funnel.Uncertain, Err: context.Canceled}, 0},
		"unavailable":        {errDown, 5 * time.Second},
		"wrapped":            {fmt.Errorf("looking up: %w", errDown), 5 * time.Second},
		"uncertain":          {funnel.Errorf(funnel.Uncertain, "x"), 5 * time.Second},
		"deadline":           {fmt.Errorf("x: %w", context.DeadlineExceeded), 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := upstream.NewGovernor("x", funnel.Limits{Concurrency: 1}, time.Now)
				for range 3 {
					enter(t, g)(tt.err)
				}
				if tt.wait > 0 {
					wantBlocked(t, g, time.Now().Add(tt.wait))
				} else {
					enter(t, g)(nil)
				}
			})
		})
	}
}

func TestRefusedCredentialIsTriedRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("directory", funnel.Limits{Concurrency: 2}, time.Now)
		late := enter(t, g)
		enter(t, g)(errDenied)
		for range 3 {
			wantBlocked(t, g, time.Now().Add(5*time.Minute))
			time.Sleep(5 * time.Minute)
			enter(t, g)(errDenied)
		}
		late(nil) // who entered before tells nothing about now
		wantBlocked(t, g, time.Now().Add(5*time.Minute))
	})
}

func TestProbeThatTellsNothingIsRepeatedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("x", funnel.Limits{Concurrency: 2}, time.Now)
		for range 3 {
			enter(t, g)(errDown)
		}
		for range 3 {
			time.Sleep(5 * time.Second)
			enter(t, g)(context.Canceled)
			wantBlocked(t, g, time.Now().Add(5*time.Second))
		}
	})
}

func TestLineIsServedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const places = 5
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: places}, time.Now)
		var inside []func(error)
		for range places {
			inside = append(inside, enter(t, g))
		}
		order := make(chan int, places)
		for i := range places {
			go func() {
				leave, err := g.Enter(t.Context())
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				order <- i
				leave(nil)
			}()
			synctest.Wait()
		}
		if why := wantBlocked(t, g, time.Time{}); !strings.Contains(why, "5 places") {
			t.Errorf("the eleventh is blocked because %q", why)
		}
		inside[0](nil)
		synctest.Wait()
		for want := range places {
			if got := <-order; got != want {
				t.Fatalf("caller %d went in as number %d", got, want)
			}
		}
		for _, leave := range inside {
			leave(nil) // the first one for the second time: it does nothing
		}
		if s := g.State(); s.InFlight != 0 || s.Waiting != 0 || g.Free() != 2*places {
			t.Errorf("state is %+v, Free %d", s, g.Free())
		}
	})
}

func TestCancelInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 1}, time.Now)
		noted := notes(g)
		leave := enter(t, g)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := g.Enter(ctx)
			ended <- err
		}()
		synctest.Wait()
		wantBlocked(t, g, time.Time{})
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Enter: %v, want context.Canceled", err)
		}
		if n := noted(); len(n) != 1 {
			t.Errorf("OnFree was called %d times for the place in line, want once", len(n))
		}
		if _, err := g.Enter(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Enter with an ended context: %v", err)
		}
		leave(nil)
		enter(t, g)(nil)
	})
}

func TestLineIsTurnedAwayWhenBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 2}, time.Now)
		a, b := enter(t, g), enter(t, g)
		var turnedAway atomic.Int32
		for range 2 {
			go func() {
				_, err := g.Enter(t.Context())
				if _, ok := errors.AsType[*upstream.Blocked](err); ok && funnel.CodeOf(err) == funnel.Throttled {
					turnedAway.Add(1)
				}
			}()
		}
		synctest.Wait()
		a(&funnel.Error{Code: funnel.Throttled, RetryAt: time.Now().Add(time.Hour)})
		synctest.Wait()
		if turnedAway.Load() != 2 {
			t.Errorf("%d of 2 in line were turned away", turnedAway.Load())
		}
		b(nil)
	})
}

func TestOnFreeAfterEveryLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A queue of parked callers that are only ever woken by OnFree: all get through.
		for _, limits := range []funnel.Limits{{Concurrency: 2}, {Rate: 4, Per: time.Minute}, {Concurrency: 1, Rate: 3, Per: time.Second}, {Concurrency: 3, Daily: 40}} {
			g := upstream.NewGovernor("x", limits, time.Now)
			parked := make(chan struct{}, 100)
			for range cap(parked) {
				parked <- struct{}{}
			}
			var done sync.WaitGroup
			done.Add(cap(parked))
			wake := func() {
				for range g.Free() {
					select {
					case <-parked:
					default:
						return
					}
					go func() {
						leave, err := g.Enter(t.Context())
						if err != nil {
							parked <- struct{}{}
							return
						}
						time.Sleep(200 * time.Millisecond)
						leave(nil)
						done.Done()
					}()
				}
			}
			g.OnFree(wake)
			wake()
			done.Wait()
			g.Close()
		}
	})
}

func TestIdleGovernorSetsNoTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		g := upstream.NewGovernor("x", funnel.Limits{Concurrency: 2, Rate: 4, Per: time.Minute, Daily: 10}, func() time.Time {
			reads.Add(1)
			return time.Now()
		})
		for range 10 {
			leave, err := g.Enter(t.Context())
			if err != nil {
				time.Sleep(time.Minute)
				continue
			}
			leave(errDown)
		}
		time.Sleep(24 * time.Hour) // the midnight that ends a refusal is past
		before := reads.Load()
		time.Sleep(365 * 24 * time.Hour)
		if n := reads.Load() - before; n > 0 {
			t.Errorf("an idle governor woke up %d times in a year", n)
		}
	})
}

func TestClosedGovernorIsQuietAndServesItsLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("x", funnel.Limits{Concurrency: 1}, time.Now)
		noted := notes(g)
		leave := enter(t, g)
		served := make(chan error, 1)
		go func() {
			second, err := g.Enter(t.Context())
			if err == nil {
				second(nil)
			}
			served <- err
		}()
		synctest.Wait()
		g.Close()
		leave(nil)
		if err := <-served; err != nil {
			t.Errorf("the caller in line got %v", err)
		}
		if n := noted(); len(n) != 0 {
			t.Errorf("OnFree was called at %v after Close", n)
		}
	})
}

// Many callers with all kinds of ends: the bounds hold at every moment, and in the
// end nothing is left behind.
func TestBoundsUnderLoad(t *testing.T) {
	t.Parallel()
	const places, callers = 4, 200
	g := upstream.NewGovernor("x", funnel.Limits{Concurrency: places}, time.Now)
	t.Cleanup(g.Close)
	g.OnFree(func() { g.Free(); g.State() })
	ends := []error{nil, funnel.Errorf(funnel.NotFound, "x"), context.Canceled, errDown, nil, nil}
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%7 == 0 {
				go cancel()
			}
			for range 20 {
				leave, err := g.Enter(ctx)
				if err != nil {
					continue
				}
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if s := g.State(); s.InFlight > places || s.InFlight+s.Waiting > 2*places {
					t.Errorf("%d inside and %d in line", s.InFlight, s.Waiting)
				}
				inside.Add(-1)
				leave(ends[i%len(ends)])
			}
		})
	}
	all.Wait()
	if most.Load() > places {
		t.Errorf("%d were inside at the same time, allowed are %d", most.Load(), places)
	}
	if s := g.State(); s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestStateHoldsNoForeignText(t *testing.T) {
	t.Parallel()
	g := upstream.NewGovernor("x", funnel.Limits{}, time.Now)
	t.Cleanup(g.Close)
	_, err := http.Get("http://127.0.0.1:0/?query-secret") // an error text with the whole address
	if err == nil {
		t.Fatal("port 0 answered")
	}
	enter(t, g)(fmt.Errorf("%w: %w", err, errDown))
	if s := g.State(); s.LastError != "connection refused" {
		t.Errorf("last error is %q", s.LastError)
	}
}

// An outage that says how long it lasts is a pause, as a 503 with Retry-After is; one
// that does not say is not, and neither is one that binds a single call.
func TestGovernorOutageWithTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := upstream.NewGovernor("jira", funnel.Limits{Concurrency: 2}, time.Now)
		defer g.Close()
		enter(t, g)(errDown)
		at := time.Now().Add(30 * time.Second)
		enter(t, g)(&funnel.Error{Code: funnel.Unavailable, RetryAt: at, Narrow: true})
		for _, code := range []funnel.Code{funnel.Unavailable, funnel.Uncertain} {
			at := time.Now().Add(30 * time.Second)
			enter(t, g)(&funnel.Error{Code: code, RetryAt: at})
			wantBlocked(t, g, at)
			time.Sleep(30 * time.Second)
			enter(t, g)(nil)
		}
	})
}
