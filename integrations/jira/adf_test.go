package jira

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// generic is a node as a reader that knows nothing of this package sees it.
type generic struct {
	Type    string
	Version int
	Attrs   map[string]any
	Content []generic
	Text    *string
	Marks   []struct {
		Type  string
		Attrs map[string]any
	}
}

func parse(t interface{ Fatal(...any) }, doc any) generic {
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var root generic
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

func (g generic) walk(fn func(generic)) {
	fn(g)
	for _, c := range g.Content {
		c.walk(fn)
	}
}

func (g generic) text() string {
	var b strings.Builder
	g.walk(func(n generic) {
		if n.Text != nil {
			b.WriteString(*n.Text)
		}
	})
	return b.String()
}

func nodeTypes() []string {
	return []string{"doc", "paragraph", "heading", "bulletList", "orderedList", "listItem", "table", "tableRow", "tableHeader", "tableCell", "codeBlock", "text"}
}

func anyInline() *rapid.Generator[funnel.Inline] {
	return rapid.Custom(func(t *rapid.T) funnel.Inline {
		text := rapid.String().Draw(t, "text")
		var i funnel.Inline
		switch rapid.IntRange(0, 3).Draw(t, "maker") {
		case 0:
			i = funnel.Text(text)
		case 1:
			i = funnel.Data(text)
		case 2:
			i = funnel.Link(text, "https://www.example.com/", text)
		case 3: // as a document that was decoded could hold it
			i = funnel.Inline{Text: text, URL: rapid.SampledFrom([]string{"", "javascript:alert(1)", "https://example.com/", "accountid:1"}).Draw(t, "url")}
		}
		i.Strong, i.Emphasis, i.Code = rapid.Bool().Draw(t, "strong"), rapid.Bool().Draw(t, "emphasis"), rapid.Bool().Draw(t, "code")
		return i
	})
}

func anyDocument() *rapid.Generator[funnel.Document] {
	return rapid.Custom(func(t *rapid.T) funnel.Document {
		texts := rapid.SliceOfN(anyInline(), 0, 3)
		lines := rapid.SliceOfN(texts, 0, 3)
		block := rapid.Custom(func(t *rapid.T) funnel.Block {
			switch rapid.IntRange(0, 5).Draw(t, "block") {
			case 0:
				return funnel.Paragraph(texts.Draw(t, "text")...)
			case 1:
				return funnel.Heading(rapid.IntRange(-1, 9).Draw(t, "level"), texts.Draw(t, "text")...)
			case 2:
				return funnel.List(lines.Draw(t, "items")...)
			case 3:
				return funnel.OrderedList(lines.Draw(t, "items")...)
			case 4:
				return funnel.Table(lines.Draw(t, "header"), rapid.SliceOfN(lines, 0, 3).Draw(t, "rows")...)
			}
			return funnel.Preformatted(rapid.String().Draw(t, "code"))
		})
		return funnel.NewDocument(rapid.SliceOfN(block, 0, 4).Draw(t, "blocks")...)
	})
}

// plainText is the text of a document in order, without anything between.
func plainText(doc funnel.Document) string {
	var b strings.Builder
	spans := func(text []funnel.Inline) {
		for _, i := range text {
			b.WriteString(flat(i.Text))
		}
	}
	for _, block := range doc.Blocks {
		spans(block.Text)
		for _, item := range block.Items {
			spans(item)
		}
		for _, cell := range block.Header {
			spans(cell)
		}
		for _, row := range block.Rows {
			for _, cell := range row {
				spans(cell)
			}
		}
		b.WriteString(visible(block.Code))
	}
	return b.String()
}

func TestADFProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		doc := anyDocument().Draw(t, "document")
		root := parse(t, adf(doc))
		if root.Type != "doc" || root.Version != 1 || root.Content == nil {
			t.Fatalf("root %+v", root)
		}
		root.walk(func(n generic) {
			if !slices.Contains(nodeTypes(), n.Type) {
				t.Fatalf("node type %q is not on the list", n.Type)
			}
			if (n.Type == "text") != (n.Text != nil) || n.Text != nil && *n.Text == "" {
				t.Fatalf("a %s with the text %v", n.Type, n.Text)
			}
			kinds := map[string]bool{}
			for _, m := range n.Marks {
				kinds[m.Type] = true
				href, _ := m.Attrs["href"].(string)
				if m.Type == "link" && !strings.HasPrefix(href, "https://") {
					t.Fatalf("a link to %q", href)
				}
				if !slices.Contains([]string{"strong", "em", "code", "link"}, m.Type) {
					t.Fatalf("mark %q is not on the list", m.Type)
				}
			}
			if kinds["code"] && (kinds["strong"] || kinds["em"]) || len(kinds) != len(n.Marks) {
				t.Fatalf("marks %v do not go together", n.Marks)
			}
		})
		if got, want := root.text(), plainText(doc); got != want {
			t.Fatalf("the text is %q, want %q", got, want)
		}
	})
}

