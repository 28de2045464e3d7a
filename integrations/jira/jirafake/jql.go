package jirafake

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// JQL is the supported part of a query: terms joined by AND, and an order by creation.
type JQL struct {
	Terms  []Term
	Order  bool // the query says ORDER BY created
	Oldest bool // ORDER BY created ASC; otherwise newest first
}

// Term is a condition. Only the operator IN has several values.
type Term struct {
	Field, Op string // in lower case
	Values    []string
}

// query is a JQL whose values were looked up on the site.
type query struct {
	project *project
	labels  []string
	tests   []func(*doc) bool // the other terms
	oldest  bool
}

func (q *query) matches(d *doc) bool {
	if q.project != nil && d.project != q.project {
		return false
	}
	for _, l := range q.labels {
		if _, ok := slices.BinarySearch(d.labels, l); !ok {
			return false
		}
	}
	return !slices.ContainsFunc(q.tests, func(t func(*doc) bool) bool { return !t(d) })
}

// token is a word, a quoted string or an operator.
type token struct {
	text   string
	quoted bool
}

func (t token) is(word string) bool { return !t.quoted && strings.EqualFold(t.text, word) }

// ParseJQL reads a query. Its errors are in Jira's manner and are shown to the client.
func ParseJQL(text string) (JQL, error) {
	tokens, err := lexJQL(text)
	if err != nil {
		return JQL{}, err
	}
	var q JQL
	p := &jqlParser{tokens}
	for more := true; more && !p.at("order"); {
		if p.done() {
			break
		}
		term, err := p.term()
		if err != nil {
			return JQL{}, err
		}
		q.Terms = append(q.Terms, term)
		if more = p.at("and"); more {
			p.next()
			if p.done() {
				return JQL{}, fmt.Errorf("Error in the JQL Query: Expecting a field name at the end of the query.")
			}
		}
	}
	if err := p.order(&q); err != nil {
		return JQL{}, err
	}
	if len(q.Terms) == 0 {
		return JQL{}, fmt.Errorf("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
	}
	return q, nil
}

// parseJQL reads a query and looks its values up.
func (s *Site) parseJQL(text string) (*query, error) {
	parsed, err := ParseJQL(text)
	if err != nil {
		return nil, err
	}
	q := &query{oldest: parsed.Oldest}
	for _, t := range parsed.Terms {
		if err := s.compile(q, t); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func lexJQL(text string) ([]token, error) {
	var out []token
	rs := []rune(text)
	for i := 0; i < len(rs); {
		switch r := rs[i]; {
		case unicode.IsSpace(r):
			i++
		case r == '"' || r == '\'':
			var b strings.Builder
			j := i + 1
			for ; j < len(rs) && rs[j] != r; j++ {
				if rs[j] == '\\' && j+1 < len(rs) {
					j++
				}
				b.WriteRune(rs[j])
			}
			if j >= len(rs) {
				return nil, fmt.Errorf("Error in the JQL Query: The quoted string '%s' has not been completed. (line 1, character %d)", b.String(), i+1)
			}
			out = append(out, token{b.String(), true})
			i = j + 1
		case strings.ContainsRune("=!<>~", r):
			j := i + 1
			if j < len(rs) && strings.ContainsRune("=~", rs[j]) {
				j++
			}
			out = append(out, token{text: string(rs[i:j])})
			i = j
		case strings.ContainsRune("(),", r):
			out = append(out, token{text: string(r)})
			i++
		default:
			j := i
			for j < len(rs) && !unicode.IsSpace(rs[j]) && !strings.ContainsRune(`=!<>~(),"'`, rs[j]) {
				j++
			}
			out = append(out, token{text: string(rs[i:j])})
			i = j
		}
	}
	return out, nil
}

type jqlParser struct{ tokens []token }

func (p *jqlParser) done() bool { return len(p.tokens) == 0 }

func (p *jqlParser) at(word string) bool { return !p.done() && p.tokens[0].is(word) }

func (p *jqlParser) next() token {
	if p.done() {
		return token{}
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// term reads one "field operator value", or "field IN (value, value)".
func (p *jqlParser) term() (Term, error) {
	field, op := p.next(), p.next()
	t := Term{Field: strings.ToLower(field.text), Op: strings.ToLower(op.text)}
	list := t.Op == "in" && !op.quoted
	if list && !p.at("(") {
		return Term{}, fmt.Errorf("Error in the JQL Query: Expecting '(' after '%s IN'.", field.text)
	}
	for more := true; more; {
		if list {
			p.next() // the bracket or the comma
		}
		value := p.next()
		if value.text == "" && !value.quoted {
			return Term{}, fmt.Errorf("Error in the JQL Query: Expecting a value after '%s %s'.", field.text, op.text)
		}
		if !value.quoted && slices.Contains([]string{"and", "or", "not", "order", "in", "(", ")", ","}, strings.ToLower(value.text)) {
			return Term{}, fmt.Errorf("Error in the JQL Query: '%s' is a reserved JQL word or character. You must surround it in quotation marks to use it in a query.", value.text)
		}
		t.Values = append(t.Values, value.text)
		more = list && p.at(",")
	}
	if list && !p.next().is(")") {
		return Term{}, fmt.Errorf("Error in the JQL Query: Expecting ')' at the end of the list of '%s'.", field.text)
	}
	return t, nil
}

// compile adds a term to the query.
func (s *Site) compile(q *query, t Term) error {
	value := t.Values[0]
	switch t.Field + " " + t.Op {
	case "project =":
		return s.inProject(q, value)
	case "labels =":
		q.labels = append(q.labels, value)
	case "labels in":
		q.tests = append(q.tests, func(d *doc) bool {
			return slices.ContainsFunc(t.Values, func(l string) bool { _, ok := slices.BinarySearch(d.labels, l); return ok })
		})
	case "status =", "status !=":
		st := statusNamed(value)
		if st == nil {
			return fmt.Errorf("The value '%s' does not exist for the field 'status'.", value)
		}
		q.test(t.Op, func(d *doc) bool { return d.status == st })
	case "statuscategory =", "statuscategory !=":
		if !slices.ContainsFunc(statuses, func(st *status) bool { return st.category.is(value) }) {
			return fmt.Errorf("The value '%s' does not exist for the field 'statusCategory'.", value)
		}
		q.test(t.Op, func(d *doc) bool { return d.status.category.is(value) })
	case "created >=", "created >", "created <=", "created <":
		at, err := s.moment(value)
		if err != nil {
			return err
		}
		q.tests = append(q.tests, func(d *doc) bool {
			c := d.created.Compare(at)
			switch t.Op {
			case ">=":
				return c >= 0
			case ">":
				return c > 0
			case "<=":
				return c <= 0
			}
			return c < 0
		})
	default:
		if slices.Contains([]string{"project", "labels", "status", "statuscategory", "created"}, t.Field) {
			return fmt.Errorf("The operator '%s' is not supported by the '%s' field on this simulated site.", t.Op, t.Field)
		}
		return fmt.Errorf("Field '%s' does not exist or you do not have permission to view it.", t.Field)
	}
	return nil
}

func (c category) is(name string) bool {
	return strings.EqualFold(c.name, name) || strings.EqualFold(c.key, name)
}

func (q *query) test(op string, f func(*doc) bool) {
	negate := op == "!="
	q.tests = append(q.tests, func(d *doc) bool { return f(d) != negate })
}

func (s *Site) inProject(q *query, name string) error {
	i := slices.IndexFunc(s.projects, func(pr *project) bool {
		return strings.EqualFold(pr.key, name) || strings.EqualFold(pr.name, name) || pr.id == name
	})
	if i < 0 {
		return fmt.Errorf("The value '%s' does not exist for the field 'project'.", name)
	}
	pr := s.projects[i]
	if q.project != nil && q.project != pr {
		q.tests = append(q.tests, func(*doc) bool { return false }) // in two projects at once
	}
	q.project = pr
	return nil
}

// moment reads a date, or a distance from now such as -30m, -2h or -1d. JQL dates have minutes at most.
func (s *Site) moment(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04", "2006/01/02 15:04", "2006-01-02", "2006/01/02"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, nil
		}
	}
	var n int
	var unit rune
	if c, _ := fmt.Sscanf(text, "%d%c", &n, &unit); c == 2 {
		if d, ok := map[rune]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[unit]; ok {
			return s.opt.Now().Add(time.Duration(n) * d), nil
		}
	}
	return time.Time{}, fmt.Errorf("Date value '%s' for field 'created' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', "+
		"'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'.", text)
}

// order reads ORDER BY created and what follows the terms.
func (p *jqlParser) order(q *JQL) error {
	if p.at("order") {
		p.next()
		if by, field := p.next(), p.next(); !by.is("by") || !field.is("created") {
			return fmt.Errorf("Error in the JQL Query: this simulated site orders by created only.")
		}
		q.Order = true
		if p.at("asc") || p.at("desc") {
			q.Oldest = p.next().is("asc")
		}
	}
	if !p.done() {
		return fmt.Errorf("Error in the JQL Query: Expecting either 'AND' or 'ORDER BY' but got '%s'.", p.next().text)
	}
	return nil
}
