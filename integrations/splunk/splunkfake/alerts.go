package splunkfake

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Firing is a saved search that fires once: what it found, and what is done with
// it. Its actions are the webhook and "Add to Triggered Alerts" unless Actions
// says otherwise.
type Firing struct {
	SID      string
	Search   string
	App      string // empty: search
	Owner    string // empty: admin
	Each     bool   // an alert for each result
	RealTime bool   // the job goes on, and its rows cannot be read afterwards
	Hidden   bool   // the saved search cannot be read with the token
	Severity int    // 0: 3, medium
	Actions  string // empty: webhook
	URL      string // of the webhook, as the saved search shows it; empty: it does not
	Rows     []map[string]any
}

// firedAlert is an entry of the list of triggered alerts.
type firedAlert struct {
	Firing
	at, expires time.Time
}

// Trigger lets a saved search fire: its job and its triggered alert are there from
// now on until they expire, and the webhook is sent once, to a server that may not
// take it. The error says which of them nobody took.
//
// The webhook's rows and those of the REST API differ as Splunk's do: in the fields
// whose names begin with "_", in the spelling of _time, and in the empty columns,
// which only the webhook has.
func (a *API) Trigger(ctx context.Context, s *Sender, f Firing) error {
	f.Actions = cmp.Or(f.Actions, "webhook")
	now := a.options.Clock()
	entry, job := firedAlert{Firing: f, at: now}, Job{SID: f.SID, Search: f.Search, App: f.App, Owner: f.Owner, Each: f.Each, Hidden: f.Hidden, RealTime: f.RealTime}
	if a.options.AlertTTL > 0 {
		entry.expires = now.Add(a.options.AlertTTL)
	}
	if a.options.JobTTL > 0 {
		job.Expires = now.Add(a.options.JobTTL)
	}
	columns := map[string]bool{}
	for i, row := range f.Rows {
		stored := maps.Clone(row)
		stored["_bkt"], stored["_cd"], stored["_serial"], stored["_indextime"] = "main~1~0", fmt.Sprintf("1:%d", i), strconv.Itoa(i), strconv.FormatInt(now.Unix(), 10)
		job.Rows = append(job.Rows, stored)
		for name := range row {
			columns[name] = true
		}
	}
	a.Add(job)
	a.mu.Lock()
	a.fired = append(a.fired, entry)
	a.mu.Unlock()
	rows := f.Rows
	if !f.Each {
		rows = rows[:min(len(rows), 1)]
	}
	if f.Actions != "webhook" || s == nil {
		return nil
	}
	if len(rows) == 0 && !f.Each {
		rows = []map[string]any{{}}
	}
	sent := make([]map[string]any, len(rows))
	for i, row := range rows {
		sent[i] = maps.Clone(row)
		sent[i]["_kv"], sent[i]["_confstr"] = "1", "source::demo"
		for name := range columns {
			if _, has := row[name]; !has {
				sent[i][name] = ""
			}
		}
	}
	return s.FireEach(ctx, Alert{SID: f.SID, Search: f.Search, App: f.App, Owner: f.Owner}, sent...)
}

// alive drops what has expired.
func (a *API) alive() {
	now := a.options.Clock()
	a.fired = slices.DeleteFunc(a.fired, func(f firedAlert) bool { return !f.expires.IsZero() && !now.Before(f.expires) })
	for sid, j := range a.jobs {
		if !j.Expires.IsZero() && !now.Before(j.Expires) {
			delete(a.jobs, sid)
		}
	}
}

// firedAlerts answers GET /servicesNS/{owner}/{app}/alerts/fired_alerts[/{name}].
func (a *API) firedAlerts(w http.ResponseWriter, q request) {
	name := ""
	if len(q.path) == 3 {
		name = q.path[2]
	}
	var entries []map[string]any
	if name == "" {
		counts := map[string]int{}
		for _, f := range a.fired {
			counts[f.Search]++
		}
		for _, search := range slices.Sorted(maps.Keys(counts)) {
			entries = append(entries, entry(search, nil, map[string]any{"triggered_alert_count": counts[search]}))
		}
		entries = append(entries, entry("-", nil, map[string]any{"triggered_alert_count": len(a.fired)}))
	} else {
		for i, f := range slices.Backward(a.fired) { // the newest first
			if name == f.Search || name == "-" && !a.options.NoDash {
				entries = append(entries, f.entry(i))
			}
		}
	}
	a.note(Call{Kind: "fired", Search: name, Found: true})
	if name != "" && (name == "-" && a.options.NoDash || name != "-" && len(entries) == 0) {
		fail(w, http.StatusNotFound, "ERROR", "Could not find object id="+name)
		return
	}
	total, offset, most := len(entries), 0, 30 // Splunk's default
	if n, err := strconv.Atoi(q.form.Get("offset")); err == nil {
		offset = min(max(n, 0), total)
	}
	if n, err := strconv.Atoi(q.form.Get("count")); err == nil {
		most = n
	}
	entries = entries[offset:]
	if most > 0 {
		entries = entries[:min(most, len(entries))]
	}
	if entries == nil {
		entries = []map[string]any{}
	}
	feed := a.feed("alerts/fired_alerts/"+name, entries...)
	feed["paging"] = map[string]any{"total": total, "perPage": most, "offset": offset}
	write(w, http.StatusOK, feed)
}

func (f firedAlert) entry(i int) map[string]any {
	kind, n := "historical", 1
	if f.RealTime {
		kind = "real time"
	}
	if f.Each {
		n = max(len(f.Rows), 1)
	}
	at := f.at.Unix()
	return entry(fmt.Sprintf("%s_%d.%d", f.SID, at, i), map[string]any{"app": cmp.Or(f.App, "search"), "owner": cmp.Or(f.Owner, "admin"), "sharing": "user"}, map[string]any{
		"actions": f.Actions, "alert_type": kind, "digest_mode": !f.Each, "savedsearch_name": f.Search, "severity": cmp.Or(f.Severity, 3), "sid": f.SID,
		"trigger_time": at, "trigger_time_rendered": f.at.Format(time.RFC1123), "triggered_alerts": n, "expiration_time_rendered": f.expires.Format(time.RFC1123),
	})
}

// firingOf returns what fired last of a saved search.
func (a *API) firingOf(search string) (Firing, bool) {
	for _, f := range slices.Backward(a.fired) {
		if f.Search == search {
			return f.Firing, true
		}
	}
	return Firing{}, false
}
