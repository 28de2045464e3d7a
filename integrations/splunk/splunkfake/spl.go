package splunkfake

import (
	"strconv"
	"strings"
)

// pipeline is a search in the small part of SPL that the API understands: terms
// with AND, OR, NOT and parentheses, then the commands head, table, fields, stats
// count and, not Splunk's, slow N, which makes the job take its time.
type pipeline struct {
	terms    node
	commands [][]token
	slow     int
}

// token is a word, a string in quotes or one of the signs = ( ) | [ ] , < >.
type token struct {
	text   string
	quoted bool
	sign   bool
}

// node is a term or a combination of terms.
type node struct {
	op           string // "and", "or", "not", "term", "all"
	of           []node
	field, value string // of a term; a term without a field looks into all
	quoted       bool
}

// fatal is an error in Splunk's own words.
type fatal string

// Error returns the words.
func (f fatal) Error() string { return string(f) }

// parse reads a search, which must begin with the command search.
func parse(spl string) (*pipeline, error) {
	tokens, err := tokenize(spl)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 || tokens[0].quoted || !strings.EqualFold(tokens[0].text, "search") {
		first := ""
		if len(tokens) > 0 {
			first = tokens[0].text
		}
		return nil, fatal("Unknown search command '" + first + "'.")
	}
	parts := [][]token{{}}
	for _, t := range tokens[1:] {
		switch {
		case t.sign && t.text == "|":
			parts = append(parts, []token{})
		case t.sign && (t.text == "[" || t.text == "]"):
			return nil, fatal("Error in 'search' command: Unable to parse the search: subsearches are not simulated.")
		default:
			parts[len(parts)-1] = append(parts[len(parts)-1], t)
		}
	}
	p := &pipeline{commands: parts[1:]}
	r := &reader{tokens: parts[0]}
	if p.terms, err = r.either(); err != nil {
		return nil, err
	}
	if r.at < len(r.tokens) {
		return nil, fatal("Error in 'search' command: Unable to parse the search: unbalanced parentheses.")
	}
	for _, c := range p.commands {
		if len(c) == 0 || c[0].quoted {
			return nil, fatal("Search Factory: Unknown search command ''.")
		}
		switch c[0].text {
		case "head", "table", "fields", "stats":
		case "slow":
			if len(c) == 2 {
				p.slow, _ = strconv.Atoi(c[1].text)
			}
		default:
			return nil, fatal("Unknown search command '" + c[0].text + "'.")
		}
	}
	return p, nil
}

func tokenize(spl string) ([]token, error) {
	var list []token
	for i := 0; i < len(spl); {
		c := spl[i]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case strings.IndexByte("=()|[],<>", c) >= 0:
			list = append(list, token{text: string(c), sign: true})
			i++
		case c == '`':
			return nil, fatal("Error in 'SearchParser': macros are not simulated.")
		case c == '"':
			var b strings.Builder
			for i++; ; i++ {
				if i >= len(spl) {
					return nil, fatal("Error in 'SearchParser': Mismatched quotes and/or parenthesis.")
				}
				if spl[i] == '"' {
					i++
					break
				}
				if spl[i] == '\\' && i+1 < len(spl) && (spl[i+1] == '"' || spl[i+1] == '\\') {
					i++
				}
				b.WriteByte(spl[i])
			}
			list = append(list, token{text: b.String(), quoted: true})
		default:
			begin := i
			for i < len(spl) && strings.IndexByte(" \t\r\n=()|[],<>\"`", spl[i]) < 0 {
				i++
			}
			list = append(list, token{text: spl[begin:i]})
		}
	}
	return list, nil
}

// reader reads terms.
type reader struct {
	tokens []token
	at     int
}

func (r *reader) next(text string, sign bool) bool {
	if r.at < len(r.tokens) && !r.tokens[r.at].quoted && r.tokens[r.at].sign == sign && r.tokens[r.at].text == text {
		r.at++
		return true
	}
	return false
}

func (r *reader) either() (node, error) {
	n := node{op: "or"}
	for {
		one, err := r.all()
		if err != nil {
			return n, err
		}
		n.of = append(n.of, one)
		if !r.next("OR", false) {
			break
		}
	}
	if len(n.of) == 1 {
		return n.of[0], nil
	}
	return n, nil
}

