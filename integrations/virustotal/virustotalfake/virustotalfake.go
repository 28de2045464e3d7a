// Package virustotalfake simulates VirusTotal's API, version 3, for tests and
// the demo: reports on files, URLs, domains and IP addresses, API key, quotas,
// and misbehaviour on demand.
package virustotalfake

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options are the options of a server.
type Options struct {
	APIKey    string // what x-apikey must be; empty: anything but nothing
	Files     []File // what it knows
	URLs      []URL
	Domains   []Domain
	IPs       []IP
	PerMinute int           // look-ups in any Minute, TooManyRequestsError beyond; 0: no limit. A public key has 4
	Daily     int           // look-ups from 00:00 UTC on, QuotaExceededError beyond; 0: no limit. A public key has 500
	Minute    time.Duration // 0: 60 s; shorter for tests that run faster than life
	OneCode   bool          // the limit of the minute gives QuotaExceededError too, as the documentation allows
	Clock     func() time.Time
}

// Faults is how a server misbehaves. The first that is set counts; Latency
// comes on top.
type Faults struct {
	Down          bool   // breaks the connection without an answer
	Hang          bool   // takes the request and never answers
	Status        int    // answers with this status, and the error code that goes with it
	RetryAfter    string // the header of that answer
	HTML200       bool   // answers 200 with a page, as a captive portal does
	MalformedJSON bool   // answers 200 with JSON that breaks off
	WrongTypes    bool   // answers 200 with text where numbers should be
	Latency       time.Duration
}

// Lookup is a look-up that was processed: answered from what the server knows.
type Lookup struct {
	Kind  string // "file", "url", "domain" or "ip_address"
	ID    string // as asked, in lower case; of a URL as asked
	Found bool
	At    time.Time
}

// Server is a simulated VirusTotal. It is an http.Handler.
type Server struct {
	options Options
	known   map[[2]string]func(time.Time) map[string]any // kind and identifier to object; a file has three identifiers, a URL two

	mu      sync.Mutex
	faults  Faults
	journal []Lookup
	refused []Lookup
}

// New returns a server.
func New(options Options) *Server {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	if options.Minute <= 0 {
		options.Minute = time.Minute
	}
	s := &Server{options: options, known: map[[2]string]func(time.Time) map[string]any{}}
	for _, f := range options.Files {
		for _, hash := range []string{f.MD5, f.SHA1, f.SHA256} {
			if hash != "" {
				s.known[[2]string{"file", strings.ToLower(hash)}] = f.object
			}
		}
	}
	for _, u := range options.URLs {
		for _, name := range u.names() {
			s.known[[2]string{"url", name}] = u.object
		}
	}
	for _, d := range options.Domains {
		s.known[[2]string{"domain", strings.ToLower(d.Name)}] = d.object
	}
	for _, i := range options.IPs {
		s.known[[2]string{"ip_address", strings.ToLower(i.IP)}] = i.object
	}
	return s
}

// Misbehave sets how the server misbehaves from now on; Faults{} ends it.
func (s *Server) Misbehave(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Journal returns the look-ups that were processed, in their order. What was
// refused or misbehaved about is not among them.
func (s *Server) Journal() []Lookup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Lookup(nil), s.journal...)
}

// Refused returns the look-ups that were refused because there were too many.
func (s *Server) Refused() []Lookup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Lookup(nil), s.refused...)
}

// collections are the paths below /api/v3/ and the kinds of objects in them.
var collections = map[string]string{"files": "file", "urls": "url", "domains": "domain", "ip_addresses": "ip_address"}

// asked returns the kind and the identifier that a path asks for. Only of URLs
// does the identifier's case count.
func asked(path string) (kind, id string) {
	collection, id, _ := strings.Cut(strings.TrimPrefix(path, "/api/v3/"), "/")
	kind = collections[collection]
	if kind != "url" {
		id = strings.ToLower(id)
	}
	return kind, id
}

// ServeHTTP answers GET /api/v3/{files,urls,domains,ip_addresses}/{id}.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	faults := s.faults
	s.mu.Unlock()
	if faults.interfere(w, r) {
		return
	}
	key := r.Header.Get("X-Apikey")
	kind, id := asked(r.URL.Path)
	switch {
	case key == "":
		fail(w, http.StatusUnauthorized, "AuthenticationRequiredError", "X-Apikey header is missing")
	case s.options.APIKey != "" && subtle.ConstantTimeCompare([]byte(key), []byte(s.options.APIKey)) != 1:
		fail(w, http.StatusUnauthorized, "WrongCredentialsError", "Wrong API key")
	case kind == "" || id == "" || strings.Contains(id, "/"):
		fail(w, http.StatusNotFound, "NotFoundError", "Resource not found.")
	case r.Method != http.MethodGet:
		fail(w, http.StatusMethodNotAllowed, "BadRequestError", "Method not allowed")
	default:
		s.look(w, kind, id)
	}
}

func (s *Server) look(w http.ResponseWriter, kind, id string) {
	object, found := s.known[[2]string{kind, id}]
	now := s.options.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var minute, day int
	for _, l := range s.journal {
		if now.Sub(l.At) < s.options.Minute {
			minute++
		}
		if l.At.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
			day++
		}
	}
	switch {
	case s.options.Daily > 0 && day >= s.options.Daily:
		s.refused = append(s.refused, Lookup{Kind: kind, ID: id, Found: found, At: now})
		fail(w, http.StatusTooManyRequests, "QuotaExceededError", "Quota exceeded")
		return
	case s.options.PerMinute > 0 && minute >= s.options.PerMinute:
		s.refused = append(s.refused, Lookup{Kind: kind, ID: id, Found: found, At: now})
		if s.options.OneCode {
			fail(w, http.StatusTooManyRequests, "QuotaExceededError", "Quota exceeded")
			return
		}
		fail(w, http.StatusTooManyRequests, "TooManyRequestsError", "Too many requests")
		return
	}
	s.journal = append(s.journal, Lookup{Kind: kind, ID: id, Found: found, At: now})
	if !found {
		fail(w, http.StatusNotFound, "NotFoundError", fmt.Sprintf("%s %q not found", kind, id))
		return
	}
	write(w, http.StatusOK, map[string]any{"data": object(now)})
}

// fail answers with an error in VirusTotal's form
// (docs.virustotal.com/reference/errors).
func fail(w http.ResponseWriter, status int, code, message string) {
	write(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "    ")
	_ = enc.Encode(v) // the client may be gone
}
