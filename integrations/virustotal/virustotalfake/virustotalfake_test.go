package virustotalfake_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// get asks and returns the status, the error's code and the answer.
func get(s http.Handler, key, path string) (status int, code string, answer map[string]any) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if key != "" {
		r.Header.Set("X-Apikey", key)
	}
	s.ServeHTTP(w, r)
	if json.Unmarshal(w.Body.Bytes(), &answer) == nil {
		if e, ok := answer["error"].(map[string]any); ok {
			code, _ = e["code"].(string)
		}
	}
	return w.Code, code, answer
}

// TestShape: every attribute of the fake's object has the JSON type that it has
// in a captured one.
func TestShape(t *testing.T) {
	t.Parallel()
	captured, err := os.ReadFile("../testdata/file.mihari.json")
	if err != nil {
		t.Fatal(err)
	}
	var real map[string]any
	if err := json.Unmarshal(captured, &real); err != nil {
		t.Fatal(err)
	}
	for _, f := range virustotalfake.Demo() {
		status, _, fake := get(virustotalfake.New(virustotalfake.Options{Files: virustotalfake.Demo()}), "k", "/api/v3/files/"+f.SHA1)
		if status != http.StatusOK {
			t.Fatalf("status is %d", status)
		}
		compare(t, "", fake, real)
	}
}

func compare(t *testing.T, path string, fake, real any) {
	t.Helper()
	if a, b := fmt.Sprintf("%T", fake), fmt.Sprintf("%T", real); a != b {
		t.Errorf("%s is a %s, a real one is a %s", path, a, b)
		return
	}
	f, ok := fake.(map[string]any)
	if !ok {
		return
	}
	for name, value := range f {
		theirs, known := real.(map[string]any)[name]
		switch {
		case known:
			compare(t, path+"/"+name, value, theirs)
		case strings.HasSuffix(path, "/last_analysis_results"): // engines have names of their own
			lionic := real.(map[string]any)["Lionic"].(map[string]any)
			if vote := value.(map[string]any)["category"]; vote == "malicious" || vote == "suspicious" {
				lionic["result"] = "text"
			} else {
				lionic["result"] = nil
			}
			compare(t, path+"/"+name, value, lionic)
		case name == "meaningful_name" || name == "popular_threat_classification": // the captured file has neither
		default:
			t.Errorf("%s/%s is in no real answer", path, name)
		}
	}
}

func TestKeysAndPaths(t *testing.T) {
	t.Parallel()
	s := virustotalfake.New(virustotalfake.Options{APIKey: "right", Files: virustotalfake.Demo()})
	known := "/api/v3/files/" + virustotalfake.Demo()[0].SHA256
	for _, test := range []struct {
		key, path string
		status    int
		code      string
	}{
		{"right", known, 200, ""},
		{"right", "/api/v3/files/" + strings.ToUpper(virustotalfake.Demo()[0].MD5), 200, ""},
		{"right", "/api/v3/files/" + strings.Repeat("0", 64), 404, "NotFoundError"},
		{"right", "/api/v3/comments/example.com", 404, "NotFoundError"},
		{"right", "/api/v3/domains/", 404, "NotFoundError"},
		{"right", "/api/v3/domains/example.com/resolutions", 404, "NotFoundError"},
		{"wrong", known, 401, "WrongCredentialsError"},
		{"", known, 401, "AuthenticationRequiredError"},
	} {
		if status, code, _ := get(s, test.key, test.path); status != test.status || code != test.code {
			t.Errorf("key %q, path %s gives %d %s, want %d %s", test.key, test.path, status, code, test.status, test.code)
		}
	}
	if j := s.Journal(); len(j) != 3 || !j[0].Found || !j[1].Found || j[2].Found {
		t.Errorf("journal is %+v, want the three look-ups", j)
	}
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 23, 50, 0, 0, time.UTC)
	s := virustotalfake.New(virustotalfake.Options{PerMinute: 4, Daily: 6, Clock: func() time.Time { return now }})
	ask := func(want int, code string) {
		t.Helper()
		if status, got, _ := get(s, "k", "/api/v3/files/"+strings.Repeat("0", 32)); status != want || got != code {
			t.Errorf("at %s the answer is %d %s, want %d %s", now.Format(time.TimeOnly), status, got, want, code)
		}
	}
	for range 4 {
		ask(404, "NotFoundError")
	}
	ask(429, "TooManyRequestsError")
	now = now.Add(time.Minute)
	ask(404, "NotFoundError")
	ask(404, "NotFoundError")
	ask(429, "QuotaExceededError")
	now = now.Add(9 * time.Minute) // the next day
	ask(404, "NotFoundError")
	if n := len(s.Journal()); n != 7 {
		t.Errorf("%d look-ups were processed, want 7", n)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := virustotalfake.New(virustotalfake.Options{})
	for status, want := range map[int]string{400: "BadRequestError", 401: "WrongCredentialsError", 403: "ForbiddenError", 429: "TooManyRequestsError", 503: "TransientError", 504: "DeadlineExceededError"} {
		s.Misbehave(virustotalfake.Faults{Status: status, Latency: time.Millisecond})
		if got, code, _ := get(s, "k", "/api/v3/files/x"); got != status || code != want {
			t.Errorf("the answer is %d %s, want %d %s", got, code, status, want)
		}
	}
}

// TestDemo: the hashes of the demo's files are whole and differ.
func TestDemo(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range virustotalfake.Demo() {
		for want, hash := range map[funnel.Kind]string{funnel.MD5: f.MD5, funnel.SHA1: f.SHA1, funnel.SHA256: f.SHA256} {
			if kind, ok := funnel.HashKind(hash); !ok || kind != want || seen[hash] {
				t.Errorf("%s of %s is %q", want, f.Name, hash)
			}
			seen[hash] = true
		}
	}
}
