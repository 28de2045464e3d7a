// Package secret holds values that must not leave the process: the type that cannot print itself, the references by which a
// configuration names them, and the redactor that takes them out of logs.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Mask stands wherever a secret would have been shown.
const Mask = "[secret]"

// Secret is a value that does not show itself: printing, formatting with any verb, logging and marshalling all give Mask. The
// value sits behind a function, which reflection (and %#v through a parent's unexported field) shows as an address only, and
// which makes == between secrets a compile error. The zero Secret is unset.
type Secret struct {
	open func() content
}

type content struct {
	plain  string
	digest [sha256.Size]byte
}

// New wraps a value. An empty value gives a Secret that is unset.
func New(plain string) Secret {
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

// String returns Mask.
func (Secret) String() string { return Mask }

// GoString returns Mask.
func (Secret) GoString() string { return Mask }

// Format writes Mask for every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Mask) }

// LogValue logs Mask.
func (Secret) LogValue() slog.Value { return slog.StringValue(Mask) }

// MarshalText gives Mask.
func (Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// MarshalJSON gives Mask as a string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Mask + `"`), nil }

// MarshalYAML gives Mask.
func (Secret) MarshalYAML() (any, error) { return Mask, nil }

// MarshalBinary fails: a masked value would be taken for the real one when it is read back. It also stops encoding/gob.
func (Secret) MarshalBinary() ([]byte, error) {
	return nil, errors.New("encoding a secret: secrets are never written out")
}
