package jira

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/funnelsec/funnel"
)

// dataCenter is Jira Data Center with REST API version 2
// (developer.atlassian.com/server/jira/platform/rest). People have a key, which
// stays, and a login name; texts are wiki markup; a search counts its pages by
// offsets.
type dataCenter struct {
	// The site has shown that it keeps the properties of comments that are added,
	// and of those that are changed. Not every version is known to do either.
	keepsAdded, keepsChanged atomic.Bool
}

func (*dataCenter) api() []string { return []string{"rest", "api", "2"} }

// credential is a personal access token, which Jira has since version 8.14.
func (*dataCenter) credential(config Config) string { return "Bearer " + config.Token.Reveal() }

func (*dataCenter) secrets() string { return "token, a personal access token that may have expired" }

// text renders the document in wiki markup.
func (*dataCenter) text(doc funnel.Document, notes ...string) any { return wiki(doc, "", notes...) }

// comment renders a comment. It bears a visible mark as long as the site has not
// shown that it keeps the property.
func (d *dataCenter) comment(doc funnel.Document, p property, added bool) any {
	if added && d.keepsAdded.Load() || !added && d.keepsChanged.Load() {
		return wiki(doc, "")
	}
	return wiki(doc, markOf(p))
}

func (d *dataCenter) marks() bool { return !d.keepsAdded.Load() }

// shown returns the mark of a comment, and learns from its properties: one that
// says the same as the mark was kept.
func (d *dataCenter) shown(b commentBean) string {
	mark := shownMark(b)
	var effect effectMark
	var kept keptMark
	switch {
	case b.read(propertyEffect, &effect) && mark == markOf(property{propertyEffect, effect}):
		d.keepsAdded.Store(true)
	case b.read(propertyComment, &kept) && mark == markOf(property{propertyComment, kept}):
		d.keepsAdded.Store(true)
		if b.Updated != b.Created {
			d.keepsChanged.Store(true)
		}
	}
	return mark
}

// search asks POST /search. A change between two pages moves issues, so pages
// overlap by one issue: where it is found again, the new ones begin. Where it is
// not, others may have been overlooked, and the search has to begin anew.
func (*dataCenter) search(ctx context.Context, c *Client, what string, q search, limit int, cursor string) ([]issueBean, string, error) {
	var page struct {
		Issues []issueBean
		Total  *int
	}
	offset, last, _ := strings.Cut(cursor, "/")
	start, _ := strconv.Atoi(offset)
	overlap := min(start, 1)
	body := map[string]any{"jql": q.String(), "startAt": start - overlap, "maxResults": limit + overlap, "fields": issueFields()}
	k := call{what: what, method: http.MethodPost, path: []string{"search"}, body: body, want: http.StatusOK, into: &page, reads: true}
	if err := c.do(ctx, k); err != nil {
		return nil, "", err
	}
	if err := k.checkIssues(page.Issues); err != nil {
		return nil, "", err
	}
	if page.Total == nil {
		return nil, "", k.unreadable("it does not say how many issues there are")
	}
	found := page.Issues
	if last != "" {
		at := -1
		for i, bean := range found {
			if bean.ID == last {
				at = i
			}
		}
		if at < 0 {
			return nil, "", funnel.Errorf(funnel.Unavailable, "%s: the results changed while they were read", what)
		}
		found = found[at+1:]
	}
	next := ""
	if seen := start - overlap + len(page.Issues); len(found) > 0 && seen < *page.Total {
		next = strconv.Itoa(seen) + "/" + found[len(found)-1].ID
	}
	return found, next, nil
}

func (*dataCenter) assignable(issue, text string) url.Values {
	return url.Values{"issueKey": {issue}, "username": {text}, "maxResults": {"50"}}
}

// content reads the file where people do, for the API has no address for it.
func (*dataCenter) content(k *call, a attachmentBean) {
	k.page, k.path = true, []string{"secure", "attachment", a.ID, url.PathEscape(a.Filename)}
}

func (*dataCenter) account(p person) string { return p.Key }

func (*dataCenter) projects() []string { return []string{"project"} }

func (*dataCenter) accounts() string { return "a login name" }

func (*dataCenter) names(u userBean, text string) bool {
	if u.Name == "" || u.Key == "" {
		return false // not a person that could be named in a request
	}
	return u.Key == text || strings.EqualFold(u.Name, text) || strings.EqualFold(u.EmailAddress, text) || strings.EqualFold(u.DisplayName, text)
}

// assignee names the person by login name. Jira reads "-1" as whoever is
// responsible by default.
func (*dataCenter) assignee(u *userBean) any {
	if u == nil {
		return map[string]any{"name": nil}
	}
	return map[string]any{"name": u.Name}
}

// A mark is what a comment shows at its end so that it is found again: at first,
// and always at a site that keeps no properties of comments. It says the same as
// the property. Its markup is written by Funnel alone: in a text from outside a
// brace is always an entity, and preformatted text ends with a line of its own.
const (
	markStart = "{color:#97a0af}Funnel's mark: "
	markEnd   = "{color}"
)

// markOf writes a property as a mark.
func markOf(p property) string {
	switch m := p.Value.(type) {
	case effectMark:
		return markStart + "e." + strconv.Itoa(m.Attempt) + "." + string(m.Key) + markEnd
	case keptMark:
		return markStart + "c." + strconv.Itoa(m.Revision) + "." + string(m.Effect) + "." + funnel.Fingerprint(m.Name) + markEnd
	}
	return ""
}

// shownMark returns the last line of a comment if it is a mark.
func shownMark(b commentBean) string {
	var body string
	if json.Unmarshal(b.Body, &body) != nil {
		return ""
	}
	body = strings.TrimSpace(body) // of carriage returns, too, which Jira may add
	line := strings.TrimSpace(body[strings.LastIndex(body, "\n")+1:])
	if strings.HasPrefix(line, markStart) && strings.HasSuffix(line, markEnd) {
		return line
	}
	return ""
}

// readMark decodes a mark into an *effectMark or a *keptMark; the name of the
// latter is only compared, and so is given.
func readMark(shown, name string, into any) bool {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(shown, markStart), markEnd), ".")
	if len(parts) < 3 {
		return false
	}
	n, err := strconv.Atoi(parts[1])
	switch m := into.(type) {
	case *effectMark:
		*m = effectMark{Key: funnel.EffectKey(parts[2]), Attempt: n}
		return err == nil && parts[0] == "e" && len(parts) == 3
	case *keptMark:
		*m = keptMark{Name: name, Revision: n, Effect: funnel.EffectKey(parts[2])}
		return err == nil && parts[0] == "c" && len(parts) == 4 && parts[3] == funnel.Fingerprint(name)
	}
	return false
}
