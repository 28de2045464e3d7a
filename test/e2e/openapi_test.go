package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An independent linter finds the API's description valid, and a client that is
// generated from it compiles and calls actions.
func TestDescription(t *testing.T) {
	t.Parallel()
	useReal(t)
	d := startDemo(t)
	dir := npm(t, "openapi")
	res, err := http.Get(d.server + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	spec, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "openapi.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join("node_modules", ".bin")
	quiet := []string{"REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true"}
	out := command(t, dir, quiet, filepath.Join(bin, "redocly"), "lint", "openapi.json", "--format=summary")
	if !strings.Contains(out, "Your API description is valid") || strings.Contains(out, "warning ") {
		t.Errorf("the linter says:\n%s", out)
	}
	command(t, dir, nil, filepath.Join(bin, "openapi-ts"), "-i", "openapi.json", "-o", "client", "-c", "@hey-api/client-fetch")
	command(t, dir, nil, filepath.Join(bin, "tsc"), "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable", "client/index.ts")
	command(t, dir, nil, filepath.Join(bin, "esbuild"), "use.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=use.mjs")
	out = command(t, dir, []string{"FUNNEL_SERVER=" + d.server, "FUNNEL_TOKEN=" + d.token}, "node", "use.mjs")
	var got struct {
		File          int
		User, Comment string
		Wrong         int
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.File != 64 || got.User == "" || got.Comment != "SIRT-1" || got.Wrong != 422 {
		t.Errorf("the generated client got %s (%v)", out, err)
	}
}
