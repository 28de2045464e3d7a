package jirafake_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func node(kind string, content ...obj) obj { return obj{"type": kind, "content": content} }

func text(s string, marks ...obj) obj {
	n := obj{"type": "text", "text": s}
	if len(marks) > 0 {
		n["marks"] = marks
	}
	return n
}

func doc(content ...obj) obj {
	return obj{"type": "doc", "version": 1, "content": append([]obj{}, content...)}
}

func with(n obj, attrs obj) obj { n["attrs"] = attrs; return n }

func TestADFRules(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	s.create("One")
	p := node("paragraph", text("x"))
	li := node("listItem", p)
	deep := node("paragraph", text("x"))
	for range 60 {
		deep = node("bulletList", node("listItem", node("paragraph", text("x")), deep))
	}
	for name, tt := range map[string]struct {
		doc   any
		wrong string // "" for a legal document
	}{
		"everything": {doc(
			with(node("heading", text("h")), obj{"level": 2}), node("bulletList", node("listItem", p, node("orderedList", li))),
			with(node("orderedList", li), obj{"order": 3}), node("table", node("tableRow", with(node("tableHeader", p), obj{"colspan": 2})), node("tableRow", node("tableCell", p, node("bulletList", li)))),
			with(node("codeBlock", text("c")), obj{"language": "json"}), obj{"type": "rule"}, with(node("panel", p), obj{"panelType": "warning"}),
			node("blockquote", p), node("paragraph", text("b", obj{"type": "strong"}, obj{"type": "em"}), obj{"type": "hardBreak"}, text("c", obj{"type": "code"}),
				text("l", obj{"type": "link", "attrs": obj{"href": "https://example.com"}}), with(obj{"type": "status"}, obj{"text": "S", "color": "red"})),
			with(node("expand", p), obj{"title": "more"}), node("paragraph"),
		), ""},
		"a string":              {"text", "must be an Atlassian Document"},
		"wrong root":            {p, "root must be a doc"},
		"no version":            {obj{"type": "doc", "content": []obj{p}}, "version 0"},
		"no content":            {obj{"type": "doc", "version": 1}, "needs a content"},
		"unknown member":        {obj{"type": "doc", "version": 1, "content": []obj{p}, "x": 1}, "unknown field"},
		"unknown node":          {doc(node("marquee", p)), "marquee"},
		"text in doc":           {doc(text("x")), `must not hold a \"text\"`},
		"paragraph in itself":   {doc(node("paragraph", p)), `must not hold a \"paragraph\"`},
		"table in a list":       {doc(node("bulletList", node("listItem", p, node("table", node("tableRow", node("tableCell", p)))))), `must not hold a \"table\"`},
		"table in a cell":       {doc(node("table", node("tableRow", node("tableCell", node("table", node("tableRow")))))), `must not hold a \"table\"`},
		"table in a panel":      {doc(with(node("panel", node("table", node("tableRow"))), obj{"panelType": "info"})), `must not hold`},
		"heading in a list":     {doc(node("bulletList", node("listItem", p, with(node("heading"), obj{"level": 1})))), `must not hold a \"heading\"`},
		"list first in an item": {doc(node("bulletList", node("listItem", node("bulletList", li)))), "begins with a paragraph"},
		"empty text":            {doc(node("paragraph", text(""))), "must not be empty"},
		"empty list":            {doc(node("bulletList")), "needs content"},
		"empty cell":            {doc(node("table", node("tableRow", node("tableCell")))), "needs content"},
		"heading without level": {doc(node("heading", text("x"))), "level is missing"},
		"heading of level 7":    {doc(with(node("heading", text("x")), obj{"level": 7})), "1 to 6"},
		"unknown panel":         {doc(with(node("panel", p), obj{"panelType": "danger"})), "panelType"},
		"unknown mark":          {doc(node("paragraph", text("x", obj{"type": "blink"}))), "unknown mark"},
		"code and strong":       {doc(node("paragraph", text("x", obj{"type": "code"}, obj{"type": "strong"}))), "does not go with"},
		"strong in a codeBlock": {doc(node("codeBlock", text("x", obj{"type": "strong"}))), "carries no marks"},
		"link to nowhere":       {doc(node("paragraph", text("x", obj{"type": "link"}))), "needs a href"},
		"mention without id":    {doc(node("paragraph", obj{"type": "mention"})), "id is missing"},
		"too deep":              {doc(deep), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, answer := s.send("PUT", "/rest/api/3/issue/SIRT-1", obj{"fields": obj{"description": tt.doc}})
			switch {
			case tt.wrong == "" && code != 204:
				t.Errorf("a legal document: status %d %s", code, answer)
			case tt.wrong != "" && (code != 400 || !strings.Contains(string(answer), tt.wrong)):
				t.Errorf("status %d %s, want 400 with %q", code, answer, tt.wrong)
			}
		})
	}
}

