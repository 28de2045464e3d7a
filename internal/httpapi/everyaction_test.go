package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/record"
)

// wrong is an input that an action has to refuse, and the place that the refusal
// has to name: a JSON pointer, "" for the whole body.
type wrong struct {
	what, at string
	body     any
}

// object is a JSON object whose members can be replaced.
type object = map[string]any

func with(in object, name string, v any) object {
	out := maps.Clone(in)
	out[name] = v
	return out
}

func without(in object, name string) object {
	out := maps.Clone(in)
	delete(out, name)
	return out
}

// violations returns an input for everything that the schema forbids in a field,
// each wrong in one way only.
func violations(good object, name string, field *huma.Schema, required bool) (list []wrong) {
	at := "/" + name
	add := func(what string, v any) { list = append(list, wrong{what, at, with(good, name, v)}) }
	if required {
		list = append(list, wrong{"missing", at, without(good, name)})
	}
	if len(field.OneOf) == 0 && field.Type != "" {
		// Of another type: an object is none of these.
		if field.Type != huma.TypeObject {
			add("an object", object{"more": 1})
		} else {
			add("a text", canary)
		}
		if field.Type != huma.TypeString && field.Type != huma.TypeArray {
			add("a list", []any{canary})
		}
	}
	if field.Type == huma.TypeString && field.MinLength != nil && *field.MinLength > 0 {
		add("too short", "")
	}
	if field.MaxLength != nil {
		add("too long", strings.Repeat("a", *field.MaxLength+1))
	}
	if field.Pattern != "" {
		add("not of the pattern", "\x00"+canary+"\n")
	}
	if len(field.Enum) > 0 {
		add("not of the enumeration", canary)
	}
	if field.Minimum != nil {
		add("too small", *field.Minimum-1)
	}
	if field.Maximum != nil {
		add("too large", *field.Maximum+1)
	}
	if field.Type == huma.TypeArray {
		if field.MaxItems != nil {
			add("too many", slices.Repeat([]any{""}, *field.MaxItems+1))
		}
		if field.Items != nil && (field.Items.Type == huma.TypeString || field.Items.Type == huma.TypeInteger) {
			list = append(list, wrong{"an item of another type", at + "/0", with(good, name, []any{object{"more": 1}})})
		}
		if items := field.Items; items != nil && items.Pattern != "" {
			list = append(list, wrong{"an item not of the pattern", at + "/0", with(good, name, []any{"\x00" + canary})})
		}
	}
	return list
}

// promised returns how many violations the tags of a field make possible, read
// from the Go type: the schema must not have lost one.
func promised(t reflect.Type) (n int) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Tag.Get("json") == "" {
			n += promised(f.Type)
			continue
		}
		for _, tag := range []string{"maxLength", "pattern", "enum", "minimum", "maximum"} {
			if _, ok := f.Tag.Lookup(tag); ok {
				n++
			}
		}
		if least, _ := strconv.Atoi(f.Tag.Get("minLength")); least > 0 {
			n++
		}
	}
	return n
}

// Every action of the registry takes its example over the API and refuses what
// is no input of it: unknown and missing fields, other types, and whatever the
// tags of its input forbid, each with a problem that says where.
func TestEveryAction(t *testing.T) {
	t.Parallel()
	registry := funnel.NewRegistry().Add(all.Integrations()...)
	h := newHouse(t, func(o *Options) { o.Registry = registry })
	h.called = record.Run{ID: 42, Kind: record.Call, State: record.Queued}
	schemas := h.api.OpenAPI().Components.Schemas
	tried, faults := map[string]bool{}, 0
	for _, a := range registry.Actions() {
		path := "/api/v1/actions/" + a.ID + "?wait=0"
		if a.Effect == funnel.Contains {
			wantProblem(t, h.ask(request("POST", path, `{}`)), http.StatusForbidden)
			tried[a.ID] = true
			continue
		}
		example, ok := Example(a)
		if !ok {
			t.Errorf("%s has no example: give its required fields one, or declare funnel.Example", a.ID)
			continue
		}
		good, isObject := example.(object)
		if !isObject {
			t.Errorf("%s has an example that is no object: %v", a.ID, example)
			continue
		}
		before := len(h.calls)
		if w := h.ask(request("POST", path, asText(t, good))); w.Code != http.StatusAccepted || len(h.calls) != before+1 {
			t.Errorf("%s does not take its example %s: %d %s", a.ID, asText(t, good), w.Code, w.Body)
		}
		before = len(h.calls)

		input := schemas.SchemaFromRef(schemas.Schema(a.Input, true, a.ID).Ref)
		cases := []wrong{{"a list", "", []any{}}, {"a text", "", canary}, {"null", "", nil}, {"an unknown field", "/more", with(good, "more", 1)}}
		declared := 0
		for _, name := range slices.Sorted(maps.Keys(input.Properties)) {
			field := input.Properties[name]
			if named := schemas.SchemaFromRef(field.Ref); field.Ref != "" && named != nil {
				field = named
			}
			broken := violations(good, name, field, slices.Contains(input.Required, name))
			for _, c := range broken {
				switch c.what {
				case "too short", "too long", "not of the pattern", "not of the enumeration", "too small", "too large":
					declared++
				}
			}
			cases = append(cases, broken...)
		}
		if want := promised(a.Input); declared < want {
			t.Errorf("%s: the tags forbid %d things, the schema only %d", a.ID, want, declared)
		}
		for _, c := range cases {
			w := h.ask(request("POST", path, asText(t, c.body)))
			if w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusBadRequest {
				t.Errorf("%s takes %s at %q: %s: %d %s", a.ID, c.what, c.at, asText(t, c.body), w.Code, w.Body)
				continue
			}
			p := wantProblem(t, w, w.Code)
			if !slices.ContainsFunc(p.Faults, func(f Fault) bool {
				return strings.HasPrefix(f.Location, "body") && f.Pointer == c.at && f.Message != ""
			}) {
				t.Errorf("%s refuses %s at %q without saying where: %s", a.ID, c.what, c.at, w.Body)
			}
		}
		for _, text := range []string{asText(t, good) + "x", strings.Replace(asText(t, good), "{", `{"more":`, 1), " ", "{"} {
			w := h.ask(request("POST", path, text))
			if w.Code != http.StatusUnprocessableEntity {
				wantProblem(t, w, http.StatusBadRequest)
			}
		}
		if len(h.calls) != before {
			t.Errorf("%s was called with an invalid input", a.ID)
		}
		tried[a.ID] = true
		faults += len(cases)
	}
	for _, in := range registry.Integrations() {
		for _, a := range in.Actions {
			if !tried[a.Spec().ID] {
				t.Errorf("%s was not tried", a.Spec().ID)
			}
		}
	}
	t.Logf("%d actions refused %d invalid inputs", len(tried), faults)
}

func asText(t *testing.T, v any) string {
	t.Helper()
	if v == nil {
		return "null"
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(fmt.Errorf("encoding %v: %w", v, err))
	}
	return string(b)
}
