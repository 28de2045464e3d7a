package app

import (
	"cmp"
	"context"
	"errors"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
)

// usesKnower has all that it is asked about, or fails.
type usesKnower struct {
	asked int
	fails error
}

func (k *usesKnower) CheckUses(context.Context, []funnel.Use) ([]funnel.Unmet, error) {
	k.asked++
	return nil, k.fails
}

// door is a gate that is shut or tells with what its caller left.
type door struct {
	shut, left error
	entered    int
}

func (d *door) Enter(context.Context) (func(error), error) {
	if d.shut != nil {
		return nil, d.shut
	}
	d.entered++
	return func(err error) { d.left = err }, nil
}

// TestUsesPassTheGate: what playbooks name is asked for within the connection's
// limits, and how that ended is told to who keeps them.
func TestUsesPassTheGate(t *testing.T) {
	t.Parallel()
	shut, down := errors.New("shut"), errors.New("down")
	for _, c := range []struct {
		name        string
		shut, fails error
		asked       int
	}{{"open", nil, nil, 1}, {"shut", shut, nil, 0}, {"down", nil, down, 1}} {
		client, gate := &usesKnower{fails: c.fails}, &door{shut: c.shut}
		l := &link{Connection: engine.Connection{Client: client, Gate: gate}}
		_, err := l.checkUses(t.Context(), []use{{playbook: "p", Use: funnel.Use{Kind: "project", Name: "SIRT"}}})
		if client.asked != c.asked || gate.entered != c.asked || !errors.Is(err, cmp.Or(c.shut, c.fails)) || gate.left != c.fails {
			t.Errorf("%s: asked %d times, entered %d, left with %v: %v", c.name, client.asked, gate.entered, gate.left, err)
		}
	}
}
