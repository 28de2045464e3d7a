package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/internal/record"
)

// A system that sends our credential back finds it nowhere in the run: not in
// its reason, its steps, an outcome, the health of the connection.
func TestCredentialThatComesBack(t *testing.T) {
	const secret = "t0ken-0f-the-desk"
	for _, code := range []funnel.Code{funnel.Invalid, funnel.Throttled, funnel.Unavailable, funnel.Uncertain, funnel.Unauthorized} {
		t.Run(string(code), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.options = func(o *engine.Options) {
					o.Mask = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(secret), []byte("[secret]")) }
				}
				w.desk.always["add_note"] = fault{err: fmt.Errorf("asking: %w", funnel.Errorf(code, "refused: Authorization: Bearer %s", secret))}
				w.start()
				failing, err := w.call("add_note", "", "a")
				if err != nil {
					t.Fatal(err)
				}
				looking, err := w.call("look_up", "", secret)
				if err != nil {
					t.Fatal(err)
				}
				after(3 * time.Second)
				r, s := w.run(failing), w.step(failing, engine.CallStep)
				state := w.gates["desk"].State()
				for what, text := range map[string]string{"run": r.Why, "step": s.Error, "connection": state.LastError, "blocked": state.Blocked, "log": w.log.String()} {
					if strings.Contains(text, secret) {
						t.Errorf("%s: %s", what, text)
					}
				}
				if !strings.Contains(s.Error, "[secret]") {
					t.Errorf("the step says %q", s.Error)
				}
				if state.Breaker == "closed" {
					w.is(looking, record.Succeeded)
					if out := w.step(looking, engine.CallStep).Outcome; bytes.Contains(out, []byte(secret)) {
						t.Errorf("outcome %s", out)
					}
				}
			})
		})
	}
}