func TestJournalNotesWhatCanBeClicked(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	b := newIssue("x")
	b["fields"].(obj)["description"] = doc(
		node("paragraph", with(obj{"type": "mention"}, obj{"id": "u1"}), text("l", obj{"type": "link", "attrs": obj{"href": "https://evil.test"}}),
			with(obj{"type": "inlineCard"}, obj{"url": "https://card.test"})),
		node("mediaSingle", with(obj{"type": "media"}, obj{"type": "file", "id": "f", "collection": ""})),
	)
	must[any](s, 201, "POST", "/rest/api/3/issue", b)
	must[any](s, 201, "POST", "/rest/api/3/issue/SIRT-1/comment", obj{"body": para("@[~admin] [x|https://evil.test] https://evil.test")})
	j := s.Journal()
	if e := j[0]; e.Mentions != 1 || e.Links != 2 || e.Media != 1 || strings.Join(e.Targets, " ") != "u1 https://evil.test https://card.test" {
		t.Errorf("create: %+v", e)
	}
	if e := j[1]; e.Mentions+e.Links+e.Media != 0 {
		t.Errorf("inert text counted: %+v", e)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	p := func(s string) obj { return node("paragraph", text(s)) }
	raw := asJSON(t, doc(
		with(node("heading", text("Title")), obj{"level": 2}), node("paragraph", text("a"), text("b"), obj{"type": "hardBreak"}, text("c")),
		node("bulletList", node("listItem", p("one")), node("listItem", p("two"))),
		node("table", node("tableRow", node("tableHeader", p("k")), node("tableHeader", p("v"))), node("tableRow", node("tableCell", p("x")), node("tableCell", p("y")))),
		obj{"type": "rule"}, node("codeBlock", text("code")),
	))
	want := "Title\nab\nc\n* one\n* two\nk | v\nx | y\n----\ncode"
	if got := jirafake.Text(json.RawMessage(raw)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := jirafake.Text(json.RawMessage(`7`)); got != "" {
		t.Errorf("not a document: %q", got)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	if code, _, b := s.send("GET", "/", nil); code != 200 || !strings.Contains(string(b), "No tickets yet") {
		t.Errorf("empty list: status %d", code)
	}
	b := newIssue(`<script>alert(1)</script>`, "<i>")
	b["fields"].(obj)["description"] = doc(node("paragraph",
		text(`<img src=x onerror=alert(2)>`), text("click", obj{"type": "link", "attrs": obj{"href": "javascript:alert(3)"}}),
		text("ok", obj{"type": "link", "attrs": obj{"href": `https://example.com/"><script>`}}),
		with(obj{"type": "mention"}, obj{"id": "u", "text": "@<b>x"})),
		node("paragraph", text("strong", obj{"type": "strong"})))
	must[any](s, 201, "POST", "/rest/api/3/issue", b)
	must[any](s, 201, "POST", "/rest/api/3/issue/SIRT-1/comment", obj{"body": para("first <comment>")})
	must[any](s, 201, "POST", "/rest/api/3/issue", newIssue("Second"))
	must[any](s, 201, "POST", "/rest/api/3/issueLink", obj{"type": obj{"name": "Duplicate"}, "inwardIssue": obj{"key": "SIRT-2"}, "outwardIssue": obj{"key": "SIRT-1"}})

	code, h, page := s.send("GET", "/browse/SIRT-1", nil)
	html := string(page)
	if code != 200 || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("status %d, headers %v", code, h)
	}
	for _, bad := range []string{"<script", "<img", "<i>", "javascript:", "<b>x", "<comment>", "style=", "onerror=\""} {
		if strings.Contains(html, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, good := range []string{"&lt;script&gt;alert(1)", "<strong>strong</strong>", "first &lt;comment&gt;", "is duplicated by", "/browse/SIRT-2", "simulated Jira", `http-equiv="refresh"`, "Funnel"} {
		if !strings.Contains(html, good) {
			t.Errorf("the page lacks %q", good)
		}
	}
	_, _, list := s.send("GET", "/browse", nil)
	if a, b := strings.Index(string(list), "SIRT-2"), strings.Index(string(list), "SIRT-1"); a < 0 || b < a {
		t.Errorf("the list shows the newest first: %d, %d", a, b)
	}
	if _, _, paused := s.send("GET", "/browse/SIRT-1?pause=1", nil); strings.Contains(string(paused), "http-equiv") {
		t.Error("a paused page refreshes itself")
	}
	for path, want := range map[string]int{"/browse/SIRT-9": 404, "/nonsense": 404, "/style.css": 200, "/favicon.svg": 200} {
		if code, _, _ := s.send("GET", path, nil); code != want {
			t.Errorf("%s: status %d, want %d", path, code, want)
		}
	}
	css, err := os.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(css), "url(") || strings.Contains(string(css), "@import") {
		t.Error("the style sheet loads something")
	}
}
