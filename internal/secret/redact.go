package secret

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// MinRedacted is the length in bytes from which secrets are redacted. Shorter ones would blank out ordinary text everywhere; a
// secret as short as that protects nothing.
const MinRedacted = 6

// Redactor replaces known secrets by Mask: plain, in base64 (standard and URL alphabet, also inside a longer encoded text, such
// as basic authentication), URL-escaped, in hex, and as JSON writes them. It may be used by several goroutines.
type Redactor struct {
	needles [256][]string // by first byte, the longest first
}

// NewRedactor learns the secrets; unset ones and those shorter than MinRedacted are left out.
func NewRedactor(secrets ...Secret) *Redactor {
	r := &Redactor{}
	seen := map[string]bool{}
	for _, s := range secrets {
		if s.Len() < MinRedacted {
			continue
		}
		for _, n := range forms(s.Reveal()) {
			if len(n) >= MinRedacted && !seen[n] {
				seen[n] = true
				r.needles[n[0]] = append(r.needles[n[0]], n)
			}
		}
	}
	for i := range r.needles {
		slices.SortFunc(r.needles[i], func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	}
	return r
}

// forms lists the spellings under which a secret is looked for.
func forms(plain string) []string {
	h := hex.EncodeToString([]byte(plain))
	list := []string{plain, h, strings.ToUpper(h)}
	for _, escaped := range []string{url.QueryEscape(plain), url.PathEscape(plain)} {
		list = append(list, escaped, lowerEscapes(escaped))
	}
	if quoted, err := json.Marshal(plain); err == nil {
		list = append(list, string(quoted[1:len(quoted)-1]))
	}
	var quoted strings.Builder // as an encoder without HTML escaping writes it
	enc := json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false)
	if enc.Encode(plain) == nil {
		list = append(list, strings.Trim(quoted.String(), "\n")[1:quoted.Len()-2])
	}
	// Base64 depends on where in a group of three bytes the secret starts. For each place, only the characters that are made of
	// the secret's own bits are kept.
	for before := range 3 {
		padded := append(make([]byte, before), plain...)
		from, to := (before*8+5)/6, len(padded)*8/6
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			list = append(list, enc.EncodeToString(padded)[from:to])
		}
	}
	return append(list, base64.StdEncoding.EncodeToString([]byte(plain)), base64.URLEncoding.EncodeToString([]byte(plain)))
}

// lowerEscapes writes the hex digits of %XX in lower case, as some libraries do.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// Redact returns s with every known secret replaced.
func (r *Redactor) Redact(s string) string {
	out, _ := r.scan(nil, s, true)
	if out == nil {
		return s
	}
	return string(out)
}

// RedactBytes is Redact for bytes; the result may be b itself.
func (r *Redactor) RedactBytes(b []byte) []byte {
	out, _ := r.scan(nil, string(b), true)
	if out == nil {
		return b
	}
	return out
}

// scan appends s to dst with secrets replaced and returns how many bytes of s it dealt with: all if final; else it stops where a
// secret may have begun. With a nil dst and nothing to replace it returns nil.
func (r *Redactor) scan(dst []byte, s string, final bool) ([]byte, int) {
	done := 0 // up to where s is in dst
	for i := 0; i < len(s); i++ {
		rest, hit := s[i:], 0
		for _, n := range r.needles[s[i]] {
			if !final && len(rest) < len(n) && strings.HasPrefix(n, rest) {
				return append(dst, s[done:i]...), i
			}
			if hit == 0 && strings.HasPrefix(rest, n) {
				hit = len(n)
			}
		}
		if hit > 0 {
			dst = append(append(dst, s[done:i]...), Mask...)
			done = i + hit
			i = done - 1
		}
	}
	if dst == nil && done == 0 && final {
		return nil, len(s)
	}
	return append(dst, s[done:]...), len(s)
}

// Writer redacts what is written through it, also where a secret is split over several writes. It may be used by several
// goroutines; a write of theirs is never split by another, but what may be the start of a secret is held back until the next write or Flush.
type Writer struct {
	to io.Writer
	r  *Redactor

	mu   sync.Mutex
	held string
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer, r *Redactor) *Writer { return &Writer{to: w, r: r} }

// Write passes p on, redacted. It reports len(p) bytes unless the underlying writer failed.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.pass(w.held+string(p), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was held back. Call it at the end.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pass(w.held, true)
}

func (w *Writer) pass(s string, final bool) error {
	out, n := w.r.scan([]byte{}, s, final)
	w.held = s[n:]
	if len(out) == 0 {
		return nil
	}
	_, err := w.to.Write(out)
	return err
}
