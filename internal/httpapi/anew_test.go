package httpapi

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/funnelsec/funnel/internal/record"
)

// A look-up whose answer is shared can be asked anew; nothing else can.
func TestCallAnew(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{"": false, "?fresh=true": true, "?fresh=false": false} {
		h := newHouse(t)
		h.called = record.Run{ID: 42, Kind: record.Call, Playbook: "echo.hear_again", State: record.Succeeded}
		if w := h.ask(request("POST", "/api/v1/actions/echo.hear_again"+query, `{"text":"hello"}`)); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		if len(h.calls) != 1 || h.calls[0].Anew != want {
			t.Errorf("%s: called %+v", query, h.calls)
		}
	}
	for _, address := range []string{"/api/v1/actions/echo.hear_again?fresh=yes", "/api/v1/actions/echo.hear_again?fresh=", sayText + "?fresh=true"} {
		h := newHouse(t)
		wantProblem(t, h.ask(request("POST", address, `{"text":"hello"}`)), http.StatusUnprocessableEntity)
		if len(h.calls) != 0 {
			t.Errorf("%s was called", address)
		}
	}
}

// Who waits for an answer says of which connection, and what that waits for.
func TestWaitForAnAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fill()
	h.runs = append(h.runs[:0], record.Run{ID: 99, EventID: 17, Kind: record.Playbook, State: record.Waiting, WaitOn: record.WaitAnswer("virustotal", "abc"), CreatedAt: noon, UpdatedAt: noon})
	w := h.ask(request("GET", "/api/v1/runs", ""))
	var page Runs
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Runs) != 1 || page.Runs[0].Waits == nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	v := page.Runs[0]
	if v.Waits.For != "answer" || v.Waits.Name != "virustotal" || v.Waits.Why != "the daily quota is used up" || v.Waits.Until == nil {
		t.Errorf("it waits for %+v", *v.Waits)
	}
}
