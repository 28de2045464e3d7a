package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/upstream"
)

// Status is what the server knows about itself beside the store.
type Status struct {
	StartedAt   time.Time
	Config      ConfigStatus
	Connections []Connection
	Nodes       []Node  // with a shared database
	Disk        *Disk   // of the data directory; nil with a database elsewhere
	Deaths      *Deaths // of processes before this one; nil without any
	// Reconciliations are the latest ones of this node.
	Reconciliations []Reconciliation
}

// Reconciliation tells what was found by reading what a source should have been
// told.
type Reconciliation struct {
	Source   string    `json:"source" doc:"The source"`
	At       time.Time `json:"at" doc:"When the latest one began"`
	Seconds  float64   `json:"seconds" doc:"How long it took"`
	Fired    int       `json:"fired" doc:"What fired in the time that was read"`
	Missing  int       `json:"missing" doc:"Alerts that never arrived and became events now"`
	Same     int       `json:"same,omitempty" doc:"Rows that never arrived and that nothing tells from one that did"`
	Gone     int       `json:"gone,omitempty" doc:"Of the missing ones, those whose content could not be read any more"`
	Unread   int       `json:"unread,omitempty" doc:"Alerts whose content is gone and of which as many arrived as are known of"`
	Others   int       `json:"others,omitempty" doc:"What fired and is not sent to this source"`
	Failed   int       `json:"failed,omitempty" doc:"Alerts that could not be compared, and will be next time"`
	Problem  string    `json:"problem,omitempty" doc:"What went wrong first"`
	Examples []string  `json:"examples,omitempty" doc:"Some of what was missing"`
	Total    int       `json:"total_missing" doc:"How many were missing since the start of the server"`
}

// Deaths tells how often the server has ended without being told to.
type Deaths struct {
	Count   int64      `json:"count" doc:"How often, since the data directory was made"`
	Crashes int64      `json:"crashes" doc:"How often by a crash of its own; of the others nothing is known, as after kill -9 or a power cut"`
	Started *time.Time `json:"started,omitempty" doc:"When the process was started that ended so last"`
	Said    string     `json:"said,omitempty" doc:"What the process before this one said when it crashed; last-crash.log in the data directory has it whole"`
}

// Disk is how much of the disk is used and left.
type Disk struct {
	Database int64  `json:"database_bytes" doc:"Size of the database's files"`
	Free     int64  `json:"free_bytes" doc:"Space that is left"`
	Low      bool   `json:"low" doc:"There is little: without any, alerts are refused with 503"`
	Reserved bool   `json:"reserved" doc:"So little that it is kept for deliveries that nobody repeats: the others are refused with 503, to be sent again"`
	Verified bool   `json:"verified" doc:"Since the start all of the database was read, and nothing is damaged"`
	Error    string `json:"error,omitempty" doc:"Why it is not known"`
}

// ConfigStatus is which configuration the server works by.
type ConfigStatus struct {
	LoadedAt     time.Time
	Error        string    // of the latest reload, if it failed
	ErrorAt      time.Time // when it did
	NeedsRestart []string  // what changed in the file and is read at the start only
}

// Node is a server that shares the database.
type Node struct {
	record.Node
	Self bool // this one
}

// NodeView tells how a node does.
type NodeView struct {
	ID        string    `json:"id" doc:"Different after each start"`
	Name      string    `json:"name" doc:"The machine's name and the port, or as configured" example:"funnel-1:8080"`
	Version   string    `json:"version" doc:"The node's version"`
	StartedAt time.Time `json:"started_at" doc:"When it started"`
	Seen      float64   `json:"seen_seconds" doc:"How long ago it was last heard of"`
	Self      bool      `json:"self,omitempty" doc:"The node that answers"`
}

// Connection is what the server knows about a connection.
type Connection struct {
	upstream.State
	Unmet []string // what playbooks name in the system and it does not have, in sentences
}

