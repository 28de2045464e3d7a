package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/playbooks"
)

const token = "fnl_test"

func TestMain(m *testing.M) {
	if err := os.Setenv("FUNNEL_TOKEN", token); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// house is a server that answers everything with the same text and notes what it
// was asked.
type house struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string // method and address
	bodies []string
	header []http.Header
}

func newHouse(t *testing.T, answer http.HandlerFunc) *house {
	t.Helper()
	h := &house{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.asked, h.bodies, h.header = append(h.asked, r.Method+" "+r.URL.RequestURI()), append(h.bodies, string(body)), append(h.header, r.Header)
		h.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func registry() *funnel.Registry {
	return funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
}

// funnelRun runs a command line in this process.
func funnelRun(t *testing.T, args ...string) (out, err string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := &program{registry: registry(), out: &stdout, err: &stderr}
	code = p.run(context.Background(), args)
	return stdout.String(), stderr.String(), code
}

// What is typed wrong is answered with what to do, on standard error, with exit
// code 2; what the server refuses with 1.
func TestMistakes(t *testing.T) {
	t.Parallel()
	refuses := newHouse(t, says(422, `{"title":"Unprocessable Entity","status":422,"detail":"the input does not fit","errors":[{"location":"body.issue","message":"expected string to match","pointer":"/issue"},{"location":"body","pointer":"/x","message":"not known"}]}`))
	wrongToken := newHouse(t, says(401, `{"title":"Unauthorized","status":401,"detail":"send the token"}`))
	other := newHouse(t, says(502, `<html>Bad gateway</html>`))
	odd := newHouse(t, says(200, `<html>Hello</html>`))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"lst", 2, "list"},
		{"list rns", 2, "did you mean runs?"},
		{"list nothing", 2, "want actions, deliveries"},
		{"list runs 7", 2, "takes no arguments"},
		{"list runs --stat failed", 2, "did you mean --state?"},
		{"list runs --frobnicate", 2, `"funnel list runs --help" shows the flags`},
		{"list runs --state broken", 2, "want one of queued, running"},
		{"list runs --limit 0", 2, "want 1 to 200"},
		{"list runs --limit many", 2, "--limit"},
		{"list deliveries --since yesterday", 2, "2h for two hours ago"},
		{"list deliveries --verdict lost", 2, "want one of accepted"},
		{"show", 0, ""},
		{"show run", 2, "want ID"},
		{"show run 1 2", 2, "want ID"},
		{"show delivery", 2, "want ID"},
		{"skip 7", 2, "want RUN and STEP"},
		{"run jira.get_isue", 2, "did you mean jira.get_issue?"},
		{"run nothing.at_all", 2, `"funnel list actions" shows them`},
		{"run jira.get_issue", 2, `--issue: needed; "funnel run jira.get_issue --help" tells more`},
		{"run jira.get_issue SIRT-1", 2, "fields of its input are flags"},
		{"run jira.get_issue --isue SIRT-1", 2, "did you mean --issue?"},
		{"run jira.get_issue --issue A --issue B", 2, "given twice"},
		{"run jira.get_issue --issue SIRT-1 --wait 61s", 2, "want 0s to 60s"},
		{"run jira.get_issue --issue SIRT-1 --wait -1s", 2, "want 0s to 60s"},
		{"run jira.search_issues --limit many", 2, "want an integer"},
		{"run jira.get_issue --input {", 2, "--input"},
		{"run jira.get_issue --input []", 2, "not a JSON object"},
		{"run jira.get_issue --input @/does/not/exist", 2, "--input"},
		{"run jira.get_issue --issue SIRT-1 --server 127.0.0.1:8080", 2, "http://127.0.0.1:8080"},
		{"run jira.get_issue --issue SIRT-1 --server ftp://127.0.0.1", 2, "http://127.0.0.1:8080"},
		{"run jira.get_issue --issue SIRT-1 --server http://me:secret@127.0.0.1", 2, "http://127.0.0.1:8080"},
		{"list runs --server http://127.0.0.1:1", 1, "is it running at http://127.0.0.1:1?"},
		{"run jira.get_issue --issue SIRT-1 --server " + refuses.URL, 1, "body.issue: expected string to match; body at /x: not known"},
		{"list runs --server " + wrongToken.URL, 1, "does not accept the token"},
		{"list runs --server " + other.URL, 1, "not as Funnel does"},
		{"run jira.get_issue --json --issue SIRT-1 --server " + other.URL, 1, "not as Funnel does"},
		{"list runs --server " + odd.URL, 1, "reading the server's answer"},
		{"list runs --json --server " + odd.URL, 1, "reading the server's answer"},
		{"show event 1 --json --server " + odd.URL, 1, "reading the server's answer"},
		{"cancel 1 --server " + odd.URL, 1, "reading the server's answer"},
		{"run jira.get_issue --issue SIRT-1 --server " + odd.URL, 1, "reading the server's answer"},
	} {
		out, err, code := funnelRun(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(err, c.want) || c.code != 0 && (out != "" || strings.Contains(err, "goroutine")) {
			t.Errorf("funnel %s: code %d, want %d and %q\nstdout: %s\nstderr: %s", c.args, code, c.code, c.want, out, err)
		}
		if strings.Contains(out+err, token) || strings.Contains(out+err, "me:secret") {
			t.Errorf("funnel %s shows a secret: %s%s", c.args, out, err)
		}
	}
	if len(refuses.asked) != 1 {
		t.Errorf("asked %q", refuses.asked)
	}
}

// The token goes to the server that was named, not to where that one points.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := newHouse(t, says(200, `{"runs":[]}`))
	first := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	for _, args := range [][]string{{"list", "runs"}, {"cancel", "1"}} {
		if _, err, code := funnelRun(t, append(args, "--server", first.URL)...); code != 1 || !strings.Contains(err, "307") {
			t.Errorf("%v ended with %d: %s", args, code, err)
		}
	}
	if len(elsewhere.asked) != 0 {
		t.Errorf("the other server was asked %q", elsewhere.asked)
	}
}

