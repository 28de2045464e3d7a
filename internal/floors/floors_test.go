package floors

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/funnelsec/funnel"

// rooms are the packages with their floors: the longest prefix counts. A package
// may import what lies on a lower floor.
var rooms = map[string]int{
	"": 0,

	"internal/record": 1, "internal/upstream": 1, "internal/schema": 1, "internal/secret": 1, "internal/metrics": 1, "internal/audit": 1,

	"internal/intake": 2, "internal/engine": 2, "internal/queue": 2, "internal/store": 2, "internal/playbookfile": 2, "internal/config": 2, "internal/auth": 2,
	"integrations/": 2,

	"internal/httpapi": 3, "internal/webui": 3, "internal/docgen": 3, "funneltest": 3,

	"internal/app": 4, "internal/demo": 4, "integrations/all": 4, "playbooks": 4,

	"cli":        5,
	"cmd/funnel": 6,
}

// free may import anything, and nothing imports it.
var free = []string{"examples/", "test/", "internal/floors"}

var fake = regexp.MustCompile(`^integrations/[^/]+/[^/]*fake$`)

// floor returns the floor of a package; ok is false for one that the table does
// not know.
func floor(pkg string) (n int, ok bool) {
	if n, ok = rooms[pkg]; ok {
		return n, true
	}
	if strings.HasPrefix(pkg, "integrations/") {
		return rooms["integrations/"], true
	}
	return 0, false
}

// wrong says what is wrong with an import, "" if it points down.
func wrong(from, to string) string {
	for _, f := range free {
		if strings.HasPrefix(from, f) {
			return ""
		}
		if strings.HasPrefix(to, f) {
			return "nothing imports it"
		}
	}
	high, known := floor(from)
	low, knownTo := floor(to)
	integration := strings.HasPrefix(from, "integrations/") && from != "integrations/all"
	switch {
	case !known:
		return fmt.Sprintf("package %q has no floor: give it one in internal/floors", from)
	case !knownTo:
		return fmt.Sprintf("package %q has no floor: give it one in internal/floors", to)
	case fake.MatchString(to) && from != "internal/demo":
		return "a fake is for tests and the demo"
	case integration && to != "":
		return "an integration imports only the package funnel"
	case low >= high:
		return fmt.Sprintf("floor %d must not import floor %d", high, low)
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	packages := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && (d.Name() == ".git" || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		from := strings.TrimPrefix(filepath.ToSlash(dir), ".")
		packages++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if name != module && !strings.HasPrefix(name, module+"/") {
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(name, module), "/")
			if why := wrong(from, to); why != "" {
				t.Errorf("%s imports %s: %s", path, name, why)
			}
		}
		return nil
	})
	if err != nil || packages < 50 {
		t.Errorf("walking the module: %d files, %v", packages, err)
	}
}

// TestTheTestCanFail checks the rule itself.
func TestTheTestCanFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/engine", "internal/record", true},
		{"internal/engine", "", true},
		{"internal/engine", "internal/store", false},
		{"internal/record", "internal/engine", false},
		{"", "internal/record", false},
		{"integrations/jira", "", true},
		{"integrations/jira", "integrations/splunk", false},
		{"integrations/jira", "internal/upstream", false},
		{"integrations/all", "integrations/jira", true},
		{"internal/demo", "integrations/jira/jirafake", true},
		{"internal/app", "integrations/jira/jirafake", false},
		{"cli", "internal/app", true},
		{"internal/app", "cli", false},
		{"internal/newroom", "", false},
		{"internal/app", "test/fault", false},
	} {
		if got := wrong(c.from, c.to) == ""; got != c.ok {
			t.Errorf("%q importing %q is fine: %v, want %v", c.from, c.to, got, c.ok)
		}
	}
}

// modules are the direct requirements, each with its reason.
var modules = map[string]string{
	"github.com/danielgtaylor/huma/v2":    "HTTP API with OpenAPI 3.1 from Go types",
	"github.com/getkin/kin-openapi":       "tests: requests and fakes against the vendor's published specification",
	"github.com/go-asn1-ber/asn1-ber":     "the simulated directory's LDAP, and bounds on a directory's answers",
	"github.com/go-ldap/ldap/v3":          "LDAP",
	"github.com/goccy/go-yaml":            "configuration with places for errors",
	"github.com/prometheus/client_golang": "metrics",
	"github.com/spf13/cobra":              "command line",
	"go.uber.org/goleak":                  "tests: no goroutine is left behind",
	"golang.org/x/sys":                    "file lock",
	"golang.org/x/term":                   "size of the terminal",
	"modernc.org/sqlite":                  "SQLite without cgo",
	"pgregory.net/rapid":                  "tests: properties",
}

// TestModulesAreListed is the gate on dependencies: a new one needs a reason,
// and a replacement is refused.
func TestModulesAreListed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 0 && fields[0] == "replace":
			t.Errorf("go.mod replaces a module: %s", line)
		case len(fields) == 2 && strings.HasPrefix(fields[1], "v"):
			seen++
			if modules[fields[0]] == "" {
				t.Errorf("module %s has no reason: list it in internal/floors", fields[0])
			}
		}
	}
	if seen != len(modules) {
		t.Errorf("go.mod requires %d modules directly, %d are listed", seen, len(modules))
	}
}
