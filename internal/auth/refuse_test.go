package auth

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What others can read or have put there is refused, with what to do about it.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm func(dir string) error
		want string
	}{
		"directory for the group":    {func(d string) error { return os.Chmod(d, 0o750) }, "chmod 700"},
		"directory for all":          {func(d string) error { return os.Chmod(d, 0o701) }, "chmod 700"},
		"tokens for the group":       {func(d string) error { return os.Chmod(filepath.Join(d, tokensFile), 0o640) }, "chmod 600"},
		"tokens for all":             {func(d string) error { return os.Chmod(filepath.Join(d, tokensFile), 0o604) }, "chmod 600"},
		"first-run token for all":    {func(d string) error { return os.Chmod(filepath.Join(d, FirstRunFile), 0o644) }, "chmod 600"},
		"tokens cut short":           {func(d string) error { return os.Truncate(filepath.Join(d, tokensFile), 40) }, "damaged"},
		"tokens empty":               {func(d string) error { return os.Truncate(filepath.Join(d, tokensFile), 0) }, "damaged"},
		"no token in it":             {overwrite(`{"version":1,"tokens":[]}`), "damaged"},
		"a newer version":            {overwrite(`{"version":2,"tokens":[{"name":"admin"}]}`), "newer"},
		"a digest too short":         {overwrite(`{"version":1,"tokens":[{"name":"admin","sha256":"00"}]}`), "damaged"},
		"tokens a link in the house": {link("elsewhere"), "not a plain file"},
		"tokens a link out of it":    {link("../../elsewhere"), "not a plain file"},
		"tokens a directory": {func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, tokensFile)), os.Mkdir(filepath.Join(d, tokensFile), 0o700))
		}, "not a plain file"},
		"tokens of another user": {func(d string) error {
			if os.Geteuid() != 0 {
				return errors.ErrUnsupported
			}
			return os.Chown(filepath.Join(d, tokensFile), 12345, -1)
		}, "chown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			tokens, created, err := Open(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tokens.Close() }()
			if err := c.harm(dir); errors.Is(err, errors.ErrUnsupported) {
				t.Skip("only root can give a file away")
			} else if err != nil {
				t.Fatal(err)
			}
			other, _, err := Open(dir, nil)
			if err == nil {
				_ = other.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %q does not name the directory and %q", err, c.want)
			}
			if strings.Contains(err.Error(), created) {
				t.Error("the error holds the token")
			}
			if strings.HasPrefix(name, "tokens") && knows(tokens, created) {
				t.Error("the running server still lets the token in")
			}
		})
	}
}

func overwrite(text string) func(string) error {
	return func(d string) error { return os.WriteFile(filepath.Join(d, tokensFile), []byte(text), 0o600) }
}

func link(target string) func(string) error {
	return func(d string) error {
		path := filepath.Join(d, tokensFile)
		return errors.Join(os.Remove(path), os.Symlink(target, path))
	}
}

// A crash between the first-run file and tokens.json makes another token.
func TestCrashInFirstStart(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	first, old := open(t, dir)
	_ = first.Close()
	if err := os.Remove(filepath.Join(dir, tokensFile)); err != nil {
		t.Fatal(err)
	}
	tokens, created := open(t, dir)
	if created == "" || created == old || !knows(tokens, created) || knows(tokens, old) {
		t.Error("after the crash there is no fresh token")
	}
}

var secretName = regexp.MustCompile(`(?i)(raw|candidate|secret|digest|sha256|mac)$`)

// compared returns the places where what may be a secret is compared in a time
// that depends on it.
func compared(f *ast.File) (found []token.Pos) {
	suspect := func(e ast.Expr) bool {
		for {
			switch x := e.(type) {
			case *ast.SliceExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				return secretName.MatchString(x.Sel.Name)
			case *ast.Ident:
				return secretName.MatchString(x.Name)
			}
			return false
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.BinaryExpr:
			if (x.Op == token.EQL || x.Op == token.NEQ) && (suspect(x.X) || suspect(x.Y)) {
				found = append(found, x.Pos())
			}
		case *ast.CallExpr:
			if s, ok := x.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Equal" || s.Sel.Name == "EqualFold" || s.Sel.Name == "Compare") {
				for _, arg := range x.Args {
					if suspect(arg) {
						found = append(found, x.Pos())
					}
				}
			}
		}
		return true
	})
	return found
}

func TestNoTimingOracle(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	sample, err := parser.ParseFile(set, "sample.go", "package p\nfunc f() { _ = a.SHA256 == b; _ = bytes.Equal(raw[:], b); _ = hmac(raw, b) }", 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(compared(sample)); n != 2 {
		t.Fatalf("the check finds %d of 2 in a sample", n)
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 4 {
		t.Fatalf("found only %v, %v", files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range compared(f) {
			t.Errorf("%v: compare secrets as digests with crypto/subtle", set.Position(at))
		}
	}
}
