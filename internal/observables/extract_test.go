package observables

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
)

// holds checks what is true of every text.
func holds(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string,
) {
	t.Helper()
	hits, last := Extract(text), 0
	if len(hits) > MaxHits {
		t.Fatalf("%d hits", len(hits))
	}
	for _, h := range hits {
		if h.Start < last || h.Start >= h.End || h.End > len(text) || h.End > MaxText {
			t.Fatalf("in %q %s %q is at %d to %d, after %d", text, h.Kind, h.Value, h.Start, h.End, last)
		}
		last = h.End
		if !slices.Contains(funnel.Kinds(), h.Kind) || h.Value == "" || len(h.Value) > max(MaxURL, 4*64+1+maxName) || !utf8.ValidString(h.Value) {
			t.Fatalf("in %q is %s %q", text, h.Kind, h.Value)
		}
		// What is found is found again: alone, and made inert as a ticket shows it, and
		// as people do it. A name that can be a file's needs a sign that it is none.
		dots := strings.NewReplacer(".", "[.]", "@", "[at]")
		for _, again := range []string{h.Value, funnel.Defang(h.Value), dots.Replace(h.Value)} {
			if h.Kind == funnel.Domain && !strings.Contains(again, "[") {
				again = "//" + again
			}
			if h.Kind == funnel.Email && strings.HasPrefix(h.Value, "git@") {
				continue
			}
			found := Extract(again)
			if len(found) != 1 || found[0].Kind != h.Kind || found[0].Value != h.Value {
				t.Fatalf("in %q is %s %q, in %q is %+v", text, h.Kind, h.Value, again, found)
			}
		}
	}
}

func FuzzExtract(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.text)
	}
	for _, w := range worst() {
		f.Add(strings.Repeat(w, 20))
	}
	f.Add("hXXp://\x80@0") // found by fuzzing
	f.Fuzz(func(t *testing.T, text string) { holds(t, text) })
}

func TestProperties(t *testing.T) {
	t.Parallel()
	pieces := strings.Fields(`http hxxp HTTPS fTp ftp s ldap :// : / // [ ] ( ) { } < > " ' | \ \n \u0026 &amp; &lt; ; , ! ? # = + - _ ~ $ % %2F @ [at] [.] (dot) . .. www
		a example.com example.zip co.uk github.io com md 192.0.2.1 2001:db8::1 :: 7 65536 ä bücher.de xn--bcher-kva.de 例え jdoe git u'x o'b version v Chrome/ C:\ \\
		44d88612fea8a8f36de82e1278abb02f 3395856ce81f2b7382dee72602f798b642f14140 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f /24 0 …`)
	piece := rapid.SampledFrom(append(pieces, " ", "\n", "\xff", "\u202e"))
	rapid.Check(t, func(t *rapid.T) {
		holds(t, strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), ""))
	})
}

// Offsets point to what is written: refanged, it is the value.
func TestOffsets(t *testing.T) {
	t.Parallel()
	for _, c := range corpus(t) {
		for _, h := range Extract(c.text) {
			written := c.text[h.Start:h.End]
			plain := funnel.Refang(strings.NewReplacer(`\/`, "/", `\u0026`, "&", "&amp;", "&").Replace(written))
			if plain != h.Value && !strings.Contains(h.Value, "xn--") && !strings.Contains(written, "hunter2") {
				t.Errorf("%s %q is written %q", h.Kind, h.Value, written)
			}
		}
	}
}

// A password in a URL stays where it is.
func TestNoPassword(t *testing.T) {
	t.Parallel()
	for _, c := range corpus(t) {
		for _, h := range Extract(c.text) {
			if strings.Contains(h.Value, "hunter2") {
				t.Errorf("in %q is %s %q", c.text, h.Kind, h.Value)
			}
		}
	}
}

