package jira

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// wikiTree is what a reader of wiki markup that knows nothing of this package
// finds in it.
func wikiTree(t interface{ Fatal(...any) }, markup string) generic {
	return parse(t, json.RawMessage(jirafake.WikiToADF(markup)))
}

// outline writes a document as lines that two formats have in common: each block
// with its texts and their marks. White space is one space and bears no marks, as
// it looks the same; blocks without a text are left out. The brackets of
// preformatted text that the wiki markup replaces are replaced in both.
func outline(g generic) []string {
	var lines []string
	var walk func(n generic, kind string)
	walk = func(n generic, kind string) {
		switch n.Type {
		case "doc", "bulletList", "orderedList", "listItem", "table", "tableRow", "tableCell", "tableHeader":
			if n.Type != "doc" {
				kind += "/" + n.Type
			}
			for _, c := range n.Content {
				walk(c, kind)
			}
			return
		case "heading":
			kind += fmt.Sprint("/heading", n.Attrs["level"])
		case "codeBlock":
			if text := preformatted(n.text()); text != "" {
				lines = append(lines, kind+"/code "+text)
			}
			return
		default:
			kind += "/" + n.Type
		}
		if text := runs(n.Content); text != "" {
			lines = append(lines, kind+" "+text)
		}
	}
	walk(g, "")
	return lines
}

