package splunk

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
)

var received = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func request(body string) funnel.Request {
	return funnel.Request{Source: "splunk-soc", Body: []byte(body), ReceivedAt: received}
}

// alert returns a body around a row.
func alert(row string) string {
	return `{"result":` + row + `,"sid":"scheduler__admin__search__W2_at_1","results_link":"http://splunk.example.test:8000/app/search/@go?sid=x","search_name":"W2","owner":"admin","app":"search"}`
}

func decode(t *testing.T, req funnel.Request) (string, AlertEvent) {
	t.Helper()
	arrivals, err := decodeAlert(req)
	if err != nil {
		t.Fatalf("decoding: %v", err)
	}
	if len(arrivals) != 1 {
		t.Fatalf("decoding gave %d events, want 1", len(arrivals))
	}
	if a := arrivals[0]; a.Scope != "" || a.Actor != "" || a.Evidence != nil {
		t.Errorf("scope, actor or evidence of an alert is set: %+v", a)
	}
	return arrivals[0].Key, arrivals[0].Event
}

func TestIntegrationRegisters(t *testing.T) {
	t.Parallel()
	r := funnel.NewRegistry().Add(Integration())
	if _, ok := r.Trigger("splunk.alert"); !ok {
		t.Error("splunk.alert is not registered")
	}
}

func TestCapturedAlert(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/webhook.zulip.search_one_result.json")
	if err != nil {
		t.Fatal(err)
	}
	key, e := decode(t, request(string(body)))
	if !strings.HasPrefix(key, "rt_scheduler__admin__search__sudo_at_1483557185_2.2:") || len(key) != len(e.SID)+1+26 {
		t.Errorf("key is %q", key)
	}
	if e.Search != "sudo" || e.App != "search" || e.Owner != "admin" || !strings.HasPrefix(e.ResultsLink, "http://example.com:8000/app/search/search?q=") {
		t.Errorf("event is %+v", e)
	}
	if got := e.Row.Values("_si"); !slices.Equal(got, []string{"myserver", "main"}) {
		t.Errorf("_si is %q", got)
	}
	if want := time.Date(2017, 1, 4, 19, 14, 32, 0, time.UTC); e.Time == nil || !e.Time.Equal(want) {
		t.Errorf("time is %v, want %v", e.Time, want)
	}
	var names []string
	for _, f := range e.Row.Public() {
		names = append(names, f.Name+"="+f.String())
	}
	want := "host=myserver index=main process=sudo source=/var/log/auth.log sourcetype=syslog"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("public fields are\n%s, want\n%s", got, want)
	}
	if !e.Received.Equal(received) || e.Severity != "" || len(e.Observables.Observables) != 0 {
		t.Errorf("received %v, severity %q, observables %v", e.Received, e.Severity, e.Observables)
	}
}

// TestEventJSON pins the stored form that playbooks and the API read.
func TestEventJSON(t *testing.T) {
	t.Parallel()
	found, err := Alert.Spec().Decode(request(alert(`{"user":"jdoe","n":1.50,"_time":"1483557272.25","urgency":"Informational","gone":null}`)))
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]json.RawMessage
	if err := json.Unmarshal(found[0].Event, &e); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"row":         `[{"name":"_time","values":["1483557272.25"]},{"name":"gone","values":null},{"name":"n","values":["1.50"]},{"name":"urgency","values":["Informational"]},{"name":"user","values":["jdoe"]}]`,
		"observables": `[{"kind":"user","value":"jdoe","field":"user"}]`,
		"time":        `"2017-01-04T19:14:32.25Z"`,
		"severity":    `"info"`,
		"search":      `"W2"`,
		"received":    `"2026-03-01T12:00:00Z"`,
	} {
		if string(e[name]) != want {
			t.Errorf("%s is %s, want %s", name, e[name], want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	many := make(map[string]int, maxFields+1)
	for i := range maxFields + 1 {
		many[fmt.Sprint("f", i)] = i
	}
	wide, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ body, want string }{
		"not an object":    {`["hunter2"]`, "the body is not a JSON object"},
		"null":             {`null`, "the body is not a JSON object"},
		"sid missing":      {`{"result":{"a":"hunter2"}}`, "/sid is missing or empty"},
		"sid empty":        {`{"result":{"a":"hunter2"},"sid":""}`, "/sid is missing or empty"},
		"sid null":         {`{"result":{"a":"hunter2"},"sid":null}`, "/sid is missing or empty"},
		"sid a number":     {`{"result":{"a":"hunter2"},"sid":1}`, "/sid is not a string"},
		"sid in capitals":  {`{"result":{"a":"hunter2"},"SID":"x"}`, "/sid is missing or empty"},
		"sid long":         {`{"result":{},"sid":"` + strings.Repeat("x", maxSID+1) + `"}`, "/sid is longer than 1024 bytes"},
		"result missing":   {`{"sid":"x"}`, "/result is missing"},
		"result null":      {`{"sid":"x","result":null}`, "/result is not an object"},
		"result a list":    {`{"sid":"x","result":[{"a":"hunter2"}]}`, "/result is not an object"},
		"result text":      {`{"sid":"x","result":"hunter2"}`, "/result is not an object"},
		"name a list":      {`{"sid":"x","result":{},"search_name":["hunter2"]}`, "/search_name is not a string"},
		"nested object":    {alert(`{"ok":"1","a/b~c":{"secret":"hunter2"}}`), "/result/a~1b~0c is neither"},
		"object in a list": {alert(`{"a":["1",{"secret":"hunter2"}]}`), "/result/a/1 is neither"},
		"list in a list":   {alert(`{"a":[["hunter2"]]}`), "/result/a/0 is neither"},
		"many fields":      {alert(string(wide)), "/result has more than 1000 fields"},
		"odd name":         {alert(`{"a\u0000\u202e":{}}`), "/result/a\ufffd\ufffd is neither"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeAlert(request(test.body))
			if funnel.CodeOf(err) != funnel.Invalid {
				t.Fatalf("error is %v (%s), want an invalid one", err, funnel.CodeOf(err))
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %q, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error echoes a value: %q", err)
			}
		})
	}
}

