package funnel

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"time"
)

// Playbook is a procedure that runs once for each event of its trigger.
type Playbook struct {
	Name    string
	Summary string
	Trigger *TriggerSpec
	// Saves is what an analyst would have spent on it by hand.
	Saves time.Duration

	run      func(*Run, []byte) error
	settings any
	tell     *Tell
}

// A PlaybookOption declares a property of a playbook.
type PlaybookOption func(*Playbook)

var stepName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// NewPlaybook describes a function as a playbook. It panics on a name that is
// not lower-case letters, digits, "_" and "-".
func NewPlaybook[E any](name, summary string, on Trigger[E], fn func(*Run, E) error, options ...PlaybookOption) *Playbook {
	if !stepName.MatchString(name) {
		panic(fmt.Sprintf("funnel: playbook name %q: want lower-case letters, digits, _ and -", name))
	}
	p := &Playbook{Name: name, Summary: summary, Trigger: on.spec}
	p.run = func(r *Run, event []byte) error {
		var e E
		if err := json.Unmarshal(event, &e); err != nil {
			return Errorf(Internal, "reading the stored event of trigger %s: %w", on.spec.ID, err)
		}
		return fn(r, e)
	}
	for _, set := range options {
		set(p)
	}
	return p
}

// Saves declares what an analyst would have spent on the playbook by hand.
func Saves(d time.Duration) PlaybookOption { return func(p *Playbook) { p.Saves = d } }

// Settings declares the playbook's settings with their defaults; SettingsOf
// reads them in a run, Playbook.CheckSettings checks the configured ones.
func Settings[S any](defaults S) PlaybookOption {
	return func(p *Playbook) { p.settings = defaults }
}

// SettingsType returns the type of the playbook's settings, nil if it has none.
func (p *Playbook) SettingsType() reflect.Type {
	if p.settings == nil {
		return nil
	}
	return reflect.TypeOf(p.settings)
}

// CheckSettings reports whether the configured settings, as JSON, fit.
func (p *Playbook) CheckSettings(settings []byte) error {
	if len(settings) == 0 {
		return nil
	}
	if p.settings == nil {
		return Errorf(Invalid, "playbook %s has no options", p.Name)
	}
	v := reflect.New(reflect.TypeOf(p.settings))
	if err := overlay(p.settings, settings, v.Interface()); err != nil {
		return err
	}
	if c, ok := v.Interface().(interface{ Validate() error }); ok {
		return c.Validate()
	}
	return nil
}

// overlay sets into to a copy of the defaults with the configured settings over
// them; maps of the defaults stay as they are.
func overlay(defaults any, settings []byte, into any) error {
	b, err := json.Marshal(defaults)
	if err != nil {
		return fmt.Errorf("copying the default settings: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("copying the default settings: %w", err)
	}
	return unmarshalStrict(settings, into)
}

// Run performs the playbook for the event on the run; engines call it.
func (p *Playbook) Run(r *Run, event []byte) error { return p.run(r, event) }

// Status is what there is to tell about a run that does not get on.
type Status struct {
	State    string    // waiting or failed
	Step     string    // the step that it stands at
	System   string    // the connection that it waits for, may be empty
	Why      string    // one sentence
	Until    time.Time // when it goes on; zero when nobody knows
	RunURL   string    // the run's address
	Revision int       // grows with every telling of the run
}

// Tell is how a run that waits or failed says so where the responder works.
type Tell struct {
	Action *ActionSpec
	Input  func(event []byte, s Status) (input []byte, tell bool, err error)
}

// Teller returns how the playbook tells, nil if it does not.
func (p *Playbook) Teller() *Tell { return p.tell }

// Tells declares that a run which waits long or fails says so by the action. fn
// returns false when there is nowhere to tell it.
func Tells[E, In, Out any](action Action[In, Out], fn func(E, Status) (In, bool)) PlaybookOption {
	return func(p *Playbook) {
		p.tell = &Tell{Action: action.spec, Input: func(event []byte, s Status) ([]byte, bool, error) {
			var e E
			if err := json.Unmarshal(event, &e); err != nil {
				return nil, false, fmt.Errorf("reading the stored event: %w", err)
			}
			in, ok := fn(e, s)
			if !ok {
				return nil, false, nil
			}
			b, err := json.Marshal(in)
			return b, err == nil, err
		}}
	}
}
