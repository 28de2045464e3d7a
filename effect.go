package funnel

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
)

// Effect is what an action does to the world.
type Effect string

// The effects, in growing order of danger.
const (
	Reads    Effect = "reads"    // changes nothing; may be repeated freely
	Writes   Effect = "writes"   // adds or changes records, such as tickets and comments
	Contains Effect = "contains" // acts on people's accounts or machines
)

// EffectKey names one external effect for ever: the same step of the same
// playbook for the same event has the same key after a crash, an upgrade or a
// restore. An action leaves it at the outside system (a label, a property), so
// that an unsure outcome can be looked up. It is 26 characters of lower-case
// base32.
type EffectKey string

// NewEffectKey returns the key of a step: event is the event's de-duplication
// key (which begins with its source), replay counts deliberate repetitions of
// the whole run.
func NewEffectKey(event, playbook, path string, replay int) EffectKey {
	sum := hashParts(event, playbook, path, string(binary.AppendUvarint(nil, uint64(replay))))
	return EffectKey(encode(sum))
}

// Fingerprint returns a stable name for "the same thing again": alerts with one
// fingerprint share one ticket. Each part counts with its length, so ("ab","c")
// and ("a","bc") differ.
func Fingerprint(parts ...string) string { return encode(hashParts(parts...)) }

func hashParts(parts ...string) [32]byte {
	size := 0
	for _, p := range parts {
		size += binary.MaxVarintLen32 + len(p)
	}
	buf := make([]byte, 0, size)
	for _, p := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	return sha256.Sum256(buf)
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func encode(sum [32]byte) string { return lowerBase32.EncodeToString(sum[:16]) }

// Attempt tells an action which effect it is about to make.
type Attempt struct {
	Key    EffectKey
	Number int // 1 for the first attempt

	// Unproven is set when an earlier attempt had an unknown outcome and its
	// absence could not be proven: the action should leave a note about it.
	Unproven bool
}

type attemptKey struct{}

// WithAttempt returns a context that carries the attempt; engines call it.
func WithAttempt(ctx context.Context, a Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// AttemptFrom returns the attempt that an action is part of, and a zero one
// outside of a step.
func AttemptFrom(ctx context.Context) Attempt {
	a, _ := ctx.Value(attemptKey{}).(Attempt)
	return a
}
