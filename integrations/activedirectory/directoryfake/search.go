package directoryfake

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Controls that the server knows.
const (
	oidPaged       = "1.2.840.113556.1.4.319"
	oidDomainScope = "1.2.840.113556.1.4.1339"
	oidManageDSAIT = "2.16.840.1.113730.3.4.2"
)

// maxPagedSearches bounds the paged searches that one connection keeps open.
const maxPagedSearches = 10

const diagNotBound = "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be completed on the connection., data 0, v4563"

// request is a decoded search request (RFC 4511 section 4.5.1).
type request struct {
	base      string
	scope     int64
	sizeLimit int64
	typesOnly bool
	filter    filter
	attrs     []string
	paged     bool
	pageSize  int64
	cookie    string
	noRefs    bool // domain scope control
	unknown   bool // an unknown critical control
}

// pagedSearch is the rest of a search that is read page by page.
type pagedSearch struct {
	found     []*object
	truncated bool
}

// verdict is how a search ends.
type verdict struct {
	code       int
	matched    string
	diagnostic string
	more       []*ber.Packet
}

// search handles a search.
func (s *session) search(m message, f fate) (answer, error) {
	req, err := parseSearch(m)
	if err != nil {
		return answer{}, err
	}
	req.paged = req.paged && !s.srv.opts.NoPaging
	op := Op{Kind: "search", BaseDN: req.base, Filter: req.filter.String(), Attributes: req.attrs}
	found, next, v := s.find(req, f)
	var out []byte
	for _, o := range found {
		out = append(out, envelope(m.id, s.encodeEntry(o, req))...)
	}
	op.Entries = len(found)
	op.Result = v.code
	if v.code == codeSuccess && next == "" && s.refers(req) {
		for _, url := range s.srv.opts.Referrals {
			ref := ber.Encode(ber.ClassApplication, ber.TypeConstructed, opSearchRef, nil, "")
			ref.AppendChild(str(url))
			out = append(out, envelope(m.id, ref)...)
		}
	}
	var controls []*ber.Packet
	if req.paged && (v.code == codeSuccess || v.code == codeSizeLimit) {
		value := seq(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(0), ""), str(next))
		controls = append(controls, seq(str(oidPaged), str(string(value.Bytes()))))
	}
	done := outcome(opSearchDone, v.code, v.matched, v.diagnostic, v.more...)
	return answer{bytes: append(out, envelope(m.id, done, controls...)...), op: op}, nil
}

// find selects the objects of this answer, with the cookie of the next page.
func (s *session) find(req request, f fate) ([]*object, string, verdict) {
	d := s.srv.dir
	fail := func(v verdict) ([]*object, string, verdict) { return nil, "", v }
	switch {
	case f.busy:
		return fail(verdict{code: codeBusy, diagnostic: diagBusy})
	case req.unknown:
		return fail(verdict{code: codeCriticalExtension, diagnostic: "00000057: LdapErr: DSID-0C090B8B, comment: Error processing control, data 0, v4563"})
	case req.base == "" && req.scope == 0: // readable before a bind
		return []*object{d.rootDSE()}, "", verdict{}
	case s.bound == nil:
		return fail(verdict{code: codeOperationsError, diagnostic: diagNotBound})
	}
	if req.cookie != "" {
		p := s.pages[req.cookie]
		delete(s.pages, req.cookie)
		if p == nil {
			return fail(verdict{code: codeCriticalExtension, diagnostic: "00000057: LdapErr: DSID-0C090B8B, comment: Error processing control, data 0, v4563"})
		}
		return s.page(req, p)
	}
	base, err := parseDN(req.base)
	switch {
	case err != nil:
		return fail(verdict{code: codeInvalidDN, diagnostic: fmt.Sprintf("0000208F: NameErr: DSID-03100232, problem 2006 (BAD_NAME), data 8350, best match of:\n\t'%s'\n", req.base)})
	case len(base) > 0 && !base.under(d.rootDN):
		ref := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
		ref.AppendChild(str("ldap://elsewhere.test/" + req.base))
		return fail(verdict{code: codeReferral, diagnostic: "0000202B: RefErr: DSID-0310084A, data 0, 1 access points\n\tref 1: 'elsewhere.test'\n", more: []*ber.Packet{ref}})
	case d.byDN[base.key()] == nil:
		matched := d.matchedDN(base)
		return fail(verdict{code: codeNoSuchObject, matched: matched, diagnostic: fmt.Sprintf("0000208D: NameErr: DSID-0310028C, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'%s'\n", matched)})
	}
	all := &pagedSearch{}
	for _, o := range d.objects {
		if o.dn.inScope(base, req.scope) && d.match(o, req.filter) == yes {
			all.found = append(all.found, o)
		}
	}
	if limit := int(req.sizeLimit); limit > 0 && len(all.found) > limit {
		all.found, all.truncated = all.found[:limit], true
	}
	if req.paged {
		return s.page(req, all)
	}
	if limit := s.srv.opts.MaxPageSize; len(all.found) > limit {
		all.found, all.truncated = all.found[:limit], true
	}
	return all.found, "", all.verdict()
}

