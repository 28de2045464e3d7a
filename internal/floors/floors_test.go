package floors

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestEveryImportPointsDown(t *testing.T) {
	t.Parallel()
	table, root, files := floors(), moduleRoot(t), 0
	// The files are read here and not by the go command: the test cache sees
	// what a test reads itself, and would hide a break that a sub-process found.
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(root, path, d.Name())
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		if _, err := locate(table, pkg); err != nil {
			t.Errorf("%s: %v", set.Position(f.Package), err)
			return nil
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if err := allowed(table, pkg, imported); err != nil {
				t.Errorf("%s: %v", set.Position(spec.Pos()), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files were looked at below %s", files, root)
	}
}

// skip leaves out what the go command does not build, and other modules.
func skip(root, path, name string) error {
	if path == root {
		return nil
	}
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("there is no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// The rules find what they should, shown on made-up imports.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		importer, imported string
		want               string // in the error, "" for none
	}{
		{".", "net/http", ""},
		{".", "github.com/spf13/cobra", "standard library only"},
		{".", module + "/internal/record", "only go down"},
		{"internal/record", module, ""},
		{"internal/record", "golang.org/x/sys/unix", ""},
		{"internal/record", module + "/internal/metrics", "do not meet"},
		{"internal/store", module + "/internal/record", ""},
		{"internal/store", module + "/internal/engine", "do not meet"},
		{"internal/engine", module + "/internal/httpapi", "only go down"},
		{"internal/httpapi", module + "/internal/store", ""},
		{"internal/httpapi", module + "/internal/docgen", "do not meet"},
		{"internal/httpapi", module + "/integrations/jira", "know integrations"},
		{"internal/engine", module + "/integrations/jira", "do not meet"},
		{"funneltest", module + "/internal/engine", ""},
		{"internal/app", module + "/internal/httpapi", ""},
		{"internal/app", module + "/internal/demo", "do not meet"},
		{"internal/app", module + "/integrations/jira/jirafake", "the fake"},
		{"internal/app", module + "/internal/unheard", "on no floor"},
		{"internal/unheard", module, "on no floor"},
		{"internal/store/deep", module, "on no floor"},
		{"integrations/jira", module, ""},
		{"integrations/jira", "github.com/go-ldap/ldap/v3", ""},
		{"integrations/jira", module + "/internal/record", "import only funnel"},
		{"integrations/jira", module + "/integrations/splunk", "do not meet"},
		{"integrations/jira", module + "/integrations/jira/jirafake", "do not meet"},
		{"integrations/jira", module + "/internal/store", "do not meet"},
		{"integrations/jira/jirafake", module, ""},
		{"integrations/jira/jirafake", module + "/internal/upstream", "import only funnel"},
		{"integrations/jira/jirafake", module + "/integrations/jira", "do not meet"},
		{"integrations/jira/wire", module, "on no floor"},
		{"integrations/all", module + "/integrations/jira", ""},
		{"integrations/all", module + "/internal/app", "do not meet"},
		{"integrations/all", module + "/integrations/jira/jirafake", "the fake"},
		{"playbooks", module + "/integrations/jira", ""},
		{"playbooks", module + "/integrations/all", "do not meet"},
		{"internal/demo", module + "/integrations/jira/jirafake", ""},
		{"cli", module + "/internal/demo", ""},
		{"cli", module + "/integrations/jira/jirafake", "the fake"},
		{"cli", module + "/cmd/funnel", "only go down"},
		{"cmd/funnel", module + "/cli", ""},
		{"cmd/funnel", module + "/integrations/all", ""},
		{"examples/own", module + "/cli", ""},
		{"test/e2e", module + "/integrations/jira/jirafake", ""},
		{"test/e2e", module + "/test/help", ""},
		{"cli", module + "/test/help", "only go down"},
		{"cli", module + "/examples/own", "only go down"},
		{"internal/store", "github.com/funnelsec/funnelling/x", ""},
	} {
		err := allowed(floors(), c.importer, c.imported)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s importing %s is refused: %v", c.importer, c.imported, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s importing %s: got %v, want an error with %q", c.importer, c.imported, err, c.want)
		}
	}
}
