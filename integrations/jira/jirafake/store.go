package jirafake

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// project is a Project with its ids.
type project struct {
	id, key, name string
	types         []string
	needsCustom   bool
	last          int // number of its newest issue
}

func newProject(id int, p Project) *project {
	out := &project{id: strconv.Itoa(id), key: p.Key, name: p.Name, types: p.IssueTypes, needsCustom: p.NeedsCustomField}
	if out.name == "" {
		out.name = p.Key
	}
	if len(out.types) == 0 {
		out.types = []string{"Task", "Incident", "Bug"}
	}
	return out
}

// issue is an issue of the site. Its slices, maps and documents are replaced, never changed in place, so that a copy of
// the headers taken under the lock stays true outside it.
type issue struct {
	id          int64
	key         string
	project     *project
	kind        string // issue type
	summary     string
	description json.RawMessage // nil: none
	labels      []string        // sorted
	priority    string
	status      *status
	created     time.Time
	updated     time.Time
	resolution  string    // "" for the usual one
	resolved    time.Time // when it was last moved to Done
	creator     Person
	assignee    *Person
	custom      map[string]json.RawMessage
	props       map[string]json.RawMessage
	comments    []*comment
	links       []*link
	files       []*attachment
	history     []change    // oldest first
	writes      []time.Time // recent ones, for the per-issue limit
}

// comment is immutable; an edit puts a new one in its place.
type comment struct {
	id      int64
	author  Person
	editor  Person
	body    json.RawMessage
	props   map[string]json.RawMessage
	created time.Time
	updated time.Time
}

// link leads from its source to its target: "source duplicates target". The create request calls the source inwardIssue.
type link struct {
	id             int64
	kind           *linkType
	source, target *issue
}

// Issue is a copy of an issue for tests.
type Issue struct {
	ID, Key, Project, Type    string
	Summary, Status, Priority string
	Resolution                string // of one that is done
	Labels                    []string
	Properties                map[string]json.RawMessage
	Description               json.RawMessage // an Atlassian document, in Data Center a string; nil if there is none
	Assignee                  Person          // zero: nobody
	Custom                    string          // what CustomField holds
	Created, Updated          time.Time
	Creator                   Person
	Comments                  []Comment // oldest first
	Links                     []Link
	Attachments               []Attachment // oldest first
}

// Comment is a copy of a comment for tests. Body is an Atlassian document, in Data Center a string of wiki markup.
type Comment struct {
	ID               string
	Author           Person
	Body             json.RawMessage
	Properties       map[string]json.RawMessage
	Created, Updated time.Time
}

// Link says that the issue Source relates to the issue Target by Type, as in "SIRT-2 Duplicate SIRT-1".
type Link struct{ Type, Source, Target string }

// Issues returns all issues, oldest first.
func (s *Site) Issues() []Issue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Issue, len(s.order))
	for i, is := range s.order {
		out[i] = is.snapshot()
	}
	return out
}

// Issue returns the issue with the key or id.
func (s *Site) Issue(keyOrID string) (Issue, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := s.find(keyOrID)
	if is == nil {
		return Issue{}, false
	}
	return is.snapshot(), true
}

func (is *issue) snapshot() Issue {
	out := Issue{
		ID: strconv.FormatInt(is.id, 10), Key: is.key, Project: is.project.key, Type: is.kind,
		Summary: is.summary, Status: is.status.name, Priority: is.priority,
		Labels: slices.Clone(is.labels), Properties: maps.Clone(is.props), Description: is.description,
		Created: is.created, Updated: is.updated, Creator: is.creator, Custom: string(is.custom[CustomField]),
	}
	if is.status.category.key == "done" {
		out.Resolution = orDefault(is.resolution, resolutions[0])
	}
	if is.assignee != nil {
		out.Assignee = *is.assignee
	}
	for _, c := range is.comments {
		out.Comments = append(out.Comments, Comment{
			ID: strconv.FormatInt(c.id, 10), Author: c.author, Body: c.body, Properties: maps.Clone(c.props),
			Created: c.created, Updated: c.updated,
		})
	}
	for _, a := range is.files {
		out.Attachments = append(out.Attachments, Attachment{ID: strconv.FormatInt(a.id, 10), Name: a.name, MediaType: a.mediaType, Content: slices.Clone(a.content), Author: a.author})
	}
	for _, l := range is.links {
		out.Links = append(out.Links, Link{Type: l.kind.name, Source: l.source.key, Target: l.target.key})
	}
	return out
}

// find returns the issue with the key or id, or nil. The caller holds the lock.
func (s *Site) find(keyOrID string) *issue {
	if is := s.byKey[strings.ToUpper(keyOrID)]; is != nil {
		return is
	}
	id, err := strconv.ParseInt(keyOrID, 10, 64)
	if err != nil {
		return nil
	}
	return s.byID[id]
}

func (s *Site) nextID() int64 {
	s.lastID++
	return s.lastID
}

