package splunkfake_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

type delivery struct {
	header http.Header
	body   []byte
}

// receiver answers 202 with an event's address and hands on what it received.
func receiver(t *testing.T) (string, <-chan delivery) {
	got := make(chan delivery, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- delivery{r.Header, body}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"event":"/api/events/7"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hooks/splunk/s3cret", got
}

func TestFire(t *testing.T) {
	t.Parallel()
	url, got := receiver(t)
	s := splunkfake.New(splunkfake.Options{URL: url, Web: "http://splunk.example.test:8000"})
	alert := splunkfake.Alert{SID: "scheduler__admin at_1", Search: "W2", Row: map[string]any{"a": "1", "b": []string{"x", "y"}}, Marker: "m1"}
	status, answer, err := s.Fire(t.Context(), alert)
	if err != nil || status != http.StatusAccepted || !strings.Contains(string(answer), "/api/events/7") {
		t.Fatalf("answer is %d %q, error %v", status, answer, err)
	}
	d := <-got
	want := `{"result":{"a":"1","b":["x","y"]},"sid":"scheduler__admin at_1","results_link":"http://splunk.example.test:8000/app/search/@go?sid=scheduler__admin+at_1","search_name":"W2","owner":"admin","app":"search"}`
	if string(d.body) != want {
		t.Errorf("body is\n%s, want\n%s", d.body, want)
	}
	if d.header.Get("User-Agent") != "Splunk" || d.header.Get("Content-Type") != "application/json" || d.header.Get("Authorization") != "" {
		t.Errorf("header is %v", d.header)
	}
	j := s.Journal()
	if len(j) != 1 || !j[0].Acked || j[0].Status != 202 || j[0].Event != "/api/events/7" || j[0].Marker != "m1" || len(j[0].RowHash) != 64 || j[0].At.IsZero() {
		t.Errorf("journal is %+v", j)
	}
}

// TestShape: the body has the members of a captured one, and the trigger reads it.
func TestShape(t *testing.T) {
	t.Parallel()
	captured, err := os.ReadFile("../testdata/webhook.zulip.search_one_result.json")
	if err != nil {
		t.Fatal(err)
	}
	var want, have map[string]json.RawMessage
	if err := json.Unmarshal(captured, &want); err != nil {
		t.Fatal(err)
	}
	url, got := receiver(t)
	s := splunkfake.New(splunkfake.Options{URL: url})
	if _, _, err := s.Fire(t.Context(), splunkfake.Alert{SID: "x", Row: map[string]any{"user": "jdoe"}}); err != nil {
		t.Fatal(err)
	}
	d := <-got
	if err := json.Unmarshal(d.body, &have); err != nil {
		t.Fatal(err)
	}
	if a, b := slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Errorf("members are %q, the captured ones %q", a, b)
	}
	if string(have["search_name"]) != "null" {
		t.Errorf("a search without a name is sent as %s, want null", have["search_name"])
	}
	if _, err := splunk.Alert.Spec().Decode(funnel.Request{Source: "s", Body: d.body}); err != nil {
		t.Errorf("the trigger refuses it: %v", err)
	}
}

func TestFireEach(t *testing.T) {
	t.Parallel()
	url, got := receiver(t)
	s := splunkfake.New(splunkfake.Options{URL: url})
	if err := s.FireEach(t.Context(), splunkfake.Alert{SID: "job"}, map[string]any{"n": 1}, map[string]any{"n": 2}); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for range 2 {
		found, err := splunk.Alert.Spec().Decode(funnel.Request{Source: "s", Body: (<-got).body})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, found[0].Key)
	}
	if keys[0] == keys[1] || !strings.HasPrefix(keys[0], "job:") || !strings.HasPrefix(keys[1], "job:") {
		t.Errorf("keys of two rows are %q", keys)
	}
}

// TestNoRetry: an alert is sent once, even if the connection breaks or the
// answer is a redirect, and the secret in the path is in no error.
func TestNoRetry(t *testing.T) {
	t.Parallel()
	answers := map[string]http.HandlerFunc{
		"broken connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"unavailable":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"redirect to GET":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				answer(w, r)
			}))
			t.Cleanup(server.Close)
			s := splunkfake.New(splunkfake.Options{URL: server.URL + "/hooks/splunk/s3cret"})
			err := s.FireEach(t.Context(), splunkfake.Alert{SID: "x"}, map[string]any{"n": 1})
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error is %v, want one without the secret", err)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("sent %d times, want once", n)
			}
			if j := s.Journal(); len(j) != 1 || j[0].Acked {
				t.Errorf("journal is %+v, want one entry that is not acknowledged", j)
			}
		})
	}
}

func TestSearchPage(t *testing.T) {
	t.Parallel()
	page := splunkfake.NewSearch()
	hostile := `"><script>alert(1)</script>`
	page.Add(splunkfake.Alert{SID: "a b", Search: "Rule " + hostile, Row: map[string]any{"user": hostile, "_raw": "raw", hostile: []string{"x", "y"}}})
	page.Add(splunkfake.Alert{SID: "a b", Search: "Rule", Row: map[string]any{"user": "second"}})

	get := func(method, target string) (*http.Response, string) {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest(method, target, nil))
		return w.Result(), w.Body.String()
	}
	res, body := get(http.MethodGet, splunkfake.Link("http://splunk.example.test:8000/", "a b"))
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status is %d", res.StatusCode)
	}
	if strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("the page is not escaped:\n%s", body)
	}
	for _, want := range []string{"second", "x, y", "<th scope=\"row\">user</th>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
	_, rest, _ := strings.Cut(body, "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("policy %q does not name the style of the page", csp)
	}
	for _, test := range []struct {
		method, target string
		want           int
	}{
		{http.MethodGet, "/app/search/@go?sid=other", http.StatusNotFound},
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodPost, "/app/search/@go?sid=a+b", http.StatusMethodNotAllowed},
	} {
		if res, _ := get(test.method, test.target); res.StatusCode != test.want {
			t.Errorf("%s %s gives %d, want %d", test.method, test.target, res.StatusCode, test.want)
		}
	}
}
