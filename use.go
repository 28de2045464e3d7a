package funnel

import (
	"context"
	"reflect"
)

// Use is a name that a playbook's settings give to something in an outside system,
// such as the project that tickets are opened in. A type of settings declares them
// by a method Uses() []Use; the server asks the connections whether they exist, so
// that a misspelt name is found when the server starts and not by the first alert.
type Use struct {
	Setting     string   // where it stands: "issue_type", "priority.high"
	Integration string   // whose connections it is for: "jira"
	Kind        string   // what it names, in the integration's own words: "issue_type"
	Name        string   // the name; a use without one is none
	Within      []string // what it is a part of, outermost first: the project of an issue type
}

// Unmet is a use whose name the outside system does not have, or does not have as
// it is needed.
type Unmet struct {
	Use     Use
	Problem string   // what is wrong, as a sentence without a full stop
	Instead []string // the names that there are; empty if they do not help
}

// UseChecker is implemented by clients that can tell whether what playbooks name
// exists. An error means that the system could not be asked; what it does not have
// is in the list.
type UseChecker interface {
	CheckUses(ctx context.Context, uses []Use) ([]Unmet, error)
}

// Uses returns what the playbook's settings name in outside systems: its defaults
// overlaid with the configured ones, as JSON.
func (p *Playbook) Uses(settings []byte) ([]Use, error) {
	if p.settings == nil {
		return nil, nil
	}
	v := reflect.New(reflect.TypeOf(p.settings))
	if len(settings) == 0 {
		settings = []byte("{}")
	}
	if err := overlay(p.settings, settings, v.Interface()); err != nil {
		return nil, err
	}
	user, ok := v.Interface().(interface{ Uses() []Use })
	if !ok {
		return nil, nil
	}
	var uses []Use
	for _, u := range user.Uses() {
		if u.Name != "" {
			uses = append(uses, u)
		}
	}
	return uses, nil
}
