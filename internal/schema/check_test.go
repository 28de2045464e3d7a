package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{}`, `[]`, ` null `, `true`, `-0`, `0.5e-10`, `1E+2`, `""`, `"\u0000"`, `"\ud83d\ude00"`, "\"\u2028 é 😀\"",
		`{"a":{"a":{"a":[]}},"b":[{"a":1},{"a":2}]}`, "\t{ \"a\" :\r\n[ 1 , 2 ] }\n", `{"":1}`, `{"a":1,"a ":2,"á":3}`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64),
	} {
		if err := Check([]byte(doc), Limits{}); err != nil {
			t.Errorf("%.60s: %v", doc, err)
		}
		if !json.Valid([]byte(doc)) {
			t.Errorf("%.60s: not JSON by the standard library", doc)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	wideObject := func(last string) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range 200 {
			fmt.Fprintf(&b, `"key%d":%d,`, i, i)
		}
		return b.String() + last + `:0}`
	}
	tests := []struct {
		doc, path, what string
		kind            Kind
	}{
		{"", "", "empty", Malformed},
		{" \n", "", "empty", Malformed},
		{"\x00", "", "a value is expected", Malformed},
		{"\xef\xbb\xbf{}", "", "byte order mark", Malformed},
		{`{"a":1} x`, "", "more follows", Malformed},
		{`{}{}`, "", "more follows", Malformed},
		{"{}\x00", "", "more follows", Malformed},
		{`{"a":1,"a":2}`, "/a", "has this key already", Malformed},
		{`{"a":1,"\u0061":2}`, "/a", "has this key already", Malformed},
		{`{"approved":false,"Approved":true}`, "/Approved", "has this key already", Malformed},
		{`{"k":1,"` + "\u212a" + `":2}`, "/\u212a", "has this key already", Malformed}, // Kelvin sign
		{`{"s":1,"\u017f":2}`, "/ſ", "has this key already", Malformed},                // long s
		{`{"é":1,"É":2}`, "/É", "has this key already", Malformed},
		{`{"":1,"":2}`, "/", "has this key already", Malformed},
		{`{"x":[{"y":{"b":1,"B":1}}]}`, "/x/0/y/B", "has this key already", Malformed},
		{`{"a":{"b":1},"A":1}`, "/A", "has this key already", Malformed},
		{wideObject(`"KEY3"`), "/KEY3", "has this key already", Malformed},
		{wideObject(`"key199"`), "/key199", "has this key already", Malformed},
		{wideObject(`"key64"`), "/key64", "has this key already", Malformed},
		{`{"a/b~":[1,{"c":tru}]}`, "/a~1b~0/1/c", "a value is expected", Malformed},
		{`{"a":1,}`, "", "a key in double quotes", Malformed},
		{`{"a" 1}`, "/a", `":" is expected`, Malformed},
		{`{"a":1 "b":2}`, "/a", `"," or "}"`, Malformed},
		{`[1 2]`, "/0", `"," or "]"`, Malformed},
		{`[1,]`, "/1", "a value is expected", Malformed},
		{`[1}`, "/0", `"," or "]"`, Malformed},
		{`{'a':1}`, "", "a key in double quotes", Malformed},
		{`{a:1}`, "", "a key in double quotes", Malformed},
		{`[`, "/0", "the body ends where", Malformed},
		{`{"a`, "", "not closed", Malformed},
		{`01`, "", "must not start with 0", Malformed},
		{`-`, "", "a digit", Malformed},
		{`1.`, "", "a digit", Malformed},
		{`1e`, "", "a digit", Malformed},
		{`.5`, "", "a value", Malformed},
		{`+1`, "", "a value", Malformed},
		{`NaN`, "", "a value", Malformed},
		{`nul`, "", "a value", Malformed},
		{`nullx`, "", "more follows", Malformed},
		{"\"\xff\"", "", "not valid UTF-8", Malformed},
		{"\"\xed\xa0\x80\"", "", "not valid UTF-8", Malformed}, // a surrogate in UTF-8
		{"\"\xc0\xaf\"", "", "not valid UTF-8", Malformed},     // an overlong slash
		{"{\"\xff\":1}", "", "not valid UTF-8", Malformed},
		{`"\ud800"`, "", "surrogate", Malformed},
		{`"\udc00"`, "", "surrogate", Malformed},
		{`"\ud800\ud800"`, "", "surrogate", Malformed},
		{`"\ud800\n"`, "", "surrogate", Malformed},
		{`{"\udc00":1}`, "", "surrogate", Malformed},
		{`"\u12g4"`, "", "four hex digits", Malformed},
		{`"\x"`, "", "unknown escape", Malformed},
		{"\"a\nb\"", "", "control character", Malformed},
		{"[1]//", "", "more follows", Malformed},
		{`{"n":` + strings.Repeat("9", 65) + `}`, "/n", "more than 64 characters", TooDeep},
		{strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat("/0", 64), "deeper than 64", TooDeep},
		{strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), strings.Repeat("/a", 64), "deeper than 64", TooDeep},
		{"[" + strings.Repeat("{},", 20_000) + "1]", "/19999", "more than 20000 values", TooDeep},
		{`"` + strings.Repeat("x", 1<<20) + `"`, "", "larger than 1048576 bytes", TooLarge},
	}
	for _, tt := range tests {
		err := Check([]byte(tt.doc), Limits{})
		se, ok := errors.AsType[*SyntaxError](err)
		if !ok {
			t.Errorf("%.60q: accepted", tt.doc)
			continue
		}
		if se.Path != tt.path || !strings.Contains(se.What, tt.what) || se.Kind != tt.kind {
			t.Errorf("%.60q: got kind %d at %q: %q; want kind %d at %q: %q", tt.doc, se.Kind, se.Path, se.What, tt.kind, tt.path, tt.what)
		}
	}
}

