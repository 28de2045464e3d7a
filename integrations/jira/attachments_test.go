package jira

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestAttachFile(t *testing.T) { everywhere(t, testAttachFile) }

func testAttachFile(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	binary := make([]byte, 300)
	for i := range binary {
		binary[i] = byte(i)
	}
	for i, tt := range []struct {
		in        AttachFileInput
		name      string
		mediaType string
		content   string
	}{
		{AttachFileInput{Name: "results.csv", MediaType: "text/csv", Text: "user\njdoe\n"}, "results.csv", "text/csv", "user\njdoe\n"},
		{AttachFileInput{Name: "raw", Base64: base64.StdEncoding.EncodeToString(binary)}, "raw", "application/octet-stream", string(binary)},
		{AttachFileInput{Name: "../../etc/x\r\nX-Evil: 1\u202e.txt", Text: "ü"}, "_.._etc_x X-Evil_ 1.txt", "text/plain; charset=utf-8", "ü"},
		{AttachFileInput{Name: `"; filename="b.exe`, Text: "--\r\n--"}, "__ filename=_b.exe", "text/plain; charset=utf-8", "--\r\n--"},
		{AttachFileInput{Name: "..", Text: "x"}, "attachment", "text/plain; charset=utf-8", "x"},
	} {
		tt.in.Issue = "SIRT-1"
		key := effect(fmt.Sprint(i))
		if _, found := lookUp(t, c, AttachFile, key, tt.in); found {
			t.Errorf("%q is found before it was attached", tt.in.Name)
		}
		made := must[Attachment](t)(perform(t, c, AttachFile, key, tt.in))
		issue, _ := site.Issue("SIRT-1")
		if len(issue.Attachments) != i+1 {
			t.Fatalf("%q: the issue has %d files, want %d", tt.in.Name, len(issue.Attachments), i+1)
		}
		a := issue.Attachments[i]
		if a.Name != tt.name || a.MediaType != tt.mediaType || string(a.Content) != tt.content || made.Name != tt.name || made.Size != len(tt.content) || made.ID != a.ID {
			t.Errorf("%q: the site has %q, %q, %d bytes; the outcome is %+v", tt.in.Name, a.Name, a.MediaType, len(a.Content), made)
		}
		if found, ok := lookUp(t, c, AttachFile, key, tt.in); !ok || found != made {
			t.Errorf("%q: found %v: %+v, want %+v", tt.in.Name, ok, found, made)
		}
	}
}

// A lost answer is looked up by what the file is: neither its name alone, nor its
// size, nor somebody else's file proves anything.
func TestAttachFileLostAnswer(t *testing.T) { everywhere(t, testAttachFileLostAnswer) }

func testAttachFileLostAnswer(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	in := AttachFileInput{Issue: "SIRT-1", Name: "a.txt", Text: "abc"}
	other := in
	other.Text = "abd"
	must[Attachment](t)(perform(t, c, AttachFile, effect("o"), other))
	site.Next(jirafake.IsAttach, jirafake.Fault{Kind: jirafake.DropBefore})
	if _, err := perform(t, c, AttachFile, effect("a"), in); funnel.CodeOf(err) != funnel.Uncertain {
		t.Fatalf("the dropped request is %v", err)
	}
	if _, found := lookUp(t, c, AttachFile, effect("a"), in); found {
		t.Fatal("a file of the same name and size is taken for ours")
	}
	site.Next(jirafake.IsAttach, jirafake.Fault{Kind: jirafake.AnswerLost})
	if _, err := perform(t, c, AttachFile, effect("a"), in); funnel.CodeOf(err) != funnel.Uncertain {
		t.Fatalf("the lost answer is %v", err)
	}
	if found, ok := lookUp(t, c, AttachFile, effect("a"), in); !ok || found.Size != 3 {
		t.Errorf("found %v: %+v", ok, found)
	}
	if n := len(site.Journal(jirafake.KindAttach)); n != 2 {
		t.Errorf("%d files were attached, want 2", n)
	}
	c.account = "somebody-else"
	if _, found := lookUp(t, c, AttachFile, effect("a"), in); found {
		t.Error("a file of another account is taken for ours")
	}
	// What answers instead of Jira proves nothing.
	c.account = us(o)
	isContent := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/attachment/")
	}
	site.Always(isContent, jirafake.Fault{Kind: jirafake.HTML200})
	if _, _, err := c.findAttachment(t.Context(), effect("a"), in); funnel.CodeOf(err) != funnel.Unavailable {
		t.Errorf("a sign-in page instead of the file is %v", err)
	}
}

