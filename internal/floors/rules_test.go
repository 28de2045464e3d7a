package floors

import (
	"fmt"
	"path"
	"strings"
)

const module = "github.com/funnelsec/funnel"

// floors lists every package of the house by its path in it, the root as ".".
// Integrations and what lies under examples and test are known by their place.
func floors() map[string]int {
	table := map[string]int{
		".":             0,
		"funneltest":    3,
		"playbooks":     4,
		"internal/app":  4,
		"internal/demo": 4,
		"cli":           5,
		"cmd/funnel":    6,

		"internal/floors":  1,
		"integrations/all": 4,
	}
	for floor, rooms := range map[int]string{
		1: "record upstream schema secret metrics audit observables faultpoint underway",
		2: "intake engine queue store playbookfile config auth",
		3: "httpapi webui docgen backup",
	} {
		for room := range strings.FieldsSeq(rooms) {
			table["internal/"+room] = floor
		}
	}
	return table
}

// kind tells apart what a floor alone does not.
type kind int

const (
	room        kind = iota
	integration      // integrations/x
	fake             // integrations/x/yfake
	guest            // examples/..., test/...: imports anything, is imported by nobody
)

type place struct {
	kind  kind
	floor int
}

// locate says where a package of the house lives.
func locate(table map[string]int, pkg string) (place, error) {
	if floor, ok := table[pkg]; ok {
		return place{room, floor}, nil
	}
	parts := strings.Split(pkg, "/")
	switch {
	case parts[0] == "examples" || parts[0] == "test":
		return place{guest, 7}, nil
	case parts[0] == "integrations" && len(parts) == 2:
		return place{integration, 2}, nil
	case parts[0] == "integrations" && len(parts) == 3 && strings.HasSuffix(parts[2], "fake"):
		return place{fake, 2}, nil
	}
	return place{}, fmt.Errorf("package %s is on no floor: say in internal/floors/rules_test.go on which one it lives, and in doc.go and the design if it is a new room", pkg)
}

// allowed reports what is wrong with an import, nil if nothing. importer is a
// package of the house by its path in it, imported a full import path.
func allowed(table map[string]int, importer, imported string) error {
	from, err := locate(table, importer)
	if err != nil {
		return err
	}
	inside := imported == module || strings.HasPrefix(imported, module+"/")
	if !inside {
		if first, _, _ := strings.Cut(imported, "/"); importer == "." && strings.Contains(first, ".") {
			return fmt.Errorf("package funnel imports %s: it uses the standard library only", imported)
		}
		return nil
	}
	target := "."
	if imported != module {
		target = strings.TrimPrefix(imported, module+"/")
	}
	to, err := locate(table, target)
	switch {
	case err != nil:
		return err
	case to.kind == guest && from.kind == guest:
		return nil
	case to.floor == from.floor:
		return fmt.Errorf("%s imports %s, and both are on floor %d: rooms on one floor do not meet; declare the small interface that you need, or move what both need down", importer, target, to.floor)
	case to.floor > from.floor:
		return fmt.Errorf("%s (floor %d) imports %s (floor %d): an import may only go down", importer, from.floor, target, to.floor)
	case (from.kind == integration || from.kind == fake) && target != ".":
		return fmt.Errorf("%s imports %s: integrations and fakes import only funnel of the house; what they need of it comes in funnel.Env", importer, target)
	case to.kind == fake && importer != "internal/demo" && from.kind != guest:
		return fmt.Errorf("%s imports the fake %s: fakes are for tests, examples and internal/demo", importer, target)
	case to.kind == integration && from.floor < 4:
		return fmt.Errorf("%s imports %s: only integrations/all, playbooks, internal/demo and programs know integrations", importer, path.Base(target))
	}
	return nil
}
