package virustotal_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// recorded returns the objects in the recorded replies of the real VirusTotal, by
// their type. The replies lie beside the module, not in it.
func recorded(t *testing.T) map[string]map[string]any {
	t.Helper()
	const dir = "../../../shared/fixtures/virustotal"
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || len(files) == 0 {
		t.Skipf("NOT CHECKED against VirusTotal's recorded replies: %s is absent (it lies beside the module, not in it)", dir)
	}
	objects := map[string]map[string]any{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var reply struct {
			Status struct{ Code int }
			Body   struct{ Data json.RawMessage }
		}
		var body struct{ Body string } // one of the recordings keeps it as text
		if json.Unmarshal(raw, &body) == nil && body.Body != "" {
			err = json.Unmarshal([]byte(body.Body), &reply.Body)
		} else {
			err = json.Unmarshal(raw, &reply)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var list []map[string]any
		if err := json.Unmarshal(reply.Body.Data, &list); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, o := range list {
			objects[o["type"].(string)] = o
		}
	}
	if objects["file"] == nil || objects["ip_address"] == nil {
		t.Fatalf("the recordings hold %d objects, and no file or no address", len(objects))
	}
	return objects
}

// TestRecordedReplies has the client read the recorded objects as reports.
func TestRecordedReplies(t *testing.T) {
	t.Parallel()
	objects := recorded(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := map[string]string{"files": "file", "ip_addresses": "ip_address"}[strings.Split(r.URL.Path, "/")[3]]
		_ = json.NewEncoder(w).Encode(map[string]any{"data": objects[kind]})
	}))
	t.Cleanup(server.Close)
	c := clientOf(t, server.URL)
	attributes := objects["file"]["attributes"].(map[string]any)
	for _, hash := range []string{"md5", "sha1", "sha256"} {
		r, err := c.FileReport(t.Context(), virustotal.FileReportInput{Hash: attributes[hash].(string)})
		if err != nil {
			t.Fatal(err)
		}
		stats := attributes["last_analysis_stats"].(map[string]any)
		if !r.Found || float64(r.Malicious) != stats["malicious"] || float64(r.Undetected) != stats["undetected"] || r.SHA256 != attributes["sha256"] ||
			r.Type != attributes["type_description"] || float64(r.Size) != attributes["size"] || r.FirstSeen == nil || float64(r.FirstSeen.Unix()) != attributes["first_submission_date"] {
			t.Errorf("the recorded file is read as %+v", r)
		}
	}
	r, err := c.IPReport(t.Context(), virustotal.IPReportInput{IP: objects["ip_address"]["id"].(string)})
	if err != nil {
		t.Fatal(err)
	}
	attributes = objects["ip_address"]["attributes"].(map[string]any)
	if !r.Found || r.Network != attributes["network"] || float64(r.ASN) != attributes["asn"] || r.ASOwner != attributes["as_owner"] || r.Country != attributes["country"] {
		t.Errorf("the recorded address is read as %+v", r)
	}
}

// TestFakeAgainstRecordings: what the fake says of any kind of object has the types
// that the recorded objects have, in the members that they share.
func TestFakeAgainstRecordings(t *testing.T) {
	t.Parallel()
	objects := recorded(t)
	fake := virustotalfake.New(virustotalfake.Options{
		Files: virustotalfake.Demo(), URLs: virustotalfake.DemoURLs(), Domains: virustotalfake.DemoDomains(), IPs: virustotalfake.DemoIPs(),
	})
	shared := map[string]int{}
	for kind, path := range map[string]string{
		"file": "files/" + virustotalfake.Demo()[0].SHA256, "domain": "domains/" + virustotalfake.DemoDomains()[0].Name,
		"ip_address": "ip_addresses/" + virustotalfake.DemoIPs()[0].IP, "url": "urls/" + base64.RawURLEncoding.EncodeToString([]byte(virustotalfake.DemoURLs()[0].URL)),
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/v3/"+path, nil)
		r.Header.Set("X-Apikey", "k")
		fake.ServeHTTP(w, r)
		var answer struct{ Data map[string]any }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s gives %d %s: %v", path, w.Code, w.Body, err)
		}
		real := kind
		if objects[kind] == nil { // a URL or a domain has the votes in the form of an address
			real = "ip_address"
		}
		for _, at := range []string{"type", "id", "links", "attributes"} {
			alike(t, kind+" against a recorded "+real, "/"+at, answer.Data[at], objects[real][at], func() { shared[kind]++ })
		}
	}
	for kind, n := range map[string]int{"file": 25, "ip_address": 15, "domain": 10, "url": 10} {
		if shared[kind] < n {
			t.Errorf("only %d members of the fake's %s are in a recording, want %d", shared[kind], kind, n)
		}
	}
}

