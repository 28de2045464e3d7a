package jirafake

import (
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/url"
	"slices"
	"strings"
)

// renderHTML renders an Atlassian document or wiki markup for the pages. Every text and attribute is escaped, and only
// http, https and mailto addresses become links.
func renderHTML(raw json.RawMessage) template.HTML {
	root, ok := readText(raw)
	if !ok {
		return ""
	}
	var b strings.Builder
	renderAll(&b, root)
	return template.HTML(b.String())
}

func renderAll(b *strings.Builder, n *node) {
	for i := range n.Content {
		render(b, &n.Content[i])
	}
}

// plainTags are the nodes that are one HTML element around their content.
var plainTags = map[string]string{
	"paragraph": "p", "bulletList": "ul", "listItem": "li", "blockquote": "blockquote", "tableRow": "tr",
	"taskList": "ul", "taskItem": "li", "decisionList": "ul", "decisionItem": "li",
}

func render(b *strings.Builder, n *node) {
	if tag, ok := plainTags[n.Type]; ok {
		wrap(b, "<"+tag+">", n, "</"+tag+">")
		return
	}
	switch n.Type {
	case "text":
		renderText(b, n)
	case "heading":
		level, _ := n.Attrs["level"].(float64)
		l := min(max(int(level), 1), 4) + 2 // the page itself uses h1 and h2
		wrap(b, fmt.Sprintf("<h%d class=\"h\">", l), n, fmt.Sprintf("</h%d>", l))
	case "orderedList":
		start, _ := n.Attrs["order"].(float64)
		wrap(b, fmt.Sprintf("<ol start=\"%d\">", max(int(start), 1)), n, "</ol>")
	case "codeBlock":
		wrap(b, `<pre tabindex="0"><code>`, n, "</code></pre>")
	case "panel":
		kind := n.attr("panelType")
		if !slices.Contains(panelTypes, kind) {
			kind = "info"
		}
		wrap(b, `<div class="panel `+kind+`"><div>`, n, "</div></div>")
	case "expand", "nestedExpand":
		wrap(b, "<details open><summary>"+esc(n.attr("title"))+"</summary>", n, "</details>")
	case "table":
		wrap(b, `<div class="scroll" tabindex="0"><table class="grid"><tbody>`, n, "</tbody></table></div>")
	case "tableCell", "tableHeader":
		tag := "td"
		if n.Type == "tableHeader" {
			tag = "th"
		}
		wrap(b, "<"+tag+span(n, "colspan")+span(n, "rowspan")+">", n, "</"+tag+">")
	case "rule":
		b.WriteString("<hr>")
	case "hardBreak":
		b.WriteString("<br>")
	case "mention":
		b.WriteString(`<span class="mention">@` + esc(strings.TrimPrefix(n.attr("text"), "@")) + "</span>")
	case "status":
		b.WriteString(`<span class="lozenge ` + lozenge(n.attr("color")) + `">` + esc(n.attr("text")) + "</span>")
	case "inlineCard":
		b.WriteString(anchor(n.attr("url"), esc(n.attr("url"))))
	case "blockCard", "embedCard":
		b.WriteString("<p>" + anchor(n.attr("url"), esc(n.attr("url"))) + "</p>")
	case "emoji":
		b.WriteString(esc(n.attr("shortName")))
	case "date":
		b.WriteString(esc(n.attr("timestamp")))
	case "macro":
		wrap(b, `<div class="panel warning"><div>{`+esc(n.attr("name"))+"}", n, "</div></div>")
	case "media", "mediaInline":
		b.WriteString(`<span class="muted">[attachment]</span>`)
	default:
		renderAll(b, n)
	}
}

func wrap(b *strings.Builder, before string, n *node, after string) {
	b.WriteString(before)
	renderAll(b, n)
	b.WriteString(after)
}

// markTags are the marks that are one HTML element around the text.
var markTags = map[string]string{"strong": "strong", "em": "em", "strike": "s", "code": "code", "underline": "u"}

func renderText(b *strings.Builder, n *node) {
	if n.Text == nil {
		return
	}
	out := esc(*n.Text)
	for i := range n.Marks {
		m := &n.Marks[i]
		switch tag := markTags[m.Type]; {
		case tag != "":
			out = "<" + tag + ">" + out + "</" + tag + ">"
		case m.Type == "link":
			out = anchor(m.attr("href"), out)
		case m.Type == "subsup" && (m.attr("type") == "sub" || m.attr("type") == "sup"):
			out = "<" + m.attr("type") + ">" + out + "</" + m.attr("type") + ">"
		}
	}
	b.WriteString(out)
}

// anchor links HTML to an address, if the address is a harmless one.
func anchor(href, inner string) string {
	u, err := url.Parse(href)
	if err != nil || !slices.Contains([]string{"http", "https", "mailto"}, strings.ToLower(u.Scheme)) {
		return inner
	}
	return `<a rel="noopener noreferrer nofollow" href="` + esc(href) + `">` + inner + "</a>"
}

func span(n *node, name string) string {
	v, _ := n.Attrs[name].(float64)
	if v <= 1 || v > 100 {
		return ""
	}
	return fmt.Sprintf(" %s=\"%d\"", name, int(v))
}

func lozenge(color string) string {
	if slices.Contains([]string{"purple", "blue", "red", "yellow", "green"}, color) {
		return color
	}
	return "neutral"
}

func esc(s string) string { return html.EscapeString(s) }
