package virustotal

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

func network() *virustotalfake.Server {
	return virustotalfake.New(virustotalfake.Options{
		APIKey: apiKey, Files: virustotalfake.Demo(), URLs: virustotalfake.DemoURLs(), Domains: virustotalfake.DemoDomains(), IPs: virustotalfake.DemoIPs(),
	})
}

func TestCapturedIP(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/ip.mihari.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := client(t, answer(http.StatusOK, string(body))).IPReport(t.Context(), IPReportInput{IP: "167.179.69.149"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r)
	want := `{"ip":"167.179.69.149","found":true,"verdict":{"rating":"clean","detail":"0 of 88 engines call it malicious, 0 suspicious.","total":88,` +
		`"source":"VirusTotal"},"malicious":0,"suspicious":0,"harmless":88,"undetected":0,"total":88,"asked":"2026-03-01T15:04:05Z","network":"167.179.64.0/18","asn":20473,` +
		`"as_owner":"AS-CHOOPA","country":"JP","last_change":"2022-04-03T16:47:15Z","permalink":"https://www.virustotal.com/gui/ip-address/167.179.69.149"}`
	if err != nil || string(got) != want {
		t.Errorf("report is\n%s, want\n%s", got, want)
	}
}

// TestNetworkReports goes the engine's way for each kind: bad, so-so, good, not
// judged and never seen.
func TestNetworkReports(t *testing.T) {
	t.Parallel()
	fake := network()
	c := client(t, fake)
	reg := funnel.NewRegistry().Add(Integration())
	for _, test := range []struct{ action, in, want string }{
		{"url", `{"url":"http://user:hunter2@login-update.example.com/invoice?id=417"}`, "malicious (16 of 91)"},
		{"url", `{"url":"https://files.example.net/tools/remote_helpdesk.exe"}`, "suspicious (2 of 92)"},
		{"url", `{"url":"https://www.example.org/"}`, "clean (0 of 92)"},
		{"url", `{"url":"https://new.example.net/"}`, "unknown"},
		{"url", `{"url":"https://never.example.net/"}`, "unknown (not found)"},
		{"domain", `{"domain":"Login-Update.Example.com."}`, "malicious (12 of 92)"},
		{"domain", `{"domain":"files.example.net"}`, "suspicious (1 of 92)"},
		{"domain", `{"domain":"www.example.org"}`, "clean (0 of 92)"},
		{"domain", `{"domain":"new.example.net"}`, "unknown"},
		{"domain", `{"domain":"never.example.net"}`, "unknown (not found)"},
		{"ip", `{"ip":"192.88.99.66"}`, "malicious (18 of 92)"},
		{"ip", `{"ip":"192.88.99.7"}`, "suspicious (2 of 92)"},
		{"ip", `{"ip":"::ffff:8.8.8.8"}`, "clean (0 of 92)"},
		{"ip", `{"ip":"2002:C058:6342:0::1"}`, "malicious (3 of 92)"},
		{"ip", `{"ip":"9.9.9.9"}`, "unknown (not found)"},
	} {
		action, ok := reg.Action("virustotal." + test.action + "_report")
		if !ok {
			t.Fatalf("virustotal.%s_report is not registered", test.action)
		}
		out, err := action.Invoke(t.Context(), c, []byte(test.in))
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		var r struct {
			Verdict funnel.Verdict `json:"verdict"`
			Found   bool           `json:"found"`
			Total   int            `json:"total"`
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatal(err)
		}
		if r.Verdict.String() != test.want || r.Found == (r.Verdict.Why == funnel.NotFoundThere) || r.Total != r.Verdict.Total || strings.Contains(string(out), "hunter2") {
			t.Errorf("%s gives %s, want %s", test.in, out, test.want)
		}
	}
	for _, l := range fake.Journal() {
		if plain, _ := base64.RawURLEncoding.DecodeString(l.ID); strings.Contains(string(plain), "hunter2") {
			t.Errorf("the password was sent: %s", plain)
		}
	}
}

// TestFacts: what else is known about the demo's first observables.
func TestFacts(t *testing.T) {
	t.Parallel()
	c := client(t, network())
	u, err := c.URLReport(t.Context(), URLReportInput{URL: virustotalfake.DemoURLs()[0].URL})
	if err != nil {
		t.Fatal(err)
	}
	if u.FinalURL != "https://accounts.login-update.example.com/sign-in" || u.Title != "Sign in to your account" || u.Status != 200 || u.FirstSeen == nil || u.LastSeen == nil ||
		u.LastAnalysis == nil || u.Reputation != -14 || !reflect.DeepEqual(u.Names, []string{"Phish.Generic"}) || !reflect.DeepEqual(u.Categories, []string{"phishing"}) ||
		u.Permalink != "https://www.virustotal.com/gui/url/"+base64.RawURLEncoding.EncodeToString([]byte(u.URL)) {
		t.Errorf("URL: %+v", u)
	}
	d, err := c.DomainReport(t.Context(), DomainReportInput{Domain: "login-update.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Registrar != "Registrar of the Demo, Inc." || d.Created == nil || d.Created.Format(time.DateOnly) != "2026-02-03" || d.FirstSeen == nil || d.LastChange == nil ||
		!reflect.DeepEqual(d.Categories, []string{"newly registered websites"}) || d.Permalink != "https://www.virustotal.com/gui/domain/login-update.example.com" {
		t.Errorf("domain: %+v", d)
	}
	i, err := c.IPReport(t.Context(), IPReportInput{IP: "192.88.99.66"})
	if err != nil {
		t.Fatal(err)
	}
	if i.Network != "192.88.99.0/24" || i.ASN != 64500 || i.ASOwner != "Network of the Demo" || i.Country != "NL" || i.FirstSeen == nil || i.LastAnalysis == nil {
		t.Errorf("IP: %+v", i)
	}
}

// TestHostileNetworkReports changes a good answer in one place.
func TestHostileNetworkReports(t *testing.T) {
	t.Parallel()
	asked := map[string]string{"url": virustotalfake.DemoURLs()[0].URL, "domain": "login-update.example.com", "ip": "192.88.99.66"}
	paths := map[string]string{"url": "urls/" + base64.RawURLEncoding.EncodeToString([]byte(asked["url"])), "domain": "domains/" + asked["domain"], "ip": "ip_addresses/" + asked["ip"]}
	votes := func(s string) string { return `{"data":{"attributes":{"last_analysis_stats":` + s + `}}}` }
	attribute := func(s string) string { return `{"data":{"attributes":{` + s + `}}}` }
	tests := []struct{ field, patch, want string }{
		{"*", `{"data":{"type":"file"}}`, "is not the report of"},
		{"*", `{"data":{"type":7}}`, "not the JSON of a report"},
		{"*", `{"data":{"id":["x"]}}`, "not the JSON of a report"},
		{"*", `{"data":"hunter2"}`, "not the JSON of a report"},
		{"*", `{"data":null}`, "is not the report of"},
		{"*", votes(`{"malicious":-1}`), "cannot be"},
		{"*", votes(`{"undetected":10001}`), "cannot be"},
		{"*", votes(`{"malicious":1e30}`), "not the JSON of a report"},
		{"*", votes(`{"malicious":2.5}`), "not the JSON of a report"},
		{"*", votes(`{"malicious":"hunter2"}`), "not the JSON of a report"},
		{"*", votes(`"hunter2"`), "not the JSON of a report"},
		{"*", attribute(`"reputation":"hunter2"`), "not the JSON of a report"},
		{"*", attribute(`"last_analysis_date":1e40`), "not the JSON of a report"},
		{"domain", `{"data":{"id":"other.example.com"}}`, "another domain"},
		{"domain", `{"data":{"id":""}}`, "another domain"},
		{"domain", attribute(`"categories":["hunter2"]`), "not the JSON of a report"},
		{"domain", attribute(`"creation_date":"2020"`), "not the JSON of a report"},
		{"ip", `{"data":{"id":"192.88.99.67"}}`, "another IP address"},
		{"ip", `{"data":{"id":"hunter2"}}`, "another IP address"},
		{"ip", attribute(`"asn":-1`), "cannot be"},
		{"ip", attribute(`"asn":4294967296`), "cannot be"},
		{"url", `{"data":{"id":"hunter2"}}`, "is not the report of a URL"},
		{"url", attribute(`"url":"http://other.example.com/"`), "another URL"},
		{"url", attribute(`"url":""`), "another URL"},
		{"url", attribute(`"url":"http://%zz"`), "another URL"},
		{"url", attribute(`"last_http_response_code":-200`), "cannot be"},
		{"url", attribute(`"last_http_response_code":70000`), "cannot be"},
		{"url", attribute(`"title":{"a":1}`), "not the JSON of a report"},
	}
	for _, test := range tests {
		for field, value := range asked {
			if test.field != "*" && test.field != field {
				continue
			}
			body := patched(t, paths[field], test.patch)
			err := ask(t, client(t, answer(http.StatusOK, body)), field, value)
			check(t, err, funnel.Unavailable, time.Time{})
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s with %s: error is %q, want %q in it", field, test.patch, err, test.want)
			}
		}
	}
}

// patched returns the fake's answer with a JSON merge patch applied.
func patched(t *testing.T, path, patch string) string {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/v3/"+path, nil)
	r.Header.Set("X-Apikey", apiKey)
	network().ServeHTTP(w, r)
	var object, change map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &object); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s gives %d, error %v", path, w.Code, err)
	}
	d := json.NewDecoder(strings.NewReader(patch))
	d.UseNumber()
	if err := d.Decode(&change); err != nil {
		t.Fatal(err)
	}
	merge(object, change)
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func merge(object, change map[string]any) {
	for name, value := range change {
		inner, ok := value.(map[string]any)
		if theirs, is := object[name].(map[string]any); ok && is {
			merge(theirs, inner)
			continue
		}
		object[name] = value
	}
}

// TestHostileNetworkTexts: texts are bounded, and no link or fact is taken over
// that does not belong to what was asked for.
func TestHostileNetworkTexts(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("ä", 5000) + `"`
	body := patched(t, "ip_addresses/192.88.99.66", `{"data":{"links":{"self":"https://evil.example/"},"attributes":{"as_owner":`+long+`,"country":"<b>","network":"10.0.0.0/8","first_seen_date":-1}}}`)
	i, err := client(t, answer(http.StatusOK, body)).IPReport(t.Context(), IPReportInput{IP: "192.88.99.66"})
	if err != nil || i.Country != "" || i.Network != "" || i.FirstSeen != nil || len([]rune(i.ASOwner)) != maxText || i.Permalink != "https://www.virustotal.com/gui/ip-address/192.88.99.66" {
		t.Errorf("IP: %+v, error %v", i, err)
	}
	var categories []string
	for n := range 50 {
		categories = append(categories, `"partner`+string(rune('A'+n))+`":"category `+string(rune('A'+n))+`"`)
	}
	body = patched(t, "domains/files.example.net", `{"data":{"attributes":{"registrar":`+long+`,"creation_date":1152921504606846976,"categories":{`+strings.ReplaceAll(strings.Join(categories, ","), `\`, `\\`)+`}}}}`)
	d, err := client(t, answer(http.StatusOK, body)).DomainReport(t.Context(), DomainReportInput{Domain: "files.example.net"})
	if err != nil || len(d.Categories) != maxNames || d.Categories[0] != "category A" || d.Created != nil || len([]rune(d.Registrar)) != maxText {
		t.Errorf("domain: %+v, error %v", d, err)
	}
	address := virustotalfake.DemoURLs()[0].URL
	body = patched(t, "urls/"+base64.RawURLEncoding.EncodeToString([]byte(address)), `{"data":{"id":"`+strings.Repeat("e", 64)+`","attributes":{"title":`+long+`,"last_final_url":`+long+`,"threat_names":[`+long+`]}}}`)
	u, err := client(t, answer(http.StatusOK, body)).URLReport(t.Context(), URLReportInput{URL: address})
	if err != nil || len([]rune(u.Title)) != maxText || len([]rune(u.FinalURL)) != 2000 || len([]rune(u.Names[0])) != maxText || strings.Contains(u.Permalink, "eeee") {
		t.Errorf("URL: %+v, error %v", u, err)
	}
}

// TestNetworkFailures: a failed look-up is an error for each kind, never a verdict.
func TestNetworkFailures(t *testing.T) {
	t.Parallel()
	fake := network()
	c := client(t, fake)
	for field, value := range map[string]string{"url": "https://www.example.org/", "domain": "www.example.org", "ip": "8.8.8.8"} {
		for _, f := range []virustotalfake.Faults{{Down: true}, {HTML200: true}, {MalformedJSON: true}, {WrongTypes: true}, {Status: 503}} {
			fake.Misbehave(f)
			check(t, ask(t, c, field, value), funnel.Unavailable, time.Time{})
		}
		fake.Misbehave(virustotalfake.Faults{Status: 401})
		check(t, ask(t, c, field, value), funnel.Unauthorized, time.Time{})
		fake.Misbehave(virustotalfake.Faults{Status: 429, RetryAfter: "7"})
		check(t, ask(t, c, field, value), funnel.Throttled, at().Add(7*time.Second))
		err := ask(t, client(t, answer(http.StatusNotFound, "<h1>404</h1>")), field, value)
		check(t, err, funnel.Unavailable, time.Time{})
	}
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("the journal has %d look-ups, want none", n)
	}
}
