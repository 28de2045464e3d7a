package jirafake

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// change is an entry of an issue's history.
type change struct {
	id    int64
	by    Person
	at    time.Time
	items []obj
}

// note adds an entry to the history of an issue and returns its id. The caller holds the lock.
func (s *Site) note(is *issue, by Person, items []obj) int64 {
	s.lastChange++
	is.history = append(slices.Clip(is.history), change{s.lastChange, by, s.opt.Now(), items})
	return s.lastChange
}

// maxHistory is how many entries "expand=changelog" answers.
const maxHistory = 100

// changelog is the newest part of an issue's history, newest first.
func (w wire) changelog(is *issue) obj {
	list := []obj{}
	for _, c := range slices.Backward(is.history) {
		if len(list) == maxHistory {
			break
		}
		list = append(list, obj{"id": strconv.FormatInt(c.id, 10), "author": w.author(c.by), "created": c.at.Format(stamp), "items": c.items})
	}
	return obj{"startAt": 0, "maxResults": len(list), "total": len(is.history), "histories": list}
}

// PersonEdits lets a person change the summary of an issue by hand; its webhook is sent.
func (s *Site) PersonEdits(by Person, key, summary string) error {
	if msg := summaryProblem(summary); msg != "" {
		return fmt.Errorf("editing %q: %s", key, msg)
	}
	s.mu.Lock()
	is := s.find(key)
	if is == nil {
		s.mu.Unlock()
		return fmt.Errorf("editing: issue %q does not exist on the simulated site", key)
	}
	e := edit{summary: &summary}
	log := e.apply(is)
	s.touch(is)
	ev := s.issueEvent("jira:issue_updated", "issue_updated", is, by, log)
	s.mu.Unlock()
	s.send([]event{ev})
	return nil
}

// noteLink adds a link to the histories of both issues. The caller holds the lock.
func (s *Site) noteLink(from, to *issue, by Person, kind *linkType) {
	for _, end := range []struct {
		is, other *issue
		relation  string
	}{{from, to, kind.outward}, {to, from, kind.inward}} {
		s.note(end.is, by, []obj{{
			"field": "Link", "fieldtype": "jira", "from": nil, "fromString": nil, "to": end.other.key, "toString": "This issue " + end.relation + " " + end.other.key,
		}})
	}
}
