package jirafake

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// stamp is how Jira writes times: milliseconds, and a zone without a colon (so it is not RFC 3339).
const stamp = "2006-01-02T15:04:05.000-0700"

type status struct {
	id, name   string
	transition string // id of the transition that leads here
	category   category
}

type category struct {
	id               int
	key, name, color string
}

// statuses are those of Jira's simple workflow, in order.
var statuses = []*status{
	{"10000", "To Do", "11", category{2, "new", "To Do", "blue-gray"}},
	{"10001", "In Progress", "21", category{4, "indeterminate", "In Progress", "yellow"}},
	{"10002", "Done", "31", category{3, "done", "Done", "green"}},
}

func statusNamed(nameOrID string) *status {
	for _, st := range statuses {
		if strings.EqualFold(st.name, nameOrID) || st.id == nameOrID {
			return st
		}
	}
	return nil
}

// priorities are Jira's defaults; the id is the position counted from 1.
var priorities = []string{"Highest", "High", "Medium", "Low", "Lowest"}

// resolutions are those that a transition can set; the first is set if it names none.
var resolutions = []string{"Done", "Duplicate", "Won't Do"}

type linkType struct{ id, name, inward, outward string }

var linkTypes = []*linkType{
	{"10000", "Blocks", "is blocked by", "blocks"},
	{"10001", "Cloners", "is cloned by", "clones"},
	{"10002", "Duplicate", "is duplicated by", "duplicates"},
	{"10003", "Relates", "relates to", "relates to"},
}

// wire builds JSON for one version of the API: that of the request for replies, "2" for webhooks. Texts are Atlassian
// documents in version 3 and strings in version 2.
type wire struct {
	root, version string
	dataCenter    bool
	oldComments   bool
}

func (s *Site) wire(version string) wire {
	w := wire{root: s.base(), version: version, dataCenter: s.opt.Deployment == DataCenter, oldComments: s.opt.OldComments}
	if w.dataCenter {
		w.version = "2"
	}
	return w
}

func (w wire) self(path ...string) string {
	u := w.root + "/rest/api/" + w.version
	for _, p := range path {
		u += "/" + url.PathEscape(p)
	}
	return u
}

func (w wire) text(raw json.RawMessage) any {
	switch {
	case raw == nil:
		return nil
	case w.version == "2" && raw[0] != '"':
		return Text(raw)
	}
	return raw
}

func (w wire) user(p Person) obj {
	if w.dataCenter {
		return obj{
			"self": w.self("user") + "?username=" + url.QueryEscape(p.login()), "key": p.AccountID, "name": p.login(),
			"emailAddress": p.Email, "displayName": p.DisplayName, "active": true, "timeZone": "Etc/UTC",
		}
	}
	u := obj{
		"self": w.self("user") + "?accountId=" + url.QueryEscape(p.AccountID), "accountId": p.AccountID,
		"displayName": p.DisplayName, "active": true, "timeZone": "Etc/UTC", "accountType": "atlassian",
	}
	if p.Email != "" {
		u["emailAddress"] = p.Email
	}
	return u
}

// author is a user without an e-mail address, as comments in Cloud carry it.
func (w wire) author(p Person) obj {
	u := w.user(p)
	if !w.dataCenter {
		delete(u, "emailAddress")
	}
	return u
}

func (w wire) status(st *status) obj {
	c := st.category
	return obj{
		"self": w.self("status", st.id), "id": st.id, "name": st.name, "description": "", "iconUrl": w.root + "/",
		"statusCategory": obj{
			"self": w.self("statuscategory", strconv.Itoa(c.id)), "id": c.id, "key": c.key, "name": c.name, "colorName": c.color,
		},
	}
}

func (w wire) priority(name string) obj {
	id := strconv.Itoa(slices.Index(priorities, name) + 1)
	return obj{
		"self": w.self("priority", id), "id": id, "name": name,
		"iconUrl": w.root + "/images/icons/priorities/" + strings.ToLower(name) + ".svg",
	}
}

func (w wire) project(p *project) obj {
	out := obj{"self": w.self("project", p.id), "id": p.id, "key": p.key, "name": p.name}
	if !w.dataCenter {
		out["projectTypeKey"], out["simplified"] = "software", false
	}
	return out
}

func (w wire) issueType(p *project, name string) obj {
	id := strconv.Itoa(10001 + slices.Index(p.types, name))
	return obj{"self": w.self("issuetype", id), "id": id, "name": name, "description": "", "subtask": false}
}