func (r *reader) all() (node, error) {
	n := node{op: "and"}
	for r.at < len(r.tokens) && (!r.tokens[r.at].sign || r.tokens[r.at].text == "(") {
		if t := r.tokens[r.at]; !t.quoted && t.text == "OR" {
			break
		}
		if r.next("AND", false) {
			continue
		}
		one, err := r.one()
		if err != nil {
			return n, err
		}
		n.of = append(n.of, one)
	}
	return n, nil
}

func (r *reader) one() (node, error) {
	if r.next("NOT", false) {
		one, err := r.one()
		return node{op: "not", of: []node{one}}, err
	}
	if r.next("(", true) {
		n, err := r.either()
		if err == nil && !r.next(")", true) {
			err = fatal("Error in 'search' command: Unable to parse the search: unbalanced parentheses.")
		}
		return n, err
	}
	if r.at >= len(r.tokens) {
		return node{op: "all"}, nil
	}
	t := r.tokens[r.at]
	r.at++
	if !r.next("=", true) {
		return node{op: "term", value: t.text, quoted: t.quoted}, nil
	}
	if r.at >= len(r.tokens) || r.tokens[r.at].sign {
		return node{}, fatal("Error in 'search' command: Unable to parse the search: Comparator '=' is missing a term on the right hand side.")
	}
	value := r.tokens[r.at]
	r.at++
	return node{op: "term", field: t.text, value: value.text, quoted: value.quoted}, nil
}

// String writes the search as it was understood, every value in quotes.
func (p *pipeline) String() string {
	parts := []string{p.terms.String()}
	for _, c := range p.commands {
		var words []string
		for _, t := range c {
			if t.quoted {
				t.text = strconv.Quote(t.text)
			}
			words = append(words, t.text)
		}
		parts = append(parts, strings.Join(words, " "))
	}
	return strings.Join(parts, " | ")
}

// String writes the terms.
func (n node) String() string {
	switch n.op {
	case "term":
		if n.field == "" {
			return strconv.Quote(n.value)
		}
		return n.field + "=" + strconv.Quote(n.value)
	case "all":
		return "*"
	}
	var parts []string
	for _, one := range n.of {
		parts = append(parts, one.String())
	}
	return n.op + "(" + strings.Join(parts, " ") + ")"
}

// run returns the events that fit.
func (p *pipeline) run(events []map[string]any) []map[string]any {
	rows := []map[string]any{}
	for _, e := range events {
		if p.terms.fits(e) {
			rows = append(rows, e)
		}
	}
	for _, c := range p.commands {
		switch c[0].text {
		case "head":
			n := 10
			if len(c) > 1 {
				n, _ = strconv.Atoi(c[1].text)
			}
			rows = rows[:min(max(n, 0), len(rows))]
		case "table", "fields":
			rows = pick(rows, c[1:])
		case "stats":
			rows = []map[string]any{{"count": strconv.Itoa(len(rows))}}
		}
	}
	return rows
}

func pick(rows []map[string]any, names []token) []map[string]any {
	out := []map[string]any{}
	for _, row := range rows {
		picked := map[string]any{}
		for _, t := range names {
			if value, has := row[t.text]; has {
				picked[t.text] = value
			}
		}
		out = append(out, picked)
	}
	return out
}

func (n node) fits(e map[string]any) bool {
	switch n.op {
	case "and":
		for _, one := range n.of {
			if !one.fits(e) {
				return false
			}
		}
		return true
	case "or":
		for _, one := range n.of {
			if one.fits(e) {
				return true
			}
		}
		return false
	case "not":
		return !n.of[0].fits(e)
	case "all":
		return true
	}
	for name, value := range e {
		if n.field != "" && n.field != name {
			continue
		}
		for _, v := range values(value) {
			if like(strings.ToLower(n.value), strings.ToLower(v)) || n.field == "" && name == "_raw" && strings.Contains(strings.ToLower(v), strings.ToLower(n.value)) {
				return true
			}
		}
	}
	return false
}

func values(value any) []string {
	if list, ok := value.([]string); ok {
		return list
	}
	return []string{text(value)}
}

// like compares with * for anything, in quotes too, as the search command does.
func like(pattern, value string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == value
	}
	if !strings.HasPrefix(value, first) {
		return false
	}
	value = value[len(first):]
	for i := range len(value) + 1 {
		if like(rest, value[i:]) {
			return true
		}
	}
	return false
}
