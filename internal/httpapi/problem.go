package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/schema"
)

// Problem is the body of every error (RFC 9457). It holds no value of the
// request and nothing of the server's inside.
type Problem struct {
	Title  string  `json:"title" doc:"What kind of problem it is" example:"Conflict"`
	Status int     `json:"status" doc:"The HTTP status" example:"409"`
	Detail string  `json:"detail,omitempty" doc:"What is wrong here and what to do" example:"only a failed run can be retried"`
	ID     string  `json:"id,omitempty" doc:"Names the entry in the server's log, of a fault of the server"`
	Code   string  `json:"code,omitempty" doc:"Of an action that failed: what kind" enum:"invalid,not_found,conflict,unauthorized,throttled,unavailable,uncertain,internal"`
	Run    string  `json:"run,omitempty" doc:"Of an action that failed: the address of its run" example:"/api/v1/runs/42"`
	Faults []Fault `json:"errors,omitempty" doc:"The single faults of the request"`

	retryAfter time.Duration
	header     http.Header
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Location string `json:"location,omitempty" doc:"The part of the request" example:"query.limit"`
	Message  string `json:"message" doc:"What is wrong there" example:"expected number <= 200"`
	Pointer  string `json:"pointer,omitempty" doc:"The place in the body, as a JSON pointer (RFC 6901)"`
	Line     int    `json:"line,omitempty" doc:"Line in the body, from 1"`
	Column   int    `json:"column,omitempty" doc:"Column in the body in characters, from 1"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status, for Huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType names the media type of problems, for Huma.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders returns the headers that belong to the problem, for Huma.
func (p *Problem) GetHeaders() http.Header {
	h := p.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	return h
}

const problemType = "application/problem+json"

func problem(status int, detail string, faults ...Fault) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail, Faults: faults}
}

// write sends the problem to callers that Huma does not answer.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	writeJSON(w, p.Status, problemType, p)
}

func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the caller has gone: there is nobody to tell
}

// explain turns an error of ours into words for the caller. What it does not
// know goes to the log and is called a fault of the server.
func (s *server) explain(ctx context.Context, what string, err error) *Problem {
	var p *Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, record.ErrNotFound):
		return problem(http.StatusNotFound, "there is nothing of this id")
	case errors.Is(err, engine.ErrBusy):
		return problem(http.StatusConflict, "the run is being worked on; try again when it waits or has ended")
	case errors.Is(err, record.ErrState):
		return problem(http.StatusConflict, "the run's state does not allow it")
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return problem(http.StatusRequestTimeout, "answering takes too long; ask for less")
	}
	return s.fault(what, "error", err)
}

// fault logs what went wrong under an id and returns a problem that tells the
// id and nothing else.
func (s *server) fault(what string, attrs ...any) *Problem {
	p := problem(http.StatusInternalServerError, "the server failed; its log tells more under the id")
	p.ID = rand.Text()[:12]
	s.Log.Error(what, append([]any{"id", p.ID}, attrs...)...)
	return p
}

// sanitize replaces the errors that Huma makes itself: they echo values, and
// one that it does not expect would tell the server's inside.
func (s *server) sanitize(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	if e.Status >= http.StatusInternalServerError {
		p := s.fault("answering "+ctx.Operation().OperationID, "detail", e.Detail, "errors", e.Errors)
		p.Status, p.Title = e.Status, e.Title
		return p, nil
	}
	p := problem(e.Status, "the request is not as /openapi.json describes it")
	for _, d := range e.Errors {
		if d == nil {
			continue
		}
		p.Faults = append(p.Faults, faultOf(d))
	}
	return p, nil
}

// faultOf says what Huma's validation found, in words for people who do not know
// Go, with a place in the body and without the caller's text.
func faultOf(d *huma.ErrorDetail) Fault {
	f := Fault{Location: d.Location, Message: d.Message}
	switch {
	case d.Message == "unknown query parameter": // its location is the caller's text
		f.Location = "query"
	case strings.HasPrefix(d.Message, "invalid date/time for format"): // the format is Go's
		f.Message = "want a time such as 2026-11-23T00:00:00Z (RFC 3339); write a + in it as %2B"
	case strings.HasPrefix(d.Message, "expected string to be "): // what follows a colon quotes the value
		f.Message, _, _ = strings.Cut(d.Message, ": ")
	}
	if name, ok := strings.CutPrefix(f.Message, "expected required property "); ok {
		if name, ok = strings.CutSuffix(name, " to be present"); ok {
			f.Location += "." + name
		}
	}
	f.Pointer = pointerOf(f.Location)
	return f
}

var bodyPath = regexp.MustCompile(`^body((\.[A-Za-z0-9_-]+|\[[0-9]+\])+)$`)

// pointerOf turns "body.list[3].name" into "/list/3/name", "" if it is nothing of
// the kind.
func pointerOf(location string) string {
	m := bodyPath.FindStringSubmatch(location)
	if m == nil {
		return ""
	}
	return strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(m[1])
}

// mostKnown is how many known keys an answer lists at most.
const mostKnown = 20

// malformed explains what the strict decoder refused.
func malformed(err error) *Problem {
	var media *schema.MediaTypeError
	if errors.As(err, &media) {
		return problem(http.StatusUnsupportedMediaType, media.What, Fault{Location: "header." + media.Header, Message: media.What})
	}
	var syntax *schema.SyntaxError
	if !errors.As(err, &syntax) {
		return problem(http.StatusBadRequest, "the body cannot be read")
	}
	status := http.StatusBadRequest
	switch syntax.Kind {
	case schema.TooLarge:
		status = http.StatusRequestEntityTooLarge
	case schema.WrongShape:
		status = http.StatusUnprocessableEntity
	}
	what := syntax.What
	if n := len(syntax.Known); n > 0 && n <= mostKnown {
		what += "; known are " + strings.Join(syntax.Known, ", ")
	}
	return problem(status, "the body cannot be accepted",
		Fault{Location: "body", Message: what, Pointer: syntax.Path, Line: syntax.Line, Column: syntax.Column})
}

// unread explains why a body could not be read.
func unread(err error) *Problem {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return problem(http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(large.Limit, 10)+" bytes")
	}
	return problem(http.StatusBadRequest, "the body ended early or came too slowly")
}

func isState(err error) bool { return errors.Is(err, record.ErrState) }
