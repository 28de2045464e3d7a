package splunk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/funnelsec/funnel"
)

// Bounds of what is read to find what never arrived.
const (
	firedPage = 200
	mostFired = 20_000
	mostTold  = 32 << 20 // bytes of one job's rows
)

// fired is what Splunk's list of triggered alerts says about one search job.
type fired struct {
	sid, search, app, owner string
	severity                int    // 1 to 6, 0 if it does not say
	actions                 string // as Splunk names them, apart by commas
	each, realtime          bool
	first, last             time.Time
	entries, alerts         int
	memo                    map[string]target // what saved searches say, for one reconciliation
}

// listFired reads the triggered alerts ("alerts/fired_alerts/{name}", REST API
// Reference; the name "-" stands for all). Only alerts with the action "Add to
// Triggered Alerts" are there, until they expire. Entries of one search job are one
// firing.
func (c *Client) listFired(ctx context.Context, ask funnel.Reading) ([]funnel.Firing, error) {
	bySID := map[string]*fired{}
	var order []string
	memo := map[string]target{}
	err := c.eachFired(ctx, func(entry gjson.Result) {
		f := readFired(entry)
		if f.first.Before(ask.Since) || f.first.After(ask.Until) || checkSID("", f.sid) != nil {
			return
		}
		known := bySID[f.sid]
		if known == nil {
			f.memo = memo
			bySID[f.sid], order = &f, append(order, f.sid)
			return
		}
		known.entries += f.entries
		known.alerts += f.alerts
		known.first, known.last = earlier(known.first, f.first), later(known.last, f.last)
	})
	if err != nil {
		return nil, err
	}
	var list []funnel.Firing
	for _, sid := range order {
		f := bySID[sid]
		one := funnel.Firing{Group: sid, At: f.last, Name: f.search, Count: f.alerts, Single: !f.each && !f.realtime, Open: f.realtime, Known: *f}
		switch {
		case f.realtime: // the job goes on: its earlier alerts may have left the list
			one.From, one.Count = f.first.Add(-time.Minute), f.entries
		case one.Single:
			one.Count = 1
		}
		list = append(list, one)
	}
	return list, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// eachFired calls do with each entry of the list of triggered alerts.
func (c *Client) eachFired(ctx context.Context, do func(gjson.Result)) error {
	found, err := c.pages(ctx, "-", do)
	if err != nil || found {
		return err
	}
	// A Splunk that does not take "-" for all: one alert after the other.
	var names []string
	if _, err := c.pages(ctx, "", func(entry gjson.Result) { names = append(names, text(entry.Get("name"))) }); err != nil {
		return err
	}
	for _, name := range names {
		if name == "-" || !isSegment(name) {
			continue
		}
		if _, err := c.pages(ctx, name, do); err != nil {
			return err
		}
	}
	return nil
}

// pages reads a list of triggered alerts, page by page. found is false if Splunk
// has no such list.
func (c *Client) pages(ctx context.Context, name string, do func(gjson.Result)) (found bool, err error) {
	what := "reading the triggered alerts"
	for offset, page := 0, firedPage; offset < mostFired; {
		a, err := c.readFiredPage(ctx, what, name, offset, page)
		switch {
		case err != nil:
			return false, err
		case a.missing != "":
			return offset > 0, nil
		case a.large && page > 1:
			page = max(page/4, 1)
			continue
		case a.large:
			return false, call{what: what}.unreadable(fmt.Sprintf("an entry is larger than %d MiB", maxAnswer>>20))
		}
		entries := a.json.Get("entry")
		if !entries.IsArray() {
			return false, call{what: what}.unreadable("it is no list")
		}
		n := 0
		entries.ForEach(func(_, entry gjson.Result) bool {
			do(entry)
			n++
			return true
		})
		if offset += n; n == 0 || offset >= count(a.json.Get("paging.total")) {
			return true, nil
		}
	}
	return false, funnel.Errorf(funnel.Invalid, "%s: there are more than %d", what, mostFired)
}

// readFired reads an entry: {"author":…,"acl":{…},"content":{"sid":…,
// "savedsearch_name":…,"trigger_time":…,"digest_mode":…,"triggered_alerts":…,
// "actions":…,"alert_type":…,"severity":…}}.
func readFired(entry gjson.Result) fired {
	content := entry.Get("content")
	at := time.Unix(content.Get("trigger_time").Int(), 0).UTC()
	f := fired{
		sid: text(content.Get("sid")), search: text(content.Get("savedsearch_name")), severity: count(content.Get("severity")), actions: content.Get("actions").String(),
		app: entry.Get("acl.app").String(), owner: orElse(entry.Get("acl.owner").String(), entry.Get("author").String()),
		each: content.Get("digest_mode").Exists() && !truth(content.Get("digest_mode")),
		// "real time", and the prefix that its jobs have
		realtime: strings.HasPrefix(content.Get("alert_type").String(), "real") || strings.HasPrefix(content.Get("sid").String(), "rt_"),
		first:    at, last: at, entries: 1, alerts: max(count(content.Get("triggered_alerts")), 1),
	}
	if !f.each {
		f.alerts = 1
	}
	return f
}

// target is where a saved search sends its webhook.
type target int

const (
	unknown   target = iota // it cannot be read, or does not say
	here                    // to the source
	elsewhere               // to another address, or it has no webhook
)

// told reads what a firing's webhooks held.
func (c *Client) told(ctx context.Context, ask funnel.Reading, firing funnel.Firing) (funnel.Told, error) {
	what := "reading what an alert told"
	f, ok := firing.Known.(fired)
	if !ok {
		return funnel.Told{}, funnel.Errorf(funnel.Internal, "%s: it is not one of Splunk's", what)
	}
	to, err := c.target(ctx, f, ask.Source)
	switch {
	case err != nil:
		return funnel.Told{}, err
	case to == elsewhere, to == unknown && f.actions != "" && !strings.Contains(f.actions, "webhook"):
		return funnel.Told{NotOurs: true}, nil
	case f.realtime:
		return f.gone("it is of a real-time search, whose rows cannot be read afterwards")
	}
	job, err := c.job(ctx, what, f.sid)
	switch {
	case err != nil:
		return funnel.Told{}, err
	case !job.Found:
		return f.gone("its search job has expired in Splunk, or the connection's account may not see it")
	case !job.Done:
		e := funnel.Errorf(funnel.Throttled, "%s: the search is not done yet (%s)", what, job.State)
		e.Narrow = true
		return funnel.Told{}, e
	}
	rows, found, err := c.rawRows(ctx, what, f)
	switch {
	case err != nil:
		return funnel.Told{}, err
	case !found:
		return f.gone("its search job has expired in Splunk")
	case len(rows) == 0 && !f.each: // it fires when nothing is found
		rows = append(rows, json.RawMessage("{}"))
	}
	var out funnel.Told
	for _, row := range rows {
		body, err := f.body(row, nil)
		if err != nil {
			return funnel.Told{}, err
		}
		out.Bodies = append(out.Bodies, body)
	}
	return out, nil
}

// target asks the saved search where it sends its webhook: by any of its actions'
// parameters, for other webhook actions than Splunk's own have theirs. What they
// hold, such as the secret in the address, goes nowhere.
func (c *Client) target(ctx context.Context, f fired, source string) (target, error) {
	if !isSegment(f.owner) || !isSegment(f.app) || !isSegment(f.search) {
		return unknown, nil
	}
	key := strings.Join([]string{f.owner, f.app, f.search}, "/")
	if to, asked := f.memo[key]; asked {
		return to, nil
	}
	a, err := c.readSearch(ctx, "reading a saved search", f.owner, f.app, f.search)
	to := unknown
	switch code := funnel.CodeOf(err); {
	case err == nil && a.missing == "":
		to = targetOf(a.json.Get("entry.0.content"), source)
	case err != nil && code != funnel.Invalid && !(code == funnel.Unauthorized && isNarrow(err)): // but for one that the account may not see
		return unknown, err
	}
	f.memo[key] = to
	return to, nil
}

func targetOf(content gjson.Result, source string) target {
	named := false
	to := unknown
	content.ForEach(func(name, value gjson.Result) bool {
		if !strings.HasPrefix(name.Str, "action.") || value.Type != gjson.String {
			return true
		}
		if _, after, ok := strings.Cut(value.Str, "/hooks/"+source); ok && (after == "" || strings.ContainsAny(after[:1], "/?")) {
			to = here
			return false
		}
		if name.Str == "action.webhook.param.url" && value.Str != "" {
			named = true
		}
		return true
	})
	actions := content.Get("actions")
	if to != here && (named || actions.Exists() && !strings.Contains(actions.String(), "webhook")) {
		to = elsewhere
	}
	return to
}

// rawRows reads the rows of a done job as Splunk has them: the first one, or all
// for an alert that is sent for each result.
func (c *Client) rawRows(ctx context.Context, what string, f fired) (rows []json.RawMessage, found bool, err error) {
	most, page, size := 1, pageRows, 0
	if f.each {
		most = mostRows + 1
	}
	for len(rows) < most {
		a, err := c.readRows(ctx, what, f.sid, len(rows), min(page, most-len(rows)), nil, false)
		switch {
		case err != nil:
			return nil, false, err
		case a.missing != "":
			return nil, false, nil
		case a.large && page > 1 && most > 1:
			page = max(page/4, 1)
			continue
		case a.large:
			return nil, false, funnel.Errorf(funnel.Invalid, "%s: row %d is larger than %d MiB", what, len(rows)+1, maxAnswer>>20)
		case !a.json.Exists(): // 204: there are none
			return rows, true, nil
		}
		results := a.json.Get("results")
		if !results.IsArray() {
			return nil, false, call{what: what}.unreadable("it has no results")
		}
		before := len(rows)
		results.ForEach(func(_, row gjson.Result) bool {
			rows = append(rows, json.RawMessage(row.Raw))
			size += len(row.Raw)
			return size <= mostTold
		})
		switch {
		case size > mostTold:
			return nil, false, funnel.Errorf(funnel.Invalid, "%s: its rows are larger than %d MiB", what, mostTold>>20)
		case len(rows) == before:
			return rows, true, nil
		}
	}
	return rows, true, nil
}

// missed is what is known of an alert whose rows are gone.
type missed struct {
	Why      string `json:"why"`
	FiredAt  int64  `json:"fired_at"`
	Severity int    `json:"severity"`
	Alerts   int    `json:"alerts"`
}

func (f fired) gone(why string) (funnel.Told, error) {
	n := f.alerts
	if f.realtime {
		n = f.entries
	}
	body, err := f.body(json.RawMessage("{}"), &missed{Why: why, FiredAt: f.last.Unix(), Severity: f.severity, Alerts: n})
	return funnel.Told{Bodies: [][]byte{body}, Gone: why}, err
}

// body writes a delivery as the webhook action does.
func (f fired) body(row json.RawMessage, gone *missed) ([]byte, error) {
	body, err := json.Marshal(struct {
		Result json.RawMessage `json:"result"`
		SID    string          `json:"sid"`
		Search string          `json:"search_name"`
		Owner  string          `json:"owner"`
		App    string          `json:"app"`
		Gone   *missed         `json:"gone,omitempty"`
	}{row, f.sid, f.search, f.owner, f.app, gone})
	if err != nil {
		return nil, funnel.Errorf(funnel.Internal, "reading what an alert told: writing it as a delivery: %w", err)
	}
	return body, nil
}

// readMissed reads missed from a body that was read, not delivered.
func (e *AlertEvent) readMissed(gone gjson.Result) {
	if !gone.IsObject() {
		return
	}
	e.Gone = shorten(gone.Get("why").String(), 300)
	at := time.Unix(gone.Get("fired_at").Int(), 0).UTC()
	e.Time = &at
	e.Severity = []string{"", "info", "low", "medium", "high", "critical", "critical"}[min(count(gone.Get("severity")), 6)]
	e.Missed = max(count(gone.Get("alerts")), 1)
}

// likeness names what is the same in a row that the webhook sends and in one that
// is read: what tells a person something, whatever the order of fields and
// however several values are written. Tags are left out: they are added when
// rows are looked at.
func (r Row) likeness() string {
	var parts []string
	for _, f := range r.Public() {
		if strings.HasPrefix(f.Name, "tag") && (f.Name == "tag" || strings.HasPrefix(f.Name, "tag::")) {
			continue
		}
		values := slices.DeleteFunc(strings.Split(strings.Join(f.Values, "\n"), "\n"), func(v string) bool { return v == "" })
		parts = append(parts, f.Name, strconv.Itoa(len(values)))
		parts = append(parts, values...)
	}
	return funnel.Fingerprint(parts...)
}

// mark is the row's time in milliseconds, which is what the REST API tells of it.
func (r Row) mark() string {
	at := rowTime(r.Get("_time"))
	if at == nil {
		return ""
	}
	return strconv.FormatInt(at.UnixMilli(), 10)
}