// StatusView tells how the server does.
type StatusView struct {
	Version         string           `json:"version" doc:"The server's version"`
	StartedAt       time.Time        `json:"started_at" doc:"When it started"`
	Uptime          int64            `json:"uptime_seconds" doc:"For how long it has been running"`
	Config          ConfigView       `json:"config" doc:"The configuration that it works by"`
	Queue           QueueView        `json:"queue" doc:"The runs that have something to do"`
	Attention       int              `json:"needs_attention" doc:"Failed runs, for a person to retry, skip or cancel"`
	Unmatched       int              `json:"unmatched_events" doc:"Events that no playbook ran for"`
	Connections     []ConnectionView `json:"connections" doc:"The outside systems"`
	Disk            *Disk            `json:"disk,omitempty" doc:"The disk of the data directory; absent with a database elsewhere"`
	Deaths          *Deaths          `json:"deaths,omitempty" doc:"How often this server has ended without being told to; absent if it never did"`
	Reconciliations []Reconciliation `json:"reconciliations,omitempty" doc:"Of each source that looks for what never arrived, the latest time that it did"`
	Nodes           []NodeView       `json:"nodes,omitempty" doc:"The servers that share the database, of the last day; absent with SQLite"`
}

// ConfigView tells which configuration the server works by.
type ConfigView struct {
	LoadedAt     time.Time  `json:"loaded_at" doc:"When it was read"`
	Error        string     `json:"error,omitempty" doc:"Why the latest reload failed, with line and column: the configuration before it stays in force"`
	ErrorAt      *time.Time `json:"error_at,omitempty" doc:"When it failed"`
	NeedsRestart []string   `json:"needs_restart,omitempty" doc:"What has changed in the file and is read at the start only" example:"[\"server\"]"`
}

// QueueView counts runs.
type QueueView struct {
	Queued  int        `json:"queued" doc:"Not begun"`
	Running int        `json:"running" doc:"Being worked on or about to be"`
	Waiting int        `json:"waiting" doc:"Waiting durably"`
	Oldest  *time.Time `json:"oldest,omitempty" doc:"When the oldest of them was made"`
}

// ConnectionView tells how a connection does.
type ConnectionView struct {
	Name        string     `json:"name" doc:"The connection" example:"jira"`
	Health      string     `json:"health" enum:"ok,failing,blocked,unknown" doc:"Blocked takes no calls; failing takes them, but the last failed; unknown was not used yet"`
	Why         string     `json:"why,omitempty" doc:"Why it takes no calls"`
	Until       *time.Time `json:"until,omitempty" doc:"When it takes calls again, if known"`
	Breaker     string     `json:"breaker" doc:"closed, half-open or open"`
	InFlight    int        `json:"in_flight" doc:"Calls under way"`
	Parked      int        `json:"parked_runs" doc:"Runs that wait for it"`
	Awaiting    int        `json:"awaiting_runs" doc:"Runs that wait for an answer of it that another run asks for"`
	RateLeft    *int       `json:"rate_left,omitempty" doc:"Calls left at the moment; absent without a rate"`
	Rate        string     `json:"rate,omitempty" doc:"The rate; absent without one" example:"4 per minute"`
	QuotaLeft   *int       `json:"quota_left,omitempty" doc:"Calls left today (UTC); absent without a quota"`
	QuotaLimit  int        `json:"quota_limit,omitempty" doc:"Calls of a day; absent without a quota"`
	LastSuccess *time.Time `json:"last_success,omitempty" doc:"When a call last succeeded"`
	LastError   string     `json:"last_error,omitempty" doc:"What the last failure was"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty" doc:"When it was"`
	Unmet       []string   `json:"unmet,omitempty" doc:"What settings of playbooks name in the system and it does not have, such as a project"`
}

// Alive is the answer of a server that answers.
type Alive struct {
	Status string `json:"status" enum:"ok" doc:"Always ok"`
}

