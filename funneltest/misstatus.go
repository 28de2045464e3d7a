package funneltest

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/funnelsec/funnel"
)

// statuses are refusals of every kind. Their bodies send the credential back, or
// are pages.
func statuses(trap string) (list []misbehaviour) {
	refusal := slices.Clip(codes(funnel.Invalid, funnel.Unavailable))
	kinds := []struct {
		status int
		want   func(attack) []funnel.Code
	}{
		{400, either(refusal, codes(funnel.Invalid))},
		{401, answers(funnel.Unauthorized)},
		{402, either(refusal, codes(funnel.Invalid))},
		{403, answers(funnel.Unauthorized)},
		{404, either(codes(funnel.NotFound, funnel.Unavailable, fine), codes(funnel.NotFound))},
		{405, either(append(refusal, funnel.NotFound), codes(funnel.Invalid))},
		{406, either(refusal, codes(funnel.Invalid))},
		{408, broken},
		{409, either(append(refusal, funnel.Conflict), codes(funnel.Conflict))},
		{410, either(codes(funnel.Invalid, funnel.NotFound, funnel.Unavailable), codes(funnel.Invalid, funnel.NotFound))},
		{413, either(refusal, codes(funnel.Invalid))},
		{414, either(refusal, codes(funnel.Invalid))},
		{415, either(refusal, codes(funnel.Invalid))},
		{418, either(refusal, codes(funnel.Invalid))},
		{422, either(refusal, codes(funnel.Invalid))},
		{431, either(refusal, codes(funnel.Invalid))},
		{451, either(refusal, codes(funnel.Invalid))},
		{500, broken},
		{501, broken},
		{502, broken},
		{503, broken},
		{504, broken},
		{507, broken},
		{520, broken},
		{599, broken},
		{999, either(refusal, codes(funnel.Uncertain, funnel.Invalid))},
	}
	for _, k := range kinds {
		list = append(list,
			misbehaviour{name: fmt.Sprintf("%d that sends the credential back", k.status), want: k.want, play: func(w *wire, _ attack) {
				w.text(k.status, "application/json", w.echo(), "X-Echo", bodyMark)
			}},
			misbehaviour{name: fmt.Sprintf("%d as a page", k.status), want: k.want, play: func(w *wire, _ attack) {
				w.text(k.status, "text/html", "<html><body>"+bodyMark+"</body></html>", "Server", bodyMark)
			}},
		)
	}
	for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308} {
		for _, to := range []string{trap, "http://169.254.169.254/latest/meta-data/", "/elsewhere", "//" + bodyMark + ".example.com/", "file:///etc/passwd", ""} {
			list = append(list, misbehaviour{
				name: fmt.Sprintf("%d to %q", status, to), want: either(refusal, codes(funnel.Invalid, funnel.Uncertain)),
				play: func(w *wire, _ attack) {
					var header []string
					if to != "" {
						header = []string{"Location", to}
					}
					w.text(status, "text/html", bodyMark, header...)
				},
			})
		}
	}
	return list
}

// pauses ask us to come back later, in every form.
func pauses() (list []misbehaviour) {
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	forms := []struct {
		name  string
		value func() string
		least time.Duration // it must not come back earlier
		most  time.Duration // nor, by more than a day, later
	}{
		{"120 seconds", func() string { return "120" }, 120 * time.Second, 10 * time.Minute},
		{"a date in an hour", func() string { return at(time.Hour) }, time.Hour - 2*time.Second, 2 * time.Hour},
		{"a billion seconds", func() string { return "1000000000" }, time.Hour, 25 * time.Hour},
		{"more digits than a number has", func() string { return "99999999999999999999999999" }, time.Hour, 25 * time.Hour},
		{"a date in a hundred years", func() string { return at(100 * 365 * 24 * time.Hour) }, time.Hour, 25 * time.Hour},
		{"zero", func() string { return "0" }, 0, 25 * time.Hour},
		{"a negative number", func() string { return "-5" }, 0, 25 * time.Hour},
		{"a date that has passed", func() string { return at(-time.Hour) }, 0, 25 * time.Hour},
		{"a word", func() string { return bodyMark }, 0, 25 * time.Hour},
		{"nothing", nil, 0, 25 * time.Hour},
	}
	for _, f := range forms {
		for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
			m := misbehaviour{name: fmt.Sprintf("%d, come back: %s", status, f.name), want: answers(funnel.Throttled), play: func(w *wire, _ attack) {
				var header []string
				if f.value != nil {
					header = []string{"Retry-After", f.value()}
				}
				w.text(status, "application/json", w.echo(), header...)
			}}
			if status == http.StatusServiceUnavailable {
				m.want = func(a attack) []funnel.Code { return append(broken(a), answers(funnel.Throttled)(a)...) }
			}
			m.back = func(e *funnel.Error, now time.Time, complain func(string, ...any)) {
				wait := e.RetryAt.Sub(now)
				switch {
				case e.RetryAt.IsZero() && f.least > 0:
					complain("it does not say when it comes back")
				case e.RetryAt.IsZero():
				case wait < f.least || wait > f.most+time.Minute:
					complain("it comes back after %s, want %s to %s", wait, f.least, f.most)
				}
			}
			list = append(list, m)
		}
	}
	return list
}
