package schema

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

type base struct {
	ID string `json:"id"`
}

type inner struct {
	Approved bool            `json:"approved"`
	Tags     []string        `json:"tags"`
	Next     *inner          `json:"next"`
	Extra    map[string]any  `json:"extra"`
	Raw      json.RawMessage `json:"raw"`
}

type outer struct {
	base
	Small  int8                `json:"small"`
	Ratio  float64             `json:"ratio"`
	Count  json.Number         `json:"count"`
	Quoted int                 `json:"quoted,string"`
	When   time.Time           `json:"when"`
	Addrs  []netip.Addr        `json:"addrs"`
	Blob   []byte              `json:"blob"`
	In     inner               `json:"in"`
	List   []inner             `json:"list"`
	Map    map[string]inner    `json:"map"`
	Any    any                 `json:"any"`
	Hidden string              `json:"-"`
	Plain  map[string][]string // named "Plain"
}

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := Decode[outer]([]byte(`{"id":"x","small":-7,"ratio":1e3,"count":12345678901234567890123,"quoted":"5","when":"2026-11-23T00:00:00Z",
		"addrs":["::1"],"blob":"aGk=","in":{"approved":true,"next":{"approved":null},"extra":{"Approved":1},"raw":{"Approved":1}},
		"list":[{"tags":["a"]}],"map":{"Approved":{"tags":null}},"any":{"n":12345678901234567890123},"Plain":{"ID":[]}}`), Limits{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "x" || got.Small != -7 || got.Quoted != 5 || string(got.Blob) != "hi" || !got.In.Approved || got.List[0].Tags[0] != "a" {
		t.Errorf("got %+v", got)
	}
	if n := got.Any.(map[string]any)["n"]; n != json.Number("12345678901234567890123") {
		t.Errorf("a long number became %v", n)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ doc, path, what string }{
		{`{"ID":"x"}`, "/ID", `"id" in case only`},
		{`{"in":{"Approved":true}}`, "/in/Approved", `"approved" in case only`},
		{`{"in":{"\u0041pproved":true}}`, "/in/Approved", `"approved" in case only`},
		{`{"in":{"next":{"next":{"TAGS":[]}}}}`, "/in/next/next/TAGS", `"tags" in case only`},
		{`{"list":[{},{"tagſ":[]}]}`, "/list/1/tagſ", `"tags" in case only`},
		{`{"map":{"x":{"taGs":[]}}}`, "/map/x/taGs", `"tags" in case only`},
		{`{"plain":{}}`, "/plain", `"Plain" in case only`},
		{`{"in":{"nope":1}}`, "/in/nope", "not known"},
		{`{"Hidden":"hunter2"}`, "/Hidden", "not known"},
		{`[]`, "", "an object is expected here, not an array"},
		{`"hunter2"`, "", "an object is expected here, not a string"},
		{`{"id":4711}`, "/id", "a string is expected here, not a number"},
		{`{"in":{"tags":["a",{"b":1}]}}`, "/in/tags/1", "a string is expected here, not an object"},
		{`{"in":{"approved":"hunter2"}}`, "/in/approved", "true or false is expected here, not a string"},
		{`{"small":4711}`, "/small", "a whole number that fits int8"},
		{`{"list":[{},{}],"small":4711.5}`, "/small", "a whole number that fits int8"},
		{`{"small":[]}`, "/small", "a whole number is expected here, not an array"},
		{`{"ratio":4711e999}`, "/ratio", "a number that fits float64"},
		{`{"quoted":"hunter2"}`, "", "does not fit"},
		{`{"when":"hunter2"}`, "/when", "RFC 3339"},
		{`{"when":{"a":[4711]}}`, "/when", "RFC 3339"},
		{`{"addrs":["::1","hunter2"]}`, "/addrs/1", "an IP address"},
		{`{"addrs":["::1",4711]}`, "/addrs/1", "an IP address"},
		{`{"blob":"hunter2!"}`, "", "does not fit"},
		{`{"blob":4711}`, "/blob", "a base64 string"},
		{`{"id":"a","id":"b"}`, "/id", "already"},
	}
	for _, tt := range tests {
		_, err := Decode[outer]([]byte(tt.doc), Limits{}, false)
		se, ok := errors.AsType[*SyntaxError](err)
		if !ok {
			t.Errorf("%s: got %v", tt.doc, err)
			continue
		}
		if se.Path != tt.path || !strings.Contains(se.What, tt.what) {
			t.Errorf("%s: got %q: %q, want %q: %q", tt.doc, se.Path, se.What, tt.path, tt.what)
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: the error tells the value: %v", tt.doc, err)
		}
	}
}

func TestDecodeUnknownAllowed(t *testing.T) {
	t.Parallel()
	if _, err := Decode[outer]([]byte(`{"new":{"Approved":1},"in":{"also":2}}`), Limits{}, true); err != nil {
		t.Error(err)
	}
	if _, err := Decode[outer]([]byte(`{"in":{"Approved":true}}`), Limits{}, true); err == nil {
		t.Error("a case variant passed where unknown keys are allowed")
	}
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	tests := []struct {
		contentType, encoding []string
		refused               string // header to blame, "" if accepted
	}{
		{[]string{"application/json"}, nil, ""},
		{[]string{"Application/JSON; charset=UTF-8"}, []string{"identity"}, ""},
		{[]string{`application/json; charset="utf-8"`}, nil, ""},
		{nil, nil, "Content-Type"},
		{[]string{""}, nil, "Content-Type"},
		{[]string{"application/json", "application/json"}, nil, "Content-Type"},
		{[]string{"application/json, text/plain"}, nil, "Content-Type"},
		{[]string{"text/plain"}, nil, "Content-Type"},
		{[]string{"text/json"}, nil, "Content-Type"},
		{[]string{"application/problem+json"}, nil, "Content-Type"},
		{[]string{"multipart/form-data; boundary=x"}, nil, "Content-Type"},
		{[]string{"application/json; charset=utf-16"}, nil, "Content-Type"},
		{[]string{"application/json; charset=utf-8; charset=utf-16"}, nil, "Content-Type"},
		{[]string{"application/json; charset*=us-ascii''utf-7"}, nil, "Content-Type"},
		{[]string{"application/json; boundary=x"}, nil, "Content-Type"},
		{[]string{"application/json"}, []string{"gzip"}, "Content-Encoding"},
		{[]string{"application/json"}, []string{"identity", "gzip"}, "Content-Encoding"},
		{[]string{"application/json"}, []string{"identity, br"}, "Content-Encoding"},
	}
	for _, tt := range tests {
		h := http.Header{}
		for _, v := range tt.contentType {
			h.Add("Content-Type", v)
		}
		for _, v := range tt.encoding {
			h.Add("Content-Encoding", v)
		}
		err := MediaType(h)
		me, _ := errors.AsType[*MediaTypeError](err)
		switch {
		case tt.refused == "" && err != nil, tt.refused != "" && (me == nil || me.Header != tt.refused):
			t.Errorf("%q %q: got %v, want refused for %q", tt.contentType, tt.encoding, err, tt.refused)
		}
	}
}