func (s *server) addHealth() {
	alive := s.answers("200", "Yes", reflect.TypeFor[Alive]())
	s.plain(huma.Operation{OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{"health"}, Summary: "Is the server alive?", Responses: alive}, open,
		func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, "application/json", Alive{"ok"})
		})
	ready := s.answers("200", "Yes", reflect.TypeFor[Alive]())
	s.plain(huma.Operation{OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{"health"}, Summary: "Can the server accept events?", Description: "If not, the problem names what is wrong.", Responses: ready, Errors: []int{http.StatusServiceUnavailable}}, open, s.readyz)
	s.plain(huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/status", Tags: []string{"health"}, Summary: "How does the server do?", Description: "Open to callers on the same machine.",
		Responses: s.answers("200", "So", reflect.TypeFor[StatusView]()),
	}, local, s.status)
	s.plain(huma.Operation{
		OperationID: "metrics", Method: http.MethodGet, Path: "/metrics", Tags: []string{"health"}, Summary: "Figures for Prometheus", Description: "Open to callers on the same machine.",
		Responses: map[string]*huma.Response{"200": {Description: "The figures", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}, local, s.Metrics.Handler().ServeHTTP)
}

// answers describes a JSON answer of a plain route.
func (s *server) answers(status, description string, t reflect.Type) map[string]*huma.Response {
	schema := s.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
	return map[string]*huma.Response{status: {Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}}
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	wrong := s.Ready(ctx)
	if len(wrong) == 0 {
		writeJSON(w, http.StatusOK, "application/json", Alive{"ok"})
		return
	}
	p := problem(http.StatusServiceUnavailable, "not ready: "+strings.Join(wrong, "; "))
	p.retryAfter = 5 * time.Second
	p.write(w)
}

func (s *server) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	view, err := s.viewStatus(ctx)
	if err != nil {
		s.explain(r.Context(), "answering status", err).write(w)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", view)
}

func (s *server) viewStatus(ctx context.Context) (StatusView, error) {
	sum, err := s.Reader.Summarize(ctx)
	if err != nil {
		return StatusView{}, err
	}
	parked, err := s.Reader.WaitCounts(ctx)
	if err != nil {
		return StatusView{}, err
	}
	now := s.Status(ctx)
	v := StatusView{
		Version: s.Version, StartedAt: now.StartedAt.UTC(), Uptime: int64(s.Clock().Sub(now.StartedAt).Seconds()),
		Config:    ConfigView{LoadedAt: now.Config.LoadedAt.UTC(), Error: now.Config.Error, ErrorAt: optional(now.Config.ErrorAt), NeedsRestart: now.Config.NeedsRestart},
		Queue:     QueueView{Queued: sum.Runs[record.Queued], Running: sum.Runs[record.Running], Waiting: sum.Runs[record.Waiting]},
		Attention: sum.Runs[record.Failed], Unmatched: sum.Events[record.Unmatched], Connections: []ConnectionView{}, Disk: now.Disk, Deaths: now.Deaths, Reconciliations: now.Reconciliations,
	}
	if sum.OldestWaiting > 0 {
		v.Queue.Oldest = optional(time.UnixMicro(sum.OldestWaiting))
	}
	for _, n := range now.Nodes {
		v.Nodes = append(v.Nodes, NodeView{n.ID, n.Name, n.Version, n.StartedAt.UTC(), n.Seen.Round(time.Millisecond).Seconds(), n.Self})
	}
	for _, c := range now.Connections {
		view := viewConnection(c, parked[record.WaitConnection(c.Connection)])
		for on, n := range parked {
			if strings.HasPrefix(on, record.WaitAnswer(c.Connection, "")) {
				view.Awaiting += n
			}
		}
		v.Connections = append(v.Connections, view)
	}
	return v, nil
}

func viewConnection(c Connection, parked int) ConnectionView {
	v := ConnectionView{
		Name: c.Connection, Health: "ok", Why: c.Blocked, Until: optional(c.BlockedUntil), Breaker: c.Breaker, InFlight: c.InFlight, Parked: parked,
		LastSuccess: optional(c.LastSuccess), LastError: c.LastError, LastErrorAt: optional(c.LastErrorAt), Unmet: c.Unmet,
	}
	switch {
	case c.Blocked != "":
		v.Health = "blocked"
	case c.LastErrorAt.After(c.LastSuccess):
		v.Health = "failing"
	case c.LastSuccess.IsZero():
		v.Health = "unknown"
	}
	if c.QuotaLimit > 0 {
		v.QuotaLeft, v.QuotaLimit = &c.QuotaLeft, c.QuotaLimit
	}
	if c.Rate != "" {
		v.RateLeft, v.Rate = &c.RateLeft, c.Rate
	}
	return v
}
