package virustotalfake_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

func demo() virustotalfake.Options {
	return virustotalfake.Options{URLs: virustotalfake.DemoURLs(), Domains: virustotalfake.DemoDomains(), IPs: virustotalfake.DemoIPs()}
}

// TestNetworkObjects: each kind is found by its own identifiers only, and the
// journal tells what was asked.
func TestNetworkObjects(t *testing.T) {
	t.Parallel()
	s := virustotalfake.New(demo())
	encoded := base64.RawURLEncoding.EncodeToString([]byte(virustotalfake.DemoURLs()[0].URL))
	for _, test := range []struct {
		path, kind string
		found      bool
	}{
		{"urls/" + encoded, "url", true},
		{"urls/" + strings.ToLower(encoded), "url", false},
		{"domains/Login-Update.example.com", "domain", true},
		{"domains/other.example.com", "domain", false},
		{"domains/8.8.8.8", "domain", false},
		{"ip_addresses/8.8.8.8", "ip_address", true},
		{"ip_addresses/2002:c058:6342::1", "ip_address", true},
		{"ip_addresses/8.8.4.4", "ip_address", false},
	} {
		status, code, body := get(s, "k", "/api/v3/"+test.path)
		journal := s.Journal()
		last := journal[len(journal)-1]
		if last.Kind != test.kind || last.Found != test.found {
			t.Errorf("%s is in the journal as %+v", test.path, last)
		}
		if !test.found {
			if status != http.StatusNotFound || code != "NotFoundError" {
				t.Errorf("%s gives %d %s, want not found", test.path, status, code)
			}
			continue
		}
		data, _ := body["data"].(map[string]any)
		if status != http.StatusOK || data["type"] != test.kind {
			t.Errorf("%s gives %d and type %v", test.path, status, data["type"])
		}
		// what the server says the URL's identifier is finds it again
		if status, _, _ := get(s, "k", "/api/v3/"+strings.Split(test.path, "/")[0]+"/"+data["id"].(string)); status != http.StatusOK {
			t.Errorf("%s is not found by its id %v", test.path, data["id"])
		}
	}
}

// TestIPShape: every attribute of the fake's address that a captured one has too
// has the same JSON type.
func TestIPShape(t *testing.T) {
	t.Parallel()
	captured, err := os.ReadFile("../testdata/ip.mihari.json")
	if err != nil {
		t.Fatal(err)
	}
	var real map[string]any
	if err := json.Unmarshal(captured, &real); err != nil {
		t.Fatal(err)
	}
	_, _, fake := get(virustotalfake.New(demo()), "k", "/api/v3/ip_addresses/192.88.99.66")
	theirs := real["data"].(map[string]any)["attributes"].(map[string]any)
	ours := fake["data"].(map[string]any)["attributes"].(map[string]any)
	delete(ours, "first_seen_date")    // newer than the captured one
	delete(ours, "last_analysis_date") // documented, not in the captured one
	engine := theirs["last_analysis_results"].(map[string]any)["CMC Threat Intelligence"]
	for _, result := range ours["last_analysis_results"].(map[string]any) {
		compare(t, "engine", result, engine)
	}
	delete(ours, "last_analysis_results")
	compare(t, "", fake, real)
}

// TestSharedQuota: a key has one quota for all kinds.
func TestSharedQuota(t *testing.T) {
	t.Parallel()
	o := demo()
	o.PerMinute, o.Clock = 3, func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	s := virustotalfake.New(o)
	for i, path := range []string{"files/x", "domains/www.example.org", "ip_addresses/8.8.8.8", "urls/x"} {
		status, code, _ := get(s, "k", "/api/v3/"+path)
		if refused := status == http.StatusTooManyRequests && code == "TooManyRequestsError"; refused != (i == 3) {
			t.Errorf("%s, the %d. look-up, gives %d %s", path, i+1, status, code)
		}
	}
}