// runs writes the texts of a block, with its marks where they change.
func runs(nodes []generic) string {
	var b strings.Builder
	last, gap := "", false
	for _, n := range nodes {
		if n.Text == nil {
			fmt.Fprintf(&b, "<%s %v>", n.Type, n.Attrs)
			continue
		}
		var marks []string
		for _, m := range n.Marks {
			marks = append(marks, fmt.Sprint(m.Type, m.Attrs["href"]))
		}
		slices.Sort(marks)
		now := strings.Join(marks, "+")
		for _, r := range *n.Text {
			if unicode.IsSpace(r) {
				gap = true
				continue
			}
			if gap && b.Len() > 0 {
				b.WriteByte(' ')
			}
			gap = false
			if now != last {
				b.WriteString("<" + now + ">")
				last = now
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// inPhrases says whether Jira shows the marks of every span: see notInPhrase.
func inPhrases(doc funnel.Document) bool {
	return !strings.ContainsFunc(plainText(doc), func(r rune) bool { return r != '\n' && r != '\t' && notInPhrase(r) }) // preformatted text has these
}

func checkWiki(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, doc funnel.Document,
) {
	markup := wiki(doc, "")
	tree := wikiTree(t, markup)
	tree.walk(func(n generic) {
		if !slices.Contains(nodeTypes(), n.Type) {
			t.Fatalf("%q is read as a %s: %q", markup, n.Type, doc)
		}
		for _, m := range n.Marks {
			href, _ := m.Attrs["href"].(string)
			if !slices.Contains([]string{"strong", "em", "code", "link"}, m.Type) || m.Type == "link" && !strings.HasPrefix(href, "https://") {
				t.Fatalf("%q is read as %s to %q: %q", markup, m.Type, href, doc)
			}
		}
	})
	if strings.Contains(outside(markup), `\`) {
		t.Fatalf("%q has a backslash", markup)
	}
	got, want := outline(tree), outline(parse(t, adf(doc)))
	if !inPhrases(doc) { // then only the texts count
		plain := func(text string) []string {
			return []string{strings.NewReplacer("\uff5b", "{", "\uff3b", "[").Replace(strings.Join(strings.Fields(text), ""))}
		}
		got, want = plain(tree.text()), plain(plainText(doc))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q is read as\n%q, want\n%q", markup, got, want)
	}
}

// outside is the markup without what stands between fences.
func outside(markup string) string {
	var b strings.Builder
	for i, part := range strings.Split(markup, fence) {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// hostileTexts are what an attacker would put into an alert's field.
var hostileTexts = []string{
	"[~admin]", "[~accountid:1]", "@jdoe", "!http://evil.test/x.png!", "!x.png|width=1!", "{html}<script>alert(1)</script>{html}", "{html}", "[click|http://evil.test]", "[http://evil.test]",
	"[#anchor]", "[^file.txt]", "[mailto:a@evil.test]", "http://evil.test/", "mailto:a@evil.test", "file:///etc/passwd", "SIRT-1", "x SIRT-1 y",
	"*bold*", "_it_", "-del-", "+ins+", "^up^", "~down~", "??cite??", "{{fixed}}", "{*}b{*}", "a{_}i{_}b", "bq. quote", "BQ. quote", "h1. big", " H6. big", "h1.", "h1", "h", "bq", "----", "-----", "--", "a -- b", "a --- b",
	"* item", "# item", "- item", "*# item", "|cell|", "||head||", "a|b", "a||b", ":)", ":-)", ":(", ":D", ":P", ";)", ";-)", "(y)", "(n)", "(x)", "(/)", "(!)", "(*)", "(on)", "(flag)", "<3",
	`\\`, `\\server\share`, `C:\temp\{x}`, `\`, `\{`, `a\`, "{noformat}", "{noformat}{html}{noformat}", "{NoFormat}", "{noformA t", "{ noformat }", "{noformat:title=x}", "{code}x{code}", "{quote}x{quote}", "{color:red}x{color}", "{panel:title=x}y{panel}",
	"{anchor:x}", "{toc}", "&amp;", "&#123;html&#125;", "&lt;b&gt;", "&nosuch;", "&", "<b>x</b>", "<!--", "]]>", "%x%", "`x`", "$x", "a\nh1. b", "a\r\n* b", "a\u2028h1. b", "a\u2029----", "a\u0085|b|",
	"Funnel's mark: funnel-" + string(effect("x")), "{color:#97a0af}Funnel's mark: funnel-x{color}", "a\u202eb\u0000c", "\ufeff", "\xff*x*", "①*x*", "{", "}", "[", "]", "[]", "{}", "[|]", "[~]", "[ ~x]", strings.Repeat("[", 100), strings.Repeat("{", 100), strings.Repeat("*", 100),
}

// around puts a text everywhere where a document can hold one.
func around(text string) funnel.Document {
	return funnel.NewDocument(
		funnel.Paragraph(funnel.Data(text)),
		funnel.Paragraph(funnel.Text("before"), funnel.Data(text), funnel.Text("after")),
		funnel.Paragraph(funnel.Strong(funnel.Data(text)), funnel.Emphasis(funnel.Data(text)), funnel.Fixed(funnel.Data(text)), funnel.Strong(funnel.Emphasis(funnel.Data(text)))),
		funnel.Paragraph(funnel.Link(text, "https://www.example.com/", text, text)),
		funnel.Heading(2, funnel.Data(text)),
		funnel.List(funnel.Item(funnel.Data(text)), funnel.Item(funnel.Text("x "), funnel.Data(text))),
		funnel.OrderedList(funnel.Item(funnel.Data(text))),
		funnel.Table(funnel.Row(funnel.Item(funnel.Data(text)), funnel.Item(funnel.Text("x"))), funnel.Row(funnel.Item(funnel.Data(text)), funnel.Item(funnel.Link(text, "https://www.example.com/"))), funnel.Row(funnel.Item(), funnel.Item(funnel.Data(text)))),
		funnel.Preformatted(text),
		funnel.Preformatted("x "+text+"\n"+text+"\n"),
	)
}

func TestWikiOfHostileText(t *testing.T) {
	t.Parallel()
	for _, text := range hostileTexts {
		checkWiki(t, around(text))
	}
	// What two spans make side by side is nothing either.
	for _, a := range hostileTexts {
		for _, b := range []string{"*", "[", "]", "{", "}", "|", `\`, "-", "~", ":", ")", "h1", ".", ". x", "1. x", "h1. x", "noformat}"} {
			checkWiki(t, funnel.NewDocument(funnel.Paragraph(funnel.Data(a), funnel.Text(b)), funnel.Paragraph(funnel.Text(b), funnel.Data(a)), funnel.Preformatted(a+b), funnel.Preformatted(b+a)))
		}
	}
}

func TestWikiProperties(t *testing.T) {
	t.Parallel()
	pieces := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(hostileTexts), rapid.String(), rapid.StringMatching(`[*_+^~|#?!{}\[\]()\\@:;.h1bq \-]{1,6}`)), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		checkWiki(t, anyDocument().Draw(t, "document"))
		checkWiki(t, around(strings.Join(pieces.Draw(t, "text"), "")))
	})
}

func FuzzWikiEscape(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Add(strings.Repeat(" ", 2000)) // which only the other format has to cut
	f.Fuzz(func(t *testing.T, text string) {
		doc := around(text)
		markup := wiki(doc, "")
		if units(markup) > maxText {
			t.Fatalf("%d characters", units(markup))
		}
		if !strings.HasSuffix(markup, italic(cutNote)) && !strings.HasSuffix(parse(t, adf(doc)).text(), cutNote) {
			checkWiki(t, doc) // a text that one of the formats cuts is not the same in both
		}
	})
}

func TestWikiIsCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("-", maxText) // six characters of markup each
	rows := make([][][]funnel.Inline, 20000)
	for i := range rows {
		rows[i] = funnel.Row(funnel.Item(funnel.Text("a")), funnel.Item(funnel.Text("b")))
	}
	tail := markOf(property{propertyEffect, effectMark{effect("x"), 1}})
	for name, block := range map[string]funnel.Block{
		"paragraph": funnel.Paragraph(funnel.Text(long)),
		"bold":      funnel.Paragraph(funnel.Text(long[:maxText/6-100]), funnel.Strong(funnel.Text(long))),
		"links":     funnel.Paragraph(slices.Repeat([]funnel.Inline{funnel.Link("a", "https://www.example.com/", "a")}, 5000)...),
		"code":      funnel.Preformatted(strings.Repeat("\U0001f525", maxText)),
		"list":      funnel.List(slices.Repeat([][]funnel.Inline{funnel.Item(funnel.Text("a"))}, 20000)...),
		"table":     funnel.Table(funnel.Row(funnel.Item(funnel.Text("Field"))), rows...),
		"wide":      funnel.Table(nil, slices.Repeat([][]funnel.Inline{funnel.Item(funnel.Text("a"))}, 20000)),
	} {
		doc := funnel.NewDocument(funnel.Heading(2, funnel.Text("begin")), block, funnel.Paragraph(funnel.Text("the end")))
		markup := wiki(doc, tail, "note")
		if n := units(markup); n > maxText || n < maxText/2 && name != "wide" {
			t.Errorf("%s: %d characters are left", name, n)
		}
		tree := wikiTree(t, markup)
		text := tree.text()
		if !strings.HasPrefix(text, "begin") || strings.Contains(text, "the end") || !strings.HasSuffix(markup, italic(cutNote)+"\n\n"+italic("note")+"\n\n"+tail) {
			t.Errorf("%s: the text begins with %.20q and ends with %q", name, text, markup[max(0, len(markup)-300):])
		}
		tree.walk(func(n generic) {
			if !slices.Contains(nodeTypes(), n.Type) {
				t.Errorf("%s: the rest is read as a %s", name, n.Type)
			}
		})
		if strings.ContainsAny(text, "{}[]*_|") {
			t.Errorf("%s: a mark lost its other half: %q", name, text)
		}
	}
	whole := strings.Repeat("x", maxText-200)
	if got := wiki(says(whole), ""); got != whole {
		t.Error("a text that fits was cut")
	}
}

func TestWikiGolden(t *testing.T) {
	t.Parallel()
	doc := funnel.NewDocument(
		funnel.Heading(3, funnel.Text("User")),
		funnel.Paragraph(funnel.Strong(funnel.Text("a ")), funnel.Emphasis(funnel.Strong(funnel.Data("b"))), funnel.Strong(funnel.Fixed(funnel.Text("c"))), funnel.Link("d", "https://example.com/", "e/f|g]")),
		funnel.Paragraph(funnel.Data("10.0.0.1 h1.x http://evil.test & <b> [~jdoe] {html} \\\\server")),
		funnel.OrderedList(funnel.Item(funnel.Text("e")), nil), funnel.List(funnel.Item(funnel.Text("i"))),
		funnel.Table(funnel.Row(funnel.Item(funnel.Text("f"))), funnel.Row(funnel.Item(funnel.Text("g|")), funnel.Item())),
		funnel.Preformatted("h\n{noformat}[~x]*i*"), funnel.Preformatted(""), funnel.List(), funnel.Table(nil), funnel.Paragraph(),
	)
	want := strings.Join([]string{
		"h3. User",
		"{*}a{*} {*}{_}b{_}{*}{{c}}[d|https://example.com/e%2Ff%7Cg%5D]",
		"10.0.0.1 h1&#46;x hxxp&#58;//evil&#91;.&#93;test &amp; &lt;b&gt; &#91;&#126;jdoe&#93; &#123;html&#125; &#92;&#92;server",
		"# e\n# \u00a0", "* i",
		"||f|| ||\n|g&#124;| |",
		"{noformat}\nh\n\uff5bnoformat}\uff3b~x]*i*\n{noformat}", "{noformat}\n\n{noformat}",
		"{_}note{_}", "tail",
	}, "\n\n")
	if got := wiki(doc, "tail", "note"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestWikiTarget: an address is a target as a whole or not at all.
func TestWikiTarget(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://splunk.example.com:8000/app/search/@go?sid=a_b.c~d&x=1#y": "https://splunk.example.com:8000/app/search/@go?sid=a_b.c~d&x=1#y",
		"http://example.com":                       "http://example.com",
		"https://example.com/a|b]c[d{e}":           "https://example.com/a%7Cb%5Dc%5Bd%7Be%7D",
		`https://example.com/\!x!*y*;"<ü> ` + "\n": "https://example.com/%5C%21x%21%2Ay%2A%3B%22%3C%C3%BC%3E%20%0A",
		"https://[::1]/x":                          "",
		"https://a|b/x":                            "",
		"https://user:pass@example.com/":           "",
		"https:///x":                               "",
		"javascript:alert(1)":                      "",
		"javascript://example.com/%0aalert(1)":     "",
		"~jdoe":                                    "",
		"#anchor":                                  "",
		"^file":                                    "",
		"":                                         "",
	} {
		if got := wikiTarget(address); got != want {
			t.Errorf("the target of %q is %q, want %q", address, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		address := "https://example.com/" + strings.Join(rapid.SliceOf(rapid.SampledFrom(append(hostileTexts, "|", "]", "[~x]", " "))).Draw(t, "path"), "")
		root := wikiTree(t, wiki(funnel.NewDocument(funnel.Paragraph(funnel.Inline{Text: "x", URL: address})), ""))
		if len(root.Content) != 1 || len(root.Content[0].Content) != 1 {
			t.Fatalf("%q makes %+v", address, root)
		}
		n := root.Content[0].Content[0]
		if n.Type != "text" || *n.Text != "x" || len(n.Marks) != 1 || n.Marks[0].Type != "link" || !strings.HasPrefix(n.Marks[0].Attrs["href"].(string), "https://example.com/") {
			t.Fatalf("%q makes %+v", address, n)
		}
	})
}
