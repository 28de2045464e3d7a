package jirafake

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attachment is a file on an issue. It is never changed.
type attachment struct {
	id        int64
	name      string
	mediaType string
	content   []byte
	author    Person
	created   time.Time
}

// Attachment is a copy of a file on an issue for tests.
type Attachment struct {
	ID, Name, MediaType string
	Content             []byte
	Author              Person
}

// postAttachments takes files as a form, each in a field "file", and answers with a list also for a single one.
func (s *Site) postAttachments(c *call) reply {
	if c.r.Header.Get("X-Atlassian-Token") != "no-check" { // a form without it could be sent by any page in a browser
		return reply{status: http.StatusForbidden, header: http.Header{"Content-Type": {"text/html;charset=UTF-8"}}, raw: []byte("XSRF check failed")}
	}
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return failure(http.StatusUnsupportedMediaType, "Unsupported Media Type")
	}
	files, complaint := readForm(multipart.NewReader(newBody(c.body), params["boundary"]))
	if complaint != "" {
		return failure(http.StatusBadRequest, complaint)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.find(c.r.PathValue("key"))
	if is == nil {
		return noIssue()
	}
	if rep, ok := s.limitWrites(is); !ok {
		return rep
	}
	w, list, log := c.wire(), []obj{}, []obj{}
	for _, a := range files {
		a.id, a.author, a.created = s.nextID(), s.opt.Account, s.opt.Now()
		is.files = append(slices.Clip(is.files), a)
		list = append(list, w.attachment(a))
		log = append(log, obj{"field": "Attachment", "fieldtype": "jira", "fieldId": "attachment", "from": nil, "fromString": nil, "to": strconv.FormatInt(a.id, 10), "toString": a.name})
	}
	s.touch(is)
	s.record(c, Entry{Kind: KindAttach, IssueKey: is.key})
	c.events = append(c.events, s.issueEvent("jira:issue_updated", "issue_updated", is, s.opt.Account, log))
	return reply{status: http.StatusOK, value: list}
}

// readForm returns the form's files, or Jira's complaint.
func readForm(form *multipart.Reader) (files []*attachment, complaint string) {
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, "The form cannot be read."
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, "The form cannot be read."
		}
		if part.FormName() != "file" {
			continue
		}
		name := part.FileName() // without directories
		if name == "" || strings.ContainsAny(name, `\/:*?"<>|`) {
			return nil, fmt.Sprintf("The file name '%s' contains an invalid character.", strings.ToValidUTF8(name, "?"))
		}
		files = append(files, &attachment{name: name, mediaType: orDefault(part.Header.Get("Content-Type"), "application/octet-stream"), content: content})
	}
	if len(files) == 0 {
		return nil, "No file was attached: the form has no field 'file'."
	}
	return files, ""
}

// file returns the attachment of the request's id, or nil. The caller holds the lock.
func (s *Site) file(r *http.Request) *attachment {
	for _, is := range s.order {
		for _, a := range is.files {
			if strconv.FormatInt(a.id, 10) == r.PathValue("id") {
				return a
			}
		}
	}
	return nil
}

func noAttachment(r *http.Request) reply {
	return failure(http.StatusNotFound, fmt.Sprintf("The attachment with id '%s' does not exist", strings.ToValidUTF8(r.PathValue("id"), "?")))
}

func (s *Site) getAttachment(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.file(c.r)
	if a == nil {
		return noAttachment(c.r)
	}
	out := c.wire().attachment(a)
	out["id"] = a.id // here a number, elsewhere a string, as Atlassian's document has it
	return reply{status: http.StatusOK, value: out}
}

// getContent answers with a redirect unless it is told not to.
func (s *Site) getContent(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.file(c.r)
	switch {
	case a == nil:
		return noAttachment(c.r)
	case c.r.URL.Query().Get("redirect") != "false":
		return reply{status: http.StatusSeeOther, header: http.Header{"Location": {s.base() + a.page()}}}
	}
	return reply{status: http.StatusOK, header: a.header(), raw: a.content}
}

// getFile is the page of a file for a client with a token.
func (s *Site) getFile(c *call) reply {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.file(c.r)
	if a == nil {
		return reply{status: http.StatusNotFound, header: http.Header{"Content-Type": {"text/html;charset=UTF-8"}}, raw: []byte("<title>Not found</title>")}
	}
	return reply{status: http.StatusOK, header: a.header(), raw: a.content}
}

// page is where people get the file.
func (a *attachment) page() string {
	return "/secure/attachment/" + strconv.FormatInt(a.id, 10) + "/" + url.PathEscape(a.name)
}

func (a *attachment) header() http.Header {
	return http.Header{
		"Content-Type":        {a.mediaType},
		"Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": a.name})},
	}
}

// filePage gives a file to a browser, which stores it and never shows it.
func (s *Site) filePage(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	a := s.file(r)
	s.mu.RUnlock()
	if a == nil {
		s.missingPage(w, r)
		return
	}
	secure(w, "application/octet-stream")
	w.Header()["Content-Disposition"] = a.header()["Content-Disposition"]
	w.Write(a.content)
}

func (w wire) attachment(a *attachment) obj {
	id := strconv.FormatInt(a.id, 10)
	content := w.self("attachment", "content", id)
	if w.dataCenter {
		content = w.root + a.page()
	}
	return obj{
		"self": w.self("attachment", id), "id": id, "filename": a.name, "author": w.author(a.author), "created": a.created.Format(stamp),
		"size": len(a.content), "mimeType": a.mediaType, "content": content,
	}
}

// fileView is a file as the page of its issue shows it.
type fileView struct {
	Name, Size, Address string
	Created             timeView
}

func (s *Site) fileViews(files []*attachment) []fileView {
	var views []fileView
	for _, a := range files {
		views = append(views, fileView{Name: a.name, Size: sizeText(len(a.content)), Address: a.page(), Created: s.timeView(a.created)})
	}
	return views
}

func sizeText(n int) string {
	if n < 1024 {
		return strconv.Itoa(n) + " B"
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/1024)
}
