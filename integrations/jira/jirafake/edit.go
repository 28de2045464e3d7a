package jirafake

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// property is an entity property as it travels.
type property struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// issueBody is the body of a create, an edit or a transition.
type issueBody struct {
	Fields     map[string]json.RawMessage              `json:"fields"`
	Update     map[string][]map[string]json.RawMessage `json:"update"`
	Properties []property                              `json:"properties"`
	Transition struct {
		ID json.RawMessage `json:"id"`
	} `json:"transition"`
}

// labelOp is one change of the labels: set, add or remove.
type labelOp struct {
	verb   string
	labels []string
}

// edit is a checked change of an issue.
type edit struct {
	read        func(errs problems, field string, raw json.RawMessage) *document // reads a rich text
	project     *project
	kind        string
	summary     *string
	description *document // raw is nil to empty the field
	priority    string
	resolution  string // of a transition
	labels      []labelOp
	comments    []document
	props       map[string]json.RawMessage
	custom      map[string]json.RawMessage
}

// problems collects Jira's complaints per field; the first one of a field wins.
type problems map[string]string

func (p problems) add(field, message string) {
	if _, ok := p[field]; !ok {
		p[field] = message
	}
}

// parseEdit checks the fields, updates and properties of a request.
func (c *call) parseEdit(b issueBody) (edit, problems) {
	e, errs := edit{read: c.parseText}, problems{}
	for _, name := range slices.Sorted(maps.Keys(b.Fields)) {
		if _, both := b.Update[name]; both {
			errs.add(name, fmt.Sprintf("Field '%s' cannot be in both fields and update.", name))
		}
		c.site.parseField(&e, errs, name, b.Fields[name])
	}
	for _, name := range slices.Sorted(maps.Keys(b.Update)) {
		for _, op := range b.Update[name] {
			for verb, value := range op {
				e.parseUpdate(errs, name, verb, value)
			}
		}
	}
	e.props = checkProperties(errs, b.Properties)
	return e, errs
}

func (s *Site) parseField(e *edit, errs problems, name string, raw json.RawMessage) {
	switch name {
	case "project":
		var ref struct{ ID, Key string }
		if json.Unmarshal(raw, &ref) == nil {
			e.project = s.project(orDefault(ref.Key, ref.ID))
		}
		if e.project == nil {
			errs.add(name, "Specify a valid project ID or key")
		}
	case "issuetype":
		var ref struct{ ID, Name string }
		if json.Unmarshal(raw, &ref) != nil || ref.Name == "" {
			errs.add(name, "Specify a valid issue type") // the simulated site knows types by name only
		}
		e.kind = ref.Name
	case "summary":
		var text string
		if json.Unmarshal(raw, &text) != nil {
			errs.add(name, "Operation value must be a string")
		} else if msg := summaryProblem(text); msg != "" {
			errs.add(name, msg)
		}
		e.summary = &text
	case "description":
		e.description = e.read(errs, name, raw)
	case "labels":
		var labels []string
		if json.Unmarshal(raw, &labels) != nil {
			errs.add(name, "Operation value must be an array of strings")
		}
		e.addLabels(errs, "set", labels)
	case "priority":
		var ref struct{ ID, Name string }
		if json.Unmarshal(raw, &ref) != nil || !slices.Contains(priorities, ref.Name) {
			errs.add(name, "The priority selected is invalid.")
		}
		e.priority = ref.Name
	case "resolution":
		var ref struct{ ID, Name string }
		if json.Unmarshal(raw, &ref) != nil || !slices.Contains(resolutions, ref.Name) {
			errs.add(name, "Specify a valid resolution")
		}
		e.resolution = ref.Name
	case CustomField:
		var text string
		if json.Unmarshal(raw, &text) != nil {
			errs.add(name, "Operation value must be a string")
		}
		e.custom = map[string]json.RawMessage{name: slices.Clone(raw)}
	default:
		errs.add(name, fmt.Sprintf("Field '%s' cannot be set. It is not on the appropriate screen, or unknown.", name))
	}
}

func (e *edit) parseUpdate(errs problems, field, verb string, raw json.RawMessage) {
	switch {
	case field == "labels" && (verb == "add" || verb == "remove"):
		var label string
		if json.Unmarshal(raw, &label) != nil {
			errs.add(field, "Operation value must be a string")
		}
		e.addLabels(errs, verb, []string{label})
	case field == "labels" && verb == "set":
		var labels []string
		if json.Unmarshal(raw, &labels) != nil {
			errs.add(field, "Operation value must be an array of strings")
		}
		e.addLabels(errs, verb, labels)
	case field == "comment" && verb == "add":
		var c struct{ Body json.RawMessage }
		if json.Unmarshal(raw, &c) != nil {
			errs.add(field, "Operation value must be an object")
		}
		if d := e.read(errs, field, c.Body); d != nil {
			e.comments = append(e.comments, *d)
		}
	default:
		errs.add(field, fmt.Sprintf("Field '%s' does not support operation '%s'", field, verb))
	}
}

