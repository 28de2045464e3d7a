package splunkfake

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // into memory: never fails
	return b.String()
}

// atom answers with one entry as an Atom feed, which is Splunk's format unless
// output_mode says otherwise.
func (a *API) atom(w http.ResponseWriter, name, path string, content map[string]any) {
	var b strings.Builder
	now := a.options.Clock().Format(time.RFC3339)
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:s="http://dev.splunk.com/ns/rest" xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">
  <title>%s</title>
  <id>https://splunk01:8089/services/%s</id>
  <updated>%s</updated>
  <generator version="%s"/>
  <author><name>Splunk</name></author>
  <opensearch:totalResults>1</opensearch:totalResults>
  <opensearch:itemsPerPage>30</opensearch:itemsPerPage>
  <opensearch:startIndex>0</opensearch:startIndex>
  <s:messages/>
  <entry>
    <title>%[1]s</title>
    <id>https://splunk01:8089/services/%[2]s/%[1]s</id>
    <updated>%[3]s</updated>
    <link href="/services/%[2]s/%[1]s" rel="alternate"/>
    <author><name>system</name></author>
    <content type="text/xml">
      <s:dict>
`, name, path, now, a.build())
	for _, key := range slices.Sorted(maps.Keys(content)) {
		fmt.Fprintf(&b, "        <s:key name=\"%s\">%s</s:key>\n", escaped(key), escaped(text(content[key])))
	}
	b.WriteString("      </s:dict>\n    </content>\n  </entry>\n</feed>\n")
	writeXML(w, b.String())
}

// resultsXML answers with rows in XML.
func resultsXML(w http.ResponseWriter, names []string, rows []map[string]any, offset int, preview bool) {
	var b strings.Builder
	shownPreview := "0"
	if preview {
		shownPreview = "1"
	}
	fmt.Fprintf(&b, "<results preview='%s'>\n<meta>\n<fieldOrder>\n", shownPreview)
	for _, name := range names {
		fmt.Fprintf(&b, "<field>%s</field>\n", escaped(name))
	}
	b.WriteString("</fieldOrder>\n</meta>\n<messages>\n</messages>\n")
	for i, row := range rows {
		fmt.Fprintf(&b, "<result offset='%s'>\n", strconv.Itoa(offset+i))
		for _, name := range names {
			if _, has := row[name]; !has {
				continue
			}
			fmt.Fprintf(&b, "<field k='%s'>\n", escaped(name))
			for _, v := range values(shown(name, row[name])) {
				fmt.Fprintf(&b, "<value><text>%s</text></value>\n", escaped(v))
			}
			b.WriteString("</field>\n")
		}
		b.WriteString("</result>\n")
	}
	b.WriteString("</results>\n")
	writeXML(w, b.String())
}

func writeXML(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/xml; charset=UTF-8")
	_, _ = w.Write([]byte(text)) // the client may be gone
}
