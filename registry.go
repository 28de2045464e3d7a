package funnel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Registry is the explicit list of what a server can do. There is no global
// one: a program makes its own and adds what it ships.
type Registry struct {
	integrations map[string]Integration
	actions      map[string]*ActionSpec
	triggers     map[string]*TriggerSpec
	playbooks    map[string]*Playbook
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		integrations: map[string]Integration{}, actions: map[string]*ActionSpec{},
		triggers: map[string]*TriggerSpec{}, playbooks: map[string]*Playbook{},
	}
}

// Add registers integrations. It panics on a duplicate, on an ID outside of the
// integration's name, and on an effect that does not say how an unsure outcome
// is settled: these are faults of the program and should stop it at start.
func (r *Registry) Add(integrations ...Integration) *Registry {
	for _, in := range integrations {
		mustBeNew(r.integrations, "integration", in.Name, in)
		for _, a := range in.Actions {
			s := a.Spec()
			mustBelong(in.Name, "action", s.ID)
			mustSettle(s)
			if in.Connect == nil {
				panic(fmt.Sprintf("funnel: integration %s has actions and no Connect", in.Name))
			}
			mustBeNew(r.actions, "action", s.ID, s)
		}
		for _, t := range in.Triggers {
			s := t.Spec()
			mustBelong(in.Name, "trigger", s.ID)
			mustBeNew(r.triggers, "trigger", s.ID, s)
		}
	}
	return r
}

// AddPlaybooks registers playbooks. It panics on a duplicate and on a trigger
// that is not registered.
func (r *Registry) AddPlaybooks(playbooks ...*Playbook) *Registry {
	for _, p := range playbooks {
		if r.triggers[p.Trigger.ID] != p.Trigger {
			panic(fmt.Sprintf("funnel: playbook %s starts on trigger %s, which is not registered", p.Name, p.Trigger.ID))
		}
		mustBeNew(r.playbooks, "playbook", p.Name, p)
	}
	return r
}

// Integration returns the integration of the name.
func (r *Registry) Integration(name string) (Integration, bool) {
	in, ok := r.integrations[name]
	return in, ok
}

// Action returns the action of the ID.
func (r *Registry) Action(id string) (*ActionSpec, bool) { s, ok := r.actions[id]; return s, ok }

// Trigger returns the trigger of the ID.
func (r *Registry) Trigger(id string) (*TriggerSpec, bool) { s, ok := r.triggers[id]; return s, ok }

// Playbook returns the playbook of the name.
func (r *Registry) Playbook(name string) (*Playbook, bool) { p, ok := r.playbooks[name]; return p, ok }

// Integrations returns all integrations by name.
func (r *Registry) Integrations() []Integration { return sorted(r.integrations) }

// Actions returns all actions by ID.
func (r *Registry) Actions() []*ActionSpec { return sorted(r.actions) }

// Triggers returns all triggers by ID.
func (r *Registry) Triggers() []*TriggerSpec { return sorted(r.triggers) }

// Playbooks returns all playbooks by name.
func (r *Registry) Playbooks() []*Playbook { return sorted(r.playbooks) }

func sorted[T any](m map[string]T) []T {
	list := make([]T, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[name])
	}
	return list
}

func mustBeNew[T any](m map[string]T, what, name string, v T) {
	if _, taken := m[name]; taken || name == "" {
		panic(fmt.Sprintf("funnel: %s %q is registered twice or has no name", what, name))
	}
	m[name] = v
}

func mustBelong(integration, what, id string) {
	if !strings.HasPrefix(id, integration+".") {
		panic(fmt.Sprintf("funnel: %s %s does not belong to integration %s", what, id, integration))
	}
}

func mustSettle(s *ActionSpec) {
	switch {
	case s.Effect != Reads && s.Settle == SettleNone:
		panic(fmt.Sprintf("funnel: action %s %s, but does not say how an unsure outcome is settled: add funnel.Find, funnel.Upsert or funnel.NoEvidence", s.ID, s.Effect))
	case s.Effect == Reads && s.Settle != SettleNone:
		panic(fmt.Sprintf("funnel: action %s only reads, so there is nothing to settle", s.ID))
	case s.Fresh != nil && s.Find == nil:
		panic(fmt.Sprintf("funnel: action %s declares funnel.Fresh without funnel.Find", s.ID))
	}
}
