package jira

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"

	"github.com/funnelsec/funnel"
)

// maxFile is the largest file in bytes. An input is journalled with its step and
// travels as base64 in a request of at most 1 MiB, so the bound is not Jira's own.
const maxFile = 512 << 10

// maxFileName is the longest name of a file, in UTF-16 units.
const maxFileName = 120

// AttachFileInput is the input of jira.attach_file. The content is given as text
// or as base64, and has at most 512 KiB: it is journalled with the step.
type AttachFileInput struct {
	Issue     string `json:"issue" doc:"Key of the issue" example:"SIRT-1" pattern:"^[A-Z][A-Z0-9_]+-[0-9]+$"`
	Name      string `json:"name" minLength:"1" maxLength:"255" doc:"Name of the file. What a path or a header could be made of becomes an underscore, and it is cut to 120 characters" example:"results.csv"`
	Text      string `json:"text,omitempty" doc:"The content, if it is text" example:"user,host\njdoe,WS-0142\n"`
	Base64    string `json:"base64,omitempty" doc:"The content in base64 (RFC 4648), if it is not text"`
	MediaType string `json:"media_type,omitempty" maxLength:"100" doc:"What it is; text/plain or application/octet-stream if empty" example:"text/csv"`
}

// Attachment is a file on an issue in Jira.
type Attachment struct {
	ID     string `json:"id" doc:"ID of the attachment" example:"10000"`
	Issue  string `json:"issue" doc:"Key of the issue" example:"SIRT-1"`
	Name   string `json:"name" doc:"Name of the file on the issue" example:"results.csv"`
	Size   int    `json:"size" doc:"Size in bytes" example:"25"`
	SHA256 string `json:"sha256" doc:"SHA-256 of the content in hexadecimal digits"`
	URL    string `json:"url" doc:"Page of the issue for people"`
}

// attachmentBean is the part of Jira's attachment that is read.
type attachmentBean struct {
	ID       string
	Filename string
	Size     int
	Author   person
}

// file is what a request uploads.
type file struct {
	name, mediaType string
	content         []byte
}

// AttachFile puts a file on an issue, each time it is asked to. Jira keeps several
// files of one name side by side.
func (c *Client) AttachFile(ctx context.Context, in AttachFileInput) (Attachment, error) {
	f, err := fileOf(in)
	if err != nil {
		return Attachment{}, err
	}
	var made []attachmentBean
	k := call{what: "attaching a file to " + in.Issue, method: http.MethodPost, path: []string{"issue", in.Issue, "attachments"}, file: &f, want: http.StatusOK, into: &made}
	switch err := c.do(ctx, k); {
	case err != nil:
		return Attachment{}, err
	case len(made) != 1 || !isID(made[0].ID):
		return Attachment{}, k.unreadable("it is not one attachment with an id")
	}
	return c.attachment(in.Issue, made[0].ID, f), nil
}

func (c *Client) attachment(issue, id string, f file) Attachment {
	sum := sha256.Sum256(f.content)
	return Attachment{ID: id, Issue: issue, Name: f.name, Size: len(f.content), SHA256: hex.EncodeToString(sum[:]), URL: c.issueURL(issue)}
}

// maxCompared is how many files of one name and size are compared with ours.
const maxCompared = 20

// findAttachment looks an unsure file up: the issue has one of our account with
// the same name and the same content. Which of several steps put it there does
// not matter, for a second one would say nothing new.
func (c *Client) findAttachment(ctx context.Context, _ funnel.EffectKey, in AttachFileInput) (Attachment, bool, error) {
	f, err := fileOf(in)
	if err != nil {
		return Attachment{}, false, err
	}
	account, err := c.Account(ctx)
	if err != nil {
		return Attachment{}, false, err
	}
	what := "reading the files of " + in.Issue
	bean, err := c.readIssue(ctx, what, in.Issue, []string{"attachment"})
	if err != nil {
		return Attachment{}, false, err
	}
	compared := 0
	for _, a := range bean.Fields.Attachment {
		if a.Filename != f.name || a.Size != len(f.content) || a.Author.id() != account || !isID(a.ID) {
			continue
		}
		if compared++; compared > maxCompared {
			return Attachment{}, false, funnel.Errorf(funnel.Conflict, "%s: more than %d have the name and the size of the one that is looked for", what, maxCompared)
		}
		content, err := c.readAttachment(ctx, what, a)
		switch {
		case funnel.CodeOf(err) == funnel.NotFound: // deleted meanwhile
		case err != nil:
			return Attachment{}, false, err
		case bytes.Equal(content, f.content):
			return c.attachment(in.Issue, a.ID, f), true, nil
		}
	}
	return Attachment{}, false, nil
}

