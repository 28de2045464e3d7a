package fault

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestF28Reload is F28: the configuration is read again under load. A bad one
// changes nothing and says where it is wrong; a source's secret and a system's
// credential are rotated. No request is refused, and no step fails.
func TestF28Reload(t *testing.T) {
	smallTogether(t)
	rounds := 2
	switch {
	case *long:
		rounds = 100
	case *full:
		rounds = 10
	}
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: hooks("cloud")})
	secretFile, tokenFile := filepath.Join(w.dir, "hook"), filepath.Join(w.dir, "token-of-jira")
	w.configure(t, func(text string) string {
		text = strings.Replace(text, "${env:FAULT_JIRA}", "${file:"+tokenFile+"}", 1)
		return strings.Replace(text, `["${env:FAULT_SPLUNK_HOOK}"]`, `["${file:`+secretFile+`}", "${file:`+secretFile+`-before}"]`, 1)
	})
	secret, token := splunkSecret, jirafake.DefaultToken
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(secretFile, secret)
	put(secretFile+"-before", secret+"-unused")
	put(tokenFile, token)
	w.start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(rounds)*20*time.Second)
	defer cancel()
	f := w.fireSteadily(t, secret)
	r := result{name: "F28 reload"}
	for range rounds {
		w.reloadBadly(ctx, t, &r)

		before := secret // the sender changes over while both are good
		secret = before[:len(splunkSecret)] + "-" + time.Now().Format("150405.000000")
		put(secretFile, secret)
		put(secretFile+"-before", before)
		w.reload(ctx, t)
		f.change(secret)
		f.awaitUnused(ctx, t, before)
		put(secretFile+"-before", secret+"-unused")
		w.reload(ctx, t)
		if status := f.send(t, before, alert(0)); status != http.StatusNotFound {
			r.fault("the old secret is answered %d", status)
		}

		old := token
		token = jirafake.DefaultToken + "-" + time.Now().Format("150405.000000")
		w.jira.SetTokens(old, token)
		put(tokenFile, token)
		w.reload(ctx, t)
		w.awaitUnused(ctx, t, old)
		w.jira.SetTokens(token)
	}
	acked, refused := f.stop()
	w.waitIdle(ctx, t)
	v := w.judge(acked).result()
	r.count, r.lost, r.double = v.count, v.lost, v.double
	r.notes, r.wrong = append(r.notes, v.notes...), append(r.wrong, v.wrong...)
	r.note("%d rounds of three reloads and one bad one, %d requests refused", rounds, refused)
	if refused > 0 {
		r.fault("%d requests were refused", refused)
	}
	known := false // the server knows our own account, without which it takes no webhook
	for _, d := range w.jira.Deliveries() {
		if known = known || d.Status/100 == 2; known && d.Status/100 != 2 {
			r.fault("a webhook of the tracker was answered %d (%s)", d.Status, d.Err)
		}
	}
	if w.jira.TokenUses()[token] == 0 {
		r.fault("nobody used the new token")
	}
	for _, run := range w.runs(t) {
		if run.State == "failed" {
			r.fault("run %s failed: %s", run.ID, run.Why)
		}
	}
	w.mu.Lock()
	r.rss = w.peak
	w.mu.Unlock()
	r.mustBeClean(t)
}

type configView struct {
	LoadedAt time.Time `json:"loaded_at"`
	ErrorAt  time.Time `json:"error_at"`
	Error    string
}

func (w *world) configStatus(t *testing.T) configView {
	t.Helper()
	var s struct{ Config configView }
	if !w.get(t, "/status", &s) {
		t.Fatal("the server does not tell its status")
	}
	return s.Config
}

// hangUp sends the signal and returns the status as soon as it is another one.
func (w *world) hangUp(ctx context.Context, t *testing.T) configView {
	t.Helper()
	before := w.configStatus(t)
	w.process.signal(t, syscall.SIGHUP)
	for {
		if now := w.configStatus(t); now != before {
			return now
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the server did not reload; its log:\n%s", w.log())
		}
	}
}

func (w *world) reload(ctx context.Context, t *testing.T) {
	t.Helper()
	if now := w.hangUp(ctx, t); now.Error != "" {
		t.Errorf("the server did not take the configuration: %s", now.Error)
	}
}

// reloadBadly has the server read a configuration with a misspelt key.
func (w *world) reloadBadly(ctx context.Context, t *testing.T, r *result) {
	t.Helper()
	good, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.configure(t, func(text string) string {
		return strings.Replace(text, "  jira:\n    integration", "  jira:\n    integrashun", 1)
	})
	before := w.configStatus(t)
	now := w.hangUp(ctx, t)
	const place = "funnel.yaml:6:5: unknown key"
	if !strings.Contains(now.Error, place) || !now.LoadedAt.Equal(before.LoadedAt) {
		r.fault("the status says %+v of a bad configuration, want %s", now, place)
	}
	if !strings.Contains(w.log(), place) {
		r.fault("the log does not say %s", place)
	}
	if err := os.WriteFile(w.config, good, 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitUnused returns when the tracker has not seen the token for a second: the
// steps that began with it have ended.
func (w *world) awaitUnused(ctx context.Context, t *testing.T, token string) {
	t.Helper()
	last, since := w.jira.TokenUses()[token], time.Now()
	for time.Since(since) < time.Second {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the old token stays in use")
		}
		if n := w.jira.TokenUses()[token]; n != last {
			last, since = n, time.Now()
		}
	}
}

// steady sends alerts one after the other from several clients; what is refused
// is counted and not sent again.
type steady struct {
	w      *world
	client *http.Client
	ended  chan struct{}
	all    sync.WaitGroup

	mu      sync.Mutex
	secret  string
	under   map[string]int // requests under way by their secret
	next    int
	refused int
	acked   map[string]bool
}

func (w *world) fireSteadily(t *testing.T, secret string) *steady {
	f := &steady{w: w, client: &http.Client{Timeout: 10 * time.Second}, ended: make(chan struct{}), secret: secret, under: map[string]int{}, acked: map[string]bool{}}
	for range 8 {
		f.all.Add(1)
		go func() {
			defer f.all.Done()
			tick := time.NewTicker(250 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-f.ended:
					return
				}
				i, secret := f.begin()
				f.end(i, secret, f.send(t, secret, alert(i)))
			}
		}()
	}
	return f
}

func (f *steady) begin() (i int, secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.under[f.secret]++
	return f.next, f.secret
}

func (f *steady) end(i int, secret string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under[secret]--
	if status/100 == 2 {
		f.acked[marker(i)] = true
	} else {
		f.refused++
	}
}

// change has the next alerts sent with another secret.
func (f *steady) change(secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secret = secret
}

// send returns the status, 0 if there was no answer.
func (f *steady) send(t *testing.T, secret string, body []byte) int {
	res, err := f.client.Post(f.w.server+"/hooks/splunk/"+secret, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Logf("no answer: %v", err)
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// awaitUnused returns when no request with the secret is under way.
func (f *steady) awaitUnused(ctx context.Context, t *testing.T, secret string) {
	t.Helper()
	for {
		f.mu.Lock()
		n := f.under[secret]
		f.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the alerts were not answered")
		}
	}
}

// stop returns the acknowledged alerts and how many were refused.
func (f *steady) stop() (map[string]bool, int) {
	close(f.ended)
	f.all.Wait()
	return f.acked, f.refused
}
