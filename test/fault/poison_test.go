package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/webhook"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// childPoison is the environment variable that names the file in which a child
// notes each run that it begins; with it, the child has the playbook dose.
const childPoison = "FUNNEL_FAULT_POISON"

// kinds are the kinds of poison, and how often each may be tried before a person
// has to look. The first try may be cut off by the crash of another before its panic
// is in the journal; after it the run is alone. A try that hangs may be cut off again
// and again: these are deaths without a proof, of which a run may have 6.
var kinds = map[string]int{
	"panic": 1 + 1, "panic-in-action": 3 + 1, "overflow": 3, "memory": 3, "panic-elsewhere": 3, "exit": 3,
	"hang": 1 + 6, "hang-in-action": 3 + 6,
}

type dose struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"`
}

// poisoned adds a playbook that sends each alert on, unless the alert is poison.
func poisoned(r *funnel.Registry, journal string) *funnel.Registry {
	take := funnel.NewAction("dose.take", "Take it.", funnel.Reads, func(_ struct{}, _ context.Context, d dose) (dose, error) {
		note(journal, d)
		switch d.Kind {
		case "panic-in-action":
			panic("poison")
		case "hang-in-action":
			select {}
		case "panic-elsewhere":
			go func() { panic("poison in a goroutine of its own") }()
			time.Sleep(time.Minute)
		}
		return d, nil
	})
	play := funnel.NewPlaybook("dose", "Sends an alert on, unless it is poison.", splunk.Alert, func(r *funnel.Run, e splunk.AlertEvent) error {
		d := dose{Name: e.Row.Get("detection_id"), Kind: e.Row.Get("kind")}
		switch d.Kind {
		case "panic":
			note(journal, d)
			panic("poison")
		case "hang":
			note(journal, d)
			select {}
		case "overflow":
			note(journal, d)
			d.Name = fmt.Sprint(deep(0))
		case "memory":
			note(journal, d)
			var all [][]byte
			for {
				all = append(all, make([]byte, 64<<20))
				d.Name = fmt.Sprint(len(all))
			}
		case "exit":
			note(journal, d)
			os.Exit(3)
		}
		if _, err := funnel.Step(r, "take", take, d); err != nil {
			return err
		}
		data, err := json.Marshal(d)
		if err != nil {
			return err
		}
		_, err = funnel.Step(r, "send", webhook.Send, webhook.SendInput{Type: "dose", Data: data})
		return err
	})
	return r.Add(funnel.Integration{
		Name: "dose", Summary: "Takes what it is given.", Actions: []funnel.AnyAction{take},
		Connect: funnel.Connect(func(context.Context, funnel.Env, struct{}) (struct{}, error) { return struct{}{}, nil }),
	}).AddPlaybooks(play)
}

// deep recurses until there is no stack left.
func deep(n int) int {
	if n < 0 {
		return n
	}
	return deep(n+1) + n
}

// note writes down, outside of the server, that somebody takes the dose.
func note(journal string, d dose) {
	if d.Kind == "" {
		return
	}
	f, err := os.OpenFile(journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, d.Kind, d.Name)
	}
	if err != nil {
		panic(err)
	}
	_ = f.Close()
}

// receiver journals what it is sent.
type receiver struct {
	mu  sync.Mutex
	got map[string]map[string]int // by name and message; a message may be sent again
}

func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID   string
		Data dose
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got[m.Data.Name] == nil {
		s.got[m.Data.Name] = map[string]int{}
	}
	s.got[m.Data.Name][m.ID]++
}

const poisonConfiguration = `
server: {listen: "%s"}
data: data
connections:
  dose: {integration: dose, options: {}, limits: {concurrency: 32, timeout: 1s}}
  out: {integration: webhook, options: {url: "%s"}, limits: {concurrency: 16, timeout: 5s}}
sources:
  splunk: {trigger: splunk.alert, auth: {path_secret: ["${env:FAULT_SPLUNK_HOOK}"]}}
playbooks: {open_ticket: {enabled: false}, dose: {}}
engine: {workers: 16}
`

