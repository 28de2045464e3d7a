package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/secret"
)

// reader turns nodes into values and collects what is wrong.
type reader struct {
	doc  *document
	errs Errors
	name *regexp.Regexp // of a connection, a source, an integration
}

func (r *reader) fail(n *node, what, hint string) {
	r.errs = append(r.errs, r.doc.err(n.line, n.column, what, hint))
}

// object is a mapping that is being read: every key that is asked for is known, the others are errors.
type object struct {
	r     *reader
	n     *node
	label string // how messages call it
	known []string
}

// object starts reading a mapping; nil stands for an absent or empty one. Call done at the end.
func (r *reader) object(n *node, label string) *object {
	if n == nil || n.kind == null {
		return &object{r: r, n: &node{kind: mapping}, label: label}
	}
	if n.kind != mapping {
		r.fail(n, fmt.Sprintf("%s must be a mapping (key: value), not %s", label, n.kind), "")
		n = &node{kind: mapping, line: n.line, column: n.column}
	}
	return &object{r: r, n: n, label: label}
}

// get returns the value of a key, nil if it is absent.
func (o *object) get(key string) *node {
	if !slices.Contains(o.known, key) {
		o.known = append(o.known, key)
	}
	return o.n.child(key)
}

// done reports the keys that were not asked for.
func (o *object) done() {
	for _, e := range o.n.entries {
		if slices.Contains(o.known, e.key) {
			continue
		}
		hint := "known here: " + strings.Join(o.known, ", ")
		if s := Suggest(e.key, o.known); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
		o.r.errs = append(o.r.errs, o.r.doc.err(e.line, e.column, fmt.Sprintf("unknown key %q in %s", clip(e.key), o.label), hint))
	}
}

// scalar returns the value of a key if it is present and of the kind.
func (o *object) scalar(key string, want kind, example string) (*node, bool) {
	n := o.get(key)
	if n == nil {
		return nil, false
	}
	label := o.path(key)
	switch {
	case n.kind == want:
		return n, true
	case n.kind == null:
		o.r.fail(n, label+" has no value", "write "+key+": "+example+", or remove the line for the default")
	case want == boolean:
		o.r.fail(n, label+" must be true or false", "")
	default:
		o.r.fail(n, fmt.Sprintf("%s must be %s, not %s", label, want, n.kind), "write "+key+": "+example)
	}
	return n, false
}

func (o *object) path(key string) string {
	if o.label == topLevel {
		return key
	}
	return o.label + "." + key
}

func (o *object) text(key, example string, into *string) *node {
	n, ok := o.scalar(key, text, example)
	if !ok {
		return nil
	}
	if strings.TrimSpace(n.text) == "" {
		o.r.fail(n, o.path(key)+" is empty", "write "+key+": "+example+", or remove the line for the default")
		return nil
	}
	if secret.IsRef(n.text) {
		o.r.fail(n, o.path(key)+" cannot be a reference", "references are for secrets and options; write "+key+": "+example)
		return nil
	}
	*into = n.text
	return n
}

func (o *object) flag(key string, into *bool) *node {
	n, ok := o.scalar(key, boolean, "true")
	if !ok {
		return nil
	}
	*into = n.text == "true"
	return n
}

func (o *object) count(key string, least, most int, into *int) {
	example := strconv.Itoa(*into)
	if *into == 0 {
		example = strconv.Itoa(least)
	}
	n, ok := o.scalar(key, number, example)
	if !ok {
		return
	}
	v, err := strconv.Atoi(n.text)
	if err != nil || v < least || v > most {
		o.r.fail(n, fmt.Sprintf("%s must be a whole number from %d to %d", o.path(key), least, most), "")
		return
	}
	*into = v
}

func (o *object) duration(key string, most time.Duration, into *time.Duration) {
	example := "30s"
	if *into > 0 {
		example = short(*into)
	}
	if n := o.get(key); n != nil && n.kind != null {
		o.r.duration(n, o.path(key), example, most, into)
		return
	}
	o.scalar(key, text, example)
}

