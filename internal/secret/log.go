package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLogField is the length in bytes after which a message or value is cut in a log.
const MaxLogField = 4 << 10

// Handler is a slog.Handler that makes records safe before it passes them on: secrets are redacted, whatever could move a
// terminal's cursor or hide text is escaped, and long fields are cut.
type Handler struct {
	next slog.Handler
	r    *Redactor
}

// NewHandler wraps next.
func NewHandler(next slog.Handler, r *Redactor) *Handler { return &Handler{next: next, r: r} }

// Enabled asks the wrapped handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle passes on a clean copy of the record.
func (h *Handler) Handle(ctx context.Context, rec slog.Record) error {
	clean := slog.NewRecord(rec.Time, rec.Level, h.text(rec.Message), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs cleans the attributes once.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{next: h.next.WithAttrs(h.attrs(attrs)), r: h.r}
}

// WithGroup cleans the name.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(h.text(name)), r: h.r}
}

func (h *Handler) attrs(attrs []slog.Attr) []slog.Attr {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = h.attr(a)
	}
	return out
}

func (h *Handler) attr(a slog.Attr) slog.Attr {
	a.Key = h.text(a.Key)
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(h.text(a.Value.String()))
	case slog.KindGroup:
		a.Value = slog.GroupValue(h.attrs(a.Value.Group())...)
	case slog.KindAny:
		if a.Value.Any() != nil {
			a.Value = slog.StringValue(h.text(spell(a.Value.Any())))
		}
	default: // numbers, times: kept as they are unless a secret consists of digits
		if s := a.Value.String(); h.r.Redact(s) != s {
			a.Value = slog.StringValue(Mask)
		}
	}
	return a
}

// spell writes a value out, so that what it holds can be searched: errors and Stringers by their text, the rest as JSON.
func spell(v any) string {
	switch v := v.(type) {
	case error, fmt.Stringer, fmt.Formatter:
		return fmt.Sprintf("%v", v) // fmt catches a panic of the method
	case []byte:
		return string(v)
	}
	if b, err := json.Marshal(v); err == nil {
		return string(b)
	}
	return fmt.Sprintf("%+v", v)
}

// text redacts, escapes and cuts, in this order: an escape could tear a secret apart, a cut could leave half of one. An escape
// that completes one, such as \xbc before what lacks its c, is taken out too.
func (h *Handler) text(s string) string {
	redacted := h.r.Redact(s)
	escaped := Escape(redacted)
	if len(escaped) != len(redacted) {
		escaped = h.r.Redact(escaped)
	}
	return Clip(escaped, MaxLogField)
}

// Clip cuts s to at most limit bytes at a character's border and says how long it was.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	note := fmt.Sprintf("… (%d bytes)", len(s))
	cut := max(limit-len(note), 0)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + note
}

// Escape makes s safe for a terminal and for one line of a log: control characters (ANSI sequences start with one), characters
// that reverse or break text, and bytes that are not UTF-8 become visible escapes. A backslash stays as it is: the result is for
// reading, not for decoding.
func Escape(s string) string {
	at := strings.IndexFunc(s, unsafeRune)
	if at < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:at])
	for i := at; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unsafeRune(r) && r != utf8.RuneError:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func unsafeRune(r rune) bool {
	switch {
	case r < ' ', 0x7f <= r && r <= 0x9f: // C0, DEL, C1
		return true
	case r == utf8.RuneError: // also stands for a bad byte: looked at closely by Escape
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069: // bidi controls
		return true
	case r == 0x2028, r == 0x2029, r == 0xfeff, 0xe0000 <= r && r <= 0xe007f: // line separators, BOM, invisible tags
		return true
	}
	return false
}
