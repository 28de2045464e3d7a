package funnel

import (
	"encoding/json"
	"reflect"
	"strings"
)

// ExampleInput returns an input of the action to try, as JSON: the one that it
// declares, else the examples of its required fields. It returns false if a
// required field has none.
func (s *ActionSpec) ExampleInput() (json.RawMessage, bool) {
	if s.Example != nil {
		return s.Example, true
	}
	example, ok := exampleOf(s.Input)
	if !ok {
		return nil, false
	}
	b, err := json.Marshal(example)
	return b, err == nil
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
		case f.Type == reflect.TypeFor[Document]():
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