func TestErrorPosition(t *testing.T) {
	t.Parallel()
	se, _ := errors.AsType[*SyntaxError](Check([]byte("{\n  \"é\": \"ü\", \"É\": 1}"), Limits{}))
	if se == nil || se.Line != 2 || se.Column != 13 || se.Offset != 16 {
		t.Fatalf("got %+v", se)
	}
	if got, want := se.Error(), `reading JSON: line 2, column 13, at /É: the object has this key already (keys that differ only in case count as one)`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestErrorClipsKeysAndHidesValues(t *testing.T) {
	t.Parallel()
	key := "\x7f\u202e\\u001b" + strings.Repeat("k", 300)
	err := Check([]byte(`{"`+key+`":{"x":"hunter2", "x":"hunter2"}}`), Limits{})
	if err == nil {
		t.Fatal("accepted")
	}
	want := "/???" + strings.Repeat("k", 61) + "…/x"
	if se, _ := errors.AsType[*SyntaxError](err); se.Path != want {
		t.Errorf("got path %q, want %q", se.Path, want)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells a value: %v", err)
	}
	deep := strings.Repeat(`{"`+strings.Repeat("ü", 64)+`":`, 64) + "x"
	if err := Check([]byte(deep), Limits{}); len(err.Error()) > 800 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// slowOracle finds duplicate and case-variant keys through the standard token reader and strings.EqualFold.
func slowOracle(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var value func(depth int) error
	value = func(depth int) error {
		if depth > 64 {
			return errors.New("too deep")
		}
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		delim, ok := tok.(json.Delim)
		if !ok {
			return nil
		}
		var keys []string
		for dec.More() {
			if delim == '{' {
				tok, err := dec.Token()
				if err != nil {
					return err
				}
				key := tok.(string)
				for _, k := range keys {
					if strings.EqualFold(k, key) {
						return errors.New("duplicate key")
					}
				}
				keys = append(keys, key)
			}
			if err := value(depth + 1); err != nil {
				return err
			}
		}
		_, err = dec.Token()
		return err
	}
	return value(0)
}

// FuzzStrictJSON is F1f: what Check accepts, encoding/json accepts, with keys that are unique by an independent reading, at most 64
// deep; and what it refuses although it is JSON is refused by the oracle too, or holds what only Check looks for.
func FuzzStrictJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,false,null,1.5e3,"x\n\u00e9\ud83d\ude00"]}`, `{"a":1,"A":2}`, `{"k":1,"\u212a":2}`, `{"a":1,"\u0061":1}`,
		`"\ud800"`, "\"\xff\"", `[1,2`, `{"a":{}} `, `{}x`, `-0.0e-0`, `01`, `[[[[]]]]`, ``, "\xef\xbb\xbf1", `{"ß":1,"ẞ":2}`, `{"Σ":1,"ς":2,"σ":3}`,
		strings.Repeat("[", 70), `{"approved":false,"Approved":true}`,
		`{"sid":"1","result":{"user":["a","b"]},"search_name":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := Check(raw, Limits{})
		if err != nil {
			se, ok := errors.AsType[*SyntaxError](err)
			if !ok || se.Offset > len(raw) || se.Line < 1 || se.Column < 1 || strings.ContainsAny(err.Error(), "\x1b\n\x00") {
				t.Fatalf("bad error %+v", err)
			}
			// The only reasons to refuse what the standard library reads and the oracle finds unambiguous:
			own := strings.Contains(se.What, "UTF-8") || strings.Contains(se.What, "surrogate") || se.Kind != Malformed
			if json.Valid(raw) && slowOracle(raw) == nil && !own {
				t.Fatalf("refused without reason: %v", err)
			}
			return
		}
		if err := slowOracle(raw); err != nil {
			t.Fatalf("accepted, but the oracle says: %v", err)
		}
		v, err := Decode[any](raw, Limits{}, false)
		if err != nil {
			t.Fatalf("checked, but not decoded: %v", err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		v2, err := Decode[any](again, Limits{Bytes: 16 << 20}, false)
		if err != nil {
			t.Fatalf("encoded again, refused: %v", err)
		}
		if third, _ := json.Marshal(v2); !bytes.Equal(again, third) {
			t.Fatalf("not a fixed point: %s and %s", again, third)
		}
	})
}

func TestFixturesPass(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "fixtures", "*", "*.json"))
	more, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "fixtures", "*", "*", "*.json"))
	files = append(files, more...)
	if len(files) == 0 {
		t.Skip("no ../shared/fixtures beside the module: captured payloads are not checked")
	}
	for _, name := range files {
		if strings.Contains(name, "openapi") {
			continue // descriptions of an API, which no one posts to us
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(raw, Limits{Bytes: 16 << 20, Nodes: 1 << 20}); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
}

func TestUsualAlertAllocatesOnce(t *testing.T) {
	raw := alert(30)
	if n := testing.AllocsPerRun(100, func() {
		if Check(raw, Limits{}) != nil {
			panic("refused")
		}
	}); n > 1 {
		t.Errorf("%v allocations for a usual alert, want one", n)
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	slow := func(s []byte) int {
		for i, b := range s {
			if b < ' ' || b >= 0x80 || b == '"' || b == '\\' {
				return i
			}
		}
		return len(s)
	}
	for length := range 20 {
		for at := range max(length, 1) {
			for b := range 256 {
				for _, fill := range []byte(" !#[]~\x7f") {
					s := bytes.Repeat([]byte{fill}, length)
					if length > 0 {
						s[at] = byte(b)
					}
					if got, want := plain(s), slow(s); got != want {
						t.Fatalf("%q: got %d, want %d", s, got, want)
					}
				}
			}
		}
	}
}

// alert returns a Splunk-shaped alert of about 2 KiB.
func alert(fields int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"sid":"scheduler__admin__search__RMD5_at_1764000000_12","search_name":"Malware on host","app":"search","owner":"admin",` +
		`"results_link":"https://splunk.example.com/app/search/@go?sid=1","result":{`)
	for i := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"field_number_%d":"a value of ordinary length, %d, %s"`, i, i, "C:\\\\Users\\\\j.doe")
	}
	b.WriteString(`}}`)
	return b.Bytes()
}

func BenchmarkCheck(b *testing.B) {
	wide := bytes.NewBufferString("{")
	for i := range 19_000 {
		fmt.Fprintf(wide, `"k%d":0,`, i)
	}
	wide.WriteString(`"end":0}`)
	for name, raw := range map[string][]byte{"alert2KiB": alert(30), "wide": wide.Bytes(), "string": []byte(`"` + strings.Repeat("x", 1<<19) + `"`)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Check(raw, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("valid2KiB", func(b *testing.B) { // the standard library's own check, to compare
		raw := alert(30)
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			json.Valid(raw)
		}
	})
}
