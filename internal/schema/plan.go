package schema

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// plan is what a Go type wants to read, as far as it can be told before decoding. A nil plan takes anything.
type plan struct {
	typ    reflect.Type
	want   want
	elem   *plan             // of an array or a map
	fields map[string]*plan  // of a struct, by exact name; nil for a map
	folded map[string]string // folded name -> exact name
	closed bool              // refuse keys that are not in fields
	custom bool              // the type decodes itself
}

type want string

const (
	wantAny     want = ""
	wantString  want = "a string"
	wantBool    want = "true or false"
	wantInteger want = "a whole number"
	wantNumber  want = "a number"
	wantArray   want = "an array"
	wantObject  want = "an object"
)

func (p *plan) element() *plan {
	if p == nil {
		return nil
	}
	return p.elem
}

// planner builds plans; a type that contains itself gets one plan.
type planner struct {
	closed bool
	done   map[reflect.Type]*plan
}

func (pl *planner) of(t reflect.Type) *plan {
	for t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if p, ok := pl.done[t]; ok {
		return p
	}
	p := &plan{typ: t}
	pl.done[t] = p
	if decodesItself(t) || decodesItself(reflect.PointerTo(t)) {
		p.custom = true
		return p
	}
	switch t.Kind() {
	case reflect.String:
		p.want = wantString
		if t == reflect.TypeFor[json.Number]() {
			p.want = wantNumber
		}
	case reflect.Bool:
		p.want = wantBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.want = wantInteger
	case reflect.Float32, reflect.Float64:
		p.want = wantNumber
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // a base64 string, or an array of numbers
			return p
		}
		p.want, p.elem = wantArray, pl.of(t.Elem())
	case reflect.Array:
		p.want, p.elem = wantArray, pl.of(t.Elem())
	case reflect.Map:
		p.want, p.elem = wantObject, pl.of(t.Elem())
	case reflect.Struct:
		p.want, p.closed = wantObject, pl.closed
		p.fields, p.folded = map[string]*plan{}, map[string]string{}
		pl.fields(p, t, map[reflect.Type]bool{})
	}
	return p
}

// fields enters the fields of a struct, its own before those of embedded structs. Where encoding/json would drop two embedded
// fields of one name, the first is taken here; json then decides.
func (pl *planner) fields(p *plan, t reflect.Type, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	var embedded []reflect.Type
	for f := range fieldsOf(t) {
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			et := f.Type
			if et.Kind() == reflect.Pointer {
				et = et.Elem()
			}
			if et.Kind() == reflect.Struct {
				embedded = append(embedded, et)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, taken := p.fields[name]; taken {
			continue
		}
		fp := pl.of(f.Type)
		if strings.Contains(opts, "string") {
			fp = nil // a number inside a string: left to encoding/json
		}
		p.fields[name] = fp
		p.folded[string(appendFolded(nil, []byte(name), false))] = name
	}
	for _, et := range embedded {
		pl.fields(p, et, seen)
	}
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func decodesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fits refuses a value whose first byte shows that it is of another type. null fits everywhere, as in encoding/json.
func (c *checker) fits(p *plan, b byte) *SyntaxError {
	if p.want == wantAny || b == 'n' {
		return nil
	}
	var got want
	switch {
	case b == '{':
		got = wantObject
	case b == '[':
		got = wantArray
	case b == '"':
		got = wantString
	case b == 't' || b == 'f':
		got = wantBool
	case b == '-' || '0' <= b && b <= '9':
		got = wantNumber
	default:
		return nil // not JSON: reported as such
	}
	if got == p.want || got == wantNumber && p.want == wantInteger || got == wantString && p.typ == reflect.TypeFor[json.Number]() {
		return nil
	}
	return c.fail(WrongShape, c.pos, string(p.want)+" is expected here, not "+string(got))
}

// field finds the plan of a key's value and refuses a key that names no field, or names one in another case.
func (c *checker) field(p *plan, at int, inside []byte, escaped bool) (*plan, *SyntaxError) {
	if p.fields == nil {
		return p.elem, nil
	}
	name := inside
	if escaped {
		name = []byte(unquoteKey(inside))
	}
	if fp, ok := p.fields[string(name)]; ok {
		return fp, nil
	}
	if exact, ok := p.folded[string(c.keys.last())]; ok {
		return nil, c.fail(WrongShape, at, `the key differs from the known key "`+exact+`" in case only; write it as "`+exact+`"`)
	}
	if p.closed {
		err := c.fail(WrongShape, at, "the key is not known here")
		err.Known = slices.Sorted(maps.Keys(p.fields))
		return nil, err
	}
	return nil, nil
}
