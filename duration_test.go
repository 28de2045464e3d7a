package funnel_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

// FuzzDuration: what is read is what the standard library reads, and what is written
// is read back as the same.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{`"24h"`, `"1m30s"`, `"-1ns"`, `""`, `"1"`, `1`, `null`, `"9223372036854775807ns"`, `"2562048h"`, `"1.5h"`, `"µs"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d, back funnel.Duration
		err := json.Unmarshal(b, &d)
		var s string
		isText := json.Unmarshal(b, &s) == nil && string(b) != "null"
		want, wrong := time.ParseDuration(s)
		switch {
		case isText && wrong == nil:
			if err != nil || d.Std() != want {
				t.Fatalf("%q is read as %v (%v), want %v", b, d, err, want)
			}
		case err == nil && d != 0:
			t.Fatalf("%q is no duration, and read as %v", b, d)
		}
		out, err := json.Marshal(d)
		if err == nil {
			err = json.Unmarshal(out, &back)
		}
		if err != nil || back != d {
			t.Errorf("%v is written as %s and read back as %v (%v)", d, out, back, err)
		}
	})
}
