package funnel

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// mask stands wherever a secret would have been shown.
const mask = "[secret]"

// Secret is a value that does not show itself: printing, formatting with any verb, logging and marshalling all give "[secret]".
// The value sits behind a function, which reflection (and %#v through a parent's unexported field) shows as an address only, and
// which makes == between secrets a compile error. An integration's configuration uses it for every field that must not leave.
// The zero Secret is unset.
type Secret struct {
	open func() content
}

type content struct {
	plain  string
	digest [sha256.Size]byte
}

// NewSecret wraps a value. An empty value gives a Secret that is unset.
func NewSecret(plain string) Secret {
	if plain == "" {
		return Secret{}
	}
	c := content{plain: plain, digest: sha256.Sum256([]byte(plain))}
	return Secret{open: func() content { return c }}
}

// Reveal returns the value, "" if unset. Call it where the value is sent, and nowhere else.
func (s Secret) Reveal() string {
	if s.open == nil {
		return ""
	}
	return s.open().plain
}

// Len returns the length of the value in bytes, so that a minimum can be asked for without revealing.
func (s Secret) Len() int { return len(s.Reveal()) }

// IsZero reports whether the secret is unset.
func (s Secret) IsZero() bool { return s.open == nil }

// Equal compares with a candidate in a time that depends on the candidate's length only. Nothing equals an unset secret.
func (s Secret) Equal(candidate []byte) bool {
	got := sha256.Sum256(candidate)
	if s.open == nil {
		return false
	}
	want := s.open().digest
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// String returns mask.
func (Secret) String() string { return mask }

// GoString returns mask.
func (Secret) GoString() string { return mask }

// Format writes mask for every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue logs mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText gives mask.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON gives mask as a string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// MarshalYAML gives mask.
func (Secret) MarshalYAML() (any, error) { return mask, nil }

// MarshalBinary fails: a masked value would be taken for the real one when it is read back. It also stops encoding/gob.
func (Secret) MarshalBinary() ([]byte, error) {
	return nil, errors.New("encoding a secret: secrets are never written out")
}

// UnmarshalJSON takes a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var plain string
	if json.Unmarshal(b, &plain) != nil {
		return errors.New("a secret is a string")
	}
	*s = NewSecret(plain)
	return nil
}
