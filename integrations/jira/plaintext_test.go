package jira

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWrittenText(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``: "", `null`: "", `7`: "", `[]`: "", `{}`: "", `{"type":"doc","content":7}`: "", `{"type":["doc"],"text":"x"}`: "",
		`"see [the page|https://example.com/x] *now*"`: "see [the page|https://example.com/x] *now*",
		`{"version":1,"type":"doc","content":[
			{"type":"paragraph","content":[{"type":"text","text":"evil"},{"type":"text","text":".example","marks":[{"type":"strong"}]},{"type":"hardBreak"},{"type":"text","text":"next"}]},
			{"type":"paragraph","content":[{"type":"text","text":"here","marks":[{"type":"link","attrs":{"href":"https://example.com/a"}}]},{"type":"mention","attrs":{"id":"1","text":"@nobody"}}]},
			{"type":"paragraph","content":[{"type":"inlineCard","attrs":{"url":"https://example.com/b"}},{"type":"inlineCard","attrs":{"url":7}}]},
			{"type":"bulletList","content":[{"type":"listItem","content":[{"type":"paragraph","content":[{"type":"text","text":"one"}]}]},7,null]},
			{"type":"codeBlock","attrs":{"language":"sh"},"content":[{"type":"text","text":"two"}]}]}`: "evil.example\nnext\nhere https://example.com/a \n https://example.com/b   \none\n\ntwo\n",
	} {
		if got := writtenText(json.RawMessage(raw)); got != want {
			t.Errorf("%s\nbecomes %q, want %q", raw, got, want)
		}
	}
	long := `{"type":"doc","content":[` + strings.Repeat(`{"type":"text","text":"`+strings.Repeat("x", 10_000)+`"},`, 50) + `{"type":"hardBreak"}]}`
	if got := len(writtenText(json.RawMessage(long))); got != maxPlainText {
		t.Errorf("a long document gives %d bytes", got)
	}
}

// Of an issue that a person made the trigger gives the text; of our own the alert
// says what there is.
func TestIssueText(t *testing.T) {
	t.Parallel()
	const body = `{"webhookEvent":"jira:issue_created","issue":{"id":"1","key":"SIRT-1","fields":{"summary":"a","labels":[%],"description":"b"}}}`
	for label, want := range map[string]string{``: "a\nb", `"funnel-abcdefghijklmnopqrstuvwxyz"`: ""} {
		found, err := decodeIssueCreated(delivery([]byte(strings.Replace(body, "%", label, 1))))
		if err != nil || found[0].Text != want {
			t.Errorf("with the labels [%s] the text is %q (%v), want %q", label, found[0].Text, err, want)
		}
	}
}
