package funneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

// Hostile says how HostileHTTP reaches the actions of an integration that speaks
// HTTP.
type Hostile struct {
	Integration funnel.Integration
	// Options returns a connection's options as JSON for a system at the base
	// address.
	Options func(base string) string
	// Secrets are the credentials in the options, in every form that is sent.
	Secrets []string
	// Healthy returns a new simulated system that answers the example of every
	// action.
	Healthy func(testing.TB) http.Handler
	// Inputs are inputs, as JSON, for actions whose example does not do.
	Inputs map[string]string
	// Reads reports that a request changes nothing although its method is not GET.
	Reads func(method, path string) bool
	// StatusSuffices reports that a request's success is told by its status alone,
	// although the healthy system sends a body.
	StatusSuffices func(method, path string) bool
	// Fallbacks is how many other addresses are asked when one is not there; 0
	// stands for 1.
	Fallbacks int
	// Believes reports that an action may take a misbehaviour for a good answer, or
	// come back later, because the system's own protocol gives it a meaning.
	Believes func(action, misbehaviour string) bool
	// Optional reports that an action does without the answer to its request of the
	// number, counted from 1.
	Optional func(action string, request int) bool
}

// The deadlines of one exchange: of a system that keeps us waiting on purpose,
// and of all others.
const (
	shortTimeout = 300 * time.Millisecond
	longTimeout  = 20 * time.Second
	// patience is when an action hangs: far more than a few short exchanges.
	patience = 15 * time.Second
)

// HostileHTTP lets the system behind an integration misbehave in every way of a
// table of about a hundred, at the first, second, … request of each action, and
// fails the test unless the action
//
//   - ends, within its deadline and with a bounded number of requests;
//   - says what happened by the right code: nothing about a look-up is uncertain,
//     and everything is about a change whose request may have been carried out;
//   - comes back when the system asked it to, never earlier;
//   - tells of it in a line that holds no credential, no control character and no
//     body, even if the system sends the credential back;
//   - follows no redirect, and leaves no goroutine behind.
//
// The real way out, internal/upstream, is part of what is tested.
func HostileHTTP(t *testing.T, h Hostile) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	trap := newTrap(t)
	var inputs []attack
	for _, a := range h.Integration.Actions {
		inputs = append(inputs, h.rehearse(t, a.Spec())...)
	}
	if len(inputs) == 0 {
		t.Fatal("no action of the integration asks anything")
	}
	table := misbehaviours(trap.address())
	var played sync.Map
	t.Run("all", func(t *testing.T) {
		for _, a := range inputs {
			t.Run(fmt.Sprintf("%s/%d", a.spec.ID, a.at+1), func(t *testing.T) {
				t.Parallel()
				var slow sync.WaitGroup // those only wait
				for _, m := range table {
					played.Store(m.name, true)
					switch {
					case m.heavy:
					case m.slow:
						slow.Go(func() { h.play(t, a, m) })
					default:
						h.play(t, a, m)
					}
				}
				slow.Wait()
			})
		}
	})
	// One after the other, so that the memory that is measured is theirs.
	for _, a := range inputs {
		for _, m := range table {
			if m.heavy {
				var before, after goruntime.MemStats
				goruntime.ReadMemStats(&before)
				h.play(t, a, m)
				goruntime.ReadMemStats(&after)
				if used := after.TotalAlloc - before.TotalAlloc; used > maxMemory {
					t.Errorf("%s, request %d: %s makes it allocate %d MiB", a.spec.ID, a.at+1, m.name, used>>20)
				}
			}
		}
	}
	if n := trap.visits(); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	trap.close()
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
	n := 0
	played.Range(func(any, any) bool { n++; return true })
	t.Logf("%d misbehaviours at %d requests of %d actions", n, len(inputs), len(h.Integration.Actions))
}

// maxMemory bounds what one action may allocate in all for an answer that is
// larger than it may be: several times the cap of an answer.
const maxMemory = 160 << 20

// attack is a request of an action at which the system begins to misbehave.
type attack struct {
	spec    *funnel.ActionSpec
	input   []byte
	at      int
	writes  bool // the request changes something
	changed bool // a request before it did
	healthy answered
	total   int // requests when all is well
}

// rehearse performs an action on a healthy system and returns its requests.
func (h Hostile) rehearse(t testing.TB, spec *funnel.ActionSpec) (list []attack) {
	t.Helper()
	input := []byte(h.Inputs[spec.ID])
	if len(input) == 0 {
		example, ok := spec.ExampleInput()
		if !ok {
			t.Errorf("%s has no example and no input to be tried with", spec.ID)
			return nil
		}
		input = example
	}
	s := newStage(t, h.Healthy(t), -1, nil)
	defer s.close()
	outcome, err := h.perform(t, s, spec, input, longTimeout)
	if err != nil {
		t.Errorf("%s on a healthy system, with %s: %v", spec.ID, input, err)
		return nil
	}
	if len(outcome) > maxOutcome {
		t.Errorf("%s: the outcome has %d bytes", spec.ID, len(outcome))
	}
	changed := false
	for i, r := range s.log() {
		writes := spec.Effect != funnel.Reads && r.method != http.MethodGet && r.method != http.MethodHead && (h.Reads == nil || !h.Reads(r.method, r.path))
		r.unread = h.StatusSuffices != nil && h.StatusSuffices(r.method, r.path)
		list = append(list, attack{spec: spec, input: input, at: i, writes: writes, changed: changed, healthy: r, total: len(s.log())})
		changed = changed || writes
	}
	return list
}

