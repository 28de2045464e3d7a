package splunk

import (
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
)

// A decoder that is called without intake's checks is strict by itself where
// readers of JSON disagree, and names no value.
func TestAmbiguousBodies(t *testing.T) {
	for name, c := range map[string]struct{ body, says string }{
		"a field twice":              {`{"sid":"s","result":{"user":"canary","a":"1","user":"b"}}`, "/result/user is there twice"},
		"a field twice, escaped":     {`{"sid":"s","result":{"user":"canary","us\u0065r":"b"}}`, "/result/user is there twice"},
		"bytes that are no UTF-8":    {"{\"sid\":\"canary\xff\",\"result\":{}}", "not JSON in UTF-8"},
		"something after the object": {`{"sid":"canary","result":{}} {}`, "not JSON in UTF-8"},
		"an object in a list":        {`{"sid":"s","result":{"a":["canary",{}]}}`, "/result/a/1 is neither"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Alert.Spec().Decode(request(c.body))
			if err == nil {
				t.Fatal("it was taken")
			}
			if funnel.CodeOf(err) != funnel.Invalid || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v", funnel.CodeOf(err), err)
			}
		})
	}
}

// What is escaped reads like what is not.
func TestEscapedText(t *testing.T) {
	plain, err := Alert.Spec().Decode(request(`{"sid":"s","result":{"path":"C:\\x","quote":"\"é😀\""}}`))
	if err != nil {
		t.Fatal(err)
	}
	escaped, err := Alert.Spec().Decode(request(`{"\u0073id":"\u0073","result":{"\u0070ath":"C:\u005cx","quote":"\u0022\u00e9\ud83d\ude00\""}}`))
	if err != nil {
		t.Fatal(err)
	}
	if string(plain[0].Event) != string(escaped[0].Event) || plain[0].Key != escaped[0].Key {
		t.Errorf("%s\nand\n%s", plain[0].Event, escaped[0].Event)
	}
	if !strings.Contains(string(plain[0].Event), `C:\\x`) || !strings.Contains(string(plain[0].Event), "é😀") {
		t.Errorf("the text is changed: %s", plain[0].Event)
	}
}
