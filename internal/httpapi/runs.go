package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// RunsQuery narrows a list of runs.
type RunsQuery struct {
	State    string `query:"state" enum:"queued,running,waiting,succeeded,failed,cancelled" doc:"Only runs in this state; failed is Needs attention"`
	Playbook string `query:"playbook" maxLength:"64" doc:"Only runs of this playbook"`
	Event    string `query:"event" pattern:"^[1-9][0-9]{0,18}$" doc:"Only runs for this event"`
	Page
}

// Runs is a page of runs.
type Runs struct {
	Runs []RunView `json:"runs" doc:"The newest first"`
	Next string    `json:"next,omitempty" doc:"Ask for the next page with before=…; absent on the last"`
}

// RunDetail is a run with all that belongs to it.
type RunDetail struct {
	RunView
	For     EventView  `json:"event_summary" doc:"The event that it runs for"`
	Journal []StepView `json:"steps" doc:"Its steps in the order in which they began"`
}

// StepChoice names a step of a run.
type StepChoice struct {
	Step string `json:"step" minLength:"1" maxLength:"1000" doc:"The step's path" example:"comment"`
}

type (
	runsAnswer   struct{ Body Runs }
	runAnswer    struct{ Body RunDetail }
	runChanged   struct{ Body RunView }
	skipQuestion struct {
		ID
		Body StepChoice
	}
)

func (s *server) addRuns() {
	add(s, huma.Operation{OperationID: "list-runs", Method: http.MethodGet, Path: "/api/v1/runs", Tags: []string{"runs"}, Summary: "List runs"}, s.listRuns)
	add(s, huma.Operation{OperationID: "get-run", Method: http.MethodGet, Path: "/api/v1/runs/{id}", Tags: []string{"runs"}, Summary: "Get a run with its steps", Errors: []int{http.StatusNotFound}}, s.getRun)
	change := huma.Operation{Method: http.MethodPost, Tags: []string{"runs"}, Errors: []int{http.StatusNotFound, http.StatusConflict}, MaxBodyBytes: maxBody}
	op := func(id, path, summary, description string, check func(huma.Context, func(huma.Context))) huma.Operation {
		o := change
		o.OperationID, o.Path, o.Summary, o.Description = id, "/api/v1/runs/{id}/"+path, summary, description
		o.Middlewares, o.Errors = huma.Middlewares{check}, slices.Clone(change.Errors)
		return o
	}
	add(s, op("retry-run", "retry", "Retry a failed run", "It goes on from the steps that failed it, with fresh attempts. An effect whose outcome stayed unknown is made again.", strictly[Nothing]()), s.retryRun)
	add(s, op("skip-step", "skip", "Skip a step", "The step of a failed or waiting run gets an empty outcome, and the run goes on.", strictly[StepChoice]()), s.skipStep)
	add(s, op("cancel-run", "cancel", "Cancel a run", "A run that is being worked on ends before its next step.", strictly[Nothing]()), s.cancelRun)
}

func (s *server) listRuns(ctx context.Context, q *RunsQuery) (*runsAnswer, error) {
	page, err := q.ask()
	if err != nil {
		return nil, err
	}
	filter := store.RunFilter{State: record.State(q.State), Playbook: q.Playbook, Page: page}
	if q.Event != "" {
		if filter.Event, err = parseQueryID("event", q.Event); err != nil {
			return nil, err
		}
	}
	rows, err := s.Reader.Runs(ctx, filter)
	if err != nil {
		return nil, err
	}
	views, next := cut(rows, q.Limit, func(r record.Run) int64 { return r.ID }, s.runViewer(ctx))
	return &runsAnswer{Runs{Runs: views, Next: next}}, nil
}

func (s *server) getRun(ctx context.Context, in *ID) (*runAnswer, error) {
	run, err := s.run(ctx, *in)
	if err != nil {
		return nil, err
	}
	event, err := s.Reader.Event(ctx, run.EventID)
	if err != nil {
		return nil, err
	}
	steps, err := s.Reader.Steps(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	detail := RunDetail{RunView: s.runViewer(ctx)(run), For: viewEvent(event), Journal: make([]StepView, len(steps))}
	for i, step := range steps {
		detail.Journal[i] = viewStep(step)
	}
	return &runAnswer{detail}, nil
}

func (s *server) run(ctx context.Context, in ID) (record.Run, error) {
	id, err := in.number()
	if err != nil {
		return record.Run{}, err
	}
	return s.Reader.Run(ctx, id)
}

// runViewer returns how a run is shown; what connections say is asked at most
// once.
func (s *server) runViewer(ctx context.Context) func(record.Run) RunView {
	var status *Status
	return func(r record.Run) RunView {
		v := viewRun(r)
		if r.State != record.Waiting {
			return v
		}
		w := Waiting{For: "time", Since: optional(r.WaitSince), Until: optional(r.WakeAt)}
		kind, name, _ := strings.Cut(r.WaitOn, ":")
		switch kind {
		case "connection", "answer":
			if kind == "answer" { // its name is a hash
				name, _, _ = strings.Cut(name, "/")
			}
			w.For, w.Name, w.Until = kind, name, nil
			if status == nil {
				now := s.Status(ctx)
				status = &now
			}
			for _, c := range status.Connections {
				if c.Connection == name {
					w.Why, w.Until = c.Blocked, optional(c.BlockedUntil)
				}
			}
		case "ticket":
			w.For, w.Until = "ticket", nil
		case "serial":
			w.For, w.Until = "turn", nil
		}
		v.Waits = &w
		return v
	}
}

func (s *server) retryRun(ctx context.Context, in *ID) (*runChanged, error) {
	return s.change(ctx, *in, "retry", "only a failed run can be retried", s.Control.Retry)
}

func (s *server) cancelRun(ctx context.Context, in *ID) (*runChanged, error) {
	return s.change(ctx, *in, "cancel", "only a run that has not succeeded or been cancelled can be cancelled", s.Control.Cancel)
}

func (s *server) skipStep(ctx context.Context, in *skipQuestion) (*runChanged, error) {
	return s.change(ctx, in.ID, "skip", "only a step without an outcome of a failed or waiting run can be skipped", func(run int64) error {
		steps, err := s.Reader.Steps(ctx, run)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(steps, func(step record.Step) bool { return step.Path == in.Body.Step }) {
			return problem(http.StatusNotFound, "the run has no step of this path; its steps are at "+runPath(run), Fault{Location: "body.step", Message: "no such step"})
		}
		return s.Control.Skip(run, in.Body.Step)
	})
}

// change does what a person decided about a run, logs who it was, and returns
// the run as it then is.
func (s *server) change(ctx context.Context, in ID, what, only string, do func(run int64) error) (*runChanged, error) {
	run, err := s.run(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := do(run.ID); err != nil {
		p := s.explain(ctx, what+" of a run", err)
		if isState(err) {
			p = problem(http.StatusConflict, only+"; this one is "+string(run.State))
		}
		return nil, p
	}
	s.Log.Info("a person changed a run", "what", what, "run", run.ID, "who", principal(ctx))
	if run, err = s.Reader.Run(ctx, run.ID); err != nil {
		return nil, err
	}
	return &runChanged{s.runViewer(ctx)(run)}, nil
}

// failedSteps returns the steps that a run stands at: several branches may have
// failed.
func failedSteps(steps string) []string {
	if steps == "" {
		return nil
	}
	return strings.Split(steps, "\n")
}
