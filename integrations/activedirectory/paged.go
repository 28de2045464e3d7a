package activedirectory

import (
	"context"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/funnelsec/funnel"
)

// Bounds of a search that is read page by page. AD gives at most 1,000 entries to
// a page (LDAP policy MaxPageSize).
const (
	pageSize = 500
	maxPages = 20
)

// searchAll reads at most `most` entries page by page, all on one connection and
// within one deadline, and tells whether there are more, because of `most` or of
// a limit of the directory's. A cookie is good on its
// own connection only: after a loss it begins at the first page again, once.
func (c *Client) searchAll(ctx context.Context, base string, most int, f filter, attributes []string) (entries []*ldap.Entry, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	l, reused, err := c.take(ctx)
	if err != nil {
		return nil, false, err
	}
	entries, more, err = c.pages(ctx, l, base, most, f, attributes)
	if err != nil && reused && lost(err) && ctx.Err() == nil {
		_ = c.Close() // the other kept ones are as dead
		if l, err = c.dial(ctx); err != nil {
			return nil, false, err
		}
		entries, more, err = c.pages(ctx, l, base, most, f, attributes)
	}
	if err != nil {
		return nil, false, c.explain(ctx, "asking", err)
	}
	return entries, more, nil
}

func (c *Client) pages(ctx context.Context, l *link, base string, most int, f filter, attributes []string) (entries []*ldap.Entry, more bool, err error) {
	seconds := max(1, int(c.timeout/time.Second))
	paging := ldap.NewControlPaging(uint32(min(pageSize, most+1)))
	req := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, seconds, false, string(f), attributes, []ldap.Control{paging})
	for range maxPages {
		var page *ldap.SearchResult
		err := l.run(ctx, func() (err error) {
			page, err = l.Search(req)
			return err
		})
		cut := ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) && page != nil
		if err != nil && !cut {
			c.keep(l, err)
			return nil, false, err
		}
		entries = append(entries, page.Entries...)
		if cut { // the directory's own limit: what came is good, and there is more
			c.keep(l, nil)
			return entries[:min(most, len(entries))], true, nil
		}
		next, _ := ldap.FindControl(page.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		done := next == nil || len(next.Cookie) == 0
		if len(entries) > most || !done && len(page.Entries) == 0 {
			more, entries = true, entries[:min(most, len(entries))]
		}
		if done {
			c.keep(l, nil)
			return entries, more, nil
		}
		if more {
			break
		}
		paging.SetCookie(next.Cookie)
	}
	l.close() // the rest of the pages is left: a directory keeps few open
	return entries, true, nil
}

// domainDN returns the DN of the domain: groups may lie beside base_dn.
func (c *Client) domainDN() (string, error) {
	dn, err := ldap.ParseDN(c.baseDN)
	if err != nil {
		return "", funnel.Errorf(funnel.Internal, "reading base_dn: %w", err)
	}
	for i, rdn := range dn.RDNs {
		if len(rdn.Attributes) > 0 && isDC(rdn.Attributes[0].Type) {
			return (&ldap.DN{RDNs: dn.RDNs[i:]}).String(), nil
		}
	}
	return c.baseDN, nil
}
