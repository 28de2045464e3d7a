package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

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
	var all sync.WaitGroup
	for range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			client := &http.Client{Timeout: 10 * time.Second}
			for i := range work {
				ok := w.postUntilAcked(ctx, client, alert(i))
				mu.Lock()
				acked[marker(i)] = ok
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
	all.Wait()
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

// postUntilAcked sends the alert until it is acknowledged, false if ctx ends before. It
// does so ever more rarely, for the machine has to start servers meanwhile.
func (w *world) postUntilAcked(ctx context.Context, client *http.Client, body []byte) bool {
	for wait := 20 * time.Millisecond; !w.post(client, body); wait = min(2*wait, 320*time.Millisecond) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
	return true
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
