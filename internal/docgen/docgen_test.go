package docgen_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/docgen"
	"github.com/funnelsec/funnel/playbooks"
)

var update = flag.Bool("update", false, "write the reference")

// TestReferenceIsCurrent is the twin of make generate.
func TestReferenceIsCurrent(t *testing.T) {
	r := funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
	got := docgen.Reference(r)
	path := filepath.Join("..", "..", "docs", "reference", "README.md")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
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
