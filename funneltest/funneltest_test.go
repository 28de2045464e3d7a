package funneltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

type number struct {
	N int `json:"n"`
}

type client struct{}

func (client) double(context.Context, number) (number, error) {
	return number{}, errors.New("not called")
}

func double() funnel.Action[number, number] {
	return funnel.NewAction("test.double", "Double a number.", funnel.Reads, client.double)
}

func trigger() funnel.Trigger[number] {
	return funnel.NewTrigger("test.number", "A number.", func(funnel.Request) ([]funnel.Arrival[number], error) { return nil, nil })
}

// spy records what a test would have failed with.
type spy struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (s *spy) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

func TestRun(t *testing.T) {
	t.Parallel()
	answers := func() Answers {
		return Answers{"test.double": InTurn(Always(number{2}), Always(map[string]int{"n": 4}), Fails(funnel.NotFound, "no more"))}
	}
	type settings struct{ Add int }
	for name, test := range map[string]struct {
		body    func(*funnel.Run, number) error
		options []Option
		paths   string
		err     string // in Result.Err
		said    string // to the test
	}{
		"steps": {body: func(r *funnel.Run, e number) error {
			s, err := funnel.SettingsOf(r, settings{Add: 1})
			if err != nil {
				return err
			}
			a, err := funnel.Step(r, "a", double(), e, funnel.Via("there"))
			if err != nil || a.N != 2 {
				return fmt.Errorf("a is %v, error %w", a, err)
			}
			funnel.Sleep(r, "rest", time.Hour)
			b, err := funnel.Step(r, "b", double(), number{a.N + s.Add})
			if err != nil || b.N != 4 {
				return fmt.Errorf("b is %v, error %w", b, err)
			}
			_, err = funnel.Step(r, "c", double(), b)
			return err
		}, options: []Option{WithSettings(`{"Add":5}`)}, paths: "a b c", err: "step c: no more"},
		"same path": {body: func(r *funnel.Run, e number) error {
			_, _ = funnel.Step(r, "a", double(), e)
			_, err := funnel.Step(r, "a", double(), e)
			return err
		}, paths: "a", err: "two steps have the path a"},
		"skipped": {body: func(r *funnel.Run, e number) error {
			a, err := funnel.Step(r, "a", double(), e)
			if a.N != 0 || !r.Skipped("a") {
				return fmt.Errorf("a is %v, error %w", a, err)
			}
			return nil
		}, options: []Option{Skip("a")}, paths: "a"},
		"chance": {body: func(r *funnel.Run, e number) error {
			_, err := funnel.Step(r, "a", double(), number{rand.Int()})
			return err
		}, paths: "a", said: "playbook changed"},
		"unknown action": {body: func(r *funnel.Run, e number) error {
			other := funnel.NewAction("test.other", "Other.", funnel.Reads, client.double)
			_, err := funnel.Step(r, "a", other, e)
			return err
		}, paths: "a", err: "no answer", said: "test.other, for which the test has no answer"},
		"panic": {body: func(*funnel.Run, number) error { panic("oops") }, said: "panicked: oops"},
	} {
		s := &spy{TB: t}
		result := Run(s, funnel.NewPlaybook("test", "Test.", trigger(), test.body, funnel.Settings(settings{})), number{1}, answers(), test.options...)
		if got := strings.Join(result.Paths(), " "); got != test.paths {
			t.Errorf("%s: paths %q, want %q", name, got, test.paths)
		}
		if (result.Err == nil) != (test.err == "") || result.Err != nil && !strings.Contains(result.Err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", name, result.Err, test.err)
		}
		if said := strings.Join(s.said, "\n"); (said == "") != (test.said == "") || !strings.Contains(said, test.said) {
			t.Errorf("%s: the test heard %q, want %q", name, said, test.said)
		}
	}
}

func TestDifferentStepsInAReplay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		steps [2]int
		want  string
	}{"more": {[2]int{1, 2}, "is new"}, "fewer": {[2]int{2, 1}, "took 1 steps, the first time 2"}} {
		s := &spy{TB: t}
		pass := 0
		Run(s, funnel.NewPlaybook("test", "Test.", trigger(), func(r *funnel.Run, e number) error {
			for i := range test.steps[pass] {
				if _, err := funnel.Step(r, fmt.Sprint("s", i), double(), e); err != nil {
					return err
				}
			}
			pass++
			return nil
		}), number{1}, Answers{"test.double": Always(number{2})})
		if len(s.said) != 1 || !strings.Contains(s.said[0], test.want) {
			t.Errorf("%s: the test heard %q, want %q", name, s.said, test.want)
		}
	}
}

func TestWrongAnswer(t *testing.T) {
	t.Parallel()
	s := &spy{TB: t}
	result := Run(s, funnel.NewPlaybook("test", "Test.", trigger(), func(r *funnel.Run, e number) error {
		_, err := funnel.Step(r, "a", double(), e)
		return err
	}), number{1}, Answers{"test.double": Always(map[string]string{"m": "x"})})
	if result.Err == nil || len(s.said) != 1 || !strings.Contains(s.said[0], "is not a funneltest.number") {
		t.Errorf("error %v, the test heard %q", result.Err, s.said)
	}
}

func TestParallelAndInput(t *testing.T) {
	t.Parallel()
	result := Run(t, funnel.NewPlaybook("test", "Test.", trigger(), func(r *funnel.Run, e number) error {
		branch := func(r *funnel.Run) error {
			_, err := funnel.Step(r, "step", double(), e)
			return err
		}
		return funnel.Parallel(r, "both", funnel.Branch{Name: "a", Do: branch}, funnel.Branch{Name: "b", Do: branch})
	}), number{7}, Answers{"test.double": Always(number{14})})
	if result.Err != nil || len(result.Calls) != 2 {
		t.Fatalf("calls %v, error %v", result.Calls, result.Err)
	}
	if in := Input[number](t, result, "both/b/step"); in.N != 7 {
		t.Errorf("input %+v", in)
	}
}
