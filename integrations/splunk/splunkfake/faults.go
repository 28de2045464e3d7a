package splunkfake

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Faults is how an API misbehaves. The first that is set counts; Latency comes on
// top.
type Faults struct {
	On         string // only on calls of this kind, see Call; empty: on all
	Times      int    // how many times; 0: until Misbehave is called again
	Down       bool   // breaks the connection without an answer
	Hang       bool   // takes the request and never answers
	Half       bool   // breaks the connection in the middle of the answer
	Drip       bool   // sends one byte after the other, for ever
	Huge       bool   // sends an answer that has no end
	Status     int    // answers with this status in Splunk's form
	RetryAfter string // the header of that answer
	HTML       int    // answers with this status and a page, as a proxy or a captive portal does
	Body       string // answers 200 with this body
	Latency    time.Duration
}

// Misbehave sets how the API misbehaves from now on; without arguments it behaves.
func (a *API) Misbehave(faults ...Faults) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = slices.Clone(faults)
}

// fault returns the fault for a kind of call.
func (a *API) fault(kind string) (Faults, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, f := range a.faults {
		if f.On != "" && f.On != kind {
			continue
		}
		if f.Times == 1 {
			a.faults = slices.Delete(a.faults, i, i+1)
		} else if f.Times > 1 {
			a.faults[i].Times--
		}
		return f, true
	}
	return Faults{}, false
}

// interfere answers, or does not, in place of the API if a fault is set.
func (a *API) interfere(w http.ResponseWriter, q request) bool {
	f, set := a.fault(q.kind())
	if !set {
		return false
	}
	ctx := q.Context()
	if f.Latency > 0 {
		timer := time.NewTimer(f.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return true
		}
	}
	const begin = `{"preview":false,"fields":[{"name":"user"}],"results":[{"user":"`
	flush := func(text string) error {
		_, err := io.WriteString(w, text)
		if f, ok := w.(http.Flusher); ok && err == nil {
			f.Flush()
		}
		return err
	}
	switch {
	case f.Down:
		panic(http.ErrAbortHandler) // net/http closes the connection
	case f.Hang:
		<-ctx.Done()
	case f.Half:
		w.Header().Set("Content-Length", "1000")
		_ = flush(begin)
		panic(http.ErrAbortHandler)
	case f.Drip:
		for flush("\n") == nil {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return true
			}
		}
	case f.Huge:
		err := flush(begin)
		for piece := strings.Repeat("x", 64<<10); err == nil; {
			err = flush(piece)
		}
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		fail(w, f.Status, "ERROR", "The fake was told to answer so")
	case f.HTML != 0:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.HTML)
		_ = flush("<!DOCTYPE html><title>Sign in</title><p>Please sign in to the network.</p>")
	case f.Body != "":
		w.Header().Set("Content-Type", "application/json")
		_ = flush(f.Body)
	default:
		return false
	}
	return true
}
