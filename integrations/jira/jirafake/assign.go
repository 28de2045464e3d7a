package jirafake

import (
	"encoding/json"
	"net/http"
	"strings"
)

// people returns who can be assigned.
func (s *Site) people() []Person { return append([]Person{s.opt.Account}, s.opt.People...) }

// getAssignable finds people by any part of their names and addresses.
func (s *Site) getAssignable(c *call) reply {
	q := c.r.URL.Query()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if key := q.Get("project"); key != "" {
		if s.project(key) == nil {
			return noProject(key)
		}
	} else if s.find(q.Get("issueKey")) == nil {
		return noIssue()
	}
	return s.getUsers(c)
}

// getUsers finds people whether or not they can be assigned.
func (s *Site) getUsers(c *call) reply {
	q := c.r.URL.Query()
	asked := q.Get("query")
	if s.opt.Deployment == DataCenter {
		asked = q.Get("username")
	}
	w, text, list := c.wire(), strings.ToLower(asked), []obj{}
	for _, p := range s.people() {
		if p.AccountID == asked || s.opt.Deployment == DataCenter && strings.Contains(strings.ToLower(p.login()), text) || strings.Contains(strings.ToLower(p.DisplayName), text) || strings.Contains(strings.ToLower(p.Email), text) {
			list = append(list, w.user(p))
		}
	}
	return reply{status: http.StatusOK, value: list}
}

// putAssignee gives an issue to somebody; null takes it away.
func (s *Site) putAssignee(c *call) reply {
	var body struct {
		AccountID json.RawMessage `json:"accountId"`
		Name      json.RawMessage `json:"name"`
	}
	if rep, ok := c.decode(&body); !ok {
		return rep
	}
	field, who := "accountId", func(p Person) string { return p.AccountID }
	if s.opt.Deployment == DataCenter {
		body.AccountID, field, who = body.Name, "name", Person.login
	}
	var id *string
	if body.AccountID == nil || json.Unmarshal(body.AccountID, &id) != nil {
		return failure(http.StatusBadRequest, field+" must be a string or null.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	var to *Person
	if id != nil {
		for _, p := range s.people() {
			if who(p) == *id {
				to = &p
			}
		}
		if to == nil {
			return invalid(map[string]string{"assignee": "User does not exist or cannot be assigned issues."})
		}
	}
	if rep, ok := s.limitWrites(is); !ok {
		return rep
	}
	from, name := any(nil), any(nil)
	if is.assignee != nil {
		from = is.assignee.DisplayName
	}
	if to != nil {
		name = to.DisplayName
	}
	is.assignee = to
	s.touch(is)
	c.events = append(c.events, s.issueEvent("jira:issue_updated", "issue_assigned", is, s.opt.Account,
		[]obj{{"field": "assignee", "fieldtype": "jira", "fieldId": "assignee", "from": nil, "fromString": from, "to": nil, "toString": name}}))
	s.record(c, Entry{Kind: KindAssign, IssueKey: is.key})
	return reply{status: http.StatusNoContent}
}