func (r *reader) duration(n *node, label, example string, most time.Duration, into *time.Duration) {
	d, err := time.ParseDuration(n.text)
	switch {
	case n.kind == number && n.text != "0":
		r.fail(n, label+" needs a unit", "write "+n.text+"s for seconds, "+n.text+"m for minutes")
	case n.kind != text && n.kind != number || err != nil:
		hint := "write a number with a unit (ms, s, m, h), such as " + example
		if days, cut := strings.CutSuffix(n.text, "d"); cut {
			if v, err := strconv.Atoi(days); err == nil && 0 < v && v < 10_000 {
				hint = fmt.Sprintf("days are written in hours: %dh", 24*v)
			}
		}
		r.fail(n, label+" must be a duration", hint)
	case d <= 0 || d > most:
		r.fail(n, fmt.Sprintf("%s must be longer than 0 and at most %s", label, short(most)), "")
	default:
		*into = d
	}
}

// short writes a duration without the zero parts that Go adds: 30m, not 30m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// size reads a number of bytes: 512KiB, 1MiB, 1MB, 20GiB, 65536.
func (o *object) size(key string, least, most int64, into *int64) {
	n := o.get(key)
	if n == nil {
		return
	}
	v, ok := bytesOf(n.text)
	switch {
	case n.kind != text && n.kind != number || !ok:
		o.r.fail(n, o.path(key)+" must be a size", "write a whole number with a unit (KiB, MiB, GiB), such as 1MiB")
	case v < least || v > most:
		o.r.fail(n, fmt.Sprintf("%s must be from %s to %s", o.path(key), sizeText(least), sizeText(most)), "")
	default:
		*into = v
	}
}

func bytesOf(s string) (int64, bool) {
	digits := strings.TrimRight(s, "KMGiB ")
	unit := map[string]int64{"": 1, "B": 1, "KB": 1000, "MB": 1000_000, "GB": 1000_000_000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[strings.TrimSpace(s[len(digits):])]
	v, err := strconv.ParseUint(digits, 10, 31)
	return int64(v) * unit, err == nil && unit > 0
}

func sizeText(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%dGiB", n>>30)
	}
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

// texts reads a list of texts; one text alone stands for a list of one.
func (o *object) texts(key, example string, into *[]string) *node {
	n := o.get(key)
	if n == nil {
		return nil
	}
	o.r.texts(n, o.path(key), example, into)
	return n
}

// textsOrNone is texts, and an empty list is a list that is empty, not nil.
func (o *object) textsOrNone(key, example string, into *[]string) {
	if n := o.get(key); n != nil && n.kind == list && len(n.items) == 0 {
		*into = []string{}
		return
	}
	o.texts(key, example, into)
}

func (r *reader) texts(n *node, label, example string, into *[]string) {
	items := n.items
	if n.kind == text {
		items = []*node{n}
	}
	if len(items) == 0 {
		r.fail(n, label+" must be a list of names", "write "+example)
		return
	}
	var out []string
	for _, item := range items {
		switch {
		case item.kind != text || item.text == "":
			r.fail(item, label+" must hold names only, not "+string(item.kind), "put numbers and truth values in quotes")
		case slices.Contains(out, item.text):
			r.fail(item, fmt.Sprintf("%q is in %s twice", clip(item.text), label), "")
		default:
			out = append(out, item.text)
		}
	}
	*into = out
}

// each reads a mapping of names to objects, in the order of the file.
func (r *reader) each(n *node, section, one string, read func(name string, at entry, o *object)) {
	o := r.object(n, section)
	for _, e := range o.n.entries {
		if !r.name.MatchString(e.key) {
			r.errs = append(r.errs, r.doc.err(e.line, e.column, fmt.Sprintf("%q cannot be the name of a %s", clip(e.key), one),
				"a name starts with a letter and has lower-case letters, digits, - and _ only, at most 63"))
			continue
		}
		read(e.key, e, r.object(e.value, section+"."+e.key))
	}
}
