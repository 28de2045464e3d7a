package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/schema"
)

// Caller performs actions as runs of one step.
type Caller interface {
	// Call returns the run once it is journalled. An error of code Invalid is the
	// caller's fault.
	Call(engine.Call) (run int64, err error)
	// Draining reports whether the server stops, so that no run goes on.
	Draining() bool
}

// Bounds of a call: the size of its input in bytes, and how long its caller may
// wait for the outcome.
const (
	maxInput    = 1 << 20
	defaultWait = 20 * time.Second
	maxWait     = 60 * time.Second
	maxKey      = 200
)

// addActions adds an address for every action of the registry. Huma does not
// serve them, for it validates only what it knows the Go type of when it is
// compiled; its validator is called here instead.
func (s *server) addActions() {
	for _, in := range s.Registry.Integrations() {
		for _, a := range in.Actions {
			c := s.newCallable(in, a.Spec())
			s.plain(c.operation(), guarded, c.serve)
		}
	}
}

// callable is an action with an address.
type callable struct {
	s      *server
	in     funnel.Integration
	action *funnel.ActionSpec
	input  *huma.Schema
	output *huma.Schema
}

func (s *server) newCallable(in funnel.Integration, action *funnel.ActionSpec) *callable {
	schemas := s.api.OpenAPI().Components.Schemas
	c := &callable{
		s: s, in: in, action: action,
		input:  schemas.Schema(action.Input, true, action.ID+".Input"),
		output: schemas.Schema(action.Output, true, action.ID+".Outcome"),
	}
	for t, schema := range map[reflect.Type]*huma.Schema{action.Input: c.input, action.Output: c.output} {
		if named := schemas.SchemaFromRef(schema.Ref); named != nil && named.Description == "" {
			named.Description = in.Doc(t.Name())
		}
	}
	return c
}

// operation describes the address. All of it comes from the action itself.
func (c *callable) operation() huma.Operation {
	outcome := map[string]*huma.MediaType{"application/json": {Schema: c.output}}
	run := c.s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[RunView](), true, "RunView")
	location := map[string]*huma.Param{"Location": {Description: "The run's address", Schema: &huma.Schema{Type: huma.TypeString}}}
	lowest, highest := float64(0), maxWait.Seconds()
	most := maxKey
	var anew []*huma.Param
	if c.action.Lookup != nil {
		anew = append(anew, &huma.Param{Name: "fresh", In: "query", Description: "Ask even if the answer to an earlier run is at hand", Schema: &huma.Schema{Type: huma.TypeBoolean, Default: false}})
	}
	op := huma.Operation{
		OperationID: c.action.ID, Method: http.MethodPost, Path: "/api/v1/actions/" + c.action.ID, Tags: []string{c.in.Name},
		Summary: c.action.Summary, Description: c.describe(),
		Parameters: []*huma.Param{
			{Name: "connection", In: "query", Description: "The connection to use; may be left out if there is only one of " + c.in.Name, Schema: &huma.Schema{Type: huma.TypeString}},
			{Name: "wait", In: "query", Description: "How many seconds to wait for the outcome; 0 answers 202 at once", Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: &lowest, Maximum: &highest, Default: int(defaultWait.Seconds())}},
			{Name: "Idempotency-Key", In: "header", Description: "Makes repeats of this call safe: the same key and input get the first call's run", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most}},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: c.input}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "The outcome", Content: outcome, Headers: location},
			"202": {Description: "Journalled, and not done yet: the run's address tells how it stands", Content: map[string]*huma.MediaType{"application/json": {Schema: run}}, Headers: location},
		},
		Errors: []int{
			http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusBadGateway,
		},
	}
	op.Parameters = append(op.Parameters, anew...)
	if example, ok := Example(c.action); ok {
		op.RequestBody.Content["application/json"].Example = example
	}
	return op
}

