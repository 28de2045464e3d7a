package app

import (
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
)

// A source's connection is to the system that its trigger is about.
func TestConnectionOfAnotherSystem(t *testing.T) {
	t.Parallel()
	none := func(funnel.Request) ([]funnel.Arrival[struct{}], error) { return nil, nil }
	trigger := func(id string) funnel.AnyTrigger { return funnel.NewTrigger(id, "Something.", none) }
	one := probing()
	one.Triggers = []funnel.AnyTrigger{trigger("probe.seen")}
	r := funnel.NewRegistry().Add(one, funnel.Integration{Name: "other", Triggers: []funnel.AnyTrigger{trigger("other.seen")}})
	const text = "connections:\n  one: {integration: probe, options: {url: x}}\nsources:\n  s: {trigger: TRIGGER, connection: one, auth: {none: true}}\n"
	for id, want := range map[string]string{"probe.seen": "", "other.seen": "connection one is one of probe, and trigger other.seen belongs to another system"} {
		c, err := config.Parse("funnel.yaml", []byte(strings.ReplaceAll(text, "TRIGGER", id)))
		if err != nil {
			t.Fatal(err)
		}
		err = Check(c, r)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "funnel.yaml:4:")) {
			t.Errorf("%s: the error is %v, want %q", id, err, want)
		}
	}
}
