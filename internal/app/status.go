package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/funnelsec/funnel/internal/httpapi"
	"github.com/funnelsec/funnel/internal/queue"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
	"github.com/funnelsec/funnel/internal/upstream"
)

// Status returns how the connections do.
func (a *App) Status(ctx context.Context) httpapi.Status {
	s := httpapi.Status{StartedAt: a.started.UTC(), Config: a.configStatus(), Disk: a.disk(), Deaths: a.deaths(), Reconciliations: a.found.views()}
	nodes, err := a.store.Nodes(ctx)
	if err != nil {
		a.log.Error("reading the nodes", "error", err)
	}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, httpapi.Node{Node: n, Self: n.ID == a.node.ID})
	}
	for name, l := range a.setup.Load().links {
		if name != notifyConnection {
			s.Connections = append(s.Connections, httpapi.Connection{State: l.governor.State(), Unmet: l.unmet()})
		}
	}
	slices.SortFunc(s.Connections, func(x, y httpapi.Connection) int { return strings.Compare(x.Connection, y.Connection) })
	return s
}

// unmet returns what playbooks name in the system and it did not have when it was
// last asked.
func (l *link) unmet() []string {
	if c := l.uses.Load(); c != nil {
		return c.problems
	}
	return nil
}

// ready names what keeps the server from accepting.
func (a *App) ready(ctx context.Context) []string {
	if a.stopping.Load() {
		return []string{"stopping"}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := a.store.Ping(ctx); err != nil {
		a.log.Error("not ready", "error", err)
		if errors.Is(err, record.ErrFull) {
			return []string{"database: the disk is full"}
		}
		if errors.Is(err, store.ErrDamaged) {
			return []string{"database: it is damaged"}
		}
		return []string{"database"}
	}
	if q, ok := a.queue.(*queue.River); ok && !q.Alive() {
		return []string{"database: this node's lease has run out"}
	}
	return nil
}

// gauges adds what can be measured, once each: of a connection that a reload
// replaces, the one of the moment is measured, and one that is gone is 0.
func (a *App) gauges(links map[string]*link) {
	add := func(name, help string, labels map[string]string, value func() float64) {
		if key := name + labels["connection"]; !a.gauged[key] {
			a.gauged[key] = true
			a.metrics.Gauge(name, help, labels, value)
		}
	}
	if _, ours, _ := a.store.Disk(); ours {
		read := func(get func(store.Disk) int64) func() float64 {
			return func() float64 { d, _, _ := a.store.Disk(); return float64(get(d)) }
		}
		add("funnel_disk_free_bytes", "Space that is left on the disk of the data directory.", nil, read(func(d store.Disk) int64 { return d.Free }))
		add("funnel_database_bytes", "Size of the database's files.", nil, read(func(d store.Disk) int64 { return d.Database }))
	}
	add("funnel_process_deaths", "Processes before this one that ended without being told to, in all.", nil, func() float64 { return float64(a.past.Deaths) })
	add("funnel_process_crashes", "How many of these crashed by themselves.", nil, func() float64 { return float64(a.past.Crashes) })
	add("funnel_queue_ready", "Runs in memory that wait for a worker.", nil, func() float64 { n, _ := a.queue.Depth(); return float64(n) })
	add("funnel_queue_working", "Runs being worked on.", nil, func() float64 { _, n := a.queue.Depth(); return float64(n) })
	for name, l := range links {
		label := map[string]string{"connection": strings.TrimPrefix(name, "~")}
		read := func(get func(upstream.State) float64) func() float64 {
			return func() float64 {
				if l := a.setup.Load().links[name]; l != nil {
					return get(l.governor.State())
				}
				return 0
			}
		}
		add("funnel_connection_in_flight", "Actions under way on the connection.", label, read(func(s upstream.State) float64 { return float64(s.InFlight) }))
		add("funnel_connection_blocked", "1 while the connection takes nobody.", label, read(func(s upstream.State) float64 {
			if s.Blocked != "" {
				return 1
			}
			return 0
		}))
		add("funnel_connection_quota_used", "Actions of the day.", label, read(func(s upstream.State) float64 { return float64(s.QuotaUsed) }))
		if l.Limits.Daily > 0 {
			add("funnel_connection_quota_left", "Actions left of the day's quota.", label, read(func(s upstream.State) float64 { return float64(s.QuotaLeft) }))
		}
		if l.Limits.Rate > 0 {
			add("funnel_connection_rate_left", "Actions that the rate allows at the moment.", label, read(func(s upstream.State) float64 { return float64(s.RateLeft) }))
		}
	}
}

// swap is a log handler whose target is set later, when the secrets that it
// has to take out are known.
type swap struct{ to atomic.Pointer[slog.Handler] }

func (s *swap) set(h slog.Handler) { s.to.Store(&h) }

// Enabled asks the target.
func (s *swap) Enabled(ctx context.Context, level slog.Level) bool {
	return (*s.to.Load()).Enabled(ctx, level)
}

// Handle hands the record to the target.
func (s *swap) Handle(ctx context.Context, r slog.Record) error { return (*s.to.Load()).Handle(ctx, r) }

// WithAttrs returns a handler that adds the attributes.
func (s *swap) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &wrapped{s, func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) }}
}

// WithGroup returns a handler that opens the group.
func (s *swap) WithGroup(name string) slog.Handler {
	return &wrapped{s, func(h slog.Handler) slog.Handler { return h.WithGroup(name) }}
}

// wrapped derives a handler from whatever the swap's target is at the time.
type wrapped struct {
	from *swap
	wrap func(slog.Handler) slog.Handler
}

func (w *wrapped) now() slog.Handler { return w.wrap(*w.from.to.Load()) }

// Enabled asks the target.
func (w *wrapped) Enabled(ctx context.Context, level slog.Level) bool {
	return w.now().Enabled(ctx, level)
}

// Handle hands the record to the target.
func (w *wrapped) Handle(ctx context.Context, r slog.Record) error { return w.now().Handle(ctx, r) }

// WithAttrs adds the attributes.
func (w *wrapped) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &wrapped{w.from, func(h slog.Handler) slog.Handler { return w.wrap(h).WithAttrs(attrs) }}
}

// WithGroup opens the group.
func (w *wrapped) WithGroup(name string) slog.Handler {
	return &wrapped{w.from, func(h slog.Handler) slog.Handler { return w.wrap(h).WithGroup(name) }}
}
