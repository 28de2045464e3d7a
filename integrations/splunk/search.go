package splunk

import (
	"context"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// RunSearchInput is the input of splunk.run_search.
type RunSearchInput struct {
	Search   string            `json:"search" doc:"The search in SPL; it may begin with the terms, or with a command behind |. $name$ stands for a value of params" example:"search index=endpoint user=$user$ | head 5" minLength:"1" maxLength:"20000"`
	Params   map[string]string `json:"params,omitempty" doc:"Values for the places $name$. Each becomes a string in quotes, so that nothing in it can be a part of the search"`
	Earliest string            `json:"earliest,omitempty" doc:"Begin of the time range: relative as -24h@h, seconds since 1970, or ISO 8601; the last 24 hours if not set" example:"-24h" maxLength:"64"`
	Latest   string            `json:"latest,omitempty" doc:"End of the time range; now if not set" example:"now" maxLength:"64"`
	Fields   []string          `json:"fields,omitempty" doc:"Which fields; if empty, all but Splunk's own bookkeeping"`
	MaxRows  int               `json:"max_rows,omitempty" doc:"How many rows at most; 1000 if not set" minimum:"1" maximum:"10000"`
	Mode     string            `json:"mode,omitempty" enum:"job,oneshot" doc:"job, the default, makes a search job and waits for it; oneshot asks once for everything, which suits short searches"`
}

// RunSearch runs a search and returns its rows. It must be done within the time
// of a step, twice the connection's timeout; Splunk is told to end it then. A
// command that changes something is refused; what the token's role allows is the
// real bound, for a macro can hide a command.
func (c *Client) RunSearch(ctx context.Context, in RunSearchInput) (Results, error) {
	what := "searching in Splunk"
	most, err := checkTable(what, in.MaxRows, in.Fields)
	if err != nil {
		return Results{}, err
	}
	spl, err := ready(in.Search)
	if err == nil {
		spl, err = bind(spl, in.Params)
	}
	if err != nil {
		return Results{}, err
	}
	for name, value := range map[string]string{"earliest": in.Earliest, "latest": in.Latest} {
		if !isTime(value) {
			return Results{}, funnel.Errorf(funnel.Invalid, "%s: %s is not a time: want one such as -24h@h, now, 1767225600 or 2026-01-01T00:00:00Z", what, name)
		}
	}
	form := url.Values{
		"search": {spl}, "earliest_time": {orElse(in.Earliest, "-24h")}, "latest_time": {orElse(in.Latest, "now")},
		"max_count": {strconv.Itoa(most + 1)}, // one more tells whether there are more
	}
	switch in.Mode {
	case "", "job":
		return c.runJob(ctx, what, form, in.Fields, most)
	case "oneshot":
		return c.runOnce(ctx, what, form, in.Fields, most)
	}
	return Results{}, funnel.Errorf(funnel.Invalid, "%s: mode is neither job nor oneshot", what)
}

// runJob makes a search job, waits for it, reads it and deletes it, however it
// ends. If even the deletion is lost, Splunk ends the job when nobody has asked
// for it for a minute.
func (c *Client) runJob(ctx context.Context, what string, form url.Values, fields []string, most int) (Results, error) {
	left := 2 * c.timeout
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	form.Set("exec_mode", "normal")
	form.Set("max_time", seconds(left))
	form.Set("auto_cancel", "60")
	form.Set("timeout", "60")
	a, err := c.createJob(ctx, what, form)
	if err != nil {
		return Results{}, err
	}
	sid := a.json.Get("sid").String()
	if checkSID(what, sid) != nil {
		return Results{}, call{what: what}.unreadable("it names no search job")
	}
	defer c.cancelJob(ctx, sid)
	job, err := c.await(ctx, what, sid, left*9/10)
	switch {
	case err != nil:
		return Results{}, err
	case !job.Found:
		return Results{}, funnel.Errorf(funnel.Unavailable, "%s: Splunk does not know the search job that it made", what)
	case job.Failed:
		return Results{}, funnel.Errorf(funnel.Invalid, "%s: the search failed: %s", what, job.Why)
	case !job.Done:
		return Results{}, funnel.Errorf(funnel.Unavailable, "%s: it was not done in time: search less, or raise the connection's timeout", what)
	}
	out, err := c.table(ctx, what, job, fields, most)
	if err == nil && !out.Found {
		return Results{}, funnel.Errorf(funnel.Unavailable, "%s: Splunk does not know the search job that it made", what)
	}
	return out, err
}

// runOnce makes no job that could be cancelled: Splunk ends the search by
// max_time.
func (c *Client) runOnce(ctx context.Context, what string, form url.Values, fields []string, most int) (Results, error) {
	form.Set("exec_mode", "oneshot")
	form.Set("output_mode", "json")
	form.Set("count", strconv.Itoa(most+1))
	form.Set("max_time", seconds(c.timeout*9/10))
	a, err := c.createJob(ctx, what, form)
	switch {
	case err != nil:
		return Results{}, err
	case a.large:
		return Results{}, funnel.Errorf(funnel.Invalid, "%s: the rows are larger than %d MiB: ask for fewer fields or rows, or for a job", what, maxAnswer>>20)
	case !a.json.Exists():
		return Results{}, call{what: what}.unreadable("it is empty")
	}
	if fatal := a.json.Get(`messages.#(type=="FATAL").text`); fatal.Exists() {
		return Results{}, funnel.Errorf(funnel.Invalid, "%s: the search failed: %s", what, shorten(fatal.String(), 300))
	}
	t := table{fields: fields}
	n, err := t.add(a.json)
	if err != nil {
		return Results{}, call{what: what}.unreadable(err.Error())
	}
	if len(t.rows) > most {
		t.rows = t.rows[:most]
	}
	out := t.results(n, most)
	out.Done = true
	return out, nil
}

func seconds(d time.Duration) string { return strconv.Itoa(max(int(d/time.Second), 1)) }

// ready makes a search one that the API takes, which wants a command first.
func ready(spl string) (string, error) {
	spl = strings.TrimSpace(spl)
	if m := changing().FindStringSubmatch(spl); m != nil {
		return "", funnel.Errorf(funnel.Invalid, "reading the search: the command %s changes something or starts a program; searches here only read", strings.ToLower(m[1]))
	}
	if first, _, _ := strings.Cut(spl, " "); strings.HasPrefix(spl, "|") || strings.EqualFold(first, "search") {
		return spl, nil
	}
	return "search " + spl, nil
}

// changing finds the commands that do not only read (help.splunk.com, "SPL
// safeguards for risky commands", and those that write lookups and files). It
// looks into quotes too: map runs what stands there.
func changing() *regexp.Regexp {
	return regexp.MustCompile(`(?i)[|\[]\s*(collect|delete|dump|mcollect|meventcollect|outputcsv|outputlookup|outputtelemetry|outputtext|run|runshellscript|script|sendalert|sendemail|summaryindex|stash|tscollect)\b`)
}

// isTime reports whether a text can be a time modifier, or is empty.
func isTime(text string) bool {
	return text == "" || regexp.MustCompile(`^[-+@0-9A-Za-z:.]{1,64}$`).MatchString(text)
}
