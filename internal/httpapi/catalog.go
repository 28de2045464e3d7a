package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
)

// Playbooks lists what the server can run.
type Playbooks struct {
	Playbooks []PlaybookView `json:"playbooks" doc:"By name"`
}

// PlaybookView is a playbook.
type PlaybookView struct {
	Name    string  `json:"name" doc:"The playbook's name" example:"open_ticket"`
	Summary string  `json:"summary" doc:"What it does"`
	Trigger string  `json:"trigger" doc:"What it runs for" example:"splunk.alert"`
	Saves   float64 `json:"saves_seconds,omitempty" doc:"What an analyst would have spent on it"`
}

// Integrations lists what the server can talk to.
type Integrations struct {
	Integrations []IntegrationView `json:"integrations" doc:"By name"`
}

// IntegrationView is an integration.
type IntegrationView struct {
	Name     string        `json:"name" doc:"The integration's name" example:"jira"`
	Summary  string        `json:"summary" doc:"What it is for"`
	Actions  []ActionView  `json:"actions" doc:"What it can do"`
	Triggers []TriggerView `json:"triggers" doc:"What it can hear"`
}

// ActionView is an action.
type ActionView struct {
	ID      string            `json:"id" doc:"The action's id" example:"jira.add_comment"`
	Summary string            `json:"summary" doc:"What it does"`
	Effect  funnel.Effect     `json:"effect" enum:"reads,writes,contains" doc:"What it does to the world"`
	Settle  funnel.Settlement `json:"settled_by,omitempty" enum:"find,upsert,no_evidence" doc:"How an unsure outcome is settled"`
}

// TriggerView is a trigger.
type TriggerView struct {
	ID      string `json:"id" doc:"The trigger's id" example:"splunk.alert"`
	Summary string `json:"summary" doc:"What it hears"`
}

type (
	nothing            struct{}
	playbooksAnswer    struct{ Body Playbooks }
	integrationsAnswer struct{ Body Integrations }
)

func (s *server) addCatalog() {
	add(s, huma.Operation{OperationID: "list-playbooks", Method: http.MethodGet, Path: "/api/v1/playbooks", Tags: []string{"catalog"}, Summary: "List playbooks"}, s.listPlaybooks)
	add(s, huma.Operation{OperationID: "list-integrations", Method: http.MethodGet, Path: "/api/v1/integrations", Tags: []string{"catalog"}, Summary: "List integrations with their actions and triggers"}, s.listIntegrations)
}

func (s *server) listPlaybooks(context.Context, *nothing) (*playbooksAnswer, error) {
	out := Playbooks{Playbooks: []PlaybookView{}}
	for _, p := range s.Registry.Playbooks() {
		out.Playbooks = append(out.Playbooks, PlaybookView{Name: p.Name, Summary: p.Summary, Trigger: p.Trigger.ID, Saves: p.Saves.Seconds()})
	}
	return &playbooksAnswer{out}, nil
}

func (s *server) listIntegrations(context.Context, *nothing) (*integrationsAnswer, error) {
	out := Integrations{Integrations: []IntegrationView{}}
	for _, in := range s.Registry.Integrations() {
		v := IntegrationView{Name: in.Name, Summary: in.Summary, Actions: []ActionView{}, Triggers: []TriggerView{}}
		for _, a := range in.Actions {
			spec := a.Spec()
			v.Actions = append(v.Actions, ActionView{ID: spec.ID, Summary: spec.Summary, Effect: spec.Effect, Settle: spec.Settle})
		}
		for _, t := range in.Triggers {
			v.Triggers = append(v.Triggers, TriggerView{ID: t.Spec().ID, Summary: t.Spec().Summary})
		}
		out.Integrations = append(out.Integrations, v)
	}
	return &integrationsAnswer{out}, nil
}