func (e *edit) addLabels(errs problems, verb string, labels []string) {
	for _, l := range labels {
		switch {
		case strings.ContainsAny(l, " \t\r\n"):
			errs.add("labels", fmt.Sprintf("The label '%s' contains spaces which is invalid.", l))
		case l == "":
			errs.add("labels", "A label must not be empty.")
		case utf8.RuneCountInString(l) > 255:
			errs.add("labels", "The label exceeds the maximum length of 255 characters.")
		}
	}
	e.labels = append(e.labels, labelOp{verb, labels})
}

// summaryProblem says in Jira's words what is wrong with a summary.
func summaryProblem(text string) string {
	switch {
	case strings.TrimSpace(text) == "":
		return "You must specify a summary of the issue."
	case strings.ContainsAny(text, "\r\n"):
		return "The summary is invalid because it contains newline characters."
	case utf8.RuneCountInString(text) > 255:
		return "Summary can't exceed 255 characters."
	}
	return ""
}

// parseText checks a rich-text field: an Atlassian document, or in version 2 of the API a string of wiki markup. null
// empties it. The complaint says where a document is wrong, which is more than the real "INVALID_INPUT".
func (c *call) parseText(errs problems, field string, raw json.RawMessage) *document {
	if len(raw) == 0 || string(raw) == "null" {
		if field == "comment" {
			errs.add(field, "Comment body can not be empty!")
		}
		return &document{}
	}
	if c.version == "2" {
		return c.parseWikiText(errs, field, raw)
	}
	if raw[0] != '{' {
		errs.add(field, "Operation value must be an Atlassian Document (see the Atlassian Document Format)")
		return nil
	}
	d, err := parseADF(raw)
	switch {
	case err != nil:
		errs.add(field, "INVALID_INPUT: "+err.Error())
	case utf8.RuneCountInString(d.text) > maxText:
		errs.add(field, "The entered text is too long. It exceeds the allowed limit of 32,767 characters.")
	case field == "comment" && d.text == "" && d.media == 0:
		errs.add(field, "Comment body can not be empty!")
	}
	return &d
}

func (c *call) parseWikiText(errs problems, field string, raw json.RawMessage) *document {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		errs.add(field, "Operation value must be a string")
		return nil
	}
	d := parseWiki(text)
	switch {
	case len(utf16.Encode([]rune(text))) > maxText:
		errs.add(field, "The entered text is too long. It exceeds the allowed limit of 32,767 characters.")
	case field == "comment" && strings.TrimSpace(text) == "":
		errs.add(field, "Comment body can not be empty!")
	}
	if c.site.opt.Deployment == Cloud { // it keeps documents, and makes one of the markup
		d.raw = WikiToADF(text)
	}
	return &d
}

func checkProperties(errs problems, list []property) map[string]json.RawMessage {
	props := map[string]json.RawMessage{}
	for _, p := range list {
		if msg := propertyProblem(p.Key, p.Value); msg != "" {
			errs.add("properties", msg)
		}
		props[p.Key] = slices.Clone(p.Value)
	}
	return props
}

func propertyProblem(key string, value json.RawMessage) string {
	switch {
	case key == "" || len(key) > 255:
		return "The property key must have 1 to 255 characters."
	case len(value) == 0 || !json.Valid(value):
		return "The property value has to be a valid JSON."
	case len(value) > 32768:
		return "The property value must not exceed 32768 characters."
	}
	return ""
}

// apply changes the issue and returns the changelog. The caller holds the lock.
func (e *edit) apply(is *issue) []obj {
	var log []obj
	note := func(field string, from, to any) {
		log = append(log, obj{"field": field, "fieldtype": "jira", "fieldId": field, "from": nil, "fromString": from, "to": nil, "toString": to})
	}
	if e.summary != nil && *e.summary != is.summary {
		note("summary", is.summary, *e.summary)
		is.summary = *e.summary
	}
	if e.description != nil {
		note("description", Text(is.description), e.description.text)
		is.description = e.description.raw
	}
	if e.priority != "" && e.priority != is.priority {
		note("priority", is.priority, e.priority)
		is.priority = e.priority
	}
	if labels := e.labelsFrom(is.labels); !slices.Equal(labels, is.labels) {
		note("labels", strings.Join(is.labels, " "), strings.Join(labels, " "))
		is.labels = labels
	}
	for name, value := range e.custom {
		note(name, string(is.custom[name]), string(value))
		is.custom = merged(is.custom, map[string]json.RawMessage{name: value})
	}
	if len(e.props) > 0 {
		is.props = merged(is.props, e.props)
	}
	return log
}

func (e *edit) labelsFrom(labels []string) []string {
	labels = slices.Clone(labels)
	for _, op := range e.labels {
		switch op.verb {
		case "set":
			labels = slices.Clone(op.labels)
		case "add":
			labels = append(labels, op.labels...)
		case "remove":
			labels = slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(op.labels, l) })
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

func merged(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}
