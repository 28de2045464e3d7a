package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

// Splunk's own SDK for JavaScript, which knows nothing of us, logs in at the
// simulated REST API, searches at once and by a job, reads the rows in pages and
// cancels the job: by the generation of the API that fits the version.
func TestSplunkSDK(t *testing.T) {
	t.Parallel()
	useReal(t)
	dir := npm(t, "splunk")
	for version, v2 := range map[string]bool{"9.4.1": true, "8.2.9": false} {
		api := splunkfake.NewAPI(splunkfake.APIOptions{User: "admin", Password: "pw-of-the-test", Version: version, Events: splunkfake.DemoEvents()})
		server := httptest.NewServer(api)
		t.Cleanup(server.Close)
		out := command(t, dir, []string{"SPLUNK=" + strings.TrimPrefix(server.URL, "http://"), "SPLUNK_PASSWORD=pw-of-the-test"}, "node", "use.js")
		var got struct {
			LoggedIn      bool
			Version, Info string
			Once          []any
			SID, State    string
			Asked         int
			Results       []int
			Page          []string
			Gone, Refused int
		}
		if err := json.Unmarshal([]byte(lastLine(out)), &got); err != nil {
			t.Fatalf("%s: %v in %s", version, err, out)
		}
		if !got.LoggedIn || got.Version != version || got.Info != version || got.State != "DONE" || got.SID == "" || got.Gone != 404 || got.Refused != 401 {
			t.Errorf("%s: the SDK got %s", version, out)
		}
		if len(got.Once) != 2 || got.Once[1] != 2.0 || !slices.Equal(got.Results, []int{8, 4}) || !slices.Equal(got.Page, []string{"WS-0102", "WS-0104", "WS-0107"}) || got.Asked != 3 {
			t.Errorf("%s: the SDK got %s", version, out)
		}
		var did []string
		for _, c := range api.Journal() {
			if c.SID != "" && c.V2 != v2 {
				t.Errorf("%s: %s went to another generation of the API", version, c.Kind)
			}
			did = append(did, c.Kind)
		}
		if want := "login info info oneshot create job job job results results cancel job"; strings.Join(did, " ") != want {
			t.Errorf("%s: the journal is %s, want %s", version, strings.Join(did, " "), want)
		}
	}
}

// Every configuration in the guide is one that funnel check takes.
func TestSplunkGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/guide/splunk.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(guide, -1)
	if len(blocks) < 2 {
		t.Fatalf("the guide has %d configurations", len(blocks))
	}
	for i, b := range blocks {
		path := filepath.Join(dir, "funnel.yaml")
		if err := os.WriteFile(path, bytes.ReplaceAll(b[1], []byte("/etc/funnel/splunk-ca.pem"), []byte(ca)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program(t), "check", "--config", path).CombinedOutput(); err != nil {
			t.Errorf("configuration %d of the guide: %v\n%s", i+1, err, out)
		}
	}
}

// lastLine returns the last line of what a program printed.
func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, l := range slices.Backward(lines) {
		if strings.HasPrefix(l, "{") {
			return l
		}
	}
	return lines[len(lines)-1]
}
