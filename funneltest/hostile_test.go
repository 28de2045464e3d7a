package funneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

// sloppy is a client that makes one mistake.
type sloppy struct {
	http    *http.Client
	base    *url.URL
	mistake string
	name    string
}

type note struct {
	ID   string `json:"id" example:"7"`
	Text string `json:"text,omitempty"`
}

func (c *sloppy) send(ctx context.Context, method string, in note) (note, error) {
	body, _ := json.Marshal(in)
	lost := funnel.Unavailable
	if method != http.MethodGet {
		lost = funnel.Uncertain
	}
	switch c.mistake {
	case "calls a lost change unavailable":
		lost = funnel.Unavailable
	case "calls a lost look-up uncertain":
		lost = funnel.Uncertain
	}
	client := c.http
	if c.mistake == "follows redirects" {
		client = &http.Client{Transport: http.DefaultTransport}
	}
	tries := 1
	if c.mistake == "repeats by itself" {
		tries = 3
	}
	var res *http.Response
	var err error
	for range tries {
		req, bad := http.NewRequestWithContext(ctx, method, c.base.JoinPath("notes", in.ID).String(), bytes.NewReader(body))
		if bad != nil {
			return note{}, funnel.Errorf(funnel.Internal, "building")
		}
		req.Header.Set("User-Agent", "funnel/"+c.name)
		if res, err = client.Do(req); err == nil {
			break
		}
	}
	if err != nil {
		if c.mistake == "has no code" {
			return note{}, errors.New("sending: it failed")
		}
		return note{}, funnel.Errorf(lost, "sending: the exchange failed")
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	said := ""
	if c.mistake == "quotes the body" {
		said = ": " + string(raw[:min(len(raw), 300)])
	}
	switch status := res.StatusCode; {
	case status == http.StatusTooManyRequests:
		e := funnel.Errorf(funnel.Throttled, "too many%s", said)
		if c.mistake != "ignores when to come back" {
			e.RetryAt = funnel.RetryAfter(res.Header, time.Now())
		}
		return note{}, e
	case status == 401 || status == 403:
		return note{}, funnel.Errorf(funnel.Unauthorized, "not allowed%s", said)
	case status == 404:
		return note{}, funnel.Errorf(funnel.NotFound, "not there%s", said)
	case status == 409:
		return note{}, funnel.Errorf(funnel.Conflict, "forbidden%s", said)
	case status == 408 || status >= 500:
		e := funnel.Errorf(lost, "it failed%s", said)
		e.RetryAt = funnel.RetryAfter(res.Header, time.Now())
		return note{}, e
	case status >= 300:
		return note{}, funnel.Errorf(funnel.Invalid, "refused%s", said)
	case err != nil:
		return note{}, funnel.Errorf(lost, "the answer broke off")
	}
	var out note
	if err := json.Unmarshal(raw, &out); (err != nil || out.ID == "" || res.StatusCode != http.StatusOK) && c.mistake != "believes anything" {
		return note{}, funnel.Errorf(lost, "the answer cannot be read")
	}
	return out, nil
}

func (c *sloppy) Get(ctx context.Context, in note) (note, error) {
	return c.send(ctx, http.MethodGet, in)
}

func (c *sloppy) Put(ctx context.Context, in note) (note, error) {
	if c.mistake == "says nothing of a change before" {
		if _, err := c.send(ctx, http.MethodPut, in); err != nil {
			return note{}, err
		}
	}
	return c.send(ctx, http.MethodPut, in)
}

func sloppyIntegration(mistake string) Hostile {
	return Hostile{
		Integration: funnel.Integration{
			Name: "notes", Summary: "Keeps notes.",
			Connect: funnel.Connect(func(_ context.Context, env funnel.Env, o struct{ URL string }) (*sloppy, error) {
				base, err := url.Parse(o.URL)
				return &sloppy{http: env.HTTP(base, func(h http.Header) { h.Set("Authorization", "Bearer t0ken-0f-notes") }), base: base, mistake: mistake, name: env.Connection}, err
			}),
			Actions: []funnel.AnyAction{
				funnel.NewAction("notes.get_note", "Get a note.", funnel.Reads, (*sloppy).Get),
				funnel.NewAction("notes.put_note", "Put a note.", funnel.Writes, (*sloppy).Put, funnel.NoEvidence),
			},
		},
		Options: func(base string) string { return `{"URL":"` + base + `"}` },
		Secrets: []string{"t0ken-0f-notes"},
		Healthy: func(testing.TB) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":"7","text":"x"}`) })
		},
	}
}

// Each mistake is seen, and a client without one passes.
func TestHostileSeesMistakes(t *testing.T) {
	t.Parallel()
	for mistake, want := range map[string]string{
		"":                                "",
		"believes anything":               "a page called JSON: it succeeds",
		"calls a lost change unavailable": "code unavailable, want",
		"calls a lost look-up uncertain":  "code uncertain, want",
		"has no code":                     "no *funnel.Error",
		"quotes the body":                 "holds the credential",
		"ignores when to come back":       "does not say when it comes back",
		"repeats by itself":               "goes on after the exchange failed",
		"follows redirects":               "trap",
		"says nothing of a change before": "request 2",
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			h := sloppyIntegration(mistake)
			s := &spy{TB: t}
			trap := newTrap(t)
			defer trap.close()
			var attacks []attack
			for _, a := range h.Integration.Actions {
				attacks = append(attacks, h.rehearse(s, a.Spec())...)
			}
			for _, a := range attacks {
				for _, m := range misbehaviours(trap.address()) {
					if !m.slow && !m.heavy {
						h.play(s, a, m)
					}
				}
			}
			if trap.visits() > 0 {
				s.Errorf("trap: %d visits", trap.visits())
			}
			said := strings.Join(s.said, "\n")
			if (want == "") != (said == "") || !strings.Contains(said, want) {
				t.Errorf("it hears %q, want %q", fmt.Sprintf("%.2000s", said), want)
			}
		})
	}
}
