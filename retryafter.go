package funnel

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter bounds what RetryAfter believes: no system has a reason to send
// a client away for longer than a day.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns when the answer's Retry-After header (RFC 9110, section
// 10.2.3: seconds or a date) asks the caller to come back. It is never earlier
// than asked, except that it is at most 24 hours after now. It is zero when the
// header is absent, malformed, negative or does not lie after now.
func RetryAfter(header http.Header, now time.Time) time.Time {
	value := strings.Trim(header.Get("Retry-After"), " \t")
	wait, ok := delaySeconds(value)
	if !ok {
		date, err := http.ParseTime(value)
		if err != nil {
			return time.Time{}
		}
		if limit := now.Add(maxRetryAfter); date.After(limit) {
			return limit
		}
		if !date.After(now) {
			return time.Time{}
		}
		return date
	}
	if wait == 0 {
		return time.Time{}
	}
	return now.Add(wait)
}

// delaySeconds reads one or more digits; what is larger than maxRetryAfter,
// even if it fits no integer, is maxRetryAfter.
func delaySeconds(value string) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	var wait time.Duration
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return 0, false
		}
		wait = min(10*wait+time.Duration(c-'0')*time.Second, maxRetryAfter)
	}
	return wait, true
}