// The line in an action's help is its example: typed as it stands, it sends that.
func TestExampleLines(t *testing.T) {
	t.Parallel()
	h := newHouse(t, says(200, `{"ok":true}`))
	n := 0
	for _, spec := range registry().Actions() {
		line := strings.TrimSpace(exampleLine(spec))
		if line == "" {
			t.Errorf("%s has no example in its help", spec.ID)
			continue
		}
		args := shellSplit(t, line)[1:]
		before := len(h.bodies)
		if out, err, code := funnelRun(t, append(args, "--server", h.URL)...); code != 0 || len(h.bodies) != before+1 {
			t.Errorf("%s: code %d: %s%s", line, code, out, err)
			continue
		}
		want, _ := json.Marshal(exampleOf(spec))
		var sent, wanted any
		if json.Unmarshal([]byte(h.bodies[before]), &sent) != nil || json.Unmarshal(want, &wanted) != nil || asText(sent) != asText(wanted) {
			t.Errorf("%s sends %s, want %s", line, h.bodies[before], want)
		}
		if h.asked[before] != "POST /api/v1/actions/"+spec.ID+"?wait=20" || h.header[before].Get("Authorization") != "Bearer "+token {
			t.Errorf("%s asks %s", line, h.asked[before])
		}
		n++
	}
	if n != len(registry().Actions()) {
		t.Errorf("%d of %d examples work", n, len(registry().Actions()))
	}
}

func asText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// shellSplit splits a line at its blanks as a shell does, with single quotes.
func shellSplit(t *testing.T, line string) (words []string) {
	t.Helper()
	var word strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			quoted, begun = !quoted, true
		case c == '\\' && !quoted:
			i++
			word.WriteByte(line[i])
		case c == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	if quoted {
		t.Fatalf("a quote is open in %s", line)
	}
	return append(words, word.String())
}

