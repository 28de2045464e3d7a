package httpapi

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// RunView is a run without its steps.
type RunView struct {
	ID        string       `json:"id" doc:"The run's id" example:"42"`
	Address   string       `json:"address" doc:"Where the run with its steps is" example:"/api/v1/runs/42"`
	Event     string       `json:"event" doc:"The id of the event that it runs for" example:"17"`
	Kind      record.Kind  `json:"kind" enum:"playbook,tell,notify,call" doc:"A playbook's run, one that tells about another, or a call of one action"`
	Parent    string       `json:"parent,omitempty" doc:"The run that it tells about"`
	Playbook  string       `json:"playbook,omitempty" doc:"The playbook" example:"open_ticket"`
	State     record.State `json:"state" enum:"queued,running,waiting,succeeded,failed,cancelled" doc:"How it stands"`
	Step      string       `json:"step,omitempty" doc:"The path of the step that it stands at" example:"comment"`
	Steps     []string     `json:"failed_steps,omitempty" doc:"The paths of all steps that failed it, if several did"`
	Code      string       `json:"code,omitempty" doc:"Of a failure: what kind" example:"unauthorized"`
	Why       string       `json:"why,omitempty" doc:"Why it waits or failed"`
	Waits     *Waiting     `json:"waits,omitempty" doc:"Of a waiting run: what for"`
	CreatedAt time.Time    `json:"created_at" doc:"When it was made"`
	UpdatedAt time.Time    `json:"updated_at" doc:"When it last got on"`
	EndedAt   *time.Time   `json:"ended_at,omitempty" doc:"When it ended"`
}

// Waiting says what a run waits for.
type Waiting struct {
	For   string     `json:"for" enum:"connection,answer,ticket,turn,time" doc:"A connection that takes no calls, the answer of a connection that another run asks the same, a ticket that another run opens, its turn on something, or a point in time"`
	Name  string     `json:"name,omitempty" doc:"The connection" example:"jira"`
	Why   string     `json:"why,omitempty" doc:"Why the connection takes no calls"`
	Since *time.Time `json:"since,omitempty" doc:"Since when the run has not got on"`
	Until *time.Time `json:"until,omitempty" doc:"When it goes on; absent if nobody knows"`
}

// StepView is one step of a run.
type StepView struct {
	Path       string          `json:"path" doc:"Its name within the run" example:"comment"`
	Action     string          `json:"action" doc:"The action, or record or sleep" example:"jira.add_comment"`
	Connection string          `json:"connection,omitempty" doc:"The connection that it uses" example:"jira"`
	State      record.State    `json:"state" enum:"queued,running,waiting,succeeded,failed,cancelled,uncertain,skipped" doc:"How it stands"`
	Attempts   int             `json:"attempts" doc:"Tries that count; waiting does not"`
	Input      json.RawMessage `json:"input,omitempty" doc:"What it was called with"`
	Outcome    json.RawMessage `json:"outcome,omitempty" doc:"What it returned"`
	Code       string          `json:"code,omitempty" doc:"Of a failure: what kind" example:"not_found"`
	Error      string          `json:"error,omitempty" doc:"Why it failed or waits"`
	EffectKey  string          `json:"effect_key,omitempty" doc:"Names what it makes outside"`
	StartedAt  *time.Time      `json:"started_at,omitempty" doc:"When it began"`
	EndedAt    *time.Time      `json:"ended_at,omitempty" doc:"When it ended"`
	NextAt     *time.Time      `json:"next_at,omitempty" doc:"When it is tried or looked up again"`
	AskedAt    *time.Time      `json:"asked_at,omitempty" doc:"Of an outcome that is the answer to an earlier run: when that one asked. Absent: this run asked itself"`
	Seconds    *float64        `json:"seconds,omitempty" doc:"From begin to end, waits included"`
}

// EventView is an event without its data.
type EventView struct {
	ID          string             `json:"id" doc:"The event's id" example:"17"`
	Address     string             `json:"address" doc:"Where the event with its runs is" example:"/api/v1/events/17"`
	Source      string             `json:"source" doc:"The source that it came from" example:"splunk-prod"`
	Trigger     string             `json:"trigger" doc:"The trigger that decoded it" example:"splunk.alert"`
	Connection  string             `json:"connection,omitempty" doc:"The connection that it belongs to"`
	ReceivedAt  time.Time          `json:"received_at" doc:"When it came"`
	Disposition record.Disposition `json:"disposition" enum:"matched,unmatched,own,loop" doc:"Whether playbooks run for it"`
	CauseRun    string             `json:"cause_run,omitempty" doc:"The run whose effect it is"`
	CauseEvent  string             `json:"cause_event,omitempty" doc:"The event of that run"`
}

func viewRun(r record.Run) RunView {
	v := RunView{
		ID: formatID(r.ID), Address: runPath(r.ID), Event: formatID(r.EventID), Kind: r.Kind, Parent: optionalID(r.Parent),
		Playbook: r.Playbook, State: r.State, Code: r.Code, Why: r.Why, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, EndedAt: optional(r.FinishedAt),
	}
	steps := failedSteps(r.Step)
	if len(steps) > 0 {
		v.Step = steps[0]
	}
	if len(steps) > 1 {
		v.Steps = steps
	}
	return v
}

func viewStep(s record.Step) StepView {
	v := StepView{
		Path: s.Path, Action: s.Action, Connection: s.Connection, State: s.State, Attempts: s.Attempts,
		Input: asJSON(s.Input), Outcome: asJSON(s.Outcome), Code: s.Code, Error: s.Error, EffectKey: s.EffectKey,
		StartedAt: optional(s.StartedAt), EndedAt: optional(s.FinishedAt), NextAt: optional(s.NextAt), AskedAt: optional(s.AskedAt),
	}
	if v.StartedAt != nil && v.EndedAt != nil {
		took := s.FinishedAt.Sub(s.StartedAt).Seconds()
		v.Seconds = &took
	}
	return v
}

func viewEvent(e record.Event) EventView {
	return EventView{
		ID: formatID(e.ID), Address: eventPath(e.ID), Source: e.Source, Trigger: e.Trigger, Connection: e.Connection, ReceivedAt: e.ReceivedAt,
		Disposition: e.Disposition, CauseRun: optionalID(e.CauseRun), CauseEvent: optionalID(e.CauseEvent),
	}
}

// asJSON keeps an answer well formed, whatever a stored value holds.
func asJSON(b []byte) json.RawMessage {
	switch {
	case len(b) == 0:
		return nil
	case !json.Valid(b):
		text, _ := json.Marshal(string(b)) // a string is always encodable
		return text
	}
	return b
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func optionalID(id int64) string {
	if id == 0 {
		return ""
	}
	return formatID(id)
}

func formatID(id int64) string     { return strconv.FormatInt(id, 10) }
func eventPath(event int64) string { return "/api/v1/events/" + formatID(event) }
func runPath(run int64) string     { return "/api/v1/runs/" + formatID(run) }
