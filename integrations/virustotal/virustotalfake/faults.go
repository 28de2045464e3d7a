package virustotalfake

import (
	"io"
	"net/http"
	"time"
)

// interfere answers, or does not, in place of the server if a fault is set.
func (f Faults) interfere(w http.ResponseWriter, r *http.Request) bool {
	if f.Latency > 0 {
		timer := time.NewTimer(f.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		}
	}
	kind, _ := asked(r.URL.Path)
	switch {
	case f.Down:
		panic(http.ErrAbortHandler) // net/http closes the connection
	case f.Hang:
		<-r.Context().Done()
	case f.Status != 0:
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		fail(w, f.Status, errorCode(f.Status), "The fake was told to answer so")
	case f.HTML200:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>Sign in</title><p>Please sign in to the network.</p>")
	case f.MalformedJSON:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data": {"type": "`+kind+`", "attributes": {"last_analysis_stats": {"mali`)
	case f.WrongTypes:
		write(w, http.StatusOK, map[string]any{"data": map[string]any{"type": kind, "attributes": map[string]any{
			"last_analysis_stats": map[string]any{"malicious": "many"}, "size": "big",
		}}})
	default:
		return false
	}
	return true
}

// errorCode returns VirusTotal's error code that goes with a status.
func errorCode(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BadRequestError"
	case http.StatusUnauthorized:
		return "WrongCredentialsError"
	case http.StatusForbidden:
		return "ForbiddenError"
	case http.StatusNotFound:
		return "NotFoundError"
	case http.StatusTooManyRequests:
		return "TooManyRequestsError"
	case http.StatusGatewayTimeout:
		return "DeadlineExceededError"
	}
	return "TransientError"
}
