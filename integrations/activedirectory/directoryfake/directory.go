package directoryfake

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Entry is one object of the directory. Attribute values are byte strings: an
// objectGUID or objectSid is the raw bytes.
type Entry struct {
	DN         string
	Attributes map[string][]string
}

// directory is the searchable form of the entries. It never changes.
type directory struct {
	root    string // naming context as written, such as DC=corp,DC=example,DC=test
	rootDN  dn
	objects []*object
	byDN    map[string]*object
	schema  map[string]bool // attribute names in lower case that some entry has
}

// object is one entry, prepared.
type object struct {
	text  string
	dn    dn
	attrs map[string]attribute // by lower-case name
}

// attribute is a name as the schema spells it, with its values.
type attribute struct {
	name   string
	values []string
}

// newDirectory prepares entries. It refuses names that do not parse, occur twice
// or lie outside the first entry's domain.
func newDirectory(entries []Entry) (*directory, error) {
	d := &directory{byDN: map[string]*object{}, schema: map[string]bool{"distinguishedname": true}}
	for i, e := range entries {
		name, err := parseDN(e.DN)
		if err != nil {
			return nil, fmt.Errorf("preparing directory entry %d: %w", i, err)
		}
		if i == 0 {
			d.root, d.rootDN = domainOf(e.DN, name)
		}
		if len(d.rootDN) == 0 || !name.under(d.rootDN) {
			return nil, fmt.Errorf("preparing directory entry %d: %q is not in the domain %q", i, e.DN, d.root)
		}
		if d.byDN[name.key()] != nil {
			return nil, fmt.Errorf("preparing directory entry %d: %q occurs twice", i, e.DN)
		}
		o := &object{text: e.DN, dn: name, attrs: map[string]attribute{}}
		for _, n := range slices.Sorted(maps.Keys(e.Attributes)) {
			low := strings.ToLower(n)
			if _, twice := o.attrs[low]; twice {
				return nil, fmt.Errorf("preparing directory entry %q: attribute %s occurs twice", e.DN, n)
			}
			if len(e.Attributes[n]) > 0 {
				o.attrs[low] = attribute{n, e.Attributes[n]}
			}
			d.schema[low] = true
		}
		if _, ok := o.attrs["distinguishedname"]; !ok {
			o.attrs["distinguishedname"] = attribute{"distinguishedName", []string{e.DN}}
		}
		d.objects = append(d.objects, o)
		d.byDN[name.key()] = o
	}
	return d, nil
}

// domainOf returns the DC=... suffix of a name.
func domainOf(text string, name dn) (string, dn) {
	n := 0
	for i := len(name) - 1; i >= 0 && strings.HasPrefix(name[i], "dc="); i-- {
		n++
	}
	parts := splitUnescaped(text, ',')
	return strings.TrimSpace(strings.Join(parts[len(parts)-n:], ",")), name[len(name)-n:]
}

// dnsName returns the domain's DNS name, such as corp.example.test.
func (d *directory) dnsName() string {
	labels := make([]string, len(d.rootDN))
	for i, rdn := range d.rootDN {
		labels[i] = strings.TrimPrefix(rdn, "dc=")
	}
	return strings.Join(labels, ".")
}

// netBIOS returns the short domain name, such as CORP.
func (d *directory) netBIOS() string {
	short, _, _ := strings.Cut(d.dnsName(), ".")
	return strings.ToUpper(short)
}

// first returns the first value of an attribute, or "".
func (o *object) first(lowName string) string {
	if a := o.attrs[lowName]; len(a.values) > 0 {
		return a.values[0]
	}
	return ""
}

// account finds the object that a simple bind names: by DN, by user principal
// name, or as DOMAIN\name (MS-ADTS 5.1.1.1.1).
func (d *directory) account(name string) *object {
	if short, sam, ok := strings.Cut(name, `\`); ok && strings.EqualFold(short, d.netBIOS()) {
		return d.find("samaccountname", sam)
	}
	if o := d.find("userprincipalname", name); o != nil {
		return o
	}
	if parsed, err := parseDN(name); err == nil && len(parsed) > 0 {
		return d.byDN[parsed.key()]
	}
	return nil
}

// find returns the first object whose attribute has the value, without case.
func (d *directory) find(lowName, value string) *object {
	for _, o := range d.objects {
		if v := o.first(lowName); v != "" && strings.EqualFold(v, value) {
			return o
		}
	}
	return nil
}

// matchedDN returns the deepest existing ancestor of a name, as written.
func (d *directory) matchedDN(name dn) string {
	for i := range name {
		if o := d.byDN[name[i:].key()]; o != nil {
			return o.text
		}
	}
	return ""
}
