package jira

import (
	"encoding/json"
	"strings"
)

// maxPlainText bounds the text that is taken from a document, in bytes. Intake
// reads as much.
const maxPlainText = 256 << 10

// writtenText returns what a person wrote in a description or a comment: JSON text
// as it is, of a document in Atlassian's format
// (developer.atlassian.com/cloud/jira/platform/apis/document/structure) the text
// and the addresses of its links, a block per line. What it does not know, such
// as mentions and images, is left out; null and everything else are "".
//
// Webhooks carry version 2's wiki markup, also from Cloud; automation rules can
// send the document.
func writtenText(raw json.RawMessage) string {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return ""
	}
	switch v := value.(type) {
	case string:
		return v
	case map[string]any:
		var w textWriter
		w.node(v)
		return w.b.String()
	}
	return ""
}

type textWriter struct{ b strings.Builder }

func (w *textWriter) write(parts ...string) {
	for _, p := range parts {
		w.b.WriteString(p[:min(len(p), maxPlainText-w.b.Len())])
	}
}

// node writes a node and what is in it. The depth is bounded by that of the
// delivery's JSON.
func (w *textWriter) node(n map[string]any) {
	text, _ := n["text"].(string)
	switch n["type"] {
	case "text":
		w.write(text)
		marks, _ := n["marks"].([]any)
		for _, m := range marks {
			if href := attribute(m, "href"); href != "" && href != text {
				w.write(" ", href, " ")
			}
		}
	case "inlineCard", "blockCard", "embedCard":
		w.write(" ", attribute(n, "url"), " ")
	case "hardBreak":
		w.write("\n")
	}
	content, _ := n["content"].([]any)
	for _, child := range content {
		if c, ok := child.(map[string]any); ok {
			w.node(c)
		}
	}
	switch n["type"] {
	case "paragraph", "heading", "codeBlock", "listItem", "tableCell", "tableHeader":
		w.write("\n")
	}
}

// attribute returns a text attribute of a node or a mark, or "".
func attribute(of any, name string) string {
	node, _ := of.(map[string]any)
	attrs, _ := node["attrs"].(map[string]any)
	value, _ := attrs[name].(string)
	return value
}
