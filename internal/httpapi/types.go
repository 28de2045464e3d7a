package httpapi

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
)

// describeTypes tells Huma how the types look in JSON that marshal themselves.
func describeTypes(r huma.Registry) huma.Registry {
	r.RegisterTypeAlias(reflect.TypeFor[funnel.Document](), reflect.TypeFor[documentJSON]())
	r.RegisterTypeAlias(reflect.TypeFor[funnel.Duration](), reflect.TypeFor[durationJSON]())
	return r
}

type documentJSON struct{}

// Schema describes a funnel.Document: its own JSON, or plain text.
func (documentJSON) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		OneOf: []*huma.Schema{
			{Type: huma.TypeString, Description: "Plain text; an empty line begins a new paragraph"},
			{
				Type: huma.TypeObject, Description: "Blocks: paragraphs, headings, lists, tables and code, as a step's journal shows them",
				Properties: map[string]*huma.Schema{"version": {Type: huma.TypeInteger}, "blocks": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject}}},
				Required:   []string{"version", "blocks"},
			},
		},
		Examples: []any{"Seen on WS-0142."},
	}
}

type durationJSON struct{}

// Schema describes a funnel.Duration.
func (durationJSON) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "A duration such as 30s, 5m or 24h", Examples: []any{"24h"}}
}

// Example returns an input of the action to try, decoded; false if it has none.
func Example(a *funnel.ActionSpec) (any, bool) {
	raw, ok := a.ExampleInput()
	if !ok {
		return nil, false
	}
	var v any
	return v, json.Unmarshal(raw, &v) == nil
}
