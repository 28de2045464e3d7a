//go:build !faultpoint

package faultpoint_test

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"testing"

	"github.com/funnelsec/funnel/internal/faultpoint"
)

// TestNormalBuild: without the tag, Hit is an empty function of the only file
// with code, and its argument does not come into the program.
func TestNormalBuild(t *testing.T) {
	p, err := build.Default.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"doc.go", "off.go"}; !slices.Equal(p.GoFiles, want) || len(p.Imports) > 0 {
		t.Errorf("a normal build has the files %v with the imports %v, want %v without any", p.GoFiles, p.Imports, want)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "off.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && len(fn.Body.List) > 0 {
			t.Errorf("%s is not empty", fn.Name.Name)
		}
	}
	faultpoint.Hit("no." + "such." + "point." + "in." + "here")
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := string([]byte{'n', 'o'}) + ".such.point.in.here" // not as one text
	if bytes.Contains(program, []byte(name)) {
		t.Error("the name of a point is in the program")
	}
	if faultpoint.Enabled {
		t.Error("a normal build says that it has fault points")
	}
}
