// Package bench compares the server with bare ceilings: programs that write the
// same rows and do nothing else. Both sides run in turns in one process on one
// machine, so that only ratios count; no figure here is an absolute time that
// a slower machine would miss.
//
//	go test -count=1 -v ./test/bench -full
//
// Without -full it is a short test that both sides work and that the ceiling
// writes the very rows that the server writes.
package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
)

var (
	full   = flag.Bool("full", false, "measure for long enough to compare, and fail where a target is missed")
	rounds = flag.Int("rounds", 7, "how often each side is measured with -full")
	only   = flag.Bool("ours", false, "measure no ceiling, for a profile by -test.cpuprofile")
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childConfig); path != "" {
		if err := serve(context.Background(), path); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// side measures one of the two sides once and returns what it did per second.
type side func(*testing.T) float64

// compare measures the sides in turns, the second first in every other round,
// and returns the median of the rounds' ratios: what disturbs the machine for
// longer than a round disturbs both.
func compare(t *testing.T, name, unit string, target float64, ours, ceiling side) {
	n := 1
	if *only {
		for range *rounds {
			say(t, "%s: ours %.0f %s", name, ours(t), unit)
		}
		return
	}
	if *full {
		n = *rounds
		ours(t) // neither side is the one that warms up
		ceiling(t)
	}
	var mine, bare, ratios []float64
	for i := range n {
		var a, b float64
		measure := []func(){func() { runtime.GC(); a = ours(t) }, func() { runtime.GC(); b = ceiling(t) }}
		if i%2 == 1 {
			slices.Reverse(measure)
		}
		for _, m := range measure {
			m()
		}
		mine, bare, ratios = append(mine, a), append(bare, b), append(ratios, a/b)
	}
	ratio := median(ratios)
	say(t, "%s: ours %.0f %s, ceiling %.0f %s, ratio %.0f %% (%.0f to %.0f in %d rounds), target at least %.0f %%",
		name, median(mine), unit, median(bare), unit, 100*ratio, 100*slices.Min(ratios), 100*slices.Max(ratios), n, 100*target)
	if *full && ratio < target {
		t.Errorf("%s is below its target", name)
	}
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	middle := len(list) / 2
	if len(list)%2 == 0 {
		return (list[middle-1] + list[middle]) / 2
	}
	return list[middle]
}

// say prints a line of the report.
func say(t *testing.T, format string, args ...any) {
	if !*full {
		format = "(too short to mean anything) " + format
	}
	fmt.Fprintf(t.Output(), format+"\n", args...)
}