// What is wrong is refused before Jira is asked.
func TestAttachFileRefused(t *testing.T) {
	t.Parallel()
	asked := 0
	c := connectTo(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }), newClock().now)
	for what, in := range map[string]AttachFileInput{
		"issue": {Issue: "../x", Name: "a", Text: "x"}, "empty": {Issue: "SIRT-1", Name: "a"}, "both": {Issue: "SIRT-1", Name: "a", Text: "x", Base64: "eA=="},
		"base64": {Issue: "SIRT-1", Name: "a", Base64: "not base64"}, "large": {Issue: "SIRT-1", Name: "a", Text: strings.Repeat("x", maxFile+1)},
		"media type": {Issue: "SIRT-1", Name: "a", Text: "x", MediaType: "text"}, "header": {Issue: "SIRT-1", Name: "a", Text: "x", MediaType: "text/plain\r\nX-Evil: 1"},
	} {
		_, err := perform(t, c, AttachFile, effect("a"), in)
		if funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if asked != 0 {
		t.Errorf("Jira was asked %d times", asked)
	}
}

// Broken answers are no success, and nothing of them becomes a path.
func TestAttachFileBadAnswers(t *testing.T) {
	t.Parallel()
	in := AttachFileInput{Issue: "SIRT-1", Name: "a", Text: "x"}
	for name, body := range map[string]string{
		"html": "<html>", "null": "null", "none": "[]", "object": `{"id":"1"}`, "path": `[{"id":"../../x"}]`, "two": `[{"id":"1"},{"id":"2"}]`,
	} {
		c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }), newClock().now)
		if _, err := perform(t, c, AttachFile, effect("a"), in); funnel.CodeOf(err) != funnel.Uncertain {
			t.Errorf("%s: %v", name, err)
		}
	}
	var asked []string
	c := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"1","key":"SIRT-1","accountId":"me","fields":{"attachment":[
			{"id":"../../../x","filename":"a","size":1,"author":{"accountId":"me"},"content":"http://192.0.2.1/x"},
			{"id":"7","filename":"a","size":1,"author":{"accountId":"me"},"content":"http://192.0.2.1/x"}]}}`))
	}), newClock().now)
	if _, _, err := c.findAttachment(t.Context(), "", in); funnel.CodeOf(err) != funnel.Unavailable {
		t.Errorf("an answer that is not the file: %v", err)
	}
	if last := asked[len(asked)-1]; len(asked) != 3 || last != "/rest/api/3/attachment/content/7" {
		t.Errorf("asked for %q", asked)
	}
}

// Whatever a file is called, the name stays one, and survives the way.
func TestFileName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := fileName(rapid.String().Draw(t, "name"))
		if name == "" || units(name) > maxFileName || strings.ContainsAny(name, `/\:*?"<>|%;`) || strings.ContainsFunc(name, unicode.IsControl) || strings.Trim(name, ". ") != name {
			t.Fatalf("%q is no good name", name)
		}
		if again := fileName(name); again != name {
			t.Fatalf("%q becomes %q when cleaned again", name, again)
		}
	})
	if got := fileName(strings.Repeat("ä", 500) + ".csv"); units(got) != maxFileName || !strings.HasSuffix(got, "ä.csv") {
		t.Errorf("a long name becomes %q", got)
	}
}