// Flags of fields make the JSON that the field's type asks for.
func TestFieldsBecomeJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind string
		text []string
		want string // "" for refused
	}{
		{"string", []string{`a"b`}, `"a\"b"`},
		{"string", []string{"7"}, `"7"`},
		{"integer", []string{"7"}, `7`},
		{"integer", []string{"seven"}, ""},
		{"boolean", []string{"true"}, `true`},
		{"boolean", []string{"yes"}, ""},
		{"list of string", []string{"a", "b,c"}, `["a","b,c"]`},
		{"list of string", []string{`["a","b"]`}, `["a","b"]`},
		{"list of integer", []string{"1", "2"}, `[1,2]`},
		{"list of integer", []string{"1", "x"}, ""},
		{"document", []string{"Seen {on} it"}, `"Seen {on} it"`},
		{"document", []string{`{"version":1,"blocks":[]}`}, `{"version":1,"blocks":[]}`},
		{"map of JSON", []string{`{"a":1}`}, `{"a":1}`},
		{"object", []string{`{"a":`}, ""},
		{"JSON", []string{`[1]`}, `[1]`},
	} {
		f := fieldFlag{kind: c.kind}
		for _, text := range c.text {
			if err := f.Set(text); err != nil {
				t.Errorf("%s %q: %v", c.kind, c.text, err)
			}
		}
		got, err := f.value()
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %q gives %s (%v), want %s", c.kind, c.text, got, err, c.want)
		}
	}
}

// A shell is offered actions, their fields, and what the server has.
func TestCompletion(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		says(200, map[string]string{
			"/api/v1/runs":   `{"runs":[{"id":"42","playbook":"open_ticket","state":"failed"}],"next":"42"}`,
			"/api/v1/events": `{"events":[{"id":"17","trigger":"splunk.alert","source":"splunk\u001b[31m"}]}`,
			"/status":        `{"connections":[{"name":"jira-emea","health":"ok"}]}`,
		}[r.URL.Path])(w, r)
	})
	down := "--server=http://127.0.0.1:1"
	up := "--server=" + h.URL
	for _, c := range []struct {
		args []string
		want string // "" for nothing
	}{
		{[]string{"ru"}, "run\t"},
		{[]string{"run", "jira.add"}, "jira.add_comment\tComment on an issue."},
		{[]string{"run", "jira.add_comment", "--"}, "--body\t"},
		{[]string{"run", "jira.add_comment", "--issue", ""}, ""},
		{[]string{"run", "jira.add_comment", ""}, ""},
		{[]string{"run", "jira.add_comment", up, "--connection", ""}, "jira-emea\tok"},
		{[]string{"run", "jira.add_comment", down, "--connection", ""}, ""},
		{[]string{"list", "deliveries", "--verdict", "re"}, "refused"},
		{[]string{"list", "runs", "--state", ""}, "failed"},
		{[]string{"list", "runs", "--playbook", ""}, "open_ticket\t"},
		{[]string{"list", "events", "--trigger", "splunk"}, "splunk.alert"},
		{[]string{"show", "run", up, ""}, "42\topen_ticket, failed"},
		{[]string{"show", "run", down, ""}, ""},
		{[]string{"show", "event", up, ""}, `17` + "\t" + `splunk.alert from splunk\x1b[31m`},
		{[]string{"retry", up, ""}, "42\t"},
		{[]string{"skip", up, "42", ""}, ""},
	} {
		out, _, _ := funnelRun(t, append([]string{"__complete"}, c.args...)...)
		lines, _, _ := strings.Cut(out, "\n:")
		if c.want == "" && strings.HasPrefix(out, ":") {
			continue
		}
		if c.want == "" || !strings.Contains(lines, c.want) {
			t.Errorf("%q offers %q, want %q", c.args, out, c.want)
		}
	}
	for _, asked := range h.asked {
		if strings.HasPrefix(asked, "POST") {
			t.Errorf("completing asked %s", asked)
		}
	}
}
