package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/funnelsec/funnel"
)

// Auth is how a source authenticates its deliveries: exactly one kind is set.
// Of path secrets and bearer tokens two can be live at once, for rotation; they
// are kept as SHA-256 only.
type Auth struct {
	path      [][sha256.Size]byte
	bearer    [][sha256.Size]byte
	signature funnel.Secret
	none      bool
}

// PathSecret authenticates by a secret in the path, for senders such as Splunk
// that can send no header.
func PathSecret(secrets ...string) Auth { return Auth{path: digests(secrets)} }

// Bearer authenticates by the Authorization header.
func Bearer(tokens ...string) Auth { return Auth{bearer: digests(tokens)} }

// Signature authenticates by X-Hub-Signature: "sha256=" and the HMAC-SHA256 of
// the raw body in hex, as Jira signs
// (https://developer.atlassian.com/cloud/jira/platform/webhooks/).
func Signature(secret funnel.Secret) Auth { return Auth{signature: secret} }

// None lets everybody on this machine deliver, and nobody else.
func None() Auth { return Auth{none: true} }

func digests(secrets []string) [][sha256.Size]byte {
	list := make([][sha256.Size]byte, len(secrets))
	for i, s := range secrets {
		list[i] = sha256.Sum256([]byte(s))
	}
	return list
}

// before checks what can be checked before the body is read.
func (a Auth) before(r Request) bool {
	switch {
	case a.none:
		return r.Loopback && r.Key == ""
	case len(a.path) > 0:
		return oneOf(a.path, r.Key)
	case len(a.bearer) > 0:
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		return strings.EqualFold(scheme, "Bearer") && r.Key == "" && oneOf(a.bearer, token)
	}
	return !a.signature.IsZero() && r.Key == "" && len(r.Header.Values("X-Hub-Signature")) == 1
}

// signed checks the signature of the raw body, if that is the kind.
func (a Auth) signed(header http.Header, body []byte) bool {
	if a.signature.IsZero() {
		return a.none || len(a.path) > 0 || len(a.bearer) > 0
	}
	sent, ok := strings.CutPrefix(header.Get("X-Hub-Signature"), "sha256=")
	if !ok || len(sent) != hex.EncodedLen(sha256.Size) {
		return false
	}
	mac, err := hex.DecodeString(sent)
	if err != nil {
		return false
	}
	h := hmac.New(sha256.New, []byte(a.signature.Reveal()))
	h.Write(body)
	return hmac.Equal(mac, h.Sum(nil))
}

func oneOf(digests [][sha256.Size]byte, candidate string) bool {
	sum := sha256.Sum256([]byte(candidate))
	match := 0
	for _, d := range digests {
		match |= subtle.ConstantTimeCompare(d[:], sum[:])
	}
	return match == 1
}
