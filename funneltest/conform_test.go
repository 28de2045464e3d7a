package funneltest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
)

type lampConfig struct {
	URL   string        `json:"url" doc:"Where it is"`
	Token funnel.Secret `json:"token" doc:"The token"`
}

type lamp struct{ http *http.Client }

type lampInput struct {
	Room string `json:"room" doc:"The room" example:"kitchen" pattern:"^[a-z]+$"`
}

type lampOutcome struct {
	On bool `json:"on" doc:"Whether it is on"`
}

func (l *lamp) Light(context.Context, lampInput) (lampOutcome, error) {
	return lampOutcome{On: true}, nil
}

func lampTrigger(decode func(funnel.Request) ([]funnel.Arrival[lampOutcome], error)) funnel.AnyTrigger {
	return funnel.NewTrigger("lamp.switched", "Somebody switched it.", decode)
}

// lamps returns an integration that conforms.
func lamps() funnel.Integration {
	return funnel.Integration{
		Name: "lamp", Summary: "Switches lamps.",
		Connect: funnel.Connect(func(_ context.Context, env funnel.Env, c lampConfig) (*lamp, error) {
			base, err := url.Parse(c.URL)
			if err != nil || base.Host == "" {
				return nil, funnel.Errorf(funnel.Invalid, "url is no address")
			}
			return &lamp{http: env.HTTP(base, func(http.Header) {})}, nil
		}),
		Actions:  []funnel.AnyAction{funnel.NewAction("lamp.get_light", "Tell whether a lamp is on.", funnel.Reads, (*lamp).Light)},
		Triggers: []funnel.AnyTrigger{lampTrigger(func(funnel.Request) ([]funnel.Arrival[lampOutcome], error) { return nil, funnel.Ignored("nothing") })},
		Docs:     map[string]string{"lamp.Light": "Light tells it."},
	}
}

func TestConformSeesFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*funnel.Integration)
		want  string
	}{
		"good":           {func(*funnel.Integration) {}, ""},
		"name":           {func(in *funnel.Integration) { in.Name = "Lamp" }, "the name is not"},
		"summary":        {func(in *funnel.Integration) { in.Summary = "switches lamps" }, "no sentence"},
		"limits":         {func(in *funnel.Integration) { in.Limits.Rate = 4 }, "limits make no sense"},
		"no doc comment": {func(in *funnel.Integration) { in.Docs = nil }, "doc comment of lamp.Light"},
		"nothing to settle": {func(in *funnel.Integration) {
			in.Actions = append(in.Actions, funnel.NewAction("lamp.set_light", "Set it.", funnel.Writes, (*lamp).Light))
		}, "cannot be registered"},
		"field without doc": {func(in *funnel.Integration) {
			type out struct {
				On bool `json:"on"`
			}
			in.Actions[0] = funnel.NewAction("lamp.get_light", "Tell.", funnel.Reads, func(*lamp, context.Context, lampInput) (out, error) { return out{}, nil })
		}, "field on has no doc tag"},
		"field's name": {func(in *funnel.Integration) {
			type out struct {
				On bool `json:"isOn" doc:"Whether"`
			}
			in.Actions[0] = funnel.NewAction("lamp.get_light", "Tell.", funnel.Reads, func(*lamp, context.Context, lampInput) (out, error) { return out{}, nil })
		}, `JSON name "isOn"`},
		"no example": {func(in *funnel.Integration) {
			type input struct {
				Room string `json:"room" doc:"The room"`
			}
			in.Actions[0] = funnel.NewAction("lamp.get_light", "Tell.", funnel.Reads, func(*lamp, context.Context, input) (lampOutcome, error) { return lampOutcome{}, nil })
		}, "has no example"},
		"wrong example": {func(in *funnel.Integration) {
			in.Actions[0] = funnel.NewAction("lamp.get_light", "Tell.", funnel.Reads, (*lamp).Light, funnel.Example(lampInput{Room: "Kitchen"}))
		}, "not of the pattern"},
		"secret as text": {func(in *funnel.Integration) {
			type config struct {
				URL   string `json:"url" doc:"Where"`
				Token string `json:"token" doc:"The token"`
			}
			in.Connect = funnel.Connect(func(context.Context, funnel.Env, config) (*lamp, error) { return &lamp{}, nil })
		}, "want a funnel.Secret"},
		"asks while connecting": {func(in *funnel.Integration) {
			in.Connect = funnel.Connect(func(ctx context.Context, env funnel.Env, c lampConfig) (*lamp, error) {
				base, err := url.Parse(c.URL)
				if err != nil {
					return nil, funnel.Errorf(funnel.Invalid, "url is no address")
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
				if err != nil {
					return nil, err
				}
				if res, err := env.HTTP(base, func(http.Header) {}).Do(req); err == nil {
					_ = res.Body.Close()
				}
				return &lamp{}, nil
			})
		}, "it asks GET"},
		"dials while connecting": {func(in *funnel.Integration) {
			in.Connect = funnel.Connect(func(ctx context.Context, env funnel.Env, _ lampConfig) (*lamp, error) {
				_, _ = env.Dial(ctx, "tcp", "lamp.example.com:1")
				return &lamp{}, nil
			})
		}, "it dials tcp"},
		"panics while connecting": {func(in *funnel.Integration) {
			in.Connect = funnel.Connect(func(_ context.Context, _ funnel.Env, c lampConfig) (*lamp, error) {
				if c.URL == "" {
					panic("no url")
				}
				return &lamp{}, nil
			})
		}, "connecting panics"},
		"tells the secret": {func(in *funnel.Integration) {
			in.Connect = funnel.Connect(func(_ context.Context, _ funnel.Env, c lampConfig) (*lamp, error) {
				if c.URL == "" {
					return nil, funnel.Errorf(funnel.Invalid, "no url for %s", c.Token.Reveal())
				}
				return &lamp{}, nil
			})
		}, "holds a secret"},
		"another client": {func(in *funnel.Integration) {
			in.Connect = funnel.Connect(func(context.Context, funnel.Env, lampConfig) (string, error) { return "", nil })
		}, "lamp.get_light takes"},
		"trigger panics": {func(in *funnel.Integration) {
			in.Triggers[0] = lampTrigger(func(r funnel.Request) ([]funnel.Arrival[lampOutcome], error) { _ = r.Body[0]; return nil, nil })
		}, "lamp.switched panics"},
		"trigger quotes": {func(in *funnel.Integration) {
			in.Triggers[0] = lampTrigger(func(r funnel.Request) ([]funnel.Arrival[lampOutcome], error) {
				return nil, funnel.Errorf(funnel.Invalid, "cannot read %s", r.Body)
			})
		}, "quotes the body"},
		"trigger's error has no code": {func(in *funnel.Integration) {
			in.Triggers[0] = lampTrigger(func(funnel.Request) ([]funnel.Arrival[lampOutcome], error) { return nil, io.EOF })
		}, "want invalid"},
	} {
		in := lamps()
		c.spoil(&in)
		s := &spy{TB: t}
		Conform(s, in, `{"url":"http://lamp.example.com","token":"l4mp-t0ken"}`)
		said := strings.Join(s.said, "\n")
		if (c.want == "") != (said == "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: it hears %q, want %q", name, said, c.want)
		}
	}
}