// page takes the next page off a paged search and keeps the rest under a new
// cookie. A page size of 0 ends the search (RFC 2696 section 3).
func (s *session) page(req request, p *pagedSearch) ([]*object, string, verdict) {
	size := min(int(req.pageSize), s.srv.opts.MaxPageSize)
	if req.cookie != "" && size <= 0 {
		return nil, "", verdict{}
	}
	if size <= 0 {
		size = s.srv.opts.MaxPageSize
	}
	if len(p.found) <= size {
		return p.found, "", p.verdict()
	}
	if len(s.pages) >= maxPagedSearches {
		return nil, "", verdict{code: codeUnwilling, diagnostic: "too many paged searches on this connection"}
	}
	cookie := rand.Text()
	s.pages[cookie] = &pagedSearch{found: p.found[size:], truncated: p.truncated}
	return p.found[:size], cookie, verdict{}
}

func (p *pagedSearch) verdict() verdict {
	if p.truncated {
		return verdict{code: codeSizeLimit}
	}
	return verdict{}
}

// refers reports whether an answer ends with references to other partitions.
func (s *session) refers(req request) bool {
	base, err := parseDN(req.base)
	return err == nil && req.scope == 2 && !req.noRefs && base.key() == s.srv.dir.rootDN.key()
}

// parseSearch decodes a search request.
func parseSearch(m message) (request, error) {
	c := m.op.Children
	if len(c) != 8 {
		return request{}, errProtocol
	}
	var r request
	var ok [5]bool
	r.base, ok[0] = octets(c[0])
	r.scope, ok[1] = integer(c[1], ber.TagEnumerated)
	r.sizeLimit, ok[2] = integer(c[3], ber.TagInteger)
	_, ok[3] = integer(c[4], ber.TagInteger)
	r.typesOnly, ok[4] = c[5].Value.(bool)
	if slices.Contains(ok[:], false) || r.scope < 0 || r.scope > 2 || r.sizeLimit < 0 || r.sizeLimit > 1<<31-1 {
		return request{}, fmt.Errorf("%w: search request", errProtocol)
	}
	var err error
	if r.filter, err = parseFilter(c[6], maxFilterDepth); err != nil {
		return request{}, err
	}
	for _, a := range c[7].Children {
		attr, ok := octets(a)
		if !ok {
			return request{}, fmt.Errorf("%w: attribute list", errProtocol)
		}
		r.attrs = append(r.attrs, attr)
	}
	for _, ctl := range m.controls {
		switch ctl.oid {
		case oidPaged:
			p, err := decode([]byte(ctl.value))
			if err != nil || len(p.Children) != 2 {
				return request{}, fmt.Errorf("%w: paging control", errProtocol)
			}
			var ok1, ok2 bool
			r.pageSize, ok1 = integer(p.Children[0], ber.TagInteger)
			r.cookie, ok2 = octets(p.Children[1])
			if !ok1 || !ok2 || r.pageSize < 0 || r.pageSize > 1<<31-1 {
				return request{}, fmt.Errorf("%w: paging control", errProtocol)
			}
			r.paged = true
		case oidDomainScope:
			r.noRefs = true
		case oidManageDSAIT:
		default:
			r.unknown = r.unknown || ctl.critical
		}
	}
	return r, nil
}

// encodeEntry encodes the attributes of an object that the request asks for.
func (s *session) encodeEntry(o *object, req request) *ber.Packet {
	list := ber.NewSequence("")
	for _, a := range selectAttributes(o, req.attrs, s.srv.opts.MaxValRange) {
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a.values {
			if !req.typesOnly {
				set.AppendChild(str(v))
			}
		}
		list.AppendChild(seq(str(a.name), set))
	}
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, opSearchEntry, nil, "")
	p.AppendChild(str(o.text))
	p.AppendChild(list)
	return p
}

// selectAttributes returns what is asked for, in the order of the names:
// nothing or "*" means all that are not constructed, "1.1" none (RFC 4511
// section 4.5.1.8). Long lists come in ranges (MS-ADTS 3.1.1.3.1.3.3).
func selectAttributes(o *object, asked []string, maxRange int) []attribute {
	all := len(asked) == 0
	starts := map[string]int{} // first value wanted, by lower-case name
	for _, a := range asked {
		if a == "*" {
			all = true
			continue
		}
		low, option, _ := strings.Cut(strings.ToLower(a), ";")
		from, _, _ := strings.Cut(strings.TrimPrefix(option, "range="), "-")
		n, err := strconv.Atoi(from)
		if err != nil || n < 0 {
			n = 0
		}
		starts[low] = n
	}
	var picked []attribute
	for _, low := range slices.Sorted(maps.Keys(o.attrs)) {
		start, named := starts[low]
		if !named && (!all || constructed(low)) {
			continue
		}
		a := o.attrs[low]
		if start >= len(a.values) && start > 0 {
			continue
		}
		rest := a.values[start:]
		switch {
		case len(rest) > maxRange:
			a = attribute{fmt.Sprintf("%s;range=%d-%d", a.name, start, start+maxRange-1), rest[:maxRange]}
		case start > 0:
			a = attribute{fmt.Sprintf("%s;range=%d-*", a.name, start), rest}
		}
		picked = append(picked, a)
	}
	return picked
}

// rootDSE is what the server tells about itself before a bind.
func (d *directory) rootDSE() *object {
	o := &object{attrs: map[string]attribute{}}
	for name, values := range map[string][]string{
		"defaultNamingContext":    {d.root},
		"dnsHostName":             {"dc1." + d.dnsName()},
		"namingContexts":          {d.root},
		"supportedControl":        {oidPaged, oidDomainScope, oidManageDSAIT},
		"supportedExtension":      {oidStartTLS, oidWhoAmI},
		"supportedLDAPVersion":    {"3"},
		"supportedSASLMechanisms": {},
	} {
		if len(values) > 0 {
			o.attrs[strings.ToLower(name)] = attribute{name, values}
		}
	}
	return o
}
