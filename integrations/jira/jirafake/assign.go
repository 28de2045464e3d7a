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
	if s.find(q.Get("issueKey")) == nil {
		return noIssue()
	}
	w, text, list := s.wire("3"), strings.ToLower(q.Get("query")), []obj{}
	for _, p := range s.people() {
		if p.AccountID == q.Get("query") || strings.Contains(strings.ToLower(p.DisplayName), text) || strings.Contains(strings.ToLower(p.Email), text) {
			list = append(list, w.user(p))
		}
	}
	return reply{status: http.StatusOK, value: list}
}

// putAssignee gives an issue to somebody; null takes it away.
func (s *Site) putAssignee(c *call) reply {
	var body struct {
		AccountID json.RawMessage `json:"accountId"`
	}
	if rep, ok := c.decode(&body); !ok {
		return rep
	}
	var id *string
	if body.AccountID == nil || json.Unmarshal(body.AccountID, &id) != nil {
		return failure(http.StatusBadRequest, "accountId must be a string or null.")
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
			if p.AccountID == *id {
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
