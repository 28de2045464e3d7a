package jirafake_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestWikiToADF: the reader sees the markup that it looks for in others' texts, or it would prove nothing.
func TestWikiToADF(t *testing.T) {
	t.Parallel()
	for markup, want := range map[string]string{
		"plain. text, 100 % & more":                                         `p[plain. text, 100 % & more]`,
		"*b* _i_ -d- +u+ ^x^ ~y~ ??c??":                                     `p[b{strong}| |i{em}| |d{strike}| |u{underline}| |x{subsup}| |y{subsup}| |c{em}]`,
		"a*b*c a{*}b{*}c 2*3*4":                                             `p[a*b*c a|b{strong}|c 2*3*4]`,
		"{*}{_}x{_}{*} {{m}} *a b*":                                         `p[x{strong,em}| |m{code}| |a b{strong}]`,
		`\*a\* \[x\] \{html\} \\ b`:                                         `p[*a* [x] {html} |hardBreak| b]`,
		"&#42;x&#42; &lt;b&gt; &amp; &nosuch;":                              `p[*x* <b> & &nosuch;]`,
		"[~jdoe] [a|http://x.test] [http://y.test] [#here] [^file] [a|b|c]": `p[mention=jdoe| |a{link=http://x.test}| |http://y.test{link=http://y.test}| |#here{link=#here}| |^file{link=^file}| |a{link=b}]`,
		"!x.png! http://z.test/a?b mailto:a@b.test":                         `p[mediaInline=x.png| |http://z.test/a?b{link=http://z.test/a?b}| |mailto:a@b.test{link=mailto:a@b.test}]`,
		"SIRT-1 XSIRT-0":                                                    `p[SIRT-1{link=/browse/SIRT-1}| XSIRT-0]`,
		":) (x) ;-) (*) <3":                                                 `p[emoji=:)| |emoji=(x)| |emoji=;-)| |emoji=(*)| |emoji=<3]`,
		"a -- b":                                                            `p[a – b]`,
		" h3. t\nbq. q\n----\ntext":                                         `h3[t] quote(p[q]) rule p[text]`,
		"a\u2028h1. t":                                                      `p[a] h1[t]`,
		"one\ntwo\n\nthree":                                                 `p[one|hardBreak|two] p[three]`,
		"* a\n** b\n* c\n# d\n- e":                                          `ul(li(p[a] ul(li(p[b]))) li(p[c])) ol(li(p[d])) ul(li(p[e]))`,
		"||a||b||\n|c|[d|http://x.test]|\n|":                                `table(tr(th(p[a]) th(p[b])) tr(td(p[c]) td(p[d{link=http://x.test}])) tr())`,
		"| |\\||":                                                           `table(tr(td(p[]) th(p[|])))`, // the escaped bar counts for the one beside it, as at Jira
		"{noformat}\n*a* {code}\n{noformat}":                                `code[*a* {code}]`,
		"x{noformat}y{NOFORMAT:title=z}w":                                   `p[x] code[y] p[w]`,
		"{code:java}\na\n\nb\n{code}":                                       `code[a` + "\n\n" + `b]`,
		"{quote}*q*{quote} {info}i{info}":                                   `quote(p[q{strong}]) panel(p[i])`,
		"{html}<b>{html} {anchor:x} {toc}":                                  `macro=html(p[<b>]) macro=anchor() macro=toc()`,
		"{color:red}r{color} {color}":                                       `p[r{textColor}| {color}]`,
		`\{html}`:                                                           `p[{html}]`,
		"{noformat}open":                                                    `macro=noformat() p[open]`,
	} {
		var root wikiNode
		if err := json.Unmarshal(jirafake.WikiToADF(markup), &root); err != nil {
			t.Fatal(err)
		}
		if got := root.inside(" "); got != want {
			t.Errorf("%q is read as\n%s, want\n%s", markup, got, want)
		}
	}
}

type wikiNode struct {
	Type    string
	Text    string
	Attrs   map[string]any
	Content []wikiNode
	Marks   []struct {
		Type  string
		Attrs map[string]any
	}
}

func (n wikiNode) inside(between string) string {
	var parts []string
	for _, c := range n.Content {
		parts = append(parts, c.show())
	}
	return strings.Join(parts, between)
}

func (n wikiNode) show() string {
	name := n.Type
	if short := map[string]string{
		"paragraph": "p", "bulletList": "ul", "orderedList": "ol", "listItem": "li", "tableRow": "tr", "tableCell": "td", "tableHeader": "th", "blockquote": "quote", "codeBlock": "code",
	}[name]; short != "" {
		name = short
	}
	switch n.Type {
	case "text":
		var marks []string
		for _, m := range n.Marks {
			mark := m.Type
			if href, ok := m.Attrs["href"].(string); ok {
				mark += "=" + href
			}
			marks = append(marks, mark)
		}
		if len(marks) > 0 {
			return n.Text + "{" + strings.Join(marks, ",") + "}"
		}
		return n.Text
	case "heading":
		return "h" + string(rune('0'+int(n.Attrs["level"].(float64)))) + "[" + n.inside("|") + "]"
	case "paragraph", "codeBlock":
		return name + "[" + n.inside("|") + "]"
	case "rule", "hardBreak":
		return name
	}
	for _, a := range []string{"id", "shortName", "name"} {
		if v, ok := n.Attrs[a].(string); ok {
			name += "=" + v
			break
		}
	}
	if n.Type == "mention" || n.Type == "mediaInline" || n.Type == "emoji" {
		return name
	}
	return name + "(" + n.inside(" ") + ")"
}
