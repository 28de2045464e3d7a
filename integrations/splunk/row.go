package splunk

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

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
	parts := make([]string, 0, 3*len(r))
	for _, f := range r {
		parts = append(parts, f.Name, strconv.Itoa(len(f.Values)))
		parts = append(parts, f.Values...)
	}
	return funnel.Fingerprint(parts...)
}

// maxFields bounds the fields of a row. The bytes are bounded by the body.
const maxFields = 1000

// readRow reads the row of a delivery. Errors say where, never which value.
func readRow(raw json.RawMessage) (Row, error) {
	if len(raw) == 0 {
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /result is missing")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /result is not an object")
	}
	if len(fields) > maxFields {
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /result has more than %d fields", maxFields)
	}
	row := make(Row, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		values, at, ok := readValues(fields[name])
		if !ok {
			return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: %s is neither text, a number, true, false, null nor a list of these",
				pointer("result", name)+at)
		}
		row = append(row, Field{Name: name, Values: values})
	}
	return row, nil
}

// readValues returns the values of a field. If it cannot be one, at points from
// the field to what is wrong: "" is the field itself, "/2" its third element.
func readValues(raw json.RawMessage) (values []string, at string, ok bool) {
	list, isList := []json.RawMessage{raw}, raw[0] == '['
	switch {
	case raw[0] == 'n': // null
		return nil, "", true
	case isList && json.Unmarshal(raw, &list) != nil:
		return nil, "", false
	}
	values = make([]string, len(list))
	for i, raw := range list {
		if values[i], ok = scalar(raw); !ok {
			if isList {
				at = "/" + strconv.Itoa(i)
			}
			return nil, at, false
		}
	}
	return values, "", true
}

// scalar returns a JSON scalar as text: a number in its own spelling, null as "".
func scalar(raw json.RawMessage) (value string, ok bool) {
	switch raw[0] {
	case '"':
		return value, json.Unmarshal(raw, &value) == nil
	case '{', '[':
		return "", false
	case 'n':
		return "", true
	}
	return string(raw), true
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