func (w wire) comment(is *issue, c *comment, withProps bool) obj {
	out := obj{
		"self": w.self("issue", strconv.FormatInt(is.id, 10), "comment", strconv.FormatInt(c.id, 10)),
		"id":   strconv.FormatInt(c.id, 10), "author": w.author(c.author), "updateAuthor": w.author(c.editor),
		"body": w.text(c.body), "created": c.created.Format(stamp), "updated": c.updated.Format(stamp),
	}
	if !w.dataCenter {
		out["jsdPublic"] = true
	}
	if withProps && !w.oldComments {
		props := []obj{}
		for _, k := range slices.Sorted(maps.Keys(c.props)) {
			props = append(props, obj{"key": k, "value": c.props[k]})
		}
		out["properties"] = props
	}
	return out
}

func (w wire) linkType(t *linkType) obj {
	return obj{"id": t.id, "self": w.self("issueLinkType", t.id), "name": t.name, "inward": t.inward, "outward": t.outward}
}

func (w wire) link(is *issue, l *link) obj {
	other, role := l.target, "outwardIssue"
	if is == l.target {
		other, role = l.source, "inwardIssue"
	}
	id := strconv.FormatInt(l.id, 10)
	return obj{
		"id": id, "self": w.self("issueLink", id),
		"type": w.linkType(l.kind),
		role: obj{
			"id": strconv.FormatInt(other.id, 10), "key": other.key, "self": w.self("issue", strconv.FormatInt(other.id, 10)),
			"fields": obj{
				"summary": other.summary, "status": w.status(other.status), "priority": w.priority(other.priority),
				"issuetype": w.issueType(other.project, other.kind),
			},
		},
	}
}

// fieldNames are the fields that the site knows, in the order of a reply.
var fieldNames = []string{
	"summary", "description", "project", "issuetype", "status", "priority", "labels", "creator", "reporter", "assignee",
	"created", "updated", "resolution", "resolutiondate", "issuelinks", "attachment", "comment",
}

// fields builds the chosen fields of an issue. The caller holds the lock.
func (w wire) fields(is *issue, names []string) obj {
	out := make(obj, len(names))
	for _, name := range names {
		out[name] = w.field(is, name)
	}
	if len(names) >= len(fieldNames)-1 { // all that an issue has
		for name, value := range is.custom {
			out[name] = value
		}
	}
	return out
}

func (w wire) field(is *issue, name string) any {
	switch name {
	case "summary":
		return is.summary
	case "description":
		return w.text(is.description)
	case "project":
		return w.project(is.project)
	case "issuetype":
		return w.issueType(is.project, is.kind)
	case "status":
		return w.status(is.status)
	case "priority":
		return w.priority(is.priority)
	case "labels":
		return append([]string{}, is.labels...)
	case "creator", "reporter":
		return w.user(is.creator)
	case "created":
		return is.created.Format(stamp)
	case "updated":
		return is.updated.Format(stamp)
	case "resolution", "resolutiondate":
		return w.resolution(is, name)
	case "issuelinks":
		links := []obj{}
		for _, l := range is.links {
			links = append(links, w.link(is, l))
		}
		return links
	case "attachment":
		files := []obj{}
		for _, a := range is.files {
			files = append(files, w.attachment(a))
		}
		return files
	case "comment":
		list := []obj{}
		for _, c := range is.comments {
			list = append(list, w.comment(is, c, false))
		}
		self := w.self("issue", strconv.FormatInt(is.id, 10), "comment")
		return obj{"self": self, "comments": list, "startAt": 0, "maxResults": len(list), "total": len(list)}
	}
	if name == "assignee" && is.assignee != nil {
		return w.user(*is.assignee)
	}
	return nil
}

func (w wire) resolution(is *issue, name string) any {
	switch {
	case is.status.category.key != "done":
		return nil
	case name == "resolution":
		return obj{"self": w.self("resolution", "10000"), "id": "10000", "name": orDefault(is.resolution, resolutions[0]), "description": ""}
	}
	return is.resolved.Format(stamp)
}

// chooseFields resolves the parameter "fields": names, *all, *navigable, *none and -name.
func chooseFields(asked []string) []string {
	if len(asked) == 0 {
		asked = []string{"*all"}
	}
	chosen := map[string]bool{}
	set := func(on bool, names ...string) {
		for _, n := range names {
			chosen[n] = on
		}
	}
	if strings.HasPrefix(asked[0], "-") {
		set(true, fieldNames...)
	}
	for _, f := range asked {
		switch {
		case f == "*all":
			set(true, fieldNames...)
		case f == "*navigable":
			set(true, fieldNames[:len(fieldNames)-1]...)
		case strings.HasPrefix(f, "-"):
			set(false, f[1:])
		default:
			set(true, f)
		}
	}
	return slices.DeleteFunc(slices.Clone(fieldNames), func(n string) bool { return !chosen[n] })
}

// splitList splits repeated and comma-separated parameters.
func splitList(values []string) []string {
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
