package splunkfake

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Link returns the address of a search job's results on Splunk's pages.
func Link(web, sid string) string {
	return strings.TrimSuffix(web, "/") + "/app/search/@go?sid=" + url.QueryEscape(sid)
}

// maxJobs bounds how many search jobs a Search keeps; the oldest goes.
const maxJobs = 1000

// Search is the page that a ticket's link to Splunk opens:
// GET /app/search/@go?sid=… shows the rows of the search job.
type Search struct {
	mu     sync.Mutex
	order  []string
	alerts map[string][]Alert
}

// NewSearch returns a page that knows no search job.
func NewSearch() *Search { return &Search{alerts: map[string][]Alert{}} }

// Add adds an alert's row to its search job.
func (s *Search) Add(a Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.alerts[a.SID]; !known {
		s.order = append(s.order, a.SID)
		if len(s.order) > maxJobs {
			delete(s.alerts, s.order[0])
			s.order = slices.Delete(s.order, 0, 1)
		}
	}
	s.alerts[a.SID] = append(s.alerts[a.SID], a)
}

// ServeHTTP serves the page.
func (s *Search) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash()+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.URL.Path != "/app/search/@go" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	sid := r.URL.Query().Get("sid")
	s.mu.Lock()
	alerts := slices.Clone(s.alerts[sid])
	s.mu.Unlock()
	view := view{SID: sid}
	for _, a := range alerts {
		view.Search = a.Search
		view.Rows = append(view.Rows, fields(a.Row))
	}
	var b bytes.Buffer
	if err := page.Execute(&b, view); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	if len(alerts) == 0 {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = b.WriteTo(w)
}

type view struct {
	SID, Search string
	Rows        [][]field
}

type field struct{ Name, Value string }

// fields returns the fields of a row by name, the internal ones last.
func fields(row map[string]any) []field {
	list := make([]field, 0, len(row))
	for name, value := range row {
		list = append(list, field{name, text(value)})
	}
	slices.SortFunc(list, func(a, b field) int {
		if x, y := strings.HasPrefix(a.Name, "_"), strings.HasPrefix(b.Name, "_"); x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case []string:
		return strings.Join(v, ", ")
	}
	return fmt.Sprint(value)
}

const style = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin-bottom:0}
p{margin-top:.25rem;opacity:.75}
table{border-collapse:collapse;width:100%;margin:1.5rem 0}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem;border-bottom:1px solid #8886;overflow-wrap:anywhere}
th{width:14rem;font-weight:600}
td{font-family:ui-monospace,monospace;font-size:.9rem}`

// styleHash names the page's style for its content security policy.
func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var page = template.Must(template.New("search").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{or .Search "Search"}} · Splunk (simulated)</title>
<style>` + style + `</style>
</head>
<body>
<main>
<h1>{{or .Search "Search"}}</h1>
<p>Splunk, simulated by Funnel's demo · search job {{.SID}}</p>
{{range .Rows}}<table>
{{range .}}<tr><th scope="row">{{.Name}}</th><td>{{.Value}}</td></tr>
{{end}}</table>
{{else}}<p>This search job is not known here, or it has expired.</p>
{{end}}</main>
</body>
</html>
`))