func TestADFOfHostileText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"[~accountid:712020:1]", "@jdoe", "!http://evil.test/x.png!", "{html}<script>{html}", "[click|http://evil.test]", "<b>", "](http://evil.test)",
		`{"type":"mention"}`, "https://evil.test/@jdoe",
	} {
		root := parse(t, adf(funnel.NewDocument(funnel.Paragraph(funnel.Data(text)), funnel.Table(nil, funnel.Row(funnel.Item(funnel.Data(text)))))))
		root.walk(func(n generic) {
			if len(n.Marks) > 0 || n.Type == "mention" || n.Type == "inlineCard" || n.Type == "media" {
				t.Errorf("%q became a %s with the marks %v", text, n.Type, n.Marks)
			}
		})
		if want := strings.Repeat(funnel.Defang(text), 2); root.text() != want {
			t.Errorf("the text is %q, want %q", root.text(), want)
		}
	}
}

func TestADFIsCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\U0001f525", maxText)
	rows := make([][][]funnel.Inline, 20000)
	for i := range rows {
		rows[i] = funnel.Row(funnel.Item(funnel.Text("a")), funnel.Item(funnel.Text("b")))
	}
	for name, block := range map[string]funnel.Block{
		"paragraph": funnel.Paragraph(funnel.Text(long)),
		"code":      funnel.Preformatted(long),
		"list":      funnel.List(funnel.Item(funnel.Text(long)), funnel.Item(funnel.Text("after"))),
		"table":     funnel.Table(funnel.Row(funnel.Item(funnel.Text("Field"))), rows...),
	} {
		root := parse(t, adf(funnel.NewDocument(funnel.Heading(2, funnel.Text("begin")), block, funnel.Paragraph(funnel.Text("the end"))), "note"))
		text := root.text()
		if !strings.HasPrefix(text, "begin") || strings.Contains(text, "the end") || !strings.HasSuffix(text, cutNote+"note") {
			t.Errorf("%s: the text begins with %.20q and ends with %q", name, text, text[max(0, len(text)-100):])
		}
		b, err := json.Marshal(adf(funnel.NewDocument(block), "note"))
		if err != nil {
			t.Fatal(err)
		}
		if n := units(jirafake.Text(b)); n > maxText || n < maxText/2 {
			t.Errorf("%s: %d characters are left of more than %d", name, n, maxText)
		}
	}
	whole := strings.Repeat("x", maxText-200)
	if got := parse(t, adf(funnel.NewDocument(funnel.Paragraph(funnel.Text(whole))))).text(); got != whole {
		t.Error("a text that fits was cut")
	}
}

func TestADFGolden(t *testing.T) {
	t.Parallel()
	doc := funnel.NewDocument(
		funnel.Heading(3, funnel.Text("User")),
		funnel.Paragraph(funnel.Strong(funnel.Text("a")), funnel.Emphasis(funnel.Strong(funnel.Data("b"))), funnel.Strong(funnel.Fixed(funnel.Text("c"))), funnel.Link("d", "https://example.com/")),
		funnel.OrderedList(funnel.Item(funnel.Text("e")), nil),
		funnel.Table(funnel.Row(funnel.Item(funnel.Text("f"))), funnel.Row(funnel.Item(funnel.Text("g")), funnel.Item())),
		funnel.Preformatted("h\ni"), funnel.Preformatted(""), funnel.List(), funnel.Table(nil),
	)
	b, err := json.Marshal(adf(doc))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"type":"doc","content":[` +
		`{"type":"heading","attrs":{"level":3},"content":[{"type":"text","text":"User"}]},` +
		`{"type":"paragraph","content":[{"type":"text","text":"a","marks":[{"type":"strong"}]},{"type":"text","text":"b","marks":[{"type":"strong"},{"type":"em"}]},` +
		`{"type":"text","text":"c","marks":[{"type":"code"}]},{"type":"text","text":"d","marks":[{"type":"link","attrs":{"href":"https://example.com/"}}]}]},` +
		`{"type":"orderedList","content":[{"type":"listItem","content":[{"type":"paragraph","content":[{"type":"text","text":"e"}]}]},{"type":"listItem","content":[{"type":"paragraph"}]}]},` +
		`{"type":"table","content":[{"type":"tableRow","content":[{"type":"tableHeader","content":[{"type":"paragraph","content":[{"type":"text","text":"f"}]}]},{"type":"tableHeader","content":[{"type":"paragraph"}]}]},` +
		`{"type":"tableRow","content":[{"type":"tableCell","content":[{"type":"paragraph","content":[{"type":"text","text":"g"}]}]},{"type":"tableCell","content":[{"type":"paragraph"}]}]}]},` +
		`{"type":"codeBlock","content":[{"type":"text","text":"h\ni"}]},{"type":"codeBlock"}]}`
	if string(b) != want {
		t.Errorf("got\n%s, want\n%s", b, want)
	}
}
