package httpapi

import (
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
)

// Every operation belongs to a part of the API that is described, and no part is
// empty.
func TestTags(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *Options) { o.Registry = funnel.NewRegistry().Add(all.Integrations()...) })
	used := map[string]bool{}
	for _, tag := range h.api.OpenAPI().Tags {
		used[tag.Name] = false
		if tag.Description == "" {
			t.Errorf("tag %s has no description", tag.Name)
		}
	}
	for pattern := range h.routes {
		for _, op := range operations(h, pattern) {
			for _, name := range op.Tags {
				if _, known := used[name]; !known {
					t.Errorf("%s has the tag %s, which is not described", pattern, name)
				}
				used[name] = true
			}
			if len(op.Tags) != 1 {
				t.Errorf("%s has the tags %q, want one", pattern, op.Tags)
			}
		}
	}
	for name, is := range used {
		if !is {
			t.Errorf("nothing has the tag %s", name)
		}
	}
}

func operations(h *house, pattern string) (list []*huma.Operation) {
	_, path, _ := strings.Cut(strings.TrimSuffix(pattern, "{$}"), " ")
	item := h.api.OpenAPI().Paths[path]
	for _, op := range []*huma.Operation{item.Get, item.Post} {
		if op != nil {
			list = append(list, op)
		}
	}
	return list
}
