package jirafake

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

func (s *Site) postIssue(c *call) reply {
	var body issueBody
	if rep, ok := c.decode(&body); !ok {
		return rep
	}
	e, errs := c.parseEdit(body)
	if e.project == nil {
		errs.add("project", "Specify a valid project ID or key")
	} else if !slices.Contains(e.project.types, e.kind) {
		errs.add("issuetype", "Specify a valid issue type")
	}
	e.missingCustom(errs)
	if e.summary == nil {
		errs.add("summary", "You must specify a summary of the issue.")
	}
	if len(e.comments) > 0 {
		errs.add("comment", "Field 'comment' cannot be set. It is not on the appropriate screen, or unknown.")
	}
	if len(errs) > 0 {
		return invalid(errs)
	}
	me := s.opt.Account
	is := &issue{project: e.project, kind: e.kind, priority: "Medium", creator: me}
	entry := Entry{Kind: KindCreateIssue}
	if e.description != nil {
		entry = entry.with(*e.description)
	}
	e.apply(is)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(is)
	entry.IssueKey = is.key
	s.record(c, entry)
	c.events = append(c.events, s.issueEvent("jira:issue_created", "issue_created", is, me, nil))
	id := strconv.FormatInt(is.id, 10)
	return reply{status: http.StatusCreated, value: obj{"id": id, "key": is.key, "self": c.wire().self("issue", id)}}
}

func (s *Site) getIssue(c *call) reply {
	q := c.r.URL.Query()
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	out := c.bean(is, chooseFields(splitList(q["fields"])))
	if slices.Contains(splitList(q["expand"]), "changelog") {
		out["changelog"] = c.wire().changelog(is)
	}
	if wanted := splitList(q["properties"]); len(wanted) > 0 {
		out["properties"] = is.chosenProps(wanted)
	}
	return reply{status: http.StatusOK, value: out}
}

// bean is an issue as replies carry it.
func (c *call) bean(is *issue, fields []string) obj {
	w, id := c.wire(), strconv.FormatInt(is.id, 10)
	return obj{"expand": "", "id": id, "key": is.key, "self": w.self("issue", id), "fields": w.fields(is, fields)}
}

func (is *issue) chosenProps(wanted []string) obj {
	out := obj{}
	for k, v := range is.props {
		if slices.Contains(wanted, "*all") || slices.Contains(wanted, k) {
			out[k] = v
		}
	}
	return out
}