func TestOptionalMembers(t *testing.T) {
	t.Parallel()
	_, e := decode(t, request(`{"result":{"a":[true,null,-0.10e+2,"x"]},"sid":"x","search_name":null,"more":{"a":[1]}}`))
	if e.Search != "" || e.App != "" {
		t.Errorf("event is %+v", e)
	}
	if got := e.Row.Values("a"); !slices.Equal(got, []string{"true", "", "-0.10e+2", "x"}) {
		t.Errorf("values are %q", got)
	}
}

// TestKey: what is the same delivery has the same key, and the rows of one
// search job have keys of their own.
func TestKey(t *testing.T) {
	t.Parallel()
	base, _ := decode(t, request(alert(`{"a":"1","b":["x","y"],"c":""}`)))
	same := map[string]string{
		"order":           alert(`{"c":"","b":["x","y"],"a":"1"}`),
		"whitespace":      strings.ReplaceAll(alert(`{ "a" :	"1" , "b":[ "x" ,"y" ] , "c":"" }`), ",\"", " ,\n\""),
		"escapes":         alert(`{"\u0061":"\u0031","b":["x","y"],"c":""}`),
		"number":          alert(`{"a":1,"b":["x","y"],"c":""}`),
		"list of one":     alert(`{"a":["1"],"b":["x","y"],"c":""}`),
		"other app, name": strings.NewReplacer(`"W2"`, `null`, `"search"`, `"other"`).Replace(alert(`{"a":"1","b":["x","y"],"c":""}`)),
	}
	for name, body := range same {
		if key, _ := decode(t, request(body)); key != base {
			t.Errorf("%s changes the key", name)
		}
	}
	other := map[string]string{
		"value":          alert(`{"a":"2","b":["x","y"],"c":""}`),
		"list order":     alert(`{"a":"1","b":["y","x"],"c":""}`),
		"list joined":    alert(`{"a":"1","b":["xy"],"c":""}`),
		"null":           alert(`{"a":"1","b":["x","y"],"c":null}`),
		"field gone":     alert(`{"a":"1","b":["x","y"]}`),
		"values moved":   alert(`{"a":["1","b","x"],"b":["y"],"c":""}`),
		"values swallow": alert(`{"a":["1","b","1","x","y","c","1",""]}`),
		"names swallow":  alert(`{"a":["1","b","2","x","y"],"c":""}`),
		"sid":            strings.Replace(alert(`{"a":"1","b":["x","y"],"c":""}`), "_at_1", "_at_2", 1),
	}
	for name, body := range other {
		if key, _ := decode(t, request(body)); key == base {
			t.Errorf("%s does not change the key", name)
		}
	}
}

func TestSeverity(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		`{"severity":"High"}`:                              "high",
		`{"severity":" CRITICAL "}`:                        "critical",
		`{"severity":"informational"}`:                     "info",
		`{"severity":"9","urgency":"medium"}`:              "medium",
		`{"priority":"low"}`:                               "low",
		`{"severity":["low","high"],"urgency":"critical"}`: "low",
		`{"severity":"catastrophic"}`:                      "",
		`{"Severity":"high"}`:                              "",
		`{}`:                                               "",
	} {
		if _, e := decode(t, request(alert(row))); e.Severity != want {
			t.Errorf("severity of %s is %q, want %q", row, e.Severity, want)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"1483557272":                    "2017-01-04T19:14:32Z",
		"1483557272.5":                  "2017-01-04T19:14:32.5Z",
		"1483557272.1234567891":         "2017-01-04T19:14:32.123456789Z",
		"2017-01-04T11:14:32.000-08:00": "2017-01-04T19:14:32Z",
		"2017-01-04T11:14:32.250-0800":  "2017-01-04T19:14:32.25Z",
		"0":                             "1970-01-01T00:00:00Z",
		"-5":                            "",
		"1483557272.-5":                 "",
		"1e9":                           "",
		"253402300800":                  "",
		"99999999999999999999":          "",
		"9999-12-31T23:59:59-23:00":     "",
		"yesterday":                     "",
		"":                              "",
	} {
		row, _ := json.Marshal(map[string]string{"_time": value})
		arrivals, err := Alert.Spec().Decode(request(alert(string(row)))) // with the JSON form, which not every time has
		if err != nil {
			t.Errorf("_time %q: %v", value, err)
			continue
		}
		var e AlertEvent
		if err := json.Unmarshal(arrivals[0].Event, &e); err != nil {
			t.Fatal(err)
		}
		got := ""
		if e.Time != nil {
			got = e.Time.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("_time %q is read as %q, want %q", value, got, want)
		}
	}
}
