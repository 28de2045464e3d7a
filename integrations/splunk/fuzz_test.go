package splunk

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
)

// FuzzSplunkPayload: whatever arrives is refused as invalid or becomes one
// event of bounded size, whose key and fingerprint do not depend on the order
// of keys or on whitespace.
func FuzzSplunkPayload(f *testing.F) {
	if body, err := os.ReadFile("testdata/webhook.zulip.search_one_result.json"); err == nil {
		f.Add(body)
	} else {
		f.Fatal(err)
	}
	f.Add([]byte(alert(`{"user":["a",null,true,1.0e5,"<&>"],"_time":"253402300799.9","src":"::1","file_hash":"MD5=` + md5a + `"}`)))
	f.Add([]byte(`{"result":{"a":{}},"sid":"x"}`))
	f.Add([]byte(`{"result":{"\ud800":"\u0000"},"sid":":","search_name":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := Alert.Spec().Decode(request(string(body)))
		if err != nil {
			if funnel.CodeOf(err) != funnel.Invalid {
				t.Fatalf("refused as %s: %v", funnel.CodeOf(err), err)
			}
			if len(err.Error()) > 1024 {
				t.Fatalf("the error is %d bytes long", len(err.Error()))
			}
			return
		}
		if len(first) != 1 {
			t.Fatalf("%d events", len(first))
		}
		// 6 for a character that JSON writes as \u003c, and the frame of a field.
		if limit := 14*len(body) + maxObservables*(6*maxObservable+100); len(first[0].Event) > limit {
			t.Fatalf("an event of %d bytes from a body of %d", len(first[0].Event), len(body))
		}
		var e AlertEvent
		if err := json.Unmarshal(first[0].Event, &e); err != nil {
			t.Fatalf("reading the event back: %v", err)
		}
		if e.SID == "" || !strings.HasPrefix(first[0].Key, e.SID+":") || e.Fingerprint == "" {
			t.Fatalf("sid %q, key %q, fingerprint %q", e.SID, first[0].Key, e.Fingerprint)
		}
		again, err := Alert.Spec().Decode(request(string(shuffled(t, body))))
		if err != nil {
			t.Fatalf("the same alert in another spelling is refused: %v", err)
		}
		if again[0].Key != first[0].Key || !bytes.Equal(again[0].Event, first[0].Event) {
			t.Fatal("order or whitespace changes the key or the event")
		}
	})
}

// shuffled writes the body with its keys in reverse order and much whitespace.
func shuffled(t *testing.T, body []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	writeReversed(&b, v)
	return b.Bytes()
}

func writeReversed(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteString(" {\n")
		for i, name := range slices.Backward(slices.Sorted(maps.Keys(v))) {
			writeReversed(b, name)
			b.WriteString("\t:")
			writeReversed(b, v[name])
			if i > 0 {
				b.WriteString(" ,\r\n")
			}
		}
		b.WriteString(" } ")
	case []any:
		b.WriteString("[ ")
		for i, x := range v {
			if i > 0 {
				b.WriteString(" , ")
			}
			writeReversed(b, x)
		}
		b.WriteString(" ]")
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		b.Write(raw)
	}
}