func (s *Site) putIssue(c *call) reply {
	var body issueBody
	if rep, ok := c.decode(&body); !ok {
		return rep
	}
	e, errs := c.parseEdit(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	if e.project != nil && e.project != is.project {
		errs.add("project", "The project of an issue cannot be changed.")
	}
	if e.kind != "" && !slices.Contains(is.project.types, e.kind) {
		errs.add("issuetype", "Specify a valid issue type")
	}
	if len(errs) > 0 {
		return invalid(errs)
	}
	if rep, ok := s.limitWrites(is); !ok {
		return rep
	}
	entry := Entry{Kind: KindUpdateIssue, IssueKey: is.key}
	if e.description != nil {
		entry = entry.with(*e.description)
	}
	s.update(c, is, e, &entry)
	s.record(c, entry)
	return reply{status: http.StatusNoContent}
}

// update applies an edit to a stored issue. The caller holds the lock.
func (s *Site) update(c *call, is *issue, e edit, entry *Entry) {
	me := s.opt.Account
	if e.kind != "" {
		is.kind = e.kind
	}
	if log := e.apply(is); len(log) > 0 {
		s.touch(is)
		c.events = append(c.events, s.issueEvent("jira:issue_updated", "issue_updated", is, me, log))
	}
	for _, d := range e.comments {
		cm := s.addComment(is, me, d.raw, nil)
		entry.CommentID = strconv.FormatInt(cm.id, 10)
		*entry = entry.with(d)
		c.events = append(c.events, s.commentEvent("comment_created", is, cm))
	}
}

func (s *Site) getProperties(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	w, id := c.wire(), strconv.FormatInt(is.id, 10)
	keys := []obj{}
	for _, k := range slices.Sorted(maps.Keys(is.props)) {
		keys = append(keys, obj{"key": k, "self": w.self("issue", id, "properties", k)})
	}
	return reply{status: http.StatusOK, value: obj{"keys": keys}}
}

func (s *Site) getProperty(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	is, name := s.find(c.r.PathValue("key")), c.r.PathValue("name")
	if is == nil {
		return noIssue()
	}
	v, ok := is.props[name]
	if !ok {
		return failure(http.StatusNotFound, fmt.Sprintf("The property with key '%s' does not exist.", name))
	}
	return reply{status: http.StatusOK, value: obj{"key": name, "value": v}}
}

func (s *Site) putProperty(c *call) reply {
	name := c.r.PathValue("name")
	if msg := propertyProblem(name, c.body); msg != "" {
		return failure(http.StatusBadRequest, msg)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	if rep, ok := s.limitWrites(is); !ok {
		return rep
	}
	code := http.StatusCreated
	if _, ok := is.props[name]; ok {
		code = http.StatusOK
	}
	is.props = merged(is.props, map[string]json.RawMessage{name: c.body})
	s.record(c, Entry{Kind: KindSetProperty, IssueKey: is.key})
	return reply{status: code, value: obj{}}
}

func (s *Site) getTransitions(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	w, list := c.wire(), []obj{}
	for _, st := range statuses {
		list = append(list, obj{
			"id": st.transition, "name": st.name, "to": w.status(st), "hasScreen": false, "isGlobal": true,
			"isInitial": false, "isAvailable": true, "isConditional": false, "looped": st == is.status,
		})
	}
	return reply{status: http.StatusOK, value: obj{"expand": "transitions", "transitions": list}}
}

func (s *Site) postTransition(c *call) reply {
	var body issueBody
	if rep, ok := c.decode(&body); !ok {
		return rep
	}
	var id string // a string; a number is refused
	if json.Unmarshal(body.Transition.ID, &id) != nil {
		return failure(http.StatusBadRequest, "Missing or invalid 'transition' identifier")
	}
	i := slices.IndexFunc(statuses, func(st *status) bool { return st.transition == id })
	if i < 0 {
		return failure(http.StatusBadRequest, fmt.Sprintf("Transition id '%s' is not valid for this issue.", id))
	}
	e, errs := c.parseEdit(body)
	if len(errs) > 0 {
		return invalid(errs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	if rep, ok := s.limitWrites(is); !ok {
		return rep
	}
	entry := Entry{Kind: KindTransition, IssueKey: is.key}
	is.resolution = e.resolution
	c.events = append(c.events, s.move(is, statuses[i], s.opt.Account))
	s.update(c, is, e, &entry)
	s.record(c, entry)
	return reply{status: http.StatusNoContent}
}

// postLink links two issues. A link that exists already is accepted silently, and no id is answered.
func (s *Site) postLink(c *call) reply {
	var body struct {
		Type struct{ ID, Name string }
		// Jira's names: the link leads from the inward issue to the outward issue.
		InwardIssue, OutwardIssue struct{ ID, Key string }
	}
	if rep, ok := c.decode(&body); !ok {
		return rep
	}
	i := slices.IndexFunc(linkTypes, func(t *linkType) bool { return t.name == body.Type.Name || t.id == body.Type.ID })
	if i < 0 {
		return failure(http.StatusNotFound, fmt.Sprintf("No issue link type with name '%s' found.", body.Type.Name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to := s.find(orDefault(body.InwardIssue.Key, body.InwardIssue.ID)), s.find(orDefault(body.OutwardIssue.Key, body.OutwardIssue.ID))
	if from == nil || to == nil {
		return noIssue()
	}
	if from == to {
		return failure(http.StatusBadRequest, "You cannot link an issue to itself.")
	}
	if rep, ok := s.limitWrites(from, to); !ok {
		return rep
	}
	same := func(l *link) bool { return l.kind == linkTypes[i] && l.source == from && l.target == to }
	if !slices.ContainsFunc(from.links, same) {
		s.noteLink(from, to, s.opt.Account, linkTypes[i])
		l := &link{id: s.nextID(), kind: linkTypes[i], source: from, target: to}
		from.links = append(slices.Clip(from.links), l)
		to.links = append(slices.Clip(to.links), l)
	}
	s.record(c, Entry{Kind: KindLink, IssueKey: from.key})
	return reply{status: http.StatusCreated, value: obj{}}
}
