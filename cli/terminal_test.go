package cli

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/httpapi"
)

func exampleOf(spec *funnel.ActionSpec) any {
	v, _ := httpapi.Example(spec)
	return v
}

// hostile holds everything that a terminal may take for more than text: colours,
// the title, the clipboard, C0, DEL and C1 controls, reversed text, line
// separators, invisible tags.
var hostile = "\x1b[31mred\x1b]0;title\x07\x1b]52;c;cm0gLXJmIC8=\x07\x9b2J\u009b2J\u0085\x7f\x00\x08\r\nfunnel: all is well\t\u202egnp.exe\u2066\u200f\u2028\u2029\ufeff\U000e0041"

// dangerous reports a rune that must not reach a terminal.
func dangerous(r rune) bool {
	return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
}

// Whatever an answer holds, no command lets a terminal see more than text, and
// what it prints as JSON still says the same.
func TestNothingControlsTheTerminal(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(strings.ToValidUTF8(hostile, "\ufffd"))
	if err != nil {
		t.Fatal(err)
	}
	// Go escapes some of it; another server may send it as it is.
	raw := `"` + strings.NewReplacer("\x00", "", "\x07", "", "\x08", "", "\r", "", "\n", "", "\t", "", "\x1b", "", `"`, "").Replace(strings.ToValidUTF8(hostile, "")) + "\xff\"" // is legal in JSON, but for the last
	for _, value := range []string{string(text), raw} {
		run := `{"id":V,"event":V,"kind":V,"parent":V,"playbook":V,"state":V,"code":V,"why":V,"waits":{"for":V,"name":V,"why":V},"steps":[{"path":V,"action":V,"connection":V,"state":V,"error":V,"input":{V:V},"outcome":V}]}`
		event := `{"id":V,"source":V,"trigger":V,"disposition":V,"key":V,"data":{V:V},"runs":[R],"made":[{"run":V,"step":V,"action":V,"connection":V,"outcome":{V:V}}],"caused":[{"id":V,"trigger":V}],"deliveries":[D]}`
		delivery := `{"id":V,"source":V,"verdict":V,"reason":V,"event":V,"event_summary":{"id":V,"trigger":V,"disposition":V}}`
		problem := `{"title":V,"status":422,"detail":V,"code":V,"run":V,"errors":[{"location":V,"message":V,"pointer":V}]}`
		fill := strings.NewReplacer("R", run, "D", delivery)
		body := func(form string) string { return strings.ReplaceAll(fill.Replace(form), "V", value) }
		for _, c := range []struct {
			args string
			form string
		}{
			{"list runs", `{"runs":[R],"next":V}`},
			{"list events", `{"events":[` + event + `],"next":V}`},
			{"list deliveries", `{"deliveries":[D],"next":V}`},
			{"show run 1", run},
			{"show event 1", event},
			{"show delivery 1", delivery},
			{"cancel 1", run},
			{"replay 1", `{"runs":[R]}`},
			{"run jira.get_issue --issue SIRT-1", `{"found":true,V:V,"list":[V]}`},
			{"run jira.get_issue --issue SIRT-2", `[V]`},
		} {
			for _, status := range []int{200, 202, 409, 422, 500} {
				answer := body(c.form)
				if status >= 400 {
					answer = body(problem)
				}
				h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", "/api/v1/runs/\u009b2J")
					says(status, answer)(w, r)
				})
				for _, more := range []string{"", " --json"} {
					args := strings.Fields(c.args + more)
					out, err, _ := funnelRun(t, append(args, "--server", h.URL)...)
					for _, r := range out + err {
						if dangerous(r) {
							t.Fatalf("%s with status %d lets %U through: %q", args, status, r, out+err)
						}
					}
					var got, want any
					if more != "" && out != "" && json.Unmarshal([]byte(out), &got) == nil && json.Unmarshal([]byte(answer), &want) == nil && !reflect.DeepEqual(got, want) {
						t.Errorf("%s with status %d changes the JSON: %s", args, status, out)
					}
					if strings.Contains(out+err, "\nfunnel: all is well") {
						t.Errorf("%s with status %d lets an answer forge a line: %s%s", args, status, out, err)
					}
				}
				h.Close()
			}
		}
	}
}
