package fault

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var resultsFile = flag.String("results", "", "file to append a line for each run to")

// result is what a run showed. Counts decide the verdict. Durations and sizes
// are figures: one beyond its aim is named in the line and fails nothing, for a
// machine may be slow or busy.
type result struct {
	name   string
	count  int // what was acknowledged, or how often it was tried
	lost   int
	double int
	p99    time.Duration // 0: not measured; a note says of what
	rss    int64         // the server's peak in bytes; 0: not measured
	wrong  []string      // what else must not be
	missed []string      // aims that were missed
	notes  []string
}

// note adds a figure or a remark to the line.
func (r *result) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// fault adds something that must not be.
func (r *result) fault(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// aim names a figure that is beyond what it should be.
func (r *result) aim(reached bool, format string, args ...any) {
	if !reached {
		r.missed = append(r.missed, fmt.Sprintf(format, args...))
	}
}

// clean reports whether nothing was lost, doubled or otherwise wrong.
func (r *result) clean() bool {
	return r.count > 0 && r.lost == 0 && r.double == 0 && len(r.wrong) == 0
}

// mostWrong is how many of the things that must not be are shown: the first.
const mostWrong = 12

// line returns the run in one line:
// name seed count lost double p99 rss verdict (notes).
func (r *result) line() string {
	verdict := "ok"
	switch {
	case r.lost > 0:
		verdict = "LOST"
	case r.double > 0:
		verdict = "DOUBLE"
	case !r.clean():
		verdict = "WRONG"
	}
	p99, rss := "-", "-"
	if r.p99 > 0 {
		p99 = r.p99.Round(100 * time.Microsecond).String()
	}
	if r.rss > 0 {
		rss = fmt.Sprintf("%dMB", r.rss>>20)
	}
	more := slices.Clone(r.notes)
	for _, m := range r.missed {
		more = append(more, "aim missed: "+m)
	}
	more = append(more, r.wrong[:min(len(r.wrong), mostWrong)]...)
	if n := len(r.wrong) - mostWrong; n > 0 {
		more = append(more, fmt.Sprintf("and %d more", n))
	}
	text := fmt.Sprintf("%s %d %d %d %d %s %s %s", strings.ReplaceAll(r.name, " ", "-"), *seed, r.count, r.lost, r.double, p99, rss, verdict)
	if len(more) > 0 {
		text += " (" + strings.Join(strings.Fields(strings.Join(more, "; ")), " ") + ")" // what is said may have lines
	}
	return text
}

// report prints the line and appends it to the results file, with the date and
// the machine.
func (r *result) report(t *testing.T) {
	t.Helper()
	t.Log(r.line())
	if *resultsFile == "" {
		return
	}
	f, err := os.OpenFile(*resultsFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Errorf("opening the results file: %v", err)
		return
	}
	_, err = fmt.Fprintf(f, "%s %s/%s/%d-cores %s\n", time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), r.line())
	if err := f.Close(); err != nil {
		t.Errorf("closing the results file: %v", err)
	}
	if err != nil {
		t.Errorf("writing the results file: %v", err)
	}
}

// mustBeClean reports the run and fails the test unless it is clean.
func (r *result) mustBeClean(t *testing.T) {
	t.Helper()
	r.report(t)
	if !r.clean() {
		t.Errorf("the run is not clean: %s", r.line())
	}
}

// mustBeRed reports the run, made with a control taken away, and fails the test
// if nothing went wrong: then the run with the control proves nothing.
func (r *result) mustBeRed(t *testing.T, control string) {
	t.Helper()
	r.note("without %s: must not be clean", control)
	r.report(t)
	if r.count > 0 && r.clean() {
		t.Errorf("without %s nothing went wrong: the run proves nothing: %s", control, r.line())
	}
}

// percentile returns the value below which the part of the durations lies, 0 if
// there is none.
func percentile(d []time.Duration, part float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}
