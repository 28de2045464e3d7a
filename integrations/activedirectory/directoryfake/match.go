package directoryfake

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// truth is the three-valued logic of filters (RFC 4511 section 4.5.1.7).
type truth int

const (
	no truth = iota
	yes
	undefined // an attribute or rule that is not known, or a value that does not fit
)

// Matching rules of AD (MS-ADTS 3.1.1.3.4.4).
const (
	ruleBitAnd  = "1.2.840.113556.1.4.803"
	ruleBitOr   = "1.2.840.113556.1.4.804"
	ruleInChain = "1.2.840.113556.1.4.1941"
)

// syntax says how the values of an attribute compare.
type syntax int

const (
	text   syntax = iota // Unicode, without case
	number               // integer, also FILETIME
	name                 // distinguished name
	octet                // bytes
)

// syntaxOf returns the syntax of an attribute by its lower-case name.
func syntaxOf(attr string) syntax {
	switch attr {
	case "useraccountcontrol", "msds-user-account-control-computed", "lastlogontimestamp", "lastlogon",
		"pwdlastset", "lockouttime", "accountexpires", "badpwdcount", "logoncount", "samaccounttype", "grouptype",
		"primarygroupid", "usncreated", "usnchanged":
		return number
	case "memberof", "member", "manager", "managedby", "directreports", "distinguishedname", "objectcategory":
		return name
	case "objectguid", "objectsid", "thumbnailphoto":
		return octet
	default:
		return text
	}
}

// constructed reports whether AD computes the attribute when it is read: such
// an attribute is returned only when it is named and cannot be searched for.
func constructed(attr string) bool {
	return attr == "msds-user-account-control-computed"
}

// match evaluates a filter on an object.
func (d *directory) match(o *object, f filter) truth {
	switch f.kind {
	case filterAnd, filterOr:
		stop, result := no, yes
		if f.kind == filterOr {
			stop, result = yes, no
		}
		for _, s := range f.subs {
			switch d.match(o, s) {
			case stop:
				return stop
			case undefined:
				result = undefined
			}
		}
		return result
	case filterNot:
		switch d.match(o, f.subs[0]) {
		case yes:
			return no
		case no:
			return yes
		}
		return undefined
	}
	attr, _, _ := strings.Cut(strings.ToLower(f.attr), ";")
	if !d.schema[attr] || constructed(attr) {
		return undefined
	}
	values := o.attrs[attr].values
	if f.kind == filterPresent {
		return is(len(values) > 0)
	}
	if f.kind == filterExtensible && f.rule == ruleInChain {
		return d.inChain(o, attr, f.value)
	}
	result := no
	for _, v := range values {
		switch matchValue(attr, v, f) {
		case yes:
			return yes
		case undefined:
			result = undefined
		}
	}
	return result
}

func is(b bool) truth {
	if b {
		return yes
	}
	return no
}

// matchValue evaluates an assertion on one value.
func matchValue(attr, v string, f filter) truth {
	syn := syntaxOf(attr)
	if f.kind == filterSubstrings {
		if syn != text {
			return undefined // AD has no substring match on names, numbers and bytes
		}
		return substrings(v, f.parts)
	}
	if syn == number {
		return matchNumber(v, f)
	}
	switch f.kind {
	case filterGreater, filterLess:
		if syn == name {
			return undefined
		}
		c := strings.Compare(strings.ToLower(v), strings.ToLower(f.value))
		return is(c == 0 || (c > 0) == (f.kind == filterGreater))
	case filterExtensible:
		if f.rule != "" || f.dn {
			return undefined
		}
	}
	switch syn { // equality; AD treats approx as equality too
	case octet:
		return is(v == f.value)
	case name:
		return matchName(attr, v, f.value)
	}
	if !utf8.ValidString(f.value) { // EqualFold takes all broken bytes for the same
		return undefined
	}
	return is(strings.EqualFold(v, f.value))
}

// matchName compares distinguished names. objectCategory may also be given as
// the class's own name, such as person (MS-ADTS 3.1.1.3.1.3.5).
func matchName(attr, v, asserted string) truth {
	have, err := parseDN(v)
	if err != nil {
		return undefined
	}
	if attr == "objectcategory" && !strings.Contains(asserted, "=") {
		return is(len(have) > 0 && have[0] == "cn="+strings.ToLower(asserted))
	}
	want, err := parseDN(asserted)
	if err != nil {
		return undefined
	}
	return is(have.key() == want.key())
}

// matchNumber compares integers and tests their bits.
func matchNumber(v string, f filter) truth {
	have, err1 := strconv.ParseInt(v, 10, 64)
	want, err2 := strconv.ParseInt(f.value, 10, 64)
	if err1 != nil || err2 != nil {
		return undefined
	}
	switch f.kind {
	case filterGreater:
		return is(have >= want)
	case filterLess:
		return is(have <= want)
	case filterExtensible:
		switch f.rule {
		case ruleBitAnd:
			return is(have&want == want)
		case ruleBitOr:
			return is(have&want != 0)
		case "":
		default:
			return undefined
		}
	}
	return is(have == want)
}

// substrings matches initial*any*final without case.
func substrings(v string, parts []part) truth {
	v = strings.ToLower(v)
	for _, p := range parts {
		if !utf8.ValidString(p.value) {
			return undefined
		}
		piece := strings.ToLower(p.value)
		switch p.place {
		case 0:
			rest, ok := strings.CutPrefix(v, piece)
			if !ok {
				return no
			}
			v = rest
		case 1:
			_, rest, ok := strings.Cut(v, piece)
			if !ok {
				return no
			}
			v = rest
		default:
			return is(strings.HasSuffix(v, piece))
		}
	}
	return yes
}

// inChain follows a linked attribute, such as memberOf, from the object upward
// until it meets the target.
func (d *directory) inChain(o *object, attr, target string) truth {
	want, err := parseDN(target)
	if err != nil || syntaxOf(attr) != name {
		return undefined
	}
	seen := map[*object]bool{o: true}
	for queue := []*object{o}; len(queue) > 0; queue = queue[1:] {
		for _, v := range queue[0].attrs[attr].values {
			link, err := parseDN(v)
			if err != nil {
				continue
			}
			if link.key() == want.key() {
				return yes
			}
			if next := d.byDN[link.key()]; next != nil && !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return no
}