// maxOutcome is what the engine journals at most.
const maxOutcome = 256 << 10

// perform connects anew and invokes the action.
func (h Hostile) perform(t testing.TB, s *stage, spec *funnel.ActionSpec, input []byte, timeout time.Duration) (outcome []byte, err error) {
	t.Helper()
	var clients []*http.Client
	connect := upstream.NewHTTP(upstream.Options{Timeout: timeout, Version: s.stamp})
	env := funnel.Env{
		Connection: s.stamp, Log: slog.New(slog.DiscardHandler), Clock: time.Now, Timeout: timeout,
		HTTP: func(base *url.URL, authorize func(http.Header)) *http.Client {
			c := connect(base, authorize)
			clients = append(clients, c)
			return c
		},
	}
	client, err := h.Integration.Connect.Connect(t.Context(), env, []byte(h.Options(s.base())))
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	defer func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = funnel.WithAttempt(ctx, funnel.Attempt{Key: funnel.NewEffectKey("hostile:1", "hostile", "step", 0), Number: 1})
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("it panicked: %v", v)
		}
	}()
	return spec.Invoke(ctx, client, input)
}

// play lets the system misbehave and judges the action.
func (h Hostile) play(t testing.TB, a attack, m misbehaviour) {
	t.Helper()
	if m.skip != nil && m.skip(a) {
		return
	}
	var (
		s       *stage
		began   time.Time
		outcome []byte
		err     error
	)
	timeout := longTimeout
	if m.slow {
		timeout = shortTimeout
	}
	for range 4 { // on a busy machine the requests before may take too long for a short deadline
		s = newStage(t, h.Healthy(t), a.at, func(w *wire) { m.play(w, a) })
		began = time.Now()
		outcome, err = h.perform(t, s, a.spec, a.input, timeout)
		s.close()
		if !m.slow || len(s.log()) > a.at {
			break
		}
		timeout *= 3
	}
	complain := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, request %d (%s): %s: %s", a.spec.ID, a.at+1, a.healthy.method, m.name, fmt.Sprintf(format, args...))
	}
	if took := time.Since(began); took > patience {
		complain("it took %s", took)
	}
	asked := s.log()
	if most := a.total + 60; len(asked) > most {
		complain("it asked %d times, when all is well %d times", len(asked), a.total)
	}
	if len(asked) <= a.at {
		complain("it asked only %d times, so that nothing was tried: the simulated system is not deterministic", len(asked))
		return
	}
	want := m.want(a)
	if h.Believes != nil && h.Believes(a.spec.ID, m.name) {
		want = append(slices.Clone(want), fine, funnel.Throttled)
	}
	if h.Optional != nil && h.Optional(a.spec.ID, a.at+1) {
		want = append(slices.Clone(want), fine)
	}
	if !slices.Contains(want, fine) && len(asked) > a.at+1+max(h.Fallbacks, 1) {
		complain("it goes on after the exchange failed: %d requests more; the engine repeats, not the integration", len(asked)-a.at-1)
	}
	if err == nil {
		switch {
		case !slices.Contains(want, fine):
			complain("it succeeds with %.300s, want %q", outcome, want)
		case !json.Valid(outcome):
			complain("the outcome is not JSON: %.300s", outcome)
		}
		return
	}
	var e *funnel.Error
	if !errors.As(err, &e) {
		complain("the error is no *funnel.Error: %v", err)
		return
	}
	if !slices.Contains(want, e.Code) {
		complain("code %s, want %q: %v", e.Code, want, err)
	}
	if m.back != nil {
		m.back(e, began, complain)
	}
	h.judgeText(err.Error(), complain)
	h.judgeText(e.Error(), complain)
}

// judgeText looks at the text that people and logs get to see.
func (h Hostile) judgeText(text string, complain func(string, ...any)) {
	if len(text) > 1000 || text == "" {
		complain("the error has %d characters: %.200s", len(text), text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.In(r, unicode.Bidi_Control)
	}); i >= 0 {
		complain("the error has a control character: %q", text)
	}
	for _, secret := range h.Secrets {
		if strings.Contains(text, secret) {
			complain("the error holds the credential: %s", text)
		}
	}
	if strings.Contains(text, bodyMark) {
		complain("the error holds a piece of the body: %.300s", text)
	}
}

// answered is a request and the healthy answer to it.
type answered struct {
	method, path string
	header       http.Header
	status       int
	body         []byte
	unread       bool // its status says everything
}

// empty reports that the healthy answer says nothing beside its status, so that
// a body says nothing either.
func (r answered) empty() bool { return r.unread || len(bytes.TrimSpace(r.body)) == 0 }