// alike compares the types of what both have. Engines have names of their own.
func alike(t *testing.T, what, path string, fake, real any, compared func()) {
	t.Helper()
	if real == nil || fake == nil { // JSON's null: a real one has it where nobody said anything
		return
	}
	compared()
	if a, b := fmt.Sprintf("%T", fake), fmt.Sprintf("%T", real); a != b {
		t.Errorf("%s: %s is %s, a real one is %s", what, path, a, b)
		return
	}
	theirs, ok := real.(map[string]any)
	if !ok {
		return
	}
	if strings.HasSuffix(path, "/last_analysis_results") {
		var one map[string]any
		for _, engine := range theirs {
			one = engine.(map[string]any)
		}
		for name, engine := range fake.(map[string]any) {
			for member, v := range engine.(map[string]any) {
				if _, known := one[member]; !known {
					t.Errorf("%s: %s/%s has %s, which no real engine has", what, path, name, member)
				}
				alike(t, what, path+"/"+name+"/"+member, v, one[member], func() {})
			}
		}
		return
	}
	for name, v := range fake.(map[string]any) {
		alike(t, what, path+"/"+name, v, theirs[name], compared)
	}
}

// TestErrorBodies: the fake's errors have the documented form, and each code goes
// with its documented status (docs.virustotal.com/reference/errors).
func TestErrorBodies(t *testing.T) {
	t.Parallel()
	documented := map[int][]string{
		400: {"BadRequestError", "InvalidArgumentError", "NotAvailableYet"}, 401: {"AuthenticationRequiredError", "UserNotActiveError", "WrongCredentialsError"},
		403: {"ForbiddenError"}, 404: {"NotFoundError"}, 429: {"QuotaExceededError", "TooManyRequestsError"}, 503: {"TransientError"}, 504: {"DeadlineExceededError"},
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	fake := virustotalfake.New(virustotalfake.Options{APIKey: key, PerMinute: 1, Daily: 2, Clock: func() time.Time { return now }})
	ask := func(key, path string) (int, []byte) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/v3/"+path, nil)
		if key != "" {
			r.Header.Set("X-Apikey", key)
		}
		fake.ServeHTTP(w, r)
		return w.Code, w.Body.Bytes()
	}
	seen := map[string]bool{}
	check := func(status int, body []byte) {
		t.Helper()
		var answer map[string]map[string]string // nothing else fits
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		e := answer["error"]
		if len(answer) != 1 || len(e) != 2 || e["message"] == "" || !slices.Contains(documented[status], e["code"]) {
			t.Errorf("%d %s is not a documented error", status, body)
		}
		seen[e["code"]] = true
	}
	const file = "files/44d88612fea8a8f36de82e1278abb02f"
	check(ask("", file))
	check(ask("wrong", file))
	check(ask(key, file)) // not found
	check(ask(key, file)) // the minute
	now = now.Add(time.Hour)
	check(ask(key, file))
	check(ask(key, file)) // the day
	for status := range documented {
		fake.Misbehave(virustotalfake.Faults{Status: status})
		check(ask(key, file))
	}
	for _, code := range []string{"NotFoundError", "TooManyRequestsError", "QuotaExceededError", "AuthenticationRequiredError", "WrongCredentialsError", "TransientError", "DeadlineExceededError"} {
		if !seen[code] {
			t.Errorf("the fake never said %s", code)
		}
	}
}

func clientOf(t *testing.T, address string) *virustotal.Client {
	t.Helper()
	c, err := virustotal.Integration().Connect.Connect(t.Context(), funnel.Env{
		Connection: "virustotal", Clock: time.Now,
		HTTP: func(*url.URL, func(http.Header)) *http.Client { return http.DefaultClient },
	}, []byte(`{"api_key":"`+key+`","url":"`+address+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	return c.(*virustotal.Client)
}
