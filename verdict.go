package funnel

import (
	"fmt"
	"time"
)

// Rating is what a verdict says.
type Rating string

// The ratings. Unknown is not clean.
const (
	Malicious  Rating = "malicious"
	Suspicious Rating = "suspicious"
	Clean      Rating = "clean"
	Unknown    Rating = "unknown"
)

// Why says why a verdict is unknown.
type Why string

// The reasons of an unknown verdict.
const (
	NotFoundThere Why = "not_found" // the source has never seen it
	NotAsked      Why = "not_asked" // nothing was asked: no value, no quota, or a person skipped it
	AskingFailed  Why = "failed"    // the source was asked and did not answer
)

// Verdict is what a source thinks of an observable.
type Verdict struct {
	Rating Rating     `json:"rating" enum:"malicious,suspicious,clean,unknown" doc:"What the source thinks"`
	Why    Why        `json:"why,omitempty" enum:"not_found,not_asked,failed" doc:"Why the rating is unknown"`
	Detail string     `json:"detail,omitempty" doc:"One sentence for people"`
	Score  int        `json:"score,omitempty" doc:"How many voted against it"`
	Total  int        `json:"total,omitempty" doc:"How many voted"`
	Source string     `json:"source" doc:"Who says so"`
	At     *time.Time `json:"at,omitempty" doc:"When the source last looked"`
}

// String returns the verdict in a few words.
func (v Verdict) String() string {
	if v.Rating != Unknown && v.Rating != "" {
		return fmt.Sprintf("%s (%d of %d)", v.Rating, v.Score, v.Total)
	}
	switch v.Why {
	case NotFoundThere:
		return "unknown (not found)"
	case NotAsked:
		return "unknown (not asked)"
	case AskingFailed:
		return "unknown (asking failed)"
	}
	return "unknown"
}
