package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestKill is F1 in small: kill -9 at random moments under load, with a tracker
// whose search lags and which loses 2 % of its answers. The look-up schedule and
// the lag are those of production divided by 100.
func TestKill(t *testing.T) {
	for name, o := range sites() {
		alerts, kills := 60, 3
		switch {
		case *full:
			alerts, kills = 1000, 10
		case o.Deployment == jirafake.DataCenter:
			alerts, kills = 30, 2
		}
		t.Run(name, func(t *testing.T) {
			o.IndexLag = jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second)
			o.LoseAnswers, o.LateProcessing, o.LateDelay = 0.02, 0.002, 300*time.Millisecond
			o.Webhooks.Off = true // they would settle most unsure outcomes before they are looked up
			v := newWorld(t, o).killUnderLoad(t, alerts, kills, nil)
			t.Logf("kill %s: seed %d, %s", name, *seed, v)
			v.mustBeClean(t)
		})
	}
}

// sites are the kinds of tracker; the old one keeps no properties of comments.
func sites() map[string]jirafake.Options {
	return map[string]jirafake.Options{
		"cloud": {Seed: *seed}, "data center": {Seed: *seed, Deployment: jirafake.DataCenter},
		"old data center": {Seed: *seed, Deployment: jirafake.DataCenter, OldComments: true},
	}
}

// TestKillNeedsTheLookUp shows that TestKill can fail: without looking unsure
// effects up, the same faults make tickets or comments twice.
func TestKillNeedsTheLookUp(t *testing.T) {
	const alerts = 60
	for name, o := range sites() {
		t.Run(name, func(t *testing.T) {
			if name != "cloud" && !*full {
				t.Skip("NOT RUN: one kind of tracker shows it; -fault runs all")
			}
			o.IndexLag, o.LoseAnswers, o.Webhooks.Off = jirafake.UniformLag(10*time.Millisecond, 50*time.Millisecond), 0.1, true
			v := newWorld(t, o).killUnderLoad(t, alerts, 1, []string{childBlind + "=1"})
			t.Logf("kill %s without look-up: seed %d, %s", name, *seed, v)
			if v.doubleTickets+v.doubleComments == 0 {
				t.Errorf("with the look-up switched off, 10 %% lost answers made nothing twice: the verdict of TestKill proves nothing (%s)", v)
			}
			if v.lost > 0 {
				t.Errorf("%d acknowledged alerts have no ticket", v.lost)
			}
		})
	}
}

// TestWebhooks has the tracker's own webhooks arrive in every way there is: each
// ticket has each comment exactly once, whatever they do.
func TestWebhooks(t *testing.T) {
	alerts := 40
	if *full {
		alerts = 200
	}
	for name, mode := range map[string]jirafake.WebhookMode{
		"in time":            {},
		"off":                {Off: true},
		"duplicated":         {Duplicate: true},
		"before the answer":  {BeforeAnswer: true},
		"late and some lost": {Delay: 300 * time.Millisecond, Loss: 0.3, Duplicate: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, jirafake.Options{Seed: *seed, IndexLag: jirafake.UniformLag(10*time.Millisecond, 100*time.Millisecond), LoseAnswers: 0.05, Webhooks: mode})
			v := w.killUnderLoad(t, alerts, 0, nil)
			t.Logf("webhooks %s: seed %d, %s", name, *seed, v)
			v.mustBeClean(t)
		})
	}
}

// killUnderLoad fires the alerts from many clients while the server is killed
// and started again, waits until the server has nothing left to do, and judges.
func (w *world) killUnderLoad(t *testing.T, alerts, kills int, env []string) verdict {
	t.Helper()
	w.start(t, env)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()

	killer := make(chan struct{})
	go func() {
		defer close(killer)
		chance := rand.New(rand.NewPCG(*seed, 7))
		for range kills {
			select {
			case <-time.After(50*time.Millisecond + time.Duration(chance.Int64N(int64(1500*time.Millisecond)))):
			case <-ctx.Done():
				return
			}
			w.kill()
			w.start(t, env)
		}
	}()
	acked := w.fire(ctx, t, alerts)
	<-killer
	w.waitIdle(ctx, t)
	return w.judge(acked)
}

// fire sends the alerts and returns the markers of the acknowledged ones. An
// alert without an answer is sent again until it has one, so the server also
// sees repeats of what it had stored without being able to say so.
func (w *world) fire(ctx context.Context, t *testing.T, n int) map[string]bool {
	t.Helper()
	return w.fireBodies(ctx, t, n, alert)
}

// fireBodies is fire with the bodies of the alerts.
func (w *world) fireBodies(ctx context.Context, t *testing.T, n int, alert func(int) []byte) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	acked := map[string]bool{}
	work := make(chan int)
	var clients sync.WaitGroup
	for range 32 {
		clients.Add(1)
		go func() {
			defer clients.Done()
			client := &http.Client{Timeout: 10 * time.Second}
			for i := range work {
				body := alert(i)
				for ctx.Err() == nil && !w.post(client, body) {
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
				mu.Lock()
				acked[marker(i)] = ctx.Err() == nil
				mu.Unlock()
			}
		}()
	}
	for i := range n {
		select {
		case work <- i:
		case <-ctx.Done():
			t.Fatal("firing the alerts took too long")
		}
	}
	close(work)
	clients.Wait()
	return acked
}

func (w *world) post(client *http.Client, body []byte) bool {
	res, err := client.Post(w.server+"/hooks/splunk/"+splunkSecret, "application/json", bytes.NewReader(body))
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode/100 == 2
}

func marker(i int) string { return fmt.Sprintf("marker-%05d", i) }

// alert is the body of Splunk's webhook for the i-th alert; each has a
// fingerprint of its own.
func alert(i int) []byte {
	users := []string{"jdoe", "rroe", "mmajor", "nobody"}
	b, err := json.Marshal(map[string]any{
		"sid": fmt.Sprintf("scheduler__admin__search__fault_at_%d", i), "search_name": "Fault run", "app": "search", "owner": "admin",
		"results_link": "http://splunk.example.test:8000/app/search/@go?sid=1",
		"result": map[string]any{
			"detection_id": marker(i), "user": users[i%len(users)], "dest": fmt.Sprintf("WS-%05d", i), "severity": "high",
			"file_hash": hash(i), "_raw": "detected " + marker(i),
		},
	})
	if err != nil {
		panic(err)
	}
	return b
}
