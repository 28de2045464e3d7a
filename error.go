package funnel

import (
	"errors"
	"fmt"
	"time"
)

// Code says what happened in a call to an outside system. The integration
// chooses the code; the engine decides from it whether to retry.
type Code string

// The codes. Of a call that changes something, every code but Uncertain and
// Internal promises that the change was surely not made.
const (
	Invalid      Code = "invalid"      // the input is wrong; the same call would fail again
	NotFound     Code = "not_found"    // what the call needs does not exist; of a lookup, not found is an answer instead
	Conflict     Code = "conflict"     // the outside system's state forbids it
	Unauthorized Code = "unauthorized" // the credential is missing, wrong or lacks a permission
	Throttled    Code = "throttled"    // asked to come back later; never uses up an attempt
	Unavailable  Code = "unavailable"  // not reachable or broken at the moment, and surely nothing was changed
	Uncertain    Code = "uncertain"    // the request left, its outcome is unknown
	Internal     Code = "internal"     // a fault of the code, for example a panic
)

// Error is what an action returns when it fails.
type Error struct {
	Code    Code
	Message string // what happened and what to do; no secrets, no bodies

	// RetryAt is when the outside system asked to be called again; zero when it
	// said nothing. It is obeyed exactly.
	RetryAt time.Time

	// Narrow says that RetryAt binds only this one call (a per-issue limit, for
	// example) and not every call on the connection.
	Narrow bool

	Err error // the cause, may be nil
}

// Errorf returns an Error with the code and a formatted message; %w keeps the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error returns the message; it names the code when there is no message.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, Internal when
// there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) && e.Code != "" {
		return e.Code
	}
	return Internal
}
