package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
)

// Check reports all that does not fit between the configuration and what the
// registry offers, each with its place in the file. It reads no secret and
// contacts nobody; of files it reads those with certificate authorities.
func Check(c *config.Config, r *funnel.Registry) error {
	var errs config.Errors
	report := func(err error) {
		var many config.Errors
		var one *config.Error
		switch {
		case errors.As(err, &many):
			errs = append(errs, many...)
		case errors.As(err, &one):
			errs = append(errs, one)
		}
	}
	for name, conn := range c.Connections {
		in, ok := r.Integration(conn.Integration)
		if !ok || in.Connect == nil {
			report(c.ErrorAt("/connections/"+name+"/integration", fmt.Sprintf("there is no integration %q to connect to", conn.Integration), hint(conn.Integration, "integrations", connectable(r))))
			continue
		}
		if err := conn.Options.Check(in.Connect.Config); err != nil {
			report(err)
		}
		if _, err := rootCAs(conn.CAFile); err != nil {
			report(c.ErrorAt("/connections/"+name+"/tls/ca_file", err.Error(), ""))
		}
	}
	for name, s := range c.Sources {
		for _, id := range s.Triggers {
			switch trigger, ok := r.Trigger(id); {
			case !ok:
				report(c.ErrorAt("/sources/"+name+"/trigger", fmt.Sprintf("there is no trigger %q", id), hint(id, "triggers", triggers(r))))
			case trigger.NeedsAccount && s.Connection == "":
				report(c.ErrorAt("/sources/"+name, fmt.Sprintf("trigger %s needs a connection: without our own account there, what Funnel does itself would start runs without end", id), "add connection: and the name of one that stands under connections"))
			}
		}
		if _, ok := c.Connections[s.Connection]; s.Connection != "" && !ok {
			report(c.ErrorAt("/sources/"+name+"/connection", fmt.Sprintf("there is no connection %q", s.Connection), "name one that stands under connections"))
		}
		// The triggers of a source are all of one integration.
		if conn, ok := c.Connections[s.Connection]; ok && len(s.Triggers) > 0 && conn.Integration != integrationOf(s.Triggers[0]) {
			report(c.ErrorAt("/sources/"+name+"/connection", fmt.Sprintf("connection %s is one of %s, and trigger %s belongs to another system", s.Connection, conn.Integration, s.Triggers[0]), "name a connection of "+integrationOf(s.Triggers[0])+", or remove the line"))
		}
		if s.Reconcile.Every > 0 && !readable(r, s.Triggers) {
			report(c.ErrorAt("/sources/"+name+"/reconcile", fmt.Sprintf("what trigger %s is told cannot be read afterwards", strings.Join(s.Triggers, ", ")), "remove it"))
		}
		if !s.Options.IsEmpty() {
			report(s.Options.ErrorAt("", fmt.Sprintf("trigger %s has no options", strings.Join(s.Triggers, ", ")), "remove them"))
		}
	}
	for name, p := range c.Playbooks {
		book, ok := r.Playbook(name)
		if !ok {
			report(c.ErrorAt("/playbooks/"+name, fmt.Sprintf("there is no playbook %q", name), hint(name, "playbooks", playbookNames(r))))
			continue
		}
		raw, err := p.Options.JSON(nil)
		if err != nil {
			report(err)
			continue
		}
		if p.Options.IsEmpty() {
			continue
		}
		if t := book.SettingsType(); t != nil {
			if err := p.Options.Check(t); err != nil {
				report(err)
				continue
			}
		}
		if err := book.CheckSettings(raw); err != nil {
			report(p.Options.ErrorAt("", err.Error(), ""))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	slices.SortStableFunc(errs, func(a, b *config.Error) int { return a.Line - b.Line })
	return errs
}

// readable reports whether one of the triggers can read what was told.
func readable(r *funnel.Registry, triggers []string) bool {
	return slices.ContainsFunc(triggers, func(id string) bool {
		t, ok := r.Trigger(id)
		return ok && t.Reader != nil
	})
}

// integrationOf returns the integration that a trigger is named after.
func integrationOf(trigger string) string {
	name, _, _ := strings.Cut(trigger, ".")
	return name
}

// hint suggests what was meant, or lists what there is.
func hint(word, what string, names []string) string {
	if near := config.Suggest(word, names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return fmt.Sprintf("the %s are: %s", what, strings.Join(names, ", "))
}

func connectable(r *funnel.Registry) (names []string) {
	for _, in := range r.Integrations() {
		if in.Connect != nil {
			names = append(names, in.Name)
		}
	}
	return names
}

func triggers(r *funnel.Registry) (names []string) {
	for _, t := range r.Triggers() {
		names = append(names, t.ID)
	}
	return names
}

func playbookNames(r *funnel.Registry) (names []string) {
	for _, p := range r.Playbooks() {
		names = append(names, p.Name)
	}
	return names
}