func (c *callable) describe() string {
	text := c.in.Doc(c.action.Method)
	if text != "" {
		text += "\n\n"
	}
	text += "Effect: " + string(c.action.Effect) + "."
	if c.action.Lookup != nil {
		text += " The answer is shared: runs that ask the same of a connection get one answer, for as long as the connection's limits say. The step tells when it was asked for."
	}
	switch c.action.Settle {
	case funnel.SettleByFind:
		text += " If its answer is lost, it is looked up before anything is repeated."
	case funnel.SettleByUpsert:
		text += " If its answer is lost, it is repeated, which is harmless."
	case funnel.SettleByEvidence:
		text += " If its answer is lost, it is not repeated: a person decides."
	}
	return text
}

// serve performs the action as a run and waits for its outcome.
func (c *callable) serve(w http.ResponseWriter, r *http.Request) {
	call, wait, p := c.read(w, r)
	if p != nil {
		p.write(w)
		return
	}
	run, err := c.s.Caller.Call(call)
	if err != nil {
		c.s.refuseCall(r.Context(), err).write(w)
		return
	}
	w.Header().Set("Location", runPath(run))
	// The server's own time limit for writing is shorter than a long wait.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + 10*time.Second))
	ended, err := c.s.await(r.Context(), run, wait)
	if err != nil {
		c.s.explain(r.Context(), "waiting for a call", err).write(w)
		return
	}
	c.s.answerCall(r.Context(), w, ended)
}

// read takes the request apart: query, headers, body.
func (c *callable) read(w http.ResponseWriter, r *http.Request) (call engine.Call, wait time.Duration, p *Problem) {
	if c.action.Effect == funnel.Contains {
		return call, 0, problem(http.StatusForbidden, c.action.ID+" contains something and needs a person's approval, which a direct call has not")
	}
	wait = defaultWait
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return call, 0, problem(http.StatusBadRequest, "the query cannot be read", Fault{Location: "query", Message: "it is not of the form a=1&b=2, percent-encoded"})
	}
	call = engine.Call{Action: c.action, By: principal(r.Context())}
	for name, values := range query {
		if len(values) > 1 {
			return call, 0, problem(http.StatusBadRequest, "the query is ambiguous", Fault{Location: "query", Message: "a parameter is sent more than once"})
		}
		switch name {
		case "connection":
			call.Connection = values[0]
		case "wait":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 0 || n > int(maxWait.Seconds()) {
				return call, 0, problem(http.StatusUnprocessableEntity, "the request is not as /openapi.json describes it",
					Fault{Location: "query.wait", Message: fmt.Sprintf("want a whole number of seconds from 0 to %d", int(maxWait.Seconds()))})
			}
			wait = time.Duration(n) * time.Second
		case "fresh":
			if call.Anew, err = strconv.ParseBool(values[0]); err != nil || c.action.Lookup == nil {
				return call, 0, problem(http.StatusUnprocessableEntity, "the request is not as /openapi.json describes it",
					Fault{Location: "query.fresh", Message: "want true or false, and an action whose answers are shared"})
			}
		default:
			return call, 0, problem(http.StatusUnprocessableEntity, "the request is not as /openapi.json describes it", Fault{Location: "query", Message: "unknown query parameter"})
		}
	}
	if call.Key, p = idempotencyKey(r.Header); p != nil {
		return call, 0, p
	}
	if err := schema.MediaType(r.Header); err != nil {
		return call, 0, malformed(err)
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInput))
	if err != nil {
		return call, 0, unread(err)
	}
	call.Input, p = c.check(raw)
	return call, wait, p
}

func idempotencyKey(h http.Header) (string, *Problem) {
	keys := h.Values("Idempotency-Key")
	if len(keys) == 0 {
		return "", nil
	}
	if len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxKey {
		return "", problem(http.StatusBadRequest, "the key cannot be used", Fault{Location: "header.Idempotency-Key", Message: fmt.Sprintf("want one key of 1 to %d characters", maxKey)})
	}
	return keys[0], nil
}

