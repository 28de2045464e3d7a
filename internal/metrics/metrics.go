// Package metrics counts what the server does, for Prometheus.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the server's counters. A nil *Metrics counts nothing.
type Metrics struct {
	registry   *prometheus.Registry
	deliveries *prometheus.CounterVec
	denied     *prometheus.CounterVec
	unmatched  prometheus.Counter
	runs       *prometheus.CounterVec
	runTime    *prometheus.HistogramVec
	steps      *prometheus.CounterVec
	stepTime   *prometheus.HistogramVec
	unsure     prometheus.Counter
	missed     *prometheus.CounterVec
	purged     *prometheus.CounterVec
	shed       *prometheus.CounterVec
	leaseLost  prometheus.Counter
	takenOver  prometheus.Counter
	lookups    *prometheus.CounterVec
	accepting  prometheus.Histogram
}

// New returns counters of a registry of their own.
func New() *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_deliveries_total", Help: "Authenticated deliveries by source and verdict."}, []string{"source", "verdict"}),
		denied:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_denied_total", Help: "Requests whose authentication failed, by what they asked for."}, []string{"what"}),
		unmatched:  prometheus.NewCounter(prometheus.CounterOpts{Name: "funnel_unmatched_events_total", Help: "Events that no playbook ran for."}),
		runs:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_runs_total", Help: "Ended runs by playbook and state."}, []string{"playbook", "state"}),
		runTime:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "funnel_run_seconds", Help: "From a run's creation to its end.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 10)}, []string{"playbook"}),
		steps:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_steps_total", Help: "Ended steps by action and state."}, []string{"action", "state"}),
		stepTime:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "funnel_step_seconds", Help: "From a step's start to its end, waits included.", Buckets: prometheus.ExponentialBuckets(0.005, 4, 10)}, []string{"action"}),
		unsure:     prometheus.NewCounter(prometheus.CounterOpts{Name: "funnel_unsure_effects_total", Help: "Effects whose outcome was unknown and had to be looked up."}),
		shed:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_shed_total", Help: "Requests that were turned away because there was too much to do, by class: pages first, then deliveries whose sender repeats them, then those sent once."}, []string{"class"}),
		purged:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_purged_total", Help: "What was dropped because of its age, by class."}, []string{"class"}),
		missed:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_missed_alerts_total", Help: "Alerts that no delivery brought and that were found by reading, by source."}, []string{"source"}),
		leaseLost:  prometheus.NewCounter(prometheus.CounterOpts{Name: "funnel_lease_lost_total", Help: "Runs that this node worked on when they passed to another node or were cancelled."}),
		takenOver:  prometheus.NewCounter(prometheus.CounterOpts{Name: "funnel_taken_over_total", Help: "Runs that this node took over from nodes that did not answer any more."}),
		lookups:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "funnel_lookups_total", Help: "Answered look-ups of what runs share, by connection and whether the connection was asked or another run's answer was at hand."}, []string{"connection", "from"}),
		accepting:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "funnel_accept_seconds", Help: "From a delivery's arrival to its durable acceptance.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
	}
	m.registry.MustRegister(m.deliveries, m.denied, m.unmatched, m.runs, m.runTime, m.steps, m.stepTime, m.unsure, m.leaseLost, m.takenOver, m.missed, m.purged, m.shed, m.lookups, m.accepting,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gauge adds a value that is read when asked for.
func (m *Metrics) Gauge(name, help string, labels map[string]string, value func() float64) {
	if m != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
}

// Delivery counts a delivery.
func (m *Metrics) Delivery(source, verdict string) {
	if m != nil {
		m.deliveries.WithLabelValues(source, verdict).Inc()
	}
}

// Accepted observes how long a durable acceptance took.
func (m *Metrics) Accepted(d time.Duration) {
	if m != nil {
		m.accepting.Observe(d.Seconds())
	}
}

// Denied counts a failed authentication; what is "hook" or "api".
func (m *Metrics) Denied(what string) {
	if m != nil {
		m.denied.WithLabelValues(what).Inc()
	}
}

// Unmatched counts an event that no playbook runs for.
func (m *Metrics) Unmatched() {
	if m != nil {
		m.unmatched.Inc()
	}
}

// Run counts an ended run.
func (m *Metrics) Run(playbook, state string, took time.Duration) {
	if m != nil {
		m.runs.WithLabelValues(playbook, state).Inc()
		m.runTime.WithLabelValues(playbook).Observe(took.Seconds())
	}
}

// Step counts an ended step.
func (m *Metrics) Step(action, state string, took time.Duration) {
	if m != nil {
		m.steps.WithLabelValues(action, state).Inc()
		m.stepTime.WithLabelValues(action).Observe(took.Seconds())
	}
}

// Lookup counts an answered look-up whose answer is shared.
func (m *Metrics) Lookup(connection string, kept bool) {
	if m != nil {
		from := "connection"
		if kept {
			from = "cache"
		}
		m.lookups.WithLabelValues(connection, from).Inc()
	}
}

// LeaseLost counts a run whose lease was lost while it was worked on.
func (m *Metrics) LeaseLost() {
	if m != nil {
		m.leaseLost.Inc()
	}
}

// TakenOver counts runs that were taken over from nodes that are gone.
func (m *Metrics) TakenOver(n int) {
	if m != nil {
		m.takenOver.Add(float64(n))
	}
}

// Purged counts what was dropped because of its age.
func (m *Metrics) Purged(class string, n int64) {
	if m != nil {
		m.purged.WithLabelValues(class).Add(float64(n))
	}
}

// Shed counts a request that was turned away because there was too much to do.
func (m *Metrics) Shed(class string) {
	if m != nil {
		m.shed.WithLabelValues(class).Inc()
	}
}

// Missed counts alerts of a source that never arrived and were read.
func (m *Metrics) Missed(source string, n int) {
	if m != nil {
		m.missed.WithLabelValues(source).Add(float64(n))
	}
}

// Unsure counts an effect with an unknown outcome.
func (m *Metrics) Unsure() {
	if m != nil {
		m.unsure.Inc()
	}
}
