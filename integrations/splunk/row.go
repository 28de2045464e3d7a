package splunk

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/funnelsec/funnel"
)

// Field is a named field of a result row. A field of Splunk can have several
// values; one that is null has none.
type Field struct {
	Name   string   `json:"name" doc:"Name of the field"`
	Values []string `json:"values" doc:"Its values; numbers exactly as Splunk wrote them"`
}

// String returns the values joined with ", ".
func (f Field) String() string { return strings.Join(f.Values, ", ") }

// Row is a result row: its fields sorted by name.
type Row []Field

// Values returns the values of the named field, nil if there is none.
func (r Row) Values(name string) []string {
	i, found := slices.BinarySearchFunc(r, name, func(f Field, name string) int { return strings.Compare(f.Name, name) })
	if !found {
		return nil
	}
	return r[i].Values
}

// Get returns the first value of the named field, or "".
func (r Row) Get(name string) string {
	if values := r.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Public returns the fields that tell a person something: without the internal
// ones, whose names begin with "_", without Splunk's bookkeeping (date_hour,
// linecount, punct, …) and without fields that are empty.
func (r Row) Public() Row {
	public := make(Row, 0, len(r))
	for _, f := range r {
		if !internal(f.Name) && slices.ContainsFunc(f.Values, func(v string) bool { return v != "" }) {
			public = append(public, f)
		}
	}
	return public
}

func internal(name string) bool {
	switch name {
	case "", "splunk_server", "linecount", "punct", "timestartpos", "timeendpos", "eventtype":
		return true
	}
	return strings.HasPrefix(name, "_") || strings.HasPrefix(name, "date_")
}

// hash names the row's content. The order of the fields and the spelling of the
// JSON do not matter, and neither does whether one value came as a list.
func (r Row) hash() string {
	size := 0
	for _, f := range r {
		size += 2 + len(f.Values)
	}
	parts := make([]string, 0, size)
	for _, f := range r {
		parts = append(parts, f.Name, strconv.Itoa(len(f.Values)))
		parts = append(parts, f.Values...)
	}
	return funnel.Fingerprint(parts...)
}

// maxFields bounds the fields of a row. The bytes are bounded by the body.
const maxFields = 1000

// readRow reads the row of a delivery, whose JSON is known to be valid. Errors
// say where, never which value.
func readRow(result gjson.Result) (row Row, err error) {
	switch {
	case !result.Exists():
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /result is missing")
	case !result.IsObject():
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /result is not an object")
	}
	row = make(Row, 0, 40)
	single := make([]string, 0, 40) // the values of fields that have one
	result.ForEach(func(name, value gjson.Result) bool {
		if len(row) == maxFields {
			err = funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /result has more than %d fields", maxFields)
			return false
		}
		field := Field{Name: text(name)}
		var at string
		var ok bool
		if field.Values, at, ok = readValues(value, &single); !ok {
			err = funnel.Errorf(funnel.Invalid, "reading a Splunk alert: %s is neither text, a number, true, false, null nor a list of these",
				pointer("result", field.Name)+at)
		}
		row = append(row, field)
		return ok
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(row, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(row); i++ {
		if row[i].Name == row[i-1].Name {
			return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: %s is there twice", pointer("result", row[i].Name))
		}
	}
	return row, nil
}

// readValues returns the values of a field. If it cannot be one, at points from
// the field to what is wrong: "" is the field itself, "/2" its third element.
// A single value is put into room, while that has some.
func readValues(value gjson.Result, room *[]string) (values []string, at string, ok bool) {
	switch {
	case value.Type == gjson.Null:
		return nil, "", true
	case !value.IsArray():
		if v, ok := scalar(value); ok {
			if len(*room) == cap(*room) {
				return []string{v}, "", true
			}
			n := len(*room)
			*room = append(*room, v)
			return (*room)[n : n+1 : n+1], "", true
		}
		return nil, "", false
	}
	values, ok = []string{}, true
	value.ForEach(func(_, element gjson.Result) bool {
		var v string
		if v, ok = scalar(element); !ok {
			at = "/" + strconv.Itoa(len(values))
		}
		values = append(values, v)
		return ok
	})
	return values, at, ok
}

// scalar returns a JSON scalar as text: a number in its own spelling, null as "".
func scalar(value gjson.Result) (string, bool) {
	switch value.Type {
	case gjson.JSON:
		return "", false
	case gjson.Null:
		return "", true
	case gjson.String:
		return text(value), true
	}
	return value.Raw, true
}

// text returns the text of a JSON string. Where it holds characters by number,
// the standard decoder reads it, whose ways with surrogates all readers of the
// event share.
func text(value gjson.Result) (s string) {
	if !strings.Contains(value.Raw, `\u`) {
		return value.Str
	}
	_ = json.Unmarshal([]byte(value.Raw), &s) // a valid string: the whole body was checked
	return s
}

// pointer returns a JSON pointer (RFC 6901), short and printable enough for an
// error message.
func pointer(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		for i, r := range s {
			if i > 100 {
				b.WriteString("…")
				break
			}
			switch {
			case r == '~':
				b.WriteString("~0")
			case r == '/':
				b.WriteString("~1")
			case unicode.IsPrint(r):
				b.WriteRune(r)
			default:
				b.WriteRune(unicode.ReplacementChar)
			}
		}
	}
	return b.String()
}
