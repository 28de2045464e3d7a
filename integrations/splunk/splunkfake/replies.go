package splunkfake

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// login answers POST /services/auth/login.
func (a *API) login(w http.ResponseWriter, q request) {
	if q.Method != http.MethodPost || !a.may(q.form.Get("username"), q.form.Get("password")) {
		fail(w, http.StatusUnauthorized, "WARN", "Login failed")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := fmt.Sprintf("fake-session-%d", len(a.sessions)+1)
	a.sessions[key] = true
	a.note(Call{Kind: "login", Found: true})
	write(w, http.StatusOK, map[string]any{"sessionKey": key, "message": "", "code": ""})
}

// answer answers what has a kind.
func (a *API) answer(w http.ResponseWriter, q request, kind string) {
	switch kind {
	case "info":
		a.note(Call{Kind: kind, Found: true})
		a.info(w, q)
	case "context":
		a.note(Call{Kind: kind, Found: true})
		write(w, http.StatusOK, a.feed("authentication/current-context", entry("context", nil, map[string]any{"username": "funnel", "roles": []string{"funnel"}})))
	case "saved":
		a.saved(w, q)
	case "fired":
		a.firedAlerts(w, q)
	case "create", "oneshot":
		a.search(w, q, kind)
	default:
		a.onJob(w, q, kind)
	}
}

// info answers GET /services/server/info, by default in XML as Splunk does.
func (a *API) info(w http.ResponseWriter, q request) {
	content := map[string]any{
		"version": a.options.Version, "build": a.build(), "serverName": "splunk01", "guid": "00000000-0000-4000-8000-000000000001",
		"os_name": "Linux", "isFree": "0", "isTrial": "0", "licenseState": "OK", "mode": "normal",
	}
	if a.options.Cloud {
		content["instance_type"] = "cloud"
	}
	if q.form.Get("output_mode") != "json" {
		a.atom(w, "server-info", "server/info", content)
		return
	}
	write(w, http.StatusOK, a.feed("server/info", entry("server-info", nil, content)))
}

func (a *API) build() string { return "101089" }

// feed is the frame of all JSON answers with entries.
func (a *API) feed(path string, entries ...map[string]any) map[string]any {
	generator := map[string]any{"build": a.build(), "version": a.options.Version}
	if a.options.Cloud {
		generator["instance_type"] = "cloud"
	}
	return map[string]any{
		"links": map[string]any{}, "origin": "https://splunk01:8089/services/" + path, "updated": a.options.Clock().Format(time.RFC3339),
		"generator": generator, "entry": entries, "paging": map[string]any{"total": len(entries), "perPage": 30, "offset": 0}, "messages": []any{},
	}
}

func entry(name string, acl, content map[string]any) map[string]any {
	return map[string]any{"name": name, "id": "https://splunk01:8089/services/" + name, "author": "admin", "acl": acl, "content": content}
}

// saved answers GET /servicesNS/{owner}/{app}/saved/searches/{name}.
func (a *API) saved(w http.ResponseWriter, q request) {
	if f, ok := a.firingOf(q.path[2]); ok {
		a.note(Call{Kind: "saved", Search: f.Search, Found: !f.Hidden})
		if f.Hidden {
			fail(w, http.StatusNotFound, "ERROR", "Could not find object id="+q.path[2])
			return
		}
		content := map[string]any{"alert.digest_mode": !f.Each, "actions": f.Actions, "disabled": false}
		if f.URL != "" {
			content["action.webhook.param.url"] = f.URL
		}
		write(w, http.StatusOK, a.feed("saved/searches", entry(f.Search, nil, content)))
		return
	}
	for _, sid := range a.order {
		j := a.jobs[sid]
		if j == nil || j.Search != q.path[2] {
			continue
		}
		a.note(Call{Kind: "saved", Search: j.Search, Found: !j.Hidden})
		if j.Hidden {
			break
		}
		write(w, http.StatusOK, a.feed("saved/searches", entry(j.Search, nil, map[string]any{"alert.digest_mode": !j.Each, "actions": "webhook", "disabled": false})))
		return
	}
	fail(w, http.StatusNotFound, "ERROR", "Could not find object id="+q.path[2])
}

// onJob answers what is about one search job.
func (a *API) onJob(w http.ResponseWriter, q request, kind string) {
	offset, _ := strconv.Atoi(q.form.Get("offset"))
	count := 100 // Splunk's default
	if text := q.form.Get("count"); text != "" {
		count, _ = strconv.Atoi(text)
	}
	j := a.jobs[q.sid]
	c := Call{Kind: kind, V2: q.v2, SID: q.sid, Found: j != nil}
	if kind == "results" || kind == "preview" {
		c.Offset, c.Count = offset, count
	}
	a.note(c)
	switch {
	case j == nil:
		fail(w, http.StatusNotFound, "FATAL", "Unknown sid.")
	case kind == "cancel":
		if q.form.Get("action") == "cancel" {
			delete(a.jobs, q.sid)
		}
		write(w, http.StatusOK, map[string]any{"messages": []any{map[string]string{"type": "INFO", "text": "Search job cancelled."}}})
	case kind == "job" && j.Silent > 0:
		j.Silent--
		w.WriteHeader(http.StatusNoContent)
	case kind == "job":
		state := j.state()
		if j.Slow > 0 {
			j.Slow--
		}
		write(w, http.StatusOK, a.feed("search/jobs", a.jobEntry(j, state)))
	case kind == "results" && (j.Slow > 0 || j.Silent > 0 || j.RealTime): // results of an unfinished job are empty
		w.WriteHeader(http.StatusNoContent)
	default:
		table(w, q, j.Rows, offset, count, kind == "preview")
	}
}

func (j *Job) state() string {
	switch {
	case j.Failed != "":
		return "FAILED"
	case j.Slow > 0 || j.RealTime:
		return "RUNNING"
	}
	return "DONE"
}

func (a *API) jobEntry(j *Job, state string) map[string]any {
	done := state == "DONE" || state == "FAILED"
	content := map[string]any{
		"sid": j.SID, "isDone": done, "isFailed": state == "FAILED", "isRealTimeSearch": j.RealTime, "isSavedSearch": j.Search != "",
		"dispatchState": state, "resultCount": 0, "resultPreviewCount": len(j.Rows), "eventCount": len(j.Rows), "ttl": 600,
		"label": j.Search, "messages": []any{}, "isPreviewEnabled": false, "runDuration": 0.104, "doneProgress": 1,
	}
	if done {
		content["resultCount"] = len(j.Rows)
	}
	if j.Failed != "" {
		content["messages"] = []any{map[string]string{"type": "FATAL", "text": j.Failed}}
	}
	acl := map[string]any{"app": cmp.Or(j.App, "search"), "owner": cmp.Or(j.Owner, "admin"), "sharing": "global", "ttl": "600"}
	return entry(cmp.Or(j.Search, j.SID), acl, content)
}

// table answers with rows, in the output modes json, json_rows and XML.
func table(w http.ResponseWriter, q request, rows []map[string]any, offset, count int, preview bool) {
	offset = min(max(offset, 0), len(rows))
	end := len(rows)
	if count > 0 {
		end = min(end, offset+count)
	}
	names := columns(rows, q.form["f"])
	page := rows[offset:end]
	frame := map[string]any{"preview": preview, "init_offset": offset, "messages": []any{}, "highlighted": map[string]any{}}
	switch q.form.Get("output_mode") {
	case "json":
		fields, results := []any{}, []any{}
		for _, name := range names {
			fields = append(fields, map[string]string{"name": name})
		}
		for _, row := range page {
			out := map[string]any{}
			for _, name := range names {
				if value, has := row[name]; has && value != "" { // an empty field is left out
					out[name] = shown(name, value)
				}
			}
			results = append(results, out)
		}
		frame["fields"], frame["results"] = fields, results
	case "json_rows":
		lines := []any{}
		for _, row := range page {
			line := []any{}
			for _, name := range names {
				line = append(line, shown(name, row[name]))
			}
			lines = append(lines, line)
		}
		frame["fields"], frame["rows"] = names, lines
	default:
		resultsXML(w, names, page, offset, preview)
		return
	}
	write(w, http.StatusOK, frame)
}

// columns returns the names of the fields in the rows, sorted, or those of them
// that are wanted.
func columns(rows []map[string]any, wanted []string) []string {
	names := []string{}
	for _, row := range rows {
		for name := range row {
			if !slices.Contains(names, name) && (len(wanted) == 0 || slices.Contains(wanted, name)) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// shown writes a value as the REST API does: the webhook has _time in seconds, the
// API in ISO 8601.
func shown(name string, value any) any {
	text, ok := value.(string)
	if !ok || name != "_time" {
		return value
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return value
	}
	return time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC().Format("2006-01-02T15:04:05.000-07:00")
}

// fail answers with an error in Splunk's form.
func fail(w http.ResponseWriter, status int, kind, text string) {
	write(w, status, map[string]any{"messages": []any{map[string]string{"type": kind, "text": text}}})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// search answers POST search/jobs: it makes a job, or with exec_mode=oneshot
// answers with the rows.
func (a *API) search(w http.ResponseWriter, q request, kind string) {
	spl := q.form.Get("search")
	c := Call{Kind: kind, V2: q.v2, Search: spl, Form: map[string]string{}}
	for name, values := range q.form {
		if name != "search" {
			c.Form[name] = strings.Join(values, ",")
		}
	}
	p, err := parse(spl)
	if err != nil {
		a.note(c)
		fail(w, http.StatusBadRequest, "FATAL", err.Error())
		return
	}
	c.Parsed, c.Found = p.String(), true
	rows := p.run(a.options.Events)
	if most, err := strconv.Atoi(q.form.Get("max_count")); err == nil && most > 0 {
		rows = rows[:min(most, len(rows))]
	}
	if kind == "oneshot" {
		a.note(c)
		count := 100
		if n, err := strconv.Atoi(q.form.Get("count")); err == nil {
			count = n
		}
		table(w, q, rows, 0, count, false)
		return
	}
	a.made++
	c.SID = fmt.Sprintf("%d.%d", a.options.Clock().Unix(), a.made)
	a.note(c)
	a.jobs[c.SID] = &Job{SID: c.SID, Rows: rows, Slow: p.slow}
	a.order = append(a.order, c.SID)
	write(w, http.StatusCreated, map[string]any{"sid": c.SID})
}
