package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
)

// FuzzSignatureHeader: a body is taken if its header is the hexadecimal HMAC of it,
// which an independent sum tells, and in no other case.
func FuzzSignatureHeader(f *testing.F) {
	const key = "a-secret-of-the-fuzz-target"
	sum := func(body []byte) string {
		h := hmac.New(sha256.New, []byte(key))
		h.Write(body)
		return hex.EncodeToString(h.Sum(nil))
	}
	auth := Signature(funnel.NewSecret(key))
	for _, body := range []string{"", "{}", `{"a":1}`, "\x00"} {
		good := sum([]byte(body))
		for _, header := range []string{"sha256=" + good, good, "sha1=" + good, "sha256=" + strings.ToUpper(good), "sha256=" + good + "0", "sha256=" + good[:10], "sha256=", "", " sha256=" + good, "sha256=" + good + ",sha256=" + good} {
			f.Add(header, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		h := http.Header{"X-Hub-Signature": {header}}
		name, value, _ := strings.Cut(header, "=")
		want := name == "sha256" && strings.EqualFold(value, sum(body)) // the case of hexadecimal digits tells nothing
		if got := auth.signed(h, body); got != want {
			t.Errorf("signature %q of %q: taken %v, want %v", header, body, got, want)
		}
		if auth.signed(http.Header{}, body) {
			t.Error("a body without a signature is taken")
		}
	})
}
