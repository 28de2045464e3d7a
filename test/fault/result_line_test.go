package fault

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestResultLine: the verdict follows the counts, never the durations.
func TestResultLine(t *testing.T) {
	for _, c := range []struct {
		r    result
		want string
	}{
		{result{name: "F01 kill", count: 10, p99: 12 * time.Millisecond, rss: 50 << 20}, "F01-kill 1 10 0 0 12ms 50MB ok"},
		{result{name: "a", count: 10, missed: []string{"p99 < 1ms"}}, "a 1 10 0 0 - - ok (aim missed: p99 < 1ms)"},
		{result{name: "a", count: 10, lost: 1, double: 2}, "a 1 10 1 2 - - LOST"},
		{result{name: "a", count: 10, double: 2}, "a 1 10 0 2 - - DOUBLE"},
		{result{name: "a", count: 10, wrong: []string{"x\n  y", "z"}}, "a 1 10 0 0 - - WRONG (x y; z)"},
		{result{name: "a"}, "a 1 0 0 0 - - WRONG"},
	} {
		if got, want := c.r.line(), strings.Replace(c.want, " 1 ", fmt.Sprintf(" %d ", *seed), 1); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestLedger: what the ledger holds is in its file.
func TestLedger(t *testing.T) {
	l := newLedger(t)
	l.sent(t, "a")
	l.sent(t, "a")
	l.acked(t, "a")
	l.sent(t, "b")
	sent, acked := l.read(t)
	if sent["a"] != 2 || sent["b"] != 1 || acked["a"] != 1 || acked["b"] != 0 || len(l.acknowledged(t)) != 1 {
		t.Errorf("sent %v, acknowledged %v", sent, acked)
	}
}
