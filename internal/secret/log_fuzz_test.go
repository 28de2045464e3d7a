package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

// FuzzLogEncoder: whatever is logged makes one line of valid JSON in which no
// character can move a cursor or hide text, no field is long, and no secret stands.
func FuzzLogEncoder(f *testing.F) {
	const canary = "cAnArY-of-the-log-0123456789"
	for _, s := range []string{"", "plain", "two\nlines", "\x1b[31mred", "\u202eevil", "a\x00b\xff", canary, "x" + canary + "y", strings.Repeat("long ", 2000), `"quoted" \back`, "\u2028", "\r", "\xbc" + canary[1:]} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, message, key, value string) {
		var out bytes.Buffer
		log := slog.New(NewHandler(slog.NewJSONHandler(&out, nil), NewRedactor(New(canary))))
		log.Info(message+canary, key, value+canary, "error", errors.New(canary+value))
		log.With(key, value+canary).WithGroup(key).Warn(message, slog.Group(key, slog.String(value, canary)))
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 2 {
			t.Fatalf("two records are %d lines: %q", len(lines), out.String())
		}
		for _, line := range lines {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %q", line)
			}
			if strings.Contains(line, canary) {
				t.Errorf("the secret is told: %q", line)
			}
			for _, r := range line {
				if unicode.IsControl(r) || r == unicode.ReplacementChar || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
					t.Errorf("character %U is in the line %q", r, line)
				}
			}
			if len(line) > 8*6*(MaxLogField+100) {
				t.Errorf("the line has %d bytes", len(line))
			}
		}
	})
}
