package playbooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira"
)

// EnrichHost comments what the directory knows of the computers that the ticket is
// about: of its alert, or those that a person wrote. A ticket without any gets no
// comment.
var EnrichHost = funnel.NewPlaybook("enrich_host", "Comment what the computer is.", jira.IssueCreated, enrichHost,
	aboutHost().tells(), funnel.Settings(HostSettings{Most: 3}), funnel.Saves(3*time.Minute))

// HostSettings are the options of enrich_host.
type HostSettings struct {
	Most int `json:"most,omitempty" doc:"At most so many computers for one ticket, 1 to 20" example:"3"`
}

// Validate reports what is wrong with the settings.
func (s HostSettings) Validate() error {
	if s.Most < 1 || s.Most > 20 {
		return funnel.Errorf(funnel.Invalid, "most is %d, want 1 to 20", s.Most)
	}
	return nil
}

func aboutHost() enrichment {
	return enrichment{name: "enrich_host", title: "Host", asks: func(e jira.IssueEvent) bool { return len(hosts(e)) > 0 }}
}

func hosts(e jira.IssueEvent) []funnel.Observable {
	var list []funnel.Observable
	for _, o := range e.Observables.Observables {
		if o.Kind == funnel.Host {
			list = append(list, o)
		}
	}
	return list
}

func enrichHost(r *funnel.Run, e jira.IssueEvent) error {
	wanted := hosts(e)
	if len(wanted) == 0 {
		return nil
	}
	settings, err := funnel.SettingsOf(r, HostSettings{Most: 3})
	if err != nil {
		return err
	}
	left := max(len(wanted)-settings.Most, 0)
	x, blocks := aboutHost(), []funnel.Block{}
	err = funnel.Each(r, "look", wanted[:len(wanted)-left], keyOf, func(r *funnel.Run, o funnel.Observable) error {
		host, err := funnel.Step(r, "lookup", activedirectory.LookupHost, activedirectory.LookupHostInput{Host: o.Value})
		if err != nil {
			return err
		}
		name := funnel.Fixed(funnel.Data(clip(o.Value, maxValue)))
		switch {
		case r.Skipped("lookup"):
			blocks = append(blocks, x.unknown(name, funnel.Text(": not asked, a person skipped the look-up.")))
		case !host.Found:
			why := []funnel.Inline{funnel.Text("the directory has no computer "), name, funnel.Text(".")}
			if host.Why != "" {
				why = append(why, funnel.Text(" It says: "), funnel.Data(clip(host.Why, maxValue)))
			}
			blocks = append(blocks, x.unknown(why...))
		default:
			blocks = append(blocks, hostNote(host)...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if left > 0 {
		blocks = append(blocks, funnel.Paragraph(funnel.Text(fmt.Sprintf("%d more were not looked up: the playbook's limit for one ticket is reached.", left))))
	}
	return x.comment(r, e, blocks...)
}

func hostNote(h activedirectory.Host) []funnel.Block {
	name := h.Name
	if name == "" {
		name = h.DNSName
	}
	account := "disabled"
	switch {
	case unread(h.Unread, "userAccountControl"):
		account = "enabled or disabled: unknown"
	case h.Enabled:
		account = "enabled"
	}
	var f facts
	f.add("Full name", h.DNSName)
	f.add("System", strings.TrimSpace(h.System+" "+h.SystemVersion))
	f.add("Description", h.Description)
	f.add("Location", h.Location)
	f.add("Managed by", manager(h.ManagedBy))
	f.put("Account state", funnel.Text(account))
	f.lastLogon(h.LastLogon, h.LastLogonLag, h.Unread)
	f.when("Password set", h.PasswordSet, " (a computer in use changes it every 30 days)")
	f.when("Joined", h.Created, "")
	f.add("Unit", h.Unit)
	f.list("Groups", h.Groups, h.GroupsTotal)
	f.list("Services", h.SPNs, h.SPNsTotal)
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text("Host: "), funnel.Data(clip(name, maxValue)))}
	var mind []string
	if h.DomainController {
		mind = append(mind, "it is a domain controller")
	} else if len(h.Privileged) > 0 {
		mind = append(mind, power(h.Privileged))
	}
	if account == "disabled" {
		mind = append(mind, "its account is disabled")
	}
	blocks = append(blocks, warning(mind)...)
	return append(append(blocks, f.table()), limits(h.Unread, h.MoreGroups)...)
}
