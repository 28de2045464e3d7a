package jirafake

import (
	"bytes"
	"embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxRows is how many tickets the list shows.
const maxRows = 200

//go:embed assets
var assets embed.FS

var templates = template.Must(template.ParseFS(assets, "assets/*.html"))

// pagePolicy lets the pages load their own style sheet and icon, and nothing else.
const pagePolicy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageRoutes are the pages for people. They need no sign-in.
func (s *Site) pageRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.listPage)
	mux.HandleFunc("GET /browse", s.listPage)
	mux.HandleFunc("GET /browse/{key}", s.issuePage)
	mux.HandleFunc("GET /secure/attachment/{id}/{name}", s.filePage)
	mux.HandleFunc("GET /style.css", asset("style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /favicon.svg", asset("favicon.svg", "image/svg+xml"))
	mux.HandleFunc("/", s.missingPage)
	return mux
}

func asset(name, contentType string) http.HandlerFunc {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // embedded
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		secure(w, contentType)
		w.Write(b)
	}
}

func secure(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

func show(w http.ResponseWriter, code int, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "building the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	secure(w, "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

// frame is what every page shows.
type frame struct {
	Title          string
	IsList, Paused bool
}

func newFrame(r *http.Request, title string) frame {
	return frame{Title: title + " – simulated Jira", Paused: r.URL.Query().Has("pause")}
}

type statusView struct{ Name, Class string }

type personView struct {
	Name, Initials string
	Color          int
	Robot          bool // the account behind the API token
}

type timeView struct{ Machine, Full, Ago string }

type commentView struct {
	Author  personView
	Created timeView
	Edited  *timeView
	Body    template.HTML
}

type linkView struct {
	Relation, Key, Summary string
	Status                 statusView
}

type ticketView struct {
	Key, Summary, Type, TypeClass, Priority string
	Status                                  statusView
	Reporter                                personView
	Created, Updated                        timeView
	Labels                                  []string
}

type issueView struct {
	frame
	ticketView
	Project     string
	Description template.HTML
	Links       []linkView
	Files       []fileView
	Comments    []commentView
}

type rowView struct {
	ticketView
	Comments int
}

type listView struct {
	frame
	Total, Hidden int
	Rows          []rowView
}

func (s *Site) missingPage(w http.ResponseWriter, r *http.Request) {
	show(w, http.StatusNotFound, "missing.html", newFrame(r, "Not found"))
}

func (s *Site) listPage(w http.ResponseWriter, r *http.Request) {
	v := listView{frame: newFrame(r, "Tickets")}
	v.IsList = true
	s.mu.RLock()
	v.Total = len(s.order)
	v.Hidden = max(0, v.Total-maxRows)
	for i := v.Total - 1; i >= v.Hidden; i-- {
		v.Rows = append(v.Rows, rowView{s.ticketView(s.order[i]), len(s.order[i].comments)})
	}
	s.mu.RUnlock()
	show(w, http.StatusOK, "list.html", v)
}

func (s *Site) issuePage(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	is := s.find(r.PathValue("key"))
	if is == nil {
		s.mu.RUnlock()
		s.missingPage(w, r)
		return
	}
	v := issueView{frame: newFrame(r, is.key+" "+is.summary), ticketView: s.ticketView(is), Project: is.project.name}
	for _, l := range is.links {
		other, relation := l.target, l.kind.outward
		if other == is {
			other, relation = l.source, l.kind.inward
		}
		v.Links = append(v.Links, linkView{relation, other.key, other.summary, newStatusView(other.status)})
	}
	v.Files = s.fileViews(is.files)
	description, comments := is.description, is.comments // never changed in place
	s.mu.RUnlock()

	v.Description = renderHTML(description)
	for _, c := range comments {
		cv := commentView{Author: s.personView(c.author), Created: s.timeView(c.created), Body: renderHTML(c.body)}
		if c.updated.After(c.created) {
			t := s.timeView(c.updated)
			cv.Edited = &t
		}
		v.Comments = append(v.Comments, cv)
	}
	show(w, http.StatusOK, "issue.html", v)
}

func (s *Site) ticketView(is *issue) ticketView {
	return ticketView{
		Key: is.key, Summary: is.summary, Type: is.kind, TypeClass: strings.ToLower(is.kind), Priority: is.priority,
		Status: newStatusView(is.status), Reporter: s.personView(is.creator), Labels: is.labels,
		Created: s.timeView(is.created), Updated: s.timeView(is.updated),
	}
}

func newStatusView(st *status) statusView {
	class := map[string]string{"new": "neutral", "indeterminate": "blue", "done": "green"}[st.category.key]
	return statusView{st.name, class}
}

func (s *Site) personView(p Person) personView {
	h := fnv.New32a()
	fmt.Fprint(h, p.AccountID)
	v := personView{Name: p.DisplayName, Initials: initials(p.DisplayName), Robot: p.AccountID == s.opt.Account.AccountID}
	if v.Color = 1 + int(h.Sum32()%7); v.Robot {
		v.Color = 0
	}
	return v
}

// initials are the first letters of the first and the last word.
func initials(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return "?"
	}
	first, _ := utf8.DecodeRuneInString(words[0])
	if len(words) == 1 {
		return strings.ToUpper(string(first))
	}
	last, _ := utf8.DecodeRuneInString(words[len(words)-1])
	return strings.ToUpper(string(first) + string(last))
}

func (s *Site) timeView(t time.Time) timeView {
	return timeView{
		Machine: t.UTC().Format(time.RFC3339), Full: t.Format("2 January 2006 15:04:05 MST"), Ago: ago(s.opt.Now().Sub(t)),
	}
}

func ago(d time.Duration) string {
	plural := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, unit)
	}
	switch {
	case d < 10*time.Second:
		return "just now"
	case d < time.Minute:
		return plural(int(d/time.Second), "second")
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 24*time.Hour:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/(24*time.Hour)), "day")
}
