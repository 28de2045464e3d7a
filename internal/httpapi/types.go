package httpapi

import (
	"encoding/json"
	"reflect"
	"strings"

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

// Example returns an input of the action to try: the one that it declares, else
// the examples of its required fields. It returns false if a required field has
// none.
func Example(a *funnel.ActionSpec) (any, bool) {
	if a.Example != nil {
		var v any
		return v, json.Unmarshal(a.Example, &v) == nil
	}
	return exampleOf(a.Input)
}

func exampleOf(t reflect.Type) (map[string]any, bool) {
	out := map[string]any{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			inner, ok := exampleOf(f.Type)
			if !ok {
				return nil, false
			}
			for k, v := range inner {
				out[k] = v
			}
			continue
		}
		if !f.IsExported() || name == "-" || strings.Contains(options, "omit") {
			continue
		}
		text, ok := f.Tag.Lookup("example")
		switch {
		case ok:
		case f.Type == reflect.TypeFor[funnel.Document]():
			text = "Seen on WS-0142."
		default:
			return nil, false
		}
		var v any = text
		if f.Type.Kind() != reflect.String {
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				v = text
			}
		}
		out[name] = v
	}
	return out, true
}
