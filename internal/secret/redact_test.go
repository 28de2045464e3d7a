package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	quoted := `pa"ss\wör<d>`
	r := NewRedactor(New(canary), New(quoted), New("short"), Secret{}, New("abcabc"), New("abcabcdef"))
	j, _ := json.Marshal(map[string]string{"x": quoted})
	for _, in := range []string{
		canary, "a " + canary + canary + " b", url.QueryEscape(canary), strings.ToLower(url.QueryEscape(canary)), url.PathEscape(canary),
		hex.EncodeToString([]byte(canary)), strings.ToUpper(hex.EncodeToString([]byte(canary))),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)),
		base64.StdEncoding.EncodeToString([]byte("u:" + canary)), base64.URLEncoding.EncodeToString([]byte("user:" + canary + "xyz")),
		base64.StdEncoding.EncodeToString([]byte("usr:" + canary + "x")),
		string(j), fmt.Sprintf("%q", quoted), "https://x.test/hooks/" + url.PathEscape(quoted),
	} {
		got := r.Redact(in)
		if !strings.Contains(got, Mask) || strings.Contains(got, "c4n4ry") || strings.Contains(got, "wör") {
			t.Errorf("%s became %s", in, got)
		}
		if b := string(r.RedactBytes([]byte(in))); b != got {
			t.Errorf("bytes differ: %s and %s", b, got)
		}
	}
	for in, want := range map[string]string{
		"nothing to see, short": "nothing to see, short", "": "", "xabcabcdefx": "x[secret]x", "abcabcabc": "[secret]abc",
		"https://a.test/?k=" + canary + "&x=1": "https://a.test/?k=[secret]&x=1",
	} {
		if got := r.Redact(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// FuzzRedactor is F14f: no secret survives, in any spelling, wherever a stream is cut.
func FuzzRedactor(f *testing.F) {
	f.Add("abcabc", "xabcabcy", 3)
	f.Add("aaaaaa", "aaaaaaaaaaaaa", 5)
	f.Add(canary, "Basic "+base64.StdEncoding.EncodeToString([]byte("u:"+canary)), 9)
	f.Add("line\nline\n", "line\nline\nline\n", 6)
	f.Fuzz(func(t *testing.T, plain, text string, step int) {
		if len(plain) < MinRedacted || strings.Contains(Mask, plain[:1]) || step == 0 {
			return // a secret made of parts of the mask itself may reappear around it
		}
		r := NewRedactor(New(plain))
		in := text + plain + text + url.QueryEscape(plain) + hex.EncodeToString([]byte(plain))
		whole := r.Redact(in)
		var out bytes.Buffer
		w := NewWriter(&out, r)
		step = max(step, -step)%17 + 1
		for rest := in; rest != ""; {
			n := min(step, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, got := range []string{whole, out.String()} {
			// Text between two masks may join with a mask, never with the text beyond it.
			for part := range strings.SplitSeq(got, Mask) {
				if strings.Contains(part, plain) {
					t.Fatalf("%q is left in %q", plain, got)
				}
			}
		}
	})
}

func TestWriterPassesOnAtOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := NewWriter(&out, NewRedactor(New(canary)))
	for _, step := range []struct{ write, sees string }{
		{"a line\n", "a line\n"},
		{"with " + canary[:7], "a line\nwith "},
		{canary[7:] + "!", "a line\nwith [secret]!"},
		{canary[:7], "a line\nwith [secret]!"},
		{"\n", "a line\nwith [secret]!" + canary[:7] + "\n"},
	} {
		if _, err := w.Write([]byte(step.write)); err != nil || out.String() != step.sees {
			t.Fatalf("after %q: %q, %v", step.write, out.String(), err)
		}
	}
	if _, err := NewWriter(failing{}, NewRedactor()).Write([]byte("x")); err == nil {
		t.Error("a failed write is not reported")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

type loud struct{ s string }

func (l loud) String() string { return "loud " + l.s }

type bad struct{}

func (bad) Error() string { panic("in Error") }

func TestHandler(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(NewHandler(slog.NewJSONHandler(&out, nil), NewRedactor(New(canary), New("31415926"))))
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	log.With("with", canary).WithGroup("g"+canary).With("more", loud{canary}).Info("msg "+canary+"\n\x1b[2J",
		"key"+canary, "v", "err", fmt.Errorf("at %s", canary), "nested", slog.GroupValue(slog.String("a", canary)), "bytes", []byte(canary),
		"struct", struct{ A string }{canary}, "map", map[string]any{canary: []string{canary}}, "digits", 31415926, "n", 42, "nil", nil,
		"panics", bad{}, "every", string(every), "long", strings.Repeat("é", 1<<19), "bidi", "a\u202eb\u2028c", "lone", "\xed\xa0\x80",
		"secret", New("zzzzzzzz"), "pointer", &parent{Exported: New(canary)}, "cut", strings.Repeat("x", MaxLogField-3)+canary)
	line := out.String()
	if strings.Count(line, "\n") != 1 || !json.Valid(out.Bytes()) || !utf8.ValidString(line) {
		t.Fatalf("not one line of JSON: %.300q", line)
	}
	noLeak(t, "log", line)
	if strings.Contains(line, "31415926") || strings.Contains(line, canary[:4]) {
		t.Errorf("a secret is left: %s", line)
	}
	var rec map[string]any
	if err := json.Unmarshal(out.Bytes(), &rec); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(k)
				walk(e)
			}
		case string:
			if len(v) > MaxLogField {
				t.Errorf("a field of %d bytes", len(v))
			}
			if i := strings.IndexFunc(v, unicode.IsControl); i >= 0 {
				t.Errorf("a control character in %.80q", v)
			}
		}
	}
	walk(rec)
	for before := range 60 { // wherever a cut may fall, it leaves no half of a secret
		h := NewHandler(slog.DiscardHandler, NewRedactor(New(canary)))
		if got := h.text(strings.Repeat("x", MaxLogField-before) + canary + strings.Repeat("y", 50)); strings.Contains(got, canary[:2]) {
			t.Fatalf("half a secret is left: %s", got[MaxLogField-80:])
		}
	}
	g := rec["g"+Mask].(map[string]any)
	if g["n"] != float64(42) || g["bidi"] != `a\u202eb\u2028c` || g["lone"] != `\xed\xa0\x80` || g["more"] != "loud "+Mask {
		t.Errorf("got %v", g)
	}
}

func TestEscapeKeepsOrdinaryText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Zoë 😀 C:\\temp \"x\"": "Zoë 😀 C:\\temp \"x\"", "\ufffd kept": "\ufffd kept", "tab\there": `tab\there`, "\x1b[31mred": `\x1b[31mred`,
		"\u0085": `\u0085`, "\x9b": `\x9b`, "": "",
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := Clip("éééé"+strings.Repeat("x", 40), 30); !utf8.ValidString(got) || len(got) > 30 || !strings.Contains(got, "(48 bytes)") {
		t.Errorf("got %q", got)
	}
}
