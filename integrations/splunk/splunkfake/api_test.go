package splunkfake_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

const apiToken = "token-of-the-test"

// ask sends a request with the token and returns status and body.
func ask(t *testing.T, h http.Handler, method, target, form string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	r.Header.Set("Authorization", "Bearer "+apiToken)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func newAPI(o splunkfake.APIOptions) *splunkfake.API {
	o.Token = apiToken
	return splunkfake.NewAPI(o)
}

// fixture returns a recorded answer, which is not part of the repository.
func fixture(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if b, err := os.ReadFile(filepath.Join(dir, "shared", "fixtures", "splunk", name)); err == nil {
			return b
		}
	}
	t.Skipf("NOT RUN: the recorded answer shared/fixtures/splunk/%s is not beside the repository", name)
	return nil
}

// shape returns the paths of elements with their attributes in an XML document,
// and of Splunk's dictionaries the keys. Of documents in a row, all count.
func shape(t *testing.T, doc []byte) map[string]bool {
	t.Helper()
	paths := map[string]bool{}
	var at []string
	d := xml.NewDecoder(strings.NewReader("<all>" + strings.ReplaceAll(string(doc), `<?xml version="1.0" encoding="UTF-8"?>`, "") + "</all>"))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return paths
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch e := token.(type) {
		case xml.StartElement:
			at = append(at, e.Name.Space+" "+e.Name.Local)
			path := strings.Join(at, "/")
			paths[path] = true
			for _, a := range e.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					continue
				}
				paths[path+"@"+a.Name.Local] = true
				if e.Name.Local == "key" {
					paths[path+"="+a.Value] = true
				}
			}
		case xml.EndElement:
			at = at[:len(at)-1]
		}
	}
}

// TestAgainstRecordedAnswers: what the API says in XML has no element, attribute or
// key that the recorded answers of a real Splunk lack, and has all that tell how
// results are built.
func TestAgainstRecordedAnswers(t *testing.T) {
	t.Parallel()
	api := newAPI(splunkfake.APIOptions{Version: "4.3", Jobs: []splunkfake.Job{{SID: "1", Rows: []map[string]any{{"count": "3"}}}}})
	for name, path := range map[string]string{
		"sdk-python.services.server.info.xml": "/services/server/info",
		"sdk-python.streaming_results.xml":    "/services/search/jobs/1/results",
	} {
		code, body := ask(t, api, http.MethodGet, path, "")
		if code != http.StatusOK {
			t.Fatalf("%s: status %d", path, code)
		}
		have, want := shape(t, []byte(body)), shape(t, fixture(t, name))
		for _, p := range slices.Sorted(maps.Keys(have)) {
			if !want[p] {
				t.Errorf("%s has %s, which the recorded answer lacks", path, p)
			}
		}
		for _, p := range slices.Sorted(maps.Keys(want)) {
			if !have[p] && !strings.Contains(p, " dict") && !strings.Contains(p, "messages/") && !strings.HasSuffix(p, "link") && !strings.Contains(p, " link@") {
				t.Errorf("%s lacks %s, which the recorded answer has", path, p)
			}
		}
	}
}

