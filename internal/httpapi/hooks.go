package httpapi

import (
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
)

// Receipt says what became of a delivery.
type Receipt struct {
	Event   string         `json:"event,omitempty" doc:"The event's address; of a duplicate the first one's" example:"/api/v1/events/17"`
	ID      string         `json:"id,omitempty" doc:"The event's id" example:"17"`
	Verdict record.Verdict `json:"verdict" enum:"accepted,duplicate,evidence,ignored" doc:"What became of the delivery"`
	Runs    *int           `json:"runs,omitempty" doc:"How many playbooks run for an accepted event" example:"2"`
	Reason  string         `json:"reason,omitempty" doc:"Why the delivery was ignored"`
}

const hookPrefix = "POST /hooks/"

func isHook(pattern string) bool { return strings.HasPrefix(pattern, hookPrefix) }

// addHooks adds the addresses that outside systems deliver to. Huma does not
// serve them: who they are is decided on the raw bytes, before anything is
// parsed.
func (s *server) addHooks() {
	s.plain(hookOperation(s.api, "receive", "/hooks/{source}"), open, s.receive)
	s.plain(hookOperation(s.api, "receive-with-key", "/hooks/{source}/{key}", &huma.Param{
		Name: "key", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
		Description: "The source's secret, for senders that can set no header",
	}), open, s.receive)
}

func hookOperation(api huma.API, id, path string, more ...*huma.Param) huma.Operation {
	receipt := map[string]*huma.MediaType{"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Receipt](), true, "Receipt")}}
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{"hooks"},
		Summary:     "Deliver an event",
		Description: "The source authenticates the delivery by a secret in the path, a bearer token or a signature of the body, as it is configured. The answer comes after the event is on the disk.",
		Parameters: append([]*huma.Param{{
			Name: "source", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}, Description: "A configured source",
		}}, more...),
		RequestBody: &huma.RequestBody{Required: true, Description: "What the outside system sends; unknown fields are ignored", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}}},
		Responses: map[string]*huma.Response{
			"202": {Description: "Stored", Content: receipt, Headers: map[string]*huma.Param{"Location": {Description: "The event's address", Schema: &huma.Schema{Type: huma.TypeString}}}},
			"200": {Description: "Nothing new: a duplicate, evidence of an own effect, or not for the trigger", Content: receipt},
		},
		Errors: []int{
			http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
			http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable,
		},
	}
}

func (s *server) receive(w http.ResponseWriter, r *http.Request) {
	remote, here := s.caller(r)
	result, err := s.Intake.Receive(r.Context(), intake.Request{
		Source: r.PathValue("source"), Key: r.PathValue("key"), Header: r.Header,
		Remote: remote, Loopback: here, Body: r.Body, ContentLength: r.ContentLength,
	})
	if err != nil {
		s.refusal(err).write(w)
		return
	}
	receipt := Receipt{Verdict: result.Verdict, Reason: result.Reason}
	if result.EventID != 0 {
		receipt.ID = formatID(result.EventID)
		receipt.Event = eventPath(result.EventID)
	}
	status := http.StatusOK
	if result.Verdict == record.Accepted {
		status, receipt.Runs = http.StatusAccepted, &result.Runs
		w.Header().Set("Location", receipt.Event)
	}
	writeJSON(w, status, "application/json", receipt)
}

// refusal turns what the intake says into a problem.
func (s *server) refusal(err error) *Problem {
	var r *intake.Refusal
	if !errors.As(err, &r) {
		return s.fault("receiving a delivery", "error", err)
	}
	p := &Problem{Title: r.Title, Status: r.Status, Detail: r.Detail, retryAfter: r.RetryAfter}
	if r.Pointer != "" || r.Line > 0 {
		p.Faults = []Fault{{Location: "body", Message: r.Detail, Pointer: r.Pointer, Line: r.Line, Column: r.Column}}
	}
	return p
}