// readAttachment returns the content of a file that has the name of ours. Its
// address is built here, never taken from an answer.
func (c *Client) readAttachment(ctx context.Context, what string, a attachmentBean) ([]byte, error) {
	var content []byte
	k := call{what: what, method: http.MethodGet, want: http.StatusOK, raw: &content}
	c.dialect.content(&k, a)
	err := c.do(ctx, k)
	if err == nil && len(content) != a.Size { // a sign-in page, for example, does not prove that the file is another
		err = k.unreadable("it is not the file")
	}
	return content, err
}

// fileOf checks the input.
func fileOf(in AttachFileInput) (file, error) {
	what := "attaching a file"
	if err := checkIssue(what, in.Issue); err != nil {
		return file{}, err
	}
	f := file{name: fileName(in.Name), mediaType: in.MediaType, content: []byte(in.Text)}
	usual := "text/plain; charset=utf-8"
	if in.Base64 != "" {
		if in.Text != "" {
			return file{}, funnel.Errorf(funnel.Invalid, "%s: text stands beside base64: give one of them", what)
		}
		content, err := base64.StdEncoding.DecodeString(in.Base64)
		if err != nil {
			return file{}, funnel.Errorf(funnel.Invalid, "%s: base64 is not base64 with padding", what)
		}
		f.content, usual = content, "application/octet-stream"
	}
	if f.mediaType == "" {
		f.mediaType = usual
	}
	kind, parameters, err := mime.ParseMediaType(f.mediaType)
	if err == nil {
		f.mediaType = mime.FormatMediaType(kind, parameters)
	}
	switch {
	case err != nil || !strings.Contains(kind, "/") || f.mediaType == "":
		return file{}, funnel.Errorf(funnel.Invalid, "%s: media_type is not one, such as text/csv", what)
	case len(f.content) == 0:
		return file{}, funnel.Errorf(funnel.Invalid, "%s: there is no content: give text or base64", what)
	case len(f.content) > maxFile:
		return file{}, funnel.Errorf(funnel.Invalid, "%s: the content has %d bytes; at most %d are taken", what, len(f.content), maxFile)
	}
	return f, nil
}

// fileName makes a text fit for the name of a file: one line without the
// characters that Jira refuses or that a path or a header is made of, no leading
// or final dots, and short, with its ending kept.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|%;`, r) {
			return '_'
		}
		return r
	}, oneLine(visible(name)))
	name = strings.Trim(name, ". ")
	if name == "" {
		return "attachment"
	}
	if units(name) <= maxFileName {
		return name
	}
	ending := path.Ext(name)
	if units(ending) > 12 {
		ending = ""
	}
	return strings.TrimRight(fitting(strings.TrimSuffix(name, ending), maxFileName-units(ending)), ". ") + ending
}

// form returns the file as a form's body and the body's media type. Jira takes
// the field of the name "file".
func (f file) form() (body []byte, mediaType string, err error) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", `form-data; name="file"; filename="`+f.name+`"`) // fileName leaves no quotation mark and no backslash
	header.Set("Content-Type", f.mediaType)
	part, err := form.CreatePart(header)
	if err == nil {
		_, err = part.Write(f.content)
	}
	if err == nil {
		err = form.Close()
	}
	return b.Bytes(), form.FormDataContentType(), err
}
