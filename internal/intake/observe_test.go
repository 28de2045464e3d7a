package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/observables"
	"github.com/funnelsec/funnel/internal/store"
)

// told is an event with observables, and with text that says more.
type told struct {
	Print string `json:"print"`
	funnel.Observables
}

func decodeTold(r funnel.Request) ([]funnel.Arrival[told], error) {
	var v struct{ Src, Text string }
	if err := json.Unmarshal(r.Body, &v); err != nil {
		return nil, err
	}
	if !slices.Contains(r.Text, "text") {
		v.Text = ""
	}
	e := told{Observables: funnel.Observables{Observables: []funnel.Observable{{Kind: funnel.IP, Value: v.Src, Field: "src"}}}}
	e.Print = funnel.Fingerprint(e.Observables.Observables[0].Identity())
	return []funnel.Arrival[told]{{Event: e, Text: v.Text}}, nil
}

// What an event's text names is stored with the event behind what its fields
// name, and what is ours is marked, or left out if only the text names it. The
// fingerprint stays what the decoder made of the fields.
func TestObservablesOfText(t *testing.T) {
	t.Parallel()
	s, err := store.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	source := intake.Source{Name: "s", Triggers: []*funnel.TriggerSpec{funnel.NewTrigger("test.told", "A tale.", decodeTold).Spec()}, Auth: intake.None(), MaxBody: 64 << 10, Text: []string{"text"}}
	silent := source
	silent.Name, silent.Text = "silent", []string{}
	in := intake.New(intake.Options{
		Inbox: s, Log: slog.New(slog.DiscardHandler), Sources: []intake.Source{source, silent}, Match: func(string) []string { return nil }, Wake: func(...int64) {},
		Observe: observables.NewOurs([]string{"corp.example.com"}, nil).Observe,
	})
	const body = `{"src":"10.0.0.7","text":"10.0.0.8 asked hxxp://evil[.]example.net/x for pc.corp.example.com, too"}`
	for name, want := range map[string]string{
		"s":      "[{ip 10.0.0.7 src true} {url http://evil.example.net/x text false}]",
		"silent": "[{ip 10.0.0.7 src true}]",
	} {
		result, err := in.Receive(context.Background(), request(name, body))
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Event(context.Background(), result.EventID)
		if err != nil {
			t.Fatal(err)
		}
		var e told
		if err := json.Unmarshal(stored.Data, &e); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(e.Observables.Observables); got != want {
			t.Errorf("source %s: the event has %s, want %s", name, got, want)
		}
		if e.Print != funnel.Fingerprint("ip=10.0.0.7") {
			t.Errorf("source %s: the fingerprint changed", name)
		}
	}
}
