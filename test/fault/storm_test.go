package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// storm is a flood of alerts about few files, with a scanner that may be asked
// rarely. Only the length of its minute differs between the sizes: at the real one
// it is a minute, else a second, and with it the waits are sixty times shorter.
type storm struct {
	alerts int // a tenth repeats earlier ones
	hashes int
	minute time.Duration // in which the scanner answers perMinute look-ups
	kills  int
}

const perMinute = 4

// size returns the storm at its real size or at the one that the flag -fault asks
// for.
func size(real bool) storm {
	switch {
	case real:
		return storm{alerts: 2000, hashes: 50, minute: time.Minute}
	case *full:
		return storm{alerts: 250, hashes: 50, minute: time.Second}
	}
	return storm{alerts: 64, hashes: 16, minute: time.Second}
}

// tickets is how many different things the alerts are about: the device makes the
// fingerprint, and the last tenth names the devices and files of the first again.
func (s storm) tickets() int { return s.alerts * 9 / 10 / s.hashes * s.hashes }

func (s storm) device(i int) string { return fmt.Sprintf("WS-%05d", i%s.tickets()) }

func (s storm) hash(i int) string { return hash(i % s.hashes) }

// TestStorm: however many alerts name a file, the scanner is asked about it once,
// never faster than it allows, every ticket gets its comment in the end, and
// meanwhile the server says what is waited for.
func TestStorm(t *testing.T) {
	v := size(*long).run(t)
	if extra := len(v.asked) - v.storm.hashes; extra != 0 {
		t.Errorf("the scanner was asked %d times about %d files", len(v.asked), v.storm.hashes)
	}
}

// TestStormKilled kills the server in the middle. Only what was under way in that
// moment may be asked once more: at most as many look-ups as the connection has
// places.
func TestStormKilled(t *testing.T) {
	s := size(false) // the real size is for TestStorm
	s.kills = 2
	const places = 4
	v := s.run(t)
	if extra := len(v.asked) - s.hashes; extra > s.kills*places {
		t.Errorf("the scanner was asked %d times about %d files, with %d kills", len(v.asked), s.hashes, s.kills)
	}
}

// stormy is what was seen of a storm.
type stormy struct {
	storm   storm
	asked   []virustotalfake.Lookup
	why     map[string]int // what waiting runs said that they wait for, and how many of them
	waiting int            // the most that waited at one time
}

func (s storm) run(t *testing.T) stormy {
	var known []virustotalfake.File
	for i := range s.hashes {
		if i%2 == 0 {
			known = append(known, virustotalfake.File{Name: marker(i) + ".exe", SHA256: hash(i), MD5: hash(i)[:32], SHA1: hash(i)[:40], Malicious: 3 + i, Undetected: 10})
		}
	}
	scanner := virustotalfake.New(virustotalfake.Options{APIKey: scannerKey, Files: known, PerMinute: perMinute, Minute: s.minute, Daily: 500})
	rate := map[time.Duration]string{time.Minute: "4/m", time.Second: "4/s"}[s.minute]
	w := newWorldWith(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}}, scanner, "rate: "+rate+", daily: 500")
	w.start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(s.hashes/perMinute+3)*s.minute)
	defer cancel()

	began := time.Now()
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		chance := rand.New(rand.NewPCG(*seed, 11))
		for range s.kills {
			select { // a third of the look-ups at the most, so that something is left to do
			case <-time.After(500*time.Millisecond + time.Duration(chance.Int64N(int64(s.minute)*int64(s.hashes)/perMinute/3))):
			case <-ctx.Done():
				return
			}
			w.kill()
			w.start(t, nil)
		}
	}()
	w.fireBodies(ctx, t, s.alerts, s.alert)
	fired := time.Since(began)
	v := s.watch(ctx, t, w)
	<-killed
	w.waitIdle(ctx, t)
	took := time.Since(began)
	v.asked = scanner.Journal()
	s.judge(t, w, v, scanner)
	if s.kills == 0 { // counters begin anew with each process
		figures := w.metrics(t)
		for _, want := range []string{
			fmt.Sprintf(`funnel_lookups_total{connection="virustotal",from="connection"} %d`, s.hashes),
			fmt.Sprintf(`funnel_lookups_total{connection="virustotal",from="cache"} %d`, s.tickets()-s.hashes),
			fmt.Sprintf(`funnel_connection_quota_left{connection="virustotal"} %d`, 500-s.hashes),
		} {
			if !strings.Contains(figures, want+"\n") {
				t.Errorf("the metrics do not say %s", want)
			}
		}
	}
	t.Logf("storm: seed %d, %d alerts in %v about %d devices and %d files, %d look-ups a %v, %d kills: %d look-ups in %v, %d refused, %d runs waited at the most, %d tickets",
		*seed, s.alerts, fired.Round(time.Millisecond), s.tickets(), s.hashes, perMinute, s.minute, s.kills, len(v.asked), took.Round(time.Millisecond), len(scanner.Refused()), v.waiting, len(w.jira.Issues()))
	return v
}

