package httpapi

import (
	"math"
	"runtime/metrics"
	"time"
)

// lag tells how long what could go on waits for a processor: the sign that the
// processors, and not the disk or an outside system, are what there is too little
// of. It counts the time that a container's quota holds the process back.
type lag struct {
	sample []metrics.Sample
	before []uint64 // the counts of the last look
}

// newLag begins to look.
func newLag() *lag {
	l := &lag{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
	l.worst()
	return l
}

// worst returns how long one in a hundred waited at least since the last look; zero
// if nothing had to.
func (l *lag) worst() time.Duration {
	metrics.Read(l.sample)
	if l.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // a Go that does not tell
	}
	h := l.sample[0].Value.Float64Histogram()
	if len(l.before) != len(h.Counts) {
		l.before = make([]uint64, len(h.Counts))
	}
	total := uint64(0)
	for i, n := range h.Counts {
		total += n - l.before[i]
	}
	above, worst := uint64(0), time.Duration(0)
	for i := len(h.Counts) - 1; i >= 0 && total > 0; i-- {
		if above += h.Counts[i] - l.before[i]; above*100 >= total {
			if lower := h.Buckets[i]; !math.IsInf(lower, 0) { // of the first there is none
				worst = time.Duration(lower * float64(time.Second))
			}
			break
		}
	}
	copy(l.before, h.Counts)
	return worst
}
