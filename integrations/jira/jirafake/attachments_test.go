package jirafake_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// attach posts one file as a browser or a client would.
func (s *site) attach(issue, name, mediaType, content string, header ...string) (int, http.Header, []byte) {
	s.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="` + name + `"`}, "Content-Type": {mediaType}})
	if err != nil {
		s.t.Fatal(err)
	}
	io.WriteString(part, content)
	form.Close()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.server.URL+"/rest/api/"+map[bool]string{false: "3", true: "2"}[s.dataCenter]+"/issue/"+issue+"/attachments", &b)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sign(req)
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("X-Atlassian-Token", "no-check")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.server.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, answer
}

func TestAttachments(t *testing.T) {
	t.Parallel()
	s := start(t, jirafake.Options{})
	s.create("one")
	for name, tt := range map[string]struct {
		issue, file string
		header      []string
		status      int
	}{
		"forged":   {"SIRT-1", "a", []string{"X-Atlassian-Token", "yes"}, 403},
		"no form":  {"SIRT-1", "a", []string{"Content-Type", "application/json"}, 415},
		"no issue": {"SIRT-9", "a", nil, 404},
		"name":     {"SIRT-1", "a<b>", nil, 400},
	} {
		if status, _, answer := s.attach(tt.issue, tt.file, "text/plain", "x", tt.header...); status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", name, status, tt.status, answer)
		}
	}
	status, _, answer := s.attach("SIRT-1", "script.html", "text/html", "<script>alert(1)</script>")
	var made []struct {
		ID, Filename, MimeType, Content string
		Size                            int
	}
	if status != 200 || json.Unmarshal(answer, &made) != nil || len(made) != 1 || made[0].Filename != "script.html" || made[0].Size != 25 {
		t.Fatalf("status %d: %s", status, answer)
	}
	issue := first(s.Issue("SIRT-1"))
	if len(issue.Attachments) != 1 || string(issue.Attachments[0].Content) != "<script>alert(1)</script>" {
		t.Fatalf("%+v", issue.Attachments)
	}
	content := strings.TrimPrefix(made[0].Content, s.server.URL)
	if status, _, b := s.send("GET", content+"?redirect=false", nil); status != 200 || string(b) != "<script>alert(1)</script>" {
		t.Errorf("content: status %d: %s", status, b)
	}
	// Without the parameter it leads to the page for people, which lets no browser run it.
	status, header, b := s.send("GET", content, nil)
	if status != 200 || string(b) != "<script>alert(1)</script>" || header.Get("Content-Type") != "application/octet-stream" ||
		!strings.HasPrefix(header.Get("Content-Disposition"), "attachment") || header.Get("Content-Security-Policy") == "" {
		t.Errorf("file for people: status %d, %v: %s", status, header, b)
	}
	if _, _, page := s.send("GET", "/browse/SIRT-1", nil); !strings.Contains(string(page), ">script.html</a>") || !strings.Contains(string(page), "25 B") {
		t.Errorf("the issue's page does not show the file: %s", page)
	}
	if n := len(s.Journal(jirafake.KindAttach)); n != 1 {
		t.Errorf("%d attachments in the journal, want 1", n)
	}
	if got := must[struct {
		Fields struct{ Attachment []struct{ Filename string } }
	}](s, 200, "GET", "/rest/api/3/issue/SIRT-1?fields=attachment", nil); len(got.Fields.Attachment) != 1 {
		t.Errorf("the issue lists %+v", got.Fields.Attachment)
	}
	if status, _, _ := s.send("GET", "/rest/api/3/attachment/content/999", nil); status != 404 {
		t.Errorf("absent content: status %d", status)
	}
}
