package jirafake

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// query is the supported part of JQL: terms joined by AND, and an order by creation.
type query struct {
	project *project
	labels  []string
	tests   []func(*doc) bool // the other terms
	oldest  bool              // ORDER BY created ASC; otherwise newest first
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

// parseJQL reads a query. Its errors are in Jira's manner and are shown to the client.
func (s *Site) parseJQL(text string) (*query, error) {
	tokens, err := lexJQL(text)
	if err != nil {
		return nil, err
	}
	q := &query{}
	p := &jqlParser{site: s, tokens: tokens, query: q}
	for more := true; more && !p.at("order"); {
		if p.done() {
			break
		}
		if err := p.term(); err != nil {
			return nil, err
		}
		p.terms++
		if more = p.at("and"); more {
			p.next()
			if p.done() {
				return nil, fmt.Errorf("Error in the JQL Query: Expecting a field name at the end of the query.")
			}
		}
	}
	if err := p.order(); err != nil {
		return nil, err
	}
	if p.terms == 0 {
		return nil, fmt.Errorf("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
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

type jqlParser struct {
	site   *Site
	tokens []token
	query  *query
	terms  int
}

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

// term reads one "field operator value".
func (p *jqlParser) term() error {
	field, op, value := p.next(), p.next(), p.next()
	if value.text == "" && !value.quoted {
		return fmt.Errorf("Error in the JQL Query: Expecting a value after '%s %s'.", field.text, op.text)
	}
	if !value.quoted && slices.Contains([]string{"and", "or", "not", "order", "(", ")"}, strings.ToLower(value.text)) {
		return fmt.Errorf("Error in the JQL Query: '%s' is a reserved JQL word or character. You must surround it in quotation marks to use it in a query.", value.text)
	}
	switch name := strings.ToLower(field.text); name + " " + op.text {
	case "project =":
		return p.inProject(value.text)
	case "labels =":
		p.query.labels = append(p.query.labels, value.text)
	case "status =", "status !=":
		st := statusNamed(value.text)
		if st == nil {
			return fmt.Errorf("The value '%s' does not exist for the field 'status'.", value.text)
		}
		p.test(op, func(d *doc) bool { return d.status == st })
	case "statuscategory =", "statuscategory !=":
		if !slices.ContainsFunc(statuses, func(st *status) bool { return st.category.is(value.text) }) {
			return fmt.Errorf("The value '%s' does not exist for the field 'statusCategory'.", value.text)
		}
		p.test(op, func(d *doc) bool { return d.status.category.is(value.text) })
	case "created >=", "created >", "created <=", "created <":
		at, err := p.moment(value.text)
		if err != nil {
			return err
		}
		p.query.tests = append(p.query.tests, func(d *doc) bool {
			c := d.created.Compare(at)
			switch op.text {
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
		if slices.Contains([]string{"project", "labels", "status", "statuscategory", "created"}, name) {
			return fmt.Errorf("The operator '%s' is not supported by the '%s' field on this simulated site.", op.text, field.text)
		}
		return fmt.Errorf("Field '%s' does not exist or you do not have permission to view it.", field.text)
	}
	return nil
}

func (c category) is(name string) bool {
	return strings.EqualFold(c.name, name) || strings.EqualFold(c.key, name)
}

func (p *jqlParser) test(op token, f func(*doc) bool) {
	negate := op.text == "!="
	p.query.tests = append(p.query.tests, func(d *doc) bool { return f(d) != negate })
}

func (p *jqlParser) inProject(name string) error {
	i := slices.IndexFunc(p.site.projects, func(pr *project) bool {
		return strings.EqualFold(pr.key, name) || strings.EqualFold(pr.name, name) || pr.id == name
	})
	if i < 0 {
		return fmt.Errorf("The value '%s' does not exist for the field 'project'.", name)
	}
	pr := p.site.projects[i]
	if p.query.project != nil && p.query.project != pr {
		p.query.tests = append(p.query.tests, func(*doc) bool { return false }) // in two projects at once
	}
	p.query.project = pr
	return nil
}

// moment reads a date, or a distance from now such as -30m, -2h or -1d. JQL dates have minutes at most.
func (p *jqlParser) moment(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04", "2006/01/02 15:04", "2006-01-02", "2006/01/02"} {
		if t, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return t, nil
		}
	}
	var n int
	var unit rune
	if c, _ := fmt.Sscanf(text, "%d%c", &n, &unit); c == 2 {
		if d, ok := map[rune]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[unit]; ok {
			return p.site.opt.Now().Add(time.Duration(n) * d), nil
		}
	}
	return time.Time{}, fmt.Errorf("Date value '%s' for field 'created' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', "+
		"'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'.", text)
}

// order reads ORDER BY created and what follows the terms.
func (p *jqlParser) order() error {
	if p.at("order") {
		p.next()
		if by, field := p.next(), p.next(); !by.is("by") || !field.is("created") {
			return fmt.Errorf("Error in the JQL Query: this simulated site orders by created only.")
		}
		if p.at("asc") || p.at("desc") {
			p.query.oldest = p.next().is("asc")
		}
	}
	if !p.done() {
		return fmt.Errorf("Error in the JQL Query: Expecting either 'AND' or 'ORDER BY' but got '%s'.", p.next().text)
	}
	return nil
}
