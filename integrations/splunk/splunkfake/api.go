package splunkfake

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// APIOptions are the options of an API.
type APIOptions struct {
	Token    string // what "Authorization: Bearer" must hold
	User     string // who may log in, beside the token
	Password string
	Version  string           // of Splunk; empty: 9.4.1. Before 9.0.1 the second generation of the API is not there
	Cloud    bool             // tells that it is Splunk Cloud
	OnlyV2   bool             // the first generation of the API is switched off
	Jobs     []Job            // that are there at the start
	Events   []map[string]any // what searches find, newest first
	Clock    func() time.Time
	JobTTL   time.Duration // how long the job of a Firing is there; 0: for ever
	AlertTTL time.Duration // how long a triggered alert is listed; 0: for ever
	NoDash   bool          // the list of triggered alerts has no "-" for all
}

// Job is a search job that the API knows. Its zero value is done and has no rows.
type Job struct {
	SID    string
	Search string // name of the saved search; empty: an ad-hoc search
	App    string // empty: search
	Owner  string // empty: admin
	Each   bool   // the saved search sends an alert for each result
	Hidden bool   // the saved search cannot be read with the token
	Rows   []map[string]any

	Silent   int    // how many times it is asked for before it is there: 204
	Slow     int    // how many times it is asked for before it is done
	Failed   string // it failed, for this reason
	RealTime bool   // it never ends

	Expires time.Time // when it is gone; zero: never
}

// Call is a request that the API processed. What was refused, or misbehaved about,
// is not among them.
type Call struct {
	Kind   string // login, info, context, job, results, preview, create, oneshot, cancel, saved, fired
	V2     bool   // by the second generation of the API
	SID    string
	Offset int
	Count  int
	Search string            // as sent
	Parsed string            // as read, see parse: with every value in quotes
	Form   map[string]string // other parameters of a search
	Found  bool
	At     time.Time
}

// API is a simulated REST API of Splunk's management port. It is an
// http.Handler. Its shapes are those of the vendor's reference and SDKs.
type API struct {
	options APIOptions

	mu       sync.Mutex
	jobs     map[string]*Job
	order    []string
	sessions map[string]bool
	faults   []Faults
	journal  []Call
	made     int
	fired    []firedAlert
}

// NewAPI returns an API.
func NewAPI(options APIOptions) *API {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	if options.Version == "" {
		options.Version = "9.4.1"
	}
	a := &API{options: options, jobs: map[string]*Job{}, sessions: map[string]bool{}}
	for _, j := range options.Jobs {
		a.Add(j)
	}
	return a
}

// Add makes a search job known; rows of one that is known are added to it.
func (a *API) Add(j Job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.jobs[j.SID]; known != nil {
		known.Rows = append(known.Rows, j.Rows...)
		return
	}
	a.jobs[j.SID] = &j
	if a.order = append(a.order, j.SID); len(a.order) > maxJobs {
		delete(a.jobs, a.order[0])
		a.order = slices.Delete(a.order, 0, 1)
	}
}

// Expire makes a search job unknown, as Splunk does after its time to live.
func (a *API) Expire(sid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.jobs, sid)
}

// Known returns how many search jobs there are.
func (a *API) Known() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.jobs)
}

// Journal returns what was processed, in its order.
func (a *API) Journal() []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Call(nil), a.journal...)
}

func (a *API) note(c Call) {
	c.At = a.options.Clock()
	a.journal = append(a.journal, c)
}

// request is a request with what its path says.
type request struct {
	*http.Request
	path []string // unescaped, below the name space
	v2   bool
	sid  string
	form url.Values // of the query and the body
}

// read understands the path; ok is false if there is no such address.
func (a *API) read(r *http.Request) (q request, ok bool) {
	q = request{Request: r}
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	if r.ParseForm() != nil {
		return q, false
	}
	q.form = r.Form
	for segment := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return q, false
		}
		q.path = append(q.path, plain)
	}
	switch {
	case q.path[0] == "services":
		q.path = q.path[1:]
	case q.path[0] == "servicesNS" && len(q.path) > 3:
		q.path = q.path[3:]
	default:
		return q, false
	}
	if len(q.path) > 2 && q.path[0] == "search" && (q.path[1] == "v2" || q.path[1] == "v1") {
		q.v2 = q.path[1] == "v2"
		q.path = append([]string{"search"}, q.path[2:]...)
		if q.v2 && a.old() {
			return q, false
		}
	}
	if len(q.path) > 2 && q.path[0] == "search" && q.path[1] == "jobs" {
		q.sid = q.path[2]
	}
	return q, true
}

// old reports whether this Splunk lacks the second generation of the API.
func (a *API) old() bool {
	major, _, _ := strings.Cut(a.options.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < 9 || strings.HasPrefix(a.options.Version, "9.0.0")
}

// ServeHTTP answers.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, ok := a.read(r)
	if a.interfere(w, q) {
		return
	}
	if ok && strings.Join(q.path, "/") == "auth/login" {
		a.login(w, q)
		return
	}
	if !a.authentic(r) {
		fail(w, http.StatusUnauthorized, "WARN", "call not properly authenticated")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	kind := q.kind()
	if !ok || kind == "" || !q.v2 && a.options.OnlyV2 && q.path[0] == "search" {
		fail(w, http.StatusNotFound, "ERROR", "Not Found")
		return
	}
	if want := q.method(kind); r.Method != want {
		w.Header().Set("Allow", want)
		fail(w, http.StatusMethodNotAllowed, "FATAL", "Method Not Allowed")
		return
	}
	a.alive()
	a.answer(w, q, kind)
}

// kind names what is asked for, "" for nothing that is there.
func (q request) kind() string {
	switch path := strings.Join(q.path, "/"); path {
	case "server/info":
		return "info"
	case "authentication/current-context":
		return "context"
	case "search/jobs":
		if strings.EqualFold(q.form.Get("exec_mode"), "oneshot") {
			return "oneshot"
		}
		return "create"
	}
	switch {
	case (len(q.path) == 2 || len(q.path) == 3) && q.path[0] == "alerts" && q.path[1] == "fired_alerts":
		return "fired"
	case len(q.path) == 3 && q.path[0] == "saved" && q.path[1] == "searches":
		return "saved"
	case q.sid == "":
		return ""
	case len(q.path) == 3:
		return "job"
	case len(q.path) != 4:
		return ""
	case q.path[3] == "results":
		return "results"
	case q.path[3] == "results_preview":
		return "preview"
	case q.path[3] == "control":
		return "cancel"
	}
	return ""
}

// method returns the method of a kind; results of the second generation are asked
// for by POST.
func (q request) method(kind string) string {
	switch kind {
	case "create", "oneshot", "cancel":
		return http.MethodPost
	case "results", "preview":
		if q.v2 {
			return http.MethodPost
		}
	}
	return http.MethodGet
}

func (a *API) authentic(r *http.Request) bool {
	kind, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch kind {
	case "Bearer":
		return a.options.Token != "" && subtle.ConstantTimeCompare([]byte(credential), []byte(a.options.Token)) == 1
	case "Splunk":
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.sessions[credential]
	}
	user, password, basic := r.BasicAuth()
	return basic && a.may(user, password)
}

func (a *API) may(user, password string) bool {
	return a.options.User != "" && user == a.options.User && subtle.ConstantTimeCompare([]byte(password), []byte(a.options.Password)) == 1
}
