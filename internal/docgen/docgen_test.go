package docgen_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/docgen"
	"github.com/funnelsec/funnel/playbooks"
)

var update = flag.Bool("update", false, "write what is generated")

// TestReferenceIsCurrent and TestCommentsAreCurrent are the twins of make
// generate.
func TestReferenceIsCurrent(t *testing.T) {
	r := funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
	dir, pages := filepath.Join("..", "..", "docs", "reference"), docgen.Pages(r)
	for name, page := range pages {
		current(t, page, filepath.Join(dir, name))
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pages[f.Name()] == nil {
			t.Errorf("docs/reference/%s is of nothing that is there any more: delete it", f.Name())
		}
	}
	// Every link leads somewhere.
	for name, page := range pages {
		for _, m := range regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`).FindAllStringSubmatch(string(page), -1) {
			file, place := m[1], strings.TrimPrefix(m[2], "#")
			target := page
			if file != "" {
				if target, err = os.ReadFile(filepath.Join(dir, file)); err != nil {
					t.Errorf("docs/reference/%s: %v", name, err)
				}
			}
			if place != "" && !hasHeading(target, place) {
				t.Errorf("docs/reference/%s: nothing at %s", name, m[0])
			}
		}
	}
}

func hasHeading(page []byte, anchor string) bool {
	for line := range strings.Lines(string(page)) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " "); ok && strings.HasPrefix(line, "#") && strings.ReplaceAll(strings.ToLower(heading), ".", "") == anchor {
			return true
		}
	}
	return false
}

func TestCommentsAreCurrent(t *testing.T) {
	for _, in := range all.Integrations() {
		dir := filepath.Join("..", "..", "integrations", in.Name)
		source, err := docgen.Comments(in, dir)
		if err != nil {
			t.Error(err)
			continue
		}
		current(t, source, filepath.Join(dir, "docs_generated.go"))
		for _, a := range in.Actions {
			if name := a.Spec().Method; in.Doc(name) == "" && !*update {
				t.Errorf("%s: the integration does not hand on the comment of %s: set Docs: docs() in Integration", in.Name, name)
			}
		}
	}
}

// current compares a generated file with what it should be, or writes it.
func current(t *testing.T, want []byte, path string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run make generate (%v)", path, err)
	}
}

// TestEveryFieldIsDocumented keeps the page useful: no field without a meaning.
func TestEveryFieldIsDocumented(t *testing.T) {
	r := funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
	for line := range bytes.Lines(docgen.Reference(r)) {
		if bytes.HasPrefix(line, []byte("| `")) && bytes.HasSuffix(bytes.TrimSpace(line), []byte("|  |")) {
			t.Errorf("a field has no doc tag: %s", line)
		}
	}
}
