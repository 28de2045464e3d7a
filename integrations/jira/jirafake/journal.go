package jirafake

import (
	"slices"
	"time"
)

// Kinds of journal entries.
const (
	KindCreateIssue   = "create_issue"
	KindUpdateIssue   = "update_issue"
	KindSetProperty   = "set_property"
	KindAddComment    = "add_comment"
	KindUpdateComment = "update_comment"
	KindTransition    = "transition"
	KindLink          = "link"
	KindAssign        = "assign"
	KindAttach        = "attach"
	KindSearch        = "search"
)

// Entry is a write or a search that the site processed, whether or not the client saw the answer. Refused requests
// (any 4xx or 5xx) and what people did are not in the journal.
type Entry struct {
	At         time.Time
	Method     string
	Path       string
	Kind       string
	IssueKey   string
	CommentID  string
	AnswerLost bool // the client saw no answer
	Late       bool // processed after the client's connection was gone
	JQL        string
	Found      int // issues on the page that a search answered

	// What the texts in the request could make a reader click on.
	Mentions int
	Links    int // link marks and inline, block and embed cards
	Media    int
	Macros   int      // of wiki markup, except those for quotes, panels, colors and preformatted text
	Targets  []string // addresses of links, ids of mentions
}

// record journals a processed call. The caller holds the lock.
func (s *Site) record(c *call, e Entry) {
	if c == nil {
		return // a person did it
	}
	e.At, e.Method, e.Path, e.AnswerLost, e.Late = s.opt.Now(), c.r.Method, c.r.URL.Path, c.lost, c.late
	s.journal = append(s.journal, e)
}

// with adds what a document contains.
func (e Entry) with(d document) Entry {
	e.Mentions += d.mentions
	e.Links += d.links
	e.Media += d.media
	e.Macros += d.macros
	e.Targets = append(e.Targets, d.targets...)
	return e
}

// Journal returns what the site processed, oldest first. With kinds it returns only entries of these kinds.
func (s *Site) Journal(kinds ...string) []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(kinds) == 0 {
		return slices.Clone(s.journal)
	}
	var out []Entry
	for _, e := range s.journal {
		if slices.Contains(kinds, e.Kind) {
			out = append(out, e)
		}
	}
	return out
}
