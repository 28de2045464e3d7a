package fault

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/internal/faultpoint"
)

// points returns the names of all fault points, read from the source: what it
// takes to be killed at each of them cannot be forgotten in a list.
func points(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isHit(call.Fun) {
				return true
			}
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: a fault point is named by a literal", set.Position(call.Pos()))
				return true
			}
			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Error(err)
			}
			names = append(names, name)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	if one := slices.Compact(slices.Clone(names)); len(one) != len(names) {
		t.Errorf("two fault points have the same name: %v", names)
	}
	return names
}

// The databases of a server.
const (
	onSQLite   = "SQLite"
	onPostgres = "PostgreSQL"
)

// ofMigrations begins the names of the points of migrations.
const ofMigrations = "store.migration."

// pointsWith returns the points that a server with the database comes to while it
// works, with those of evidence if the tracker sends any.
func pointsWith(t *testing.T, database string, evidence bool) []string {
	t.Helper()
	return slices.DeleteFunc(points(t), func(name string) bool {
		room, _, _ := strings.Cut(name, ".")
		switch room {
		case "postgres", "river":
			return database != onPostgres
		case "store", "queue":
			return database != onSQLite || strings.HasPrefix(name, ofMigrations)
		}
		return strings.HasPrefix(name, "intake.prove.") && !evidence
	})
}

func isHit(fn ast.Expr) bool {
	of, ok := fn.(*ast.SelectorExpr)
	if !ok || of.Sel.Name != "Hit" {
		return false
	}
	pkg, ok := of.X.(*ast.Ident)
	return ok && pkg.Name == "faultpoint"
}

// TestFaultPoints: this program, which has the whole server in it, has the names
// of all points if it was built with the tag, else of none.
func TestFaultPoints(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := points(t)
	for _, name := range all {
		if in := bytes.Contains(program, []byte(name)); in != faultpoint.Enabled {
			t.Errorf("the name %s is in the program: %v; built with the tag: %v", name, in, faultpoint.Enabled)
		}
	}
	if len(all) < 20 {
		t.Errorf("there are only %d fault points: %v", len(all), all)
	}
}
