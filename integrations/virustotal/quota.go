package virustotal

import (
	"sync"
	"time"
)

// minute is how long to stay away when VirusTotal refuses a call for the number of
// calls: its shortest quota counts by the minute.
const minute = time.Minute

// quota tells a minute's quota from a day's. VirusTotal says QuotaExceededError for
// the quotas of the minute, of the day and of the month alike, without saying until
// when (docs.virustotal.com/docs/consumption-quotas-handled, /reference/errors). So
// the first one is taken for the minute's; who is refused again after that minute,
// with no answer in between, waits for 00:00 UTC, when a day's quota begins anew, and
// so does a month's on the first. That costs at most two calls a day more.
type quota struct {
	mu    sync.Mutex
	again time.Time // after the minute for which a call was refused; zero: none was
}

// exceeded hears of a refusal and returns until when to stay away, and why.
func (q *quota) exceeded(now time.Time) (until time.Time, why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.again.IsZero():
		q.again = now.Add(minute)
	case !now.Before(q.again):
		q.again = time.Time{} // the next day begins with a minute again
		return now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour), "the API key's quota of the day or of the month is used up"
	}
	return q.again, "the API key's quota is used up, at least that of the minute"
}

// answered hears of any other answer: there is quota.
func (q *quota) answered() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.again = time.Time{}
}