// check returns the input in its canonical form, or what is wrong with it where.
func (c *callable) check(raw []byte) ([]byte, *Problem) {
	input := reflect.New(c.action.Input)
	limits := schema.Limits{Bytes: maxInput, Depth: 16, Nodes: 20_000}
	if err := schema.DecodeInto(raw, limits, false, input.Interface()); err != nil {
		return nil, malformed(err)
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		return nil, malformed(err)
	}
	var res huma.ValidateResult
	huma.Validate(c.s.api.OpenAPI().Components.Schemas, c.input, huma.NewPathBuffer([]byte("body"), 4), huma.ModeWriteToServer, plain, &res)
	if len(res.Errors) > 0 {
		p := problem(http.StatusUnprocessableEntity, "the input does not fit "+c.action.ID)
		for _, err := range res.Errors {
			var d *huma.ErrorDetail
			if errors.As(err, &d) {
				p.Faults = append(p.Faults, faultOf(d))
			}
		}
		return nil, p
	}
	canonical, err := json.Marshal(input.Interface())
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, "the input does not fit "+c.action.ID)
	}
	return canonical, nil
}

func (s *server) refuseCall(ctx context.Context, err error) *Problem {
	var e *funnel.Error
	switch {
	case errors.Is(err, engine.ErrKeyReused):
		return problem(http.StatusUnprocessableEntity, err.Error(), Fault{Location: "header.Idempotency-Key", Message: "used before with another action, connection or input"})
	case errors.As(err, &e) && e.Code == funnel.Invalid:
		return problem(http.StatusUnprocessableEntity, e.Error(), Fault{Location: "query.connection", Message: "no such connection"})
	}
	return s.explain(ctx, "calling an action", err)
}

// await returns the run when it has ended, or as it is when the wait is over.
func (s *server) await(ctx context.Context, id int64, wait time.Duration) (record.Run, error) {
	end := time.NewTimer(wait)
	defer end.Stop()
	pause := 2 * time.Millisecond
	for {
		run, err := s.Reader.Run(ctx, id)
		if err != nil || !run.State.Live() || wait == 0 || s.Caller.Draining() {
			return run, err
		}
		next := time.NewTimer(pause)
		select {
		case <-next.C:
		case <-end.C:
			next.Stop()
			return s.Reader.Run(ctx, id)
		case <-ctx.Done():
			next.Stop()
			return run, ctx.Err()
		}
		pause = min(pause*3/2, 250*time.Millisecond)
	}
}

// answerCall tells how a call ended, or that it has not.
func (s *server) answerCall(ctx context.Context, w http.ResponseWriter, run record.Run) {
	switch run.State {
	case record.Succeeded:
		outcome, err := s.outcome(ctx, run.ID)
		if err != nil {
			s.explain(ctx, "reading the outcome of a call", err).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(append(bytes.TrimSpace(outcome), '\n'))
	case record.Failed:
		p := problem(failedStatus(funnel.Code(run.Code)), run.Why)
		p.Code, p.Run = run.Code, runPath(run.ID)
		p.write(w)
	case record.Cancelled:
		p := problem(http.StatusConflict, "the run was cancelled")
		p.Run = runPath(run.ID)
		p.write(w)
	default:
		writeJSON(w, http.StatusAccepted, "application/json", s.runViewer(ctx)(run))
	}
}

func (s *server) outcome(ctx context.Context, run int64) ([]byte, error) {
	steps, err := s.Reader.Steps(ctx, run)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		if step.Path == engine.CallStep && step.State == record.Succeeded {
			return asJSON(step.Outcome), nil
		}
	}
	return []byte("null"), nil // a person skipped it
}

// failedStatus returns the status for a call that failed for good.
func failedStatus(code funnel.Code) int {
	switch code {
	case funnel.Invalid:
		return http.StatusUnprocessableEntity
	case funnel.NotFound:
		return http.StatusNotFound
	case funnel.Conflict:
		return http.StatusConflict
	case funnel.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusBadGateway // the outside system refused, or did not answer often enough
}
