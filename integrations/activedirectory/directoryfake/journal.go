package directoryfake

import (
	"slices"
	"time"
)

// journalCap bounds the journal of a server that runs for long: the oldest
// operations are forgotten.
const journalCap = 10_000

// Op is one operation that the server processed, in the order of processing.
type Op struct {
	At         time.Time
	Kind       string   // bind, search, unbind, abandon, starttls, whoami, add, ...
	Name       string   // bind: the name; never the password
	BaseDN     string   // search: the base as asked
	Filter     string   // search: the filter as RFC 4515 text
	Attributes []string // search: the attributes as asked
	Result     int      // LDAP result code; 0 where there is no answer
	Entries    int      // search: entries returned
}

// Journal returns a copy of the operations processed so far. An operation that
// [Server.Hang] swallowed was not processed; one whose answer [Server.DropNext]
// cut was.
func (s *Server) Journal() []Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// record appends an operation.
func (s *Server) record(op Op) {
	op.At = s.opts.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.journal) >= journalCap {
		s.journal = slices.Delete(s.journal, 0, journalCap/10)
	}
	s.journal = append(s.journal, op)
}