// A text is read up to its bound. What is cut there does not count.
func TestBounds(t *testing.T) {
	t.Parallel()
	fill := strings.Repeat("x ", MaxText/2)
	for text, want := range map[string]int{
		fill[:MaxText-12] + " example.com":                             1,
		fill[:MaxText-12] + " example.com.evil.test":                   0,
		fill[:MaxText-12] + " example.com example":                     1,
		fill + "example.com":                                           0,
		fill[:MaxText-2] + "ä example.com":                             0,
		strings.Repeat("example.com ", 1500):                           MaxHits,
		"192.0.2.9 " + strings.Repeat("192.0.2.1-192.0.2.2 ", 600):     MaxHits,
		"https://example.com/" + strings.Repeat("a", MaxURL-20):        1,
		"https://example.com/" + strings.Repeat("a", MaxURL-19):        0,
		strings.Repeat("a", 64) + "@example.com":                       1,
		strings.Repeat("a", 65) + "@example.com":                       0,
		strings.Repeat("a.", 121) + "example.com":                      1,
		strings.Repeat("a.", 122) + "example.com":                      0,
		strings.Repeat("a", 63) + ".com":                               1,
		strings.Repeat("a", 64) + ".com":                               0,
		strings.Repeat("44d88612fea8a8f36de82e1278abb02f,", MaxHits+1): MaxHits,
	} {
		if got := len(Extract(text)); got != want {
			t.Errorf("in %d bytes that begin with %.30q are %d, want %d", len(text), text, got, want)
		}
	}
}

// worst are pieces of texts that are made to cost much.
func worst() []string {
	return []string{
		"a-a-", "a.a.", "a.", "-", ".", ". .", "::", ":", "1:", "a:", "0", "[", "[.]", "[[.]]", "((((.", "]]]]", "://", "@", "a@", "@a.", "a@b.c@", "a+", "a'", "%2F", "%%",
		"http://", "hxxp://[", "http://a:", "http://@", "x://", "x://a@", "http://x/(", "http://x.y/,", "https:,https:", "//a", "ä", "ä.", "ä.b ", "ä.local ", "ä@ä.b ",
		"a.b ", "a.md ", "a.b.c.d.e.f.g.h.i.j.k.l.md ", "1.2.3.4.", "1.2.3.256 ", "version ", "A/1.1.1.1/", `\`, `\/`, `\u0041`, `\n`, "&amp;", "&", "&lt", "x.com/", "deadbeef", "deadbeef-",
		"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 ", "xn--a.com.", "\xff", "\u202e", "x.com ", "http://x.com/ ", "a@x.com ", "1.1.1.1 ",
	}
}

// The time grows with the length of a text, whatever is in it. What is compared
// is the number of bytes that are looked at; the time is printed.
func TestWorstCase(t *testing.T) {
	t.Parallel()
	const most = 12 // times that a byte is looked at, on average
	slowest, which, turns := time.Duration(0), "", 0.0
	for _, piece := range worst() {
		text := strings.Repeat(piece, MaxText/len(piece))
		if short := text[:MaxText/64]; scan(short).work > most*len(short) { // do not wait for it
			t.Errorf("of %q each byte is looked at more than %d times in %d bytes already", piece, most, len(short))
			continue
		}
		began := time.Now()
		s := scan(text)
		if took := time.Since(began); took > slowest {
			slowest, which = took, piece
		}
		times := float64(s.work) / float64(len(text))
		if turns = max(turns, times); times > most {
			t.Errorf("of %q each byte is looked at %.1f times, want at most %d", piece, times, most)
		}
	}
	began, sum := time.Now(), 0
	for i, text := 0, strings.Repeat("a-a-", MaxText/4); i < len(text); i++ {
		sum += int(text[i])
	}
	bare := time.Since(began)
	fmt.Printf("observables in 256 KiB of the worst texts: %.1f looks at a byte, %v for %q (the aim is 250 ms; adding up the bytes takes %v, %d)\n",
		turns, slowest.Round(time.Millisecond), which, bare.Round(time.Microsecond), sum)
}

func BenchmarkExtract(b *testing.B) {
	var text strings.Builder
	for _, c := range corpus(b) {
		text.WriteString(c.text + "\n")
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		Extract(text.String())
	}
}