// TestJSON: the members that clients read, as the vendor's reference and SDKs name
// them.
func TestJSON(t *testing.T) {
	t.Parallel()
	api := newAPI(splunkfake.APIOptions{Jobs: splunkfake.DemoJobs(), Events: splunkfake.DemoEvents(), Cloud: true})
	sid := url.PathEscape(splunkfake.DemoSID)
	for _, test := range []struct {
		method, path, form string
		code               int
		want               []string
	}{
		{"GET", "/services/server/info?output_mode=json", "", 200, []string{`"generator":{"build":"101089","instance_type":"cloud","version":"9.4.1"}`, `"instance_type":"cloud"`, `"version":"9.4.1"`}},
		{"GET", "/services/search/v2/jobs/" + sid + "?output_mode=json", "", 200, []string{`"entry":[{`, `"dispatchState":"DONE"`, `"isDone":true`, `"resultCount":8`, `"acl":{"app":"search"`}},
		{"GET", "/servicesNS/nobody/search/search/jobs/" + sid + "?output_mode=json", "", 200, []string{`"dispatchState":"DONE"`}},
		{"POST", "/services/search/v2/jobs/" + sid + "/results", "output_mode=json&count=2&offset=6", 200, []string{`"init_offset":6`, `"fields":[{"name":"_raw"}`, `"results":[{`, `"_time":"2025-12-31T23:54:00.000+00:00"`}},
		{"GET", "/services/search/jobs/" + sid + "/results?output_mode=json_rows&count=1&f=user", "", 200, []string{`"fields":["user"]`, `"rows":[["jdoe"]]`}},
		{"GET", "/services/search/v2/jobs/" + sid + "/results?output_mode=json", "", 405, []string{`"messages":[{`}},
		{"POST", "/services/search/jobs/" + sid + "/results", "output_mode=json", 405, nil},
		{"GET", "/services/search/v2/jobs/none?output_mode=json", "", 404, []string{`{"messages":[{"text":"Unknown sid.","type":"FATAL"}]}`}},
		{"POST", "/services/search/v2/jobs", "search=search+user%3Djdoe&output_mode=json", 201, []string{`{"sid":"`}},
		{"POST", "/services/search/jobs", "search=frob&output_mode=json", 400, []string{`Unknown search command 'frob'.`}},
		{"POST", "/services/search/jobs", "search=search+user%3Djdoe+|+stats+count&output_mode=json&exec_mode=oneshot", 200, []string{`"results":[{"count":"4"}]`}},
		{"POST", "/services/search/v2/jobs/" + sid + "/control", "action=cancel&output_mode=json", 200, []string{`"Search job cancelled."`}},
		{"GET", "/services/saved/searches/none?output_mode=json", "", 404, nil},
		{"GET", "/services/no/such/thing", "", 404, nil},
		{"GET", "/elsewhere", "", 404, nil},
		{"GET", "/", "", 404, nil},
	} {
		code, body := ask(t, api, test.method, test.path, test.form)
		if code != test.code || !json.Valid([]byte(body)) {
			t.Errorf("%s %s: status %d, want %d: %s", test.method, test.path, code, test.code, body)
		}
		for _, want := range test.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s %s lacks %s: %s", test.method, test.path, want, body)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	api := splunkfake.NewAPI(splunkfake.APIOptions{User: "admin", Password: "pw"})
	get := func(header string) int {
		r := httptest.NewRequest(http.MethodGet, "/services/server/info?output_mode=json", nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w.Code
	}
	for _, header := range []string{"", "Bearer ", "Bearer x", "Splunk ", "Splunk x", "Basic eDp4"} {
		if code := get(header); code != http.StatusUnauthorized {
			t.Errorf("%q: status %d", header, code)
		}
	}
	if code, _ := ask(t, api, http.MethodPost, "/services/auth/login", "username=admin&password=no"); code != http.StatusUnauthorized {
		t.Errorf("with a wrong password: status %d", code)
	}
	_, body := ask(t, api, http.MethodPost, "/services/auth/login", "username=admin&password=pw")
	var answer struct{ SessionKey string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || get("Splunk "+answer.SessionKey) != http.StatusOK {
		t.Errorf("the session of %s opens nothing", body)
	}
	if j := api.Journal(); len(j) != 2 || j[0].Kind != "login" || j[1].Kind != "info" {
		t.Errorf("the journal is %+v", j)
	}
}

// TestGenerations: which generation of the API there is.
func TestGenerations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options splunkfake.APIOptions
		v1, v2  int
	}{
		{splunkfake.APIOptions{Version: "8.2.0"}, 200, 404},
		{splunkfake.APIOptions{Version: "9.0.0"}, 200, 404},
		{splunkfake.APIOptions{Version: "9.0.1"}, 200, 200},
		{splunkfake.APIOptions{OnlyV2: true}, 404, 200},
	} {
		test.options.Jobs = []splunkfake.Job{{SID: "1"}}
		api := newAPI(test.options)
		for path, want := range map[string]int{"/services/search/jobs/1": test.v1, "/services/search/v1/jobs/1": test.v1, "/services/search/v2/jobs/1": test.v2} {
			if code, _ := ask(t, api, http.MethodGet, path, ""); code != want {
				t.Errorf("%+v: GET %s gives %d, want %d", test.options, path, code, want)
			}
		}
	}
}
