package funnel

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Secret holds a credential. It cannot be printed, formatted, logged or
// marshalled; the value comes out only through Reveal. An integration's
// configuration uses it for every field that must not leave.
type Secret struct{ reveal func() string }

// NewSecret returns a Secret with the value.
func NewSecret(value string) Secret { return Secret{reveal: func() string { return value }} }

const hidden = "[secret]"

// Reveal returns the value, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal compares in constant time.
func (s Secret) Equal(candidate []byte) bool {
	a, b := sha256.Sum256([]byte(s.Reveal())), sha256.Sum256(candidate)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String returns "[secret]".
func (s Secret) String() string { return hidden }

// Format writes "[secret]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue returns "[secret]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON writes "[secret]".
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// MarshalText writes "[secret]".
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalJSON takes a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var v string
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("a secret is a string")
	}
	*s = NewSecret(v)
	return nil
}
