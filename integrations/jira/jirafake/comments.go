package jirafake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Page sizes of GET .../comment: 50 unless asked, 100 at most, so that a client that does not page misses some.
const (
	commentPage    = 50
	commentPageMax = 100
)

func withProps(r *http.Request) bool {
	return slices.Contains(splitList(r.URL.Query()["expand"]), "properties")
}

func (s *Site) getComments(c *call) reply {
	q := c.r.URL.Query()
	start, ok1 := number(q.Get("startAt"), 0)
	size, ok2 := number(q.Get("maxResults"), commentPage)
	if !ok1 || !ok2 {
		return failure(http.StatusBadRequest, "startAt and maxResults must be whole numbers.")
	}
	order := q.Get("orderBy")
	if !slices.Contains([]string{"", "created", "+created", " created", "-created"}, order) { // a bare + is a space
		return failure(http.StatusBadRequest, "The orderBy field accepts only 'created'.")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	list := is.comments
	if order == "-created" {
		list = slices.Clone(list)
		slices.Reverse(list)
	}
	size = min(size, commentPageMax)
	page := list[min(start, len(list)):]
	page = page[:min(size, len(page))]
	w, out := c.wire(), []obj{}
	for _, cm := range page {
		out = append(out, w.comment(is, cm, withProps(c.r)))
	}
	return reply{status: http.StatusOK, value: obj{"startAt": start, "maxResults": size, "total": len(list), "comments": out}}
}

// number reads a parameter that must not be negative.
func number(text string, def int) (int, bool) {
	if text == "" {
		return def, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

// commentBody is the body of POST and PUT .../comment.
type commentBody struct {
	Body       json.RawMessage `json:"body"`
	Properties []property      `json:"properties"`
}

func (c *call) parseComment() (document, map[string]json.RawMessage, reply, bool) {
	var body commentBody
	if rep, ok := c.decode(&body); !ok {
		return document{}, nil, rep, false
	}
	errs := problems{}
	d := c.parseText(errs, "comment", body.Body)
	props := checkProperties(errs, body.Properties)
	if c.site.opt.OldComments {
		props = nil
	}
	if len(errs) > 0 {
		return document{}, nil, invalid(errs), false
	}
	return *d, props, reply{}, true
}

func (s *Site) postComment(c *call) reply {
	d, props, rep, ok := c.parseComment()
	if !ok {
		return rep
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
	cm := s.addComment(is, s.opt.Account, d.raw, props)
	s.record(c, Entry{Kind: KindAddComment, IssueKey: is.key, CommentID: strconv.FormatInt(cm.id, 10)}.with(d))
	c.events = append(c.events, s.commentEvent("comment_created", is, cm))
	return reply{status: http.StatusCreated, value: c.wire().comment(is, cm, withProps(c.r))}
}

// findComment returns the issue, and the comment's position or -1. The caller holds the lock.
func (s *Site) findComment(r *http.Request) (*issue, int, reply) {
	is := s.find(r.PathValue("key"))
	if is == nil {
		return nil, -1, noIssue()
	}
	id := r.PathValue("comment")
	i := slices.IndexFunc(is.comments, func(c *comment) bool { return strconv.FormatInt(c.id, 10) == id })
	return is, i, failure(http.StatusNotFound, fmt.Sprintf("Can not find a comment for the id: %s.", strings.ToValidUTF8(id, "?")))
}

func (s *Site) getComment(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	is, i, rep := s.findComment(c.r)
	if i < 0 {
		return rep
	}
	return reply{status: http.StatusOK, value: c.wire().comment(is, is.comments[i], withProps(c.r))}
}

func (s *Site) putComment(c *call) reply {
	d, props, rep, ok := c.parseComment()
	if !ok {
		return rep
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is, i, rep := s.findComment(c.r)
	if i < 0 {
		return rep
	}
	if rep, ok := s.limitWrites(is); !ok {
		return rep
	}
	cm := *is.comments[i]
	cm.body, cm.editor, cm.updated, cm.props = d.raw, s.opt.Account, s.opt.Now(), merged(cm.props, props)
	is.comments = slices.Clone(is.comments)
	is.comments[i] = &cm
	is.updated = cm.updated
	s.record(c, Entry{Kind: KindUpdateComment, IssueKey: is.key, CommentID: strconv.FormatInt(cm.id, 10)}.with(d))
	c.events = append(c.events, s.commentEvent("comment_updated", is, &cm))
	return reply{status: http.StatusOK, value: c.wire().comment(is, &cm, withProps(c.r))}
}
