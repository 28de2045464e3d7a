package funnel_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	for name, tt := range map[string]struct {
		value string
		want  time.Time
	}{
		"absent":            {"", time.Time{}},
		"seconds":           {"7", now.Add(7 * time.Second)},
		"spaces around":     {" 7\t", now.Add(7 * time.Second)},
		"leading zeros":     {"0000000000000000000000007", now.Add(7 * time.Second)},
		"zero":              {"0", time.Time{}},
		"negative":          {"-5", time.Time{}},
		"plus":              {"+5", time.Time{}},
		"fraction":          {"1.5", time.Time{}},
		"words":             {"soon", time.Time{}},
		"a day":             {"86400", now.Add(24 * time.Hour)},
		"over a day":        {"86401", now.Add(24 * time.Hour)},
		"absurd":            {"1000000000", now.Add(24 * time.Hour)},
		"beyond 64 bits":    {"99999999999999999999999", now.Add(24 * time.Hour)},
		"date":              {"Sun, 01 Mar 2026 12:00:30 GMT", time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)},
		"date, RFC 850":     {"Sunday, 01-Mar-26 12:00:30 GMT", time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)},
		"date, asctime":     {"Sun Mar  1 12:00:30 2026", time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)},
		"past date":         {"Sun, 01 Mar 2026 12:00:00 GMT", time.Time{}},
		"date in ten years": {"Tue, 01 Mar 2036 12:00:00 GMT", now.Add(24 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			header.Set("Retry-After", tt.value)
			if got := funnel.RetryAfter(header, now); !got.Equal(tt.want) {
				t.Errorf("RetryAfter(%q) = %v, want %v", tt.value, got, tt.want)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "7", "-1", "86401", "1000000000", "99999999999999999999", "1e9",
		"Sun, 01 Mar 2026 12:00:30 GMT", "Sunday, 01-Mar-26 12:00:30 GMT", "Sun Mar  1 12:00:30 2026",
	} {
		f.Add(seed, int64(1772366400), int64(5))
	}
	f.Fuzz(func(t *testing.T, value string, unix, later int64) {
		unix, later = unix%(1<<33), later%(1<<20)
		if later < 0 {
			later = -later
		}
		now := time.Unix(unix, 0)
		header := http.Header{"Retry-After": {value}}
		at := funnel.RetryAfter(header, now)
		limit := now.Add(24 * time.Hour)
		if !at.IsZero() && (!at.After(now) || at.After(limit)) {
			t.Fatalf("RetryAfter(%q) = %v, outside of (%v, %v]", value, at, now, limit)
		}
		if seconds, err := strconv.ParseUint(value, 10, 32); err == nil && seconds > 0 {
			if asked := now.Add(time.Duration(seconds) * time.Second); at.Before(asked) && at.Before(limit) {
				t.Fatalf("RetryAfter(%q) = %v, earlier than the asked %v", value, at, asked)
			}
		}
		if date, err := http.ParseTime(value); err == nil && date.After(now) && at.Before(date) && at.Before(limit) {
			t.Fatalf("RetryAfter(%q) = %v, earlier than the asked date", value, at)
		}
		// Asking later never gives an earlier time, as long as there is one.
		then := now.Add(time.Duration(later) * time.Second)
		if next := funnel.RetryAfter(header, then); !next.IsZero() && next.Before(at) {
			t.Fatalf("RetryAfter(%q) went back from %v to %v", value, at, next)
		}
	})
}