func (s storm) alert(i int) []byte {
	b, err := json.Marshal(map[string]any{
		"sid": fmt.Sprintf("scheduler__admin__search__storm_at_%d", i), "search_name": "Storm", "app": "search", "owner": "admin",
		"results_link": "http://splunk.example.test:8000/app/search/@go?sid=1",
		"result":       map[string]any{"user": "jdoe", "dest": s.device(i), "severity": "high", "file_hash": s.hash(i), "_raw": "detected"},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// watch looks at the server as people do until half of the files were asked about.
// A killed server does not answer for a moment, which is no fault.
func (s storm) watch(ctx context.Context, t *testing.T, w *world) stormy {
	t.Helper()
	v := stormy{storm: s, why: map[string]int{}}
	for ctx.Err() == nil && w.live() != 0 {
		var status struct {
			Queue       struct{ Waiting int }
			Connections []connectionView
		}
		var page struct{ Runs []waitingView }
		if w.get(t, "/status", &status) && w.get(t, "/api/v1/runs?state=waiting&playbook=enrich_file&limit=200", &page) {
			v.waiting = max(v.waiting, status.Queue.Waiting)
			for _, c := range status.Connections {
				if c.Name == "virustotal" {
					v.see("status: "+c.Health+": "+c.Why, c.Awaiting+c.Parked)
					if c.Health == "blocked" && c.Until.IsZero() {
						t.Errorf("the connection is blocked and does not say until when: %+v", c)
					}
					if c.QuotaLeft == nil || *c.QuotaLeft < 500-2*s.hashes || c.Rate == "" {
						t.Errorf("the connection does not tell its quota: %+v", c)
					}
				}
			}
			for _, r := range page.Runs {
				v.see("run waits for "+r.Waits.For+": "+r.Why, 1)
			}
		}
		select {
		case <-time.After(s.minute / 5): // between two looks from outside; nothing is ordered by it
		case <-ctx.Done():
		}
	}
	return v
}

func (v *stormy) see(what string, n int) { v.why[what] = max(v.why[what], 0) + n }

type connectionView struct {
	Name, Health, Why, Rate string
	Until                   time.Time
	QuotaLeft               *int `json:"quota_left"`
	Parked                  int  `json:"parked_runs"`
	Awaiting                int  `json:"awaiting_runs"`
}

type waitingView struct {
	ID, Why string
	Waits   struct{ For, Name, Why string }
}

// judge compares what the scanner and the tracker processed with the alerts.
func (s storm) judge(t *testing.T, w *world, v stormy, scanner *virustotalfake.Server) {
	t.Helper()
	asked := map[string]int{}
	for i, l := range v.asked {
		asked[l.ID]++
		if i >= perMinute {
			if gap := l.At.Sub(v.asked[i-perMinute].At); gap < s.minute {
				t.Errorf("look-up %d came %v after the fourth before it, too early", i+1, gap)
			}
		}
	}
	for i := range s.hashes {
		if n := asked[hash(i)]; n == 0 || n > 1+s.kills {
			t.Errorf("the scanner was asked %d times about file %d", n, i)
		}
	}
	if len(asked) != s.hashes {
		t.Errorf("the scanner was asked about %d files, want %d", len(asked), s.hashes)
	}
	for _, l := range scanner.Refused() {
		t.Errorf("a look-up was refused at %v because there were too many", l.At)
	}
	s.judgeTickets(t, w)
	period := map[time.Duration]string{time.Minute: "minute", time.Second: "second"}[s.minute]
	for _, want := range []string{
		"status: blocked: the rate of 4 calls per " + period + " is used up",
		"run waits for connection: virustotal: the rate of 4 calls per " + period + " is used up",
		"run waits for answer: virustotal: another run asks the same, and its answer is for all",
	} {
		if v.why[want] == 0 {
			t.Errorf("nobody said %q; what was said: %v", want, slices.Sorted(maps.Keys(v.why)))
		}
	}
	if v.waiting < s.tickets()/4 {
		t.Errorf("the status never counted more than %d waiting runs", v.waiting)
	}
}

// judgeTickets: one ticket for each device, with one comment about its file that
// says how it ended.
func (s storm) judgeTickets(t *testing.T, w *world) {
	t.Helper()
	issues := w.jira.Issues()
	if len(issues) != s.tickets() {
		t.Errorf("there are %d tickets, want %d", len(issues), s.tickets())
	}
	devices, wrong := map[string]bool{}, 0
	for _, issue := range issues {
		n, text := 0, ""
		for _, c := range issue.Comments {
			if commentName(c) == "enrich_file" {
				n, text = n+1, jirafake.Text(c.Body)
			}
		}
		description := jirafake.Text(issue.Description)
		of := -1
		for i := range s.tickets() {
			if strings.Contains(description, s.device(i)) {
				of = i
				break
			}
		}
		if of < 0 || devices[s.device(of)] || n != 1 || !strings.Contains(text, s.hash(of)) || strings.Contains(text, "waiting") ||
			!strings.Contains(text, map[bool]string{true: "malicious", false: "never seen"}[of%s.hashes%2 == 0]) {
			if wrong++; wrong <= 5 {
				t.Errorf("%s of device %d has %d comments about its file: %s", issue.Key, of, n, text)
			}
		}
		devices[s.device(max(of, 0))] = true
	}
	if wrong > 5 {
		t.Errorf("%d tickets are wrong", wrong)
	}
}

func (w *world) metrics(t *testing.T) string {
	t.Helper()
	res, err := http.Get(w.server + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// get reads an answer of the API, false if the server does not give it.
func (w *world) get(t *testing.T, path string, into any) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token(t))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %s %s", path, res.Status, body)
	}
	return json.NewDecoder(res.Body).Decode(into) == nil
}
