// Package httpapi is the HTTP API: webhooks come in, people and scripts see what
// became of them. One file per resource; every route is in /openapi.json, every
// error is an RFC 9457 problem that says what is wrong without echoing values.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

// Intake receives webhooks.
type Intake interface {
	Receive(context.Context, intake.Request) (intake.Result, error)
	// Repeated reports whether the sender of a source's deliveries comes again after
	// a 503. Of a source that there is not, it may: nothing is lost.
	Repeated(source string) bool
}

// Reader reads what is stored. What does not exist is record.ErrNotFound.
type Reader interface {
	Run(ctx context.Context, id int64) (record.Run, error)
	Runs(context.Context, store.RunFilter) ([]record.Run, error)
	Steps(ctx context.Context, run int64) ([]record.Step, error)
	Event(ctx context.Context, id int64) (record.Event, error)
	Events(context.Context, store.EventFilter) ([]record.Event, error)
	Deliveries(context.Context, store.DeliveryFilter) ([]record.Delivery, error)
	Delivery(ctx context.Context, id int64) (record.Delivery, error)
	Summarize(context.Context) (store.Summary, error)
	WaitCounts(context.Context) (map[string]int, error)
}

// Control changes runs by a person's decision. What the run's state does not
// allow is record.ErrState or engine.ErrBusy.
type Control interface {
	Retry(run int64) error
	Skip(run int64, path string) error
	Cancel(run int64) error
	// Replay lets playbooks run again for an event: the named one, or all. An
	// error of code Conflict says why nothing can.
	Replay(ctx context.Context, event int64, playbook string) ([]int64, error)
}

// Tokens knows who may use the API.
type Tokens interface {
	Verify(http.Header) (auth.Principal, bool)
	// Deny counts a failed try and returns how long the caller should stay away.
	Deny(remote netip.Addr) time.Duration
}

// Options set the API up. All but AllowedHosts, PublicURL, Clock and Log are
// needed.
type Options struct {
	Intake   Intake
	Reader   Reader
	Control  Control
	Caller   Caller
	Tokens   Tokens
	Registry *funnel.Registry
	Metrics  *metrics.Metrics
	Status   func(context.Context) Status
	Ready    func(context.Context) []string // names what is wrong, nil if nothing
	// Reserved reports that what is left of the disk is kept for deliveries that
	// nobody repeats. Nil: it never is.
	Reserved func() bool
	Version  string

	// AllowedHosts are the names by which the server may be addressed, besides
	// localhost, the address that a connection came in on, and PublicURL's host.
	// A port in them does not count.
	AllowedHosts []string
	PublicURL    string // how people reach the server
	// BehindProxy says that a proxy's address stands for everybody's, so that a
	// loopback address proves nothing.
	BehindProxy bool
	Clock       func() time.Time
	Log         *slog.Logger
}

type server struct {
	Options
	hosts  map[string]bool
	mux    *http.ServeMux
	api    huma.API
	routes map[string]access // by pattern
	spec   func() []byte     // /openapi.json

	vital     map[string]bool // the patterns that are never turned away
	admission *admission
}

// access says who may use a route.
type access int

const (
	guarded access = iota // who has a token
	local                 // who has a token or calls from this machine
	open                  // everybody; webhooks authenticate by their source
)

// New returns the handler of all routes.
func New(o Options) http.Handler { return build(o).handler() }

func build(o Options) *server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Reserved == nil {
		o.Reserved = func() bool { return false }
	}
	s := &server{Options: o, hosts: hostNames(o), mux: http.NewServeMux(), routes: map[string]access{}}
	s.vital = map[string]bool{"GET /healthz": true, "GET /readyz": true, "GET /status": true, "GET /metrics": true}
	s.admission = &admission{log: o.Log, metrics: o.Metrics, clock: time.Now, lag: newLag().worst, room: firstRoom}
	o.Metrics.Gauge("funnel_requests_in_progress", "Requests that are being worked on.", nil, func() float64 { in, _ := s.admission.figures(); return float64(in) })
	o.Metrics.Gauge("funnel_requests_in_line", "Requests that wait for being worked on.", nil, func() float64 { _, line := s.admission.figures(); return float64(line) })
	s.api = newAPI(s)
	s.addHooks()
	s.addRuns()
	s.addEvents()
	s.addDeliveries()
	s.addCatalog()
	s.addActions()
	s.addHealth()
	s.addIndex()
	s.addDocs()
	s.addSpec() // the last: it describes the others
	return s
}

// handler puts the guards around the routes, the outermost first.
func (s *server) handler() http.Handler {
	h := http.Handler(s.mux)
	h = s.authenticate(h)
	h = s.sameOrigin(h)
	h = s.admit(h)
	h = s.known(h)
	h = s.addressed(h)
	return s.fence(h)
}

// caller returns the address at the other end of the connection, and whether it
// proves that the caller is on this machine.
func (s *server) caller(r *http.Request) (remote netip.Addr, onThisMachine bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	remote = at.Addr().Unmap()
	return remote, remote.IsLoopback() && !s.BehindProxy
}