// TestF16Poison is F16: of the runs, one in a hundred ends the process, hangs or
// panics, each time that it is worked on, and a supervisor starts the server again.
// The others are all done, and each poison is left to a person after a few tries.
func TestF16Poison(t *testing.T) {
	t.Parallel()      // it mostly waits: for what hangs, and for the server to have lived for a while
	n, each := 400, 1 // of each kind
	if *full || *long {
		n, each = 10_000, 15
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	out := &receiver{got: map[string]map[string]int{}}
	sink := httptest.NewServer(out)
	t.Cleanup(sink.Close)
	w := newPoisonWorld(t, sink.URL)
	journal := filepath.Join(w.dir, "doses")
	poison := w.preloadDoses(t, n, each)

	began, deaths := time.Now(), 0
	for {
		p := w.launch(t, []string{childPoison + "=" + journal})
		p.bound(t)
		if ended := w.awaitDoses(ctx, t, p); !ended {
			break
		}
		if deaths++; p.killed() {
			t.Fatalf("the server was killed from outside\n%s", last(w.log(), 4000))
		}
	}
	took := time.Since(began)

	r := result{name: "F16 poison", count: n}
	out.judge(&r, poison)
	most := judgeTries(t, &r, journal, poison)
	var seen struct {
		Deaths    struct{ Count, Crashes int }
		Attention int `json:"needs_attention"`
	}
	if !w.get(t, "/status", &seen) {
		t.Fatal("the server does not say how it does")
	}
	if seen.Deaths.Count != deaths || seen.Attention != len(poison) {
		r.fault("/status counts %d deaths and %d runs for a person, want %d and %d", seen.Deaths.Count, seen.Attention, deaths, len(poison))
	}
	w.measure(&r)
	r.note("%d poisonous runs; the most tries of each kind: %s; %d deaths of the server, %d of them crashes with a trace, all done after %v; p99 is listening again",
		len(poison), most, deaths, seen.Deaths.Crashes, took.Round(time.Second))
	r.aim(r.p99 < 2*time.Second, "back p99 < 2 s")
	r.mustBeClean(t)
}

// newPoisonWorld is a world without Jira, whose server sends to the address.
func newPoisonWorld(t *testing.T, sink string) *world {
	t.Helper()
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	text := fmt.Sprintf(poisonConfiguration, strings.TrimPrefix(w.server, "http://"), sink)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// preloadDoses stores n alerts, as if a server had accepted them and been stopped,
// and returns the kinds of those that are poison.
func (w *world) preloadDoses(t *testing.T, n, each int) map[string]string {
	t.Helper()
	s, err := store.Open(filepath.Join(w.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	trigger := splunk.Alert.Spec()
	poison := map[string]string{}
	random := rand.New(rand.NewPCG(*seed, 16))
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if kind == "hang" && !*full && !*long { // it is waited for a minute
			continue
		}
		few := each
		if strings.HasPrefix(kind, "hang") { // they take long
			few = (each + 3) / 4
		}
		for range few {
			for i := random.IntN(n); poison[marker(i)] == ""; {
				poison[marker(i)] = kind
			}
		}
	}
	var all sync.WaitGroup
	todo := make(chan int)
	for range 64 {
		all.Go(func() {
			for i := range todo {
				body, _ := json.Marshal(map[string]any{"sid": fmt.Sprintf("sid_%d", i), "search_name": "Dose", "result": map[string]any{"detection_id": marker(i), "kind": poison[marker(i)]}})
				found, err := trigger.Decode(funnel.Request{Source: "splunk", Body: body, ReceivedAt: time.Now()})
				if err == nil {
					e := record.Event{Source: "splunk", Trigger: trigger.ID, Key: "splunk:" + found[0].Key, ReceivedAt: time.Now(), Body: body, Data: found[0].Event, Disposition: record.Matched}
					_, _, _, err = s.Accept(record.Delivery{Source: "splunk", ReceivedAt: time.Now(), Bytes: len(body)}, record.NewEvent{Event: e, Playbooks: []string{"dose"}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		todo <- i
	}
	close(todo)
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return poison
}

// bound gives the process an end of memory, a GB above what it takes at its start.
func (p *process) bound(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		return
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return // it has just ended
	}
	var pages uint64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		t.Fatal(err)
	}
	most := pages*uint64(os.Getpagesize()) + 1<<30
	_ = unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: most, Max: most}, nil)
}

// awaitDoses returns when the server has nothing to do any more but for a person,
// or when it has ended.
func (w *world) awaitDoses(ctx context.Context, t *testing.T, p *process) (ended bool) {
	t.Helper()
	for {
		select {
		case <-p.ended:
			return true
		case <-ctx.Done():
			t.Fatalf("it is not done: %s\n%s", w.says("/status"), last(w.log(), 4000))
		case <-time.After(50 * time.Millisecond):
		}
		if w.live() == 0 {
			return false
		}
	}
}

// judge compares what arrived with what should.
func (s *receiver) judge(r *result, poison map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range r.count {
		name := marker(i)
		switch messages := len(s.got[name]); {
		case poison[name] != "" && messages > 0:
			r.fault("%s is poison (%s) and was sent on", name, poison[name])
		case poison[name] == "" && messages == 0:
			r.lost++
		case messages > 1:
			r.double++
		}
	}
}

// judgeTries compares how often each poison was tried with how often it may be.
func judgeTries(t *testing.T, r *result, journal string, poison map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	tries := map[string]int{}
	for line := range strings.Lines(string(text)) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		tries[name]++
	}
	most := map[string]int{}
	for name, kind := range poison {
		most[kind] = max(most[kind], tries[name])
		if tries[name] == 0 || tries[name] > kinds[kind] {
			r.fault("%s (%s) was tried %d times, want 1 to %d", name, kind, tries[name], kinds[kind])
		}
	}
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(most)) {
		words = append(words, fmt.Sprintf("%s %d", kind, most[kind]))
	}
	return strings.Join(words, ", ")
}

func last(text string, n int) string { return text[max(0, len(text)-n):] }