// insert stores a new issue and indexes it. The caller holds the lock and has filled everything but identity and times.
func (s *Site) insert(is *issue) {
	is.project.last++
	s.lastIssue++
	is.id, is.key = s.lastIssue, fmt.Sprintf("%s-%d", is.project.key, is.project.last)
	is.created = s.opt.Now()
	is.updated, is.status = is.created, statuses[0]
	s.byID[is.id], s.byKey[is.key] = is, is
	s.order = append(s.order, is)
	s.index.put(is.created, is)
}

// touch marks a change of the issue and indexes it.
func (s *Site) touch(is *issue) {
	is.updated = s.opt.Now()
	s.index.put(is.updated, is)
}

// addComment appends a comment. The caller holds the lock.
func (s *Site) addComment(is *issue, by Person, body json.RawMessage, props map[string]json.RawMessage) *comment {
	now := s.opt.Now()
	c := &comment{id: s.nextID(), author: by, editor: by, body: body, props: props, created: now, updated: now}
	is.comments = append(slices.Clip(is.comments), c)
	is.updated = now
	return c
}

// typed is a text as the site keeps what a person types: an Atlassian document of its lines, in Data Center wiki markup.
func (s *Site) typed(text string) json.RawMessage {
	if s.opt.Deployment == DataCenter {
		return parseWiki(text).raw
	}
	return textADF(text)
}

// NewIssue is what a person types to create an issue. Description is plain text, one paragraph per line, in Data Center wiki
// markup, unless ADF is set.
type NewIssue struct {
	Project, Type, Summary, Description, Priority string // Project defaults to the first one, Type to Task, Priority to Medium
	ADF                                           json.RawMessage
	Labels                                        []string
}

// PersonCreates lets a person create an issue by hand; its webhook is sent.
func (s *Site) PersonCreates(by Person, in NewIssue) (Issue, error) {
	p := s.projects[0]
	if in.Project != "" {
		if p = s.project(in.Project); p == nil {
			return Issue{}, fmt.Errorf("creating an issue: project %q does not exist on the simulated site", in.Project)
		}
	}
	if in.ADF == nil && in.Description != "" {
		in.ADF = s.typed(in.Description)
	}
	if in.ADF != nil && in.ADF[0] != '"' {
		if _, err := parseADF(in.ADF); err != nil {
			return Issue{}, fmt.Errorf("creating an issue: reading its description: %w", err)
		}
	}
	if msg := summaryProblem(in.Summary); msg != "" {
		return Issue{}, fmt.Errorf("creating an issue: %s", msg)
	}
	is := &issue{
		project: p, kind: orDefault(in.Type, p.types[0]), summary: in.Summary, description: in.ADF,
		labels:   slices.Compact(slices.Sorted(slices.Values(in.Labels))),
		priority: orDefault(in.Priority, "Medium"), creator: by,
	}
	if !slices.Contains(p.types, is.kind) || !slices.Contains(priorities, is.priority) {
		return Issue{}, fmt.Errorf("creating an issue: unknown type %q or priority %q", is.kind, is.priority)
	}
	s.mu.Lock()
	s.insert(is)
	ev, out := s.issueEvent("jira:issue_created", "issue_created", is, by, nil), is.snapshot()
	s.mu.Unlock()
	s.send([]event{ev})
	return out, nil
}

// PersonComments lets a person write a comment by hand; its webhook is sent.
func (s *Site) PersonComments(by Person, key, text string) (Comment, error) {
	s.mu.Lock()
	is := s.find(key)
	if is == nil {
		s.mu.Unlock()
		return Comment{}, fmt.Errorf("commenting: issue %q does not exist on the simulated site", key)
	}
	c := s.addComment(is, by, s.typed(text), nil)
	ev := s.commentEvent("comment_created", is, c)
	s.mu.Unlock()
	s.send([]event{ev})
	return Comment{ID: strconv.FormatInt(c.id, 10), Author: by, Body: c.body, Created: c.created, Updated: c.updated}, nil
}

// Transition lets a person move an issue to the status with the name; its webhook is sent.
func (s *Site) Transition(key, name string) error {
	s.mu.Lock()
	is, st := s.find(key), statusNamed(name)
	if is == nil || st == nil {
		s.mu.Unlock()
		return fmt.Errorf("moving %q to %q: no such issue or status on the simulated site", key, name)
	}
	someone := Person{AccountID: "712020:00000000-0000-4000-8000-00000000aaaa", DisplayName: "Jane Doe", Email: "j.doe@example.com"}
	ev := s.move(is, st, someone)
	s.mu.Unlock()
	s.send([]event{ev})
	return nil
}

// move changes the status. The caller holds the lock.
func (s *Site) move(is *issue, to *status, by Person) event {
	from := is.status
	is.status = to
	s.touch(is)
	is.resolved = is.updated
	return s.issueEvent("jira:issue_updated", "issue_generic", is, by, []obj{
		{"field": "status", "fieldtype": "jira", "fieldId": "status", "from": from.id, "fromString": from.name, "to": to.id, "toString": to.name},
	})
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

var errNoIssue = errors.New("Issue does not exist or you do not have permission to see it.") // Jira's own words

func noIssue() reply { return failure(http.StatusNotFound, errNoIssue.Error()) }
