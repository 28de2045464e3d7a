package virustotal

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// TestQuotasAreToldApart: the same refusal is the minute's quota the first time,
// and the day's when the minute has passed in vain.
func TestQuotasAreToldApart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 15, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	fake := virustotalfake.New(virustotalfake.Options{PerMinute: 2, Daily: 5, OneCode: true, Clock: clock})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	e := env()
	e.Clock = clock
	c, err := connect(t.Context(), e, Config{URL: server.URL, APIKey: funnel.NewSecret(apiKey)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(wait time.Duration, again time.Time, word string) {
		t.Helper()
		now = now.Add(wait)
		_, err := c.FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("a", 64)})
		if again.IsZero() {
			if err != nil {
				t.Fatalf("at %s: %v", now, err)
			}
			return
		}
		check(t, err, funnel.Throttled, again)
		if !strings.Contains(err.Error(), word) {
			t.Errorf("at %s it says %v, want the quota of the %s", now, err, word)
		}
	}
	var fine time.Time
	ask(0, fine, "")
	ask(0, fine, "")
	ask(0, now.Add(time.Minute), "minute")
	ask(time.Second, now.Add(time.Minute), "minute") // another that was on its way
	ask(time.Minute, fine, "")
	ask(0, fine, "")
	ask(time.Minute, fine, "")
	ask(0, now.Add(time.Minute), "minute") // it is the day's, which shows after the minute
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	ask(time.Minute, midnight, "day")
	ask(midnight.Sub(now), fine, "")
	ask(0, fine, "")
	ask(0, now.Add(time.Minute), "minute") // yesterday is forgotten
	if n := len(fake.Journal()); n != 7 {
		t.Errorf("%d look-ups were answered, want 7", n)
	}
	if n := len(fake.Refused()); n != 5 {
		t.Errorf("%d look-ups were refused, want 5", n)
	}
}

// TestTooManyIsTheMinute: the other code is the minute's however often it comes.
func TestTooManyIsTheMinute(t *testing.T) {
	t.Parallel()
	c := client(t, answer(http.StatusTooManyRequests, `{"error":{"code":"TooManyRequestsError","message":"hunter2"}}`))
	for range 3 {
		_, err := c.FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("a", 64)})
		check(t, err, funnel.Throttled, at().Add(time.Minute))
	}
}

// TestKeys: spellings of the same are one question; what differs is another.
func TestKeys(t *testing.T) {
	t.Parallel()
	key := func(action funnel.AnyAction, input string) string {
		t.Helper()
		k, err := action.Spec().Lookup([]byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, same := range []struct {
		action funnel.AnyAction
		a, b   string
		want   bool
	}{
		{FileReport, `{"hash":"44D88612FEA8A8F36DE82E1278ABB02F"}`, `{"hash":"44d88612fea8a8f36de82e1278abb02f"}`, true},
		{FileReport, `{"hash":"44d88612fea8a8f36de82e1278abb02f"}`, `{"hash":"44d88612fea8a8f36de82e1278abb02e"}`, false},
		{DomainReport, `{"domain":"Example.ORG."}`, `{"domain":"example.org"}`, true},
		{DomainReport, `{"domain":"a.example.org"}`, `{"domain":"b.example.org"}`, false},
		{IPReport, `{"ip":"::ffff:8.8.8.8"}`, `{"ip":"8.8.8.8"}`, true},
		{IPReport, `{"ip":"not an address"}`, `{"ip":"8.8.8.8"}`, false},
		{URLReport, `{"url":"https://user:pw@example.org/a"}`, `{"url":"https://example.org/a"}`, true},
		{URLReport, `{"url":"https://example.org/a"}`, `{"url":"https://example.org/A"}`, false},
		{URLReport, `{"url":"::"}`, `{"url":"https://example.org/"}`, false},
	} {
		if a, b := key(same.action, same.a), key(same.action, same.b); (a == b) != same.want || a == "" {
			t.Errorf("%s and %s have the keys %q and %q", same.a, same.b, a, b)
		}
	}
}

// TestWhatSaysNothing: unknown is asked again sooner.
func TestWhatSaysNothing(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[string]bool{
		`{"found":true,"verdict":{"rating":"clean"}}`:                      true,
		`{"found":true,"verdict":{"rating":"malicious"}}`:                  true,
		`{"found":true,"verdict":{"rating":"unknown"}}`:                    false,
		`{"found":false,"verdict":{"rating":"unknown","why":"not_found"}}`: false,
	} {
		for _, a := range Integration().Actions {
			if got, err := a.Spec().Found([]byte(outcome)); err != nil || got != want {
				t.Errorf("%s of %s says something: %t (%v), want %t", outcome, a.Spec().ID, got, err, want)
			}
		}
	}
}
