package splunk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/funnelsec/funnel"
)

// GetResultsInput is the input of splunk.get_results.
type GetResultsInput struct {
	SID     string   `json:"sid" doc:"ID of the search job, as an alert names it" example:"scheduler__admin__search__demo_at_1767225600_1" minLength:"1" maxLength:"1024"`
	Fields  []string `json:"fields,omitempty" doc:"Which fields; if empty, all but Splunk's own bookkeeping"`
	MaxRows int      `json:"max_rows,omitempty" doc:"How many rows at most; 1000 if not set" minimum:"1" maximum:"10000"`
}

// Results is a table of rows that a search found. All of it came from outside:
// show it as data.
type Results struct {
	SID       string     `json:"sid,omitempty" doc:"ID of the search job; empty for a search that has none"`
	Found     bool       `json:"found" doc:"False if Splunk does not know the job: it has expired, never existed, or is hidden from the token's account"`
	Done      bool       `json:"done" doc:"Whether the search has ended; of a real-time search that goes on, the rows up to now are here"`
	Total     int        `json:"total" doc:"How many rows Splunk has"`
	Fields    []string   `json:"fields" doc:"Names of the fields, in Splunk's order"`
	Rows      [][]string `json:"rows" doc:"The cells of each row in the order of the fields; several values are apart by line breaks, numbers as Splunk wrote them"`
	Truncated bool       `json:"truncated,omitempty" doc:"Whether rows, fields or parts of cells are left out"`
	Why       string     `json:"why,omitempty" doc:"Why there are no rows, or not all"`
}

// Bounds of an outcome. The engine keeps outcomes up to 256 KiB with the step.
const (
	defaultRows = 1000
	mostRows    = 10_000
	maxTable    = 200 << 10 // bytes of the fields and rows as JSON
	maxCell     = 8 << 10   // bytes
	maxColumns  = 200
	pageRows    = 200
)

// GetResults reads the rows of a search job, page by page. A job that Splunk does
// not know, for jobs expire, is an answer, not an error: Found is false. One that
// is not done is waited for; after a few seconds the step comes back later.
func (c *Client) GetResults(ctx context.Context, in GetResultsInput) (Results, error) {
	what := "reading the results of a search job"
	if err := checkSID(what, in.SID); err != nil {
		return Results{}, err
	}
	most, err := checkTable(what, in.MaxRows, in.Fields)
	if err != nil {
		return Results{}, err
	}
	job, err := c.await(ctx, what, in.SID, c.patience)
	switch {
	case err != nil:
		return Results{}, err
	case !job.Found:
		return none(in.SID, job.Why), nil
	case !job.Done && !job.realtime:
		// Asked to come back later, and not unavailable: Splunk is well, and a
		// search that takes its time must not close the connection to others.
		e := funnel.Errorf(funnel.Throttled, "%s: the search is not done yet (%s)", what, job.State)
		e.RetryAt, e.Narrow = c.clock().Add(15*time.Second), true
		return Results{}, e
	}
	return c.table(ctx, what, job, in.Fields, most)
}

func none(sid, why string) Results {
	return Results{SID: sid, Fields: []string{}, Rows: [][]string{}, Why: why}
}

// checkTable checks what is asked for and returns the bound of rows.
func checkTable(what string, rows int, fields []string) (most int, err error) {
	if rows == 0 {
		rows = defaultRows
	}
	if rows < 1 || rows > mostRows {
		return 0, funnel.Errorf(funnel.Invalid, "%s: max_rows is not from 1 to %d", what, mostRows)
	}
	if len(fields) > maxColumns || slices.Contains(fields, "") {
		return 0, funnel.Errorf(funnel.Invalid, "%s: fields holds an empty name or more than %d", what, maxColumns)
	}
	return rows, nil
}

// table reads the rows of a job that is done.
func (c *Client) table(ctx context.Context, what string, job Job, fields []string, most int) (Results, error) {
	t := table{fields: fields}
	for offset, page := 0, min(pageRows, most); offset < most && (offset == 0 || offset < job.Rows || !job.Done); {
		a, err := c.readRows(ctx, what, job.SID, offset, min(page, most-offset), fields, job.realtime && !job.Done)
		switch {
		case err != nil:
			return Results{}, err
		case a.missing != "" && offset == 0:
			return none(job.SID, "Splunk does not know the search job any more: it has expired"), nil
		case a.missing != "":
			t.cut("the search job expired while it was read")
		case a.large && page > 1: // rows of many kilobytes
			page = max(page/4, 1)
			continue
		case a.large:
			t.cut(fmt.Sprintf("row %d is larger than %d MiB", offset+1, maxAnswer>>20))
		case !a.json.Exists(): // 204
			t.cut("Splunk gave no more rows")
		}
		if t.why != "" {
			break
		}
		n, err := t.add(a.json)
		if err != nil {
			return Results{}, call{what: what}.unreadable(err.Error())
		}
		if n == 0 || t.why != "" {
			break
		}
		offset += n
	}
	out := t.results(max(job.Rows, len(t.rows)), most)
	out.SID, out.Done = job.SID, job.Done
	if job.Failed {
		out.Why = job.Why
	}
	return out, nil
}

// table collects rows within the bounds.
type table struct {
	fields []string // that are wanted; nil: all that tell a person something
	names  []string // of the columns, in the order of their appearance
	rows   []map[string]string
	size   int    // of the cells as JSON, about
	lost   bool   // fields or parts of cells are left out
	why    string // why it is cut; "" if it is not
}

func (t *table) cut(why string) {
	if t.why == "" {
		t.why = why
	}
}

// add adds the rows of a page and returns how many the page has:
// {"fields":[{"name":…}],"results":[{name:value}]} in the output mode json.
func (t *table) add(page gjson.Result) (n int, err error) {
	results := page.Get("results")
	if !results.IsArray() {
		return 0, fmt.Errorf("it has no results")
	}
	page.Get("fields").ForEach(func(_, field gjson.Result) bool {
		name := field.Get("name")
		if name.Type == gjson.String {
			t.column(text(name))
		}
		return true
	})
	results.ForEach(func(_, result gjson.Result) bool {
		if t.why != "" {
			return false
		}
		n++
		err = t.row(result)
		return err == nil
	})
	return n, err
}

func (t *table) row(result gjson.Result) error {
	if !result.IsObject() {
		return fmt.Errorf("a row is not an object")
	}
	cells := map[string]string{}
	size := 4
	var err error
	result.ForEach(func(key, value gjson.Result) bool {
		name := text(key)
		values, _, ok := readValues(value, new([]string))
		if !ok {
			err = fmt.Errorf("a field of a row is neither text, a number, true, false, null nor a list of these")
			return false
		}
		if t.column(name) {
			cells[name] = t.cell(strings.Join(values, "\n"))
			size += jsonSize(cells[name]) + 1
		}
		return true
	})
	if err != nil {
		return err
	}
	if t.size+size > maxTable {
		t.cut(fmt.Sprintf("more than %d KiB are not read", maxTable>>10))
		return nil
	}
	t.rows, t.size = append(t.rows, cells), t.size+size
	return nil
}

// column reports whether a field is wanted, and gives it a column.
func (t *table) column(name string) bool {
	if slices.Contains(t.names, name) {
		return true
	}
	wanted := slices.Contains(t.fields, name)
	if t.fields == nil {
		wanted = !internal(name) || name == "_time"
	}
	if wanted && (len(t.names) == maxColumns || len(name) > maxName) {
		t.lost, wanted = true, false
	}
	if !wanted {
		return false
	}
	t.names = append(t.names, name)
	t.size += jsonSize(name) + 1
	return true
}

func (t *table) cell(value string) string {
	if len(value) > maxCell {
		t.lost = true
		return strings.ToValidUTF8(value[:maxCell], "") + "…"
	}
	return value
}

func jsonSize(s string) int {
	b, err := json.Marshal(s)
	if err != nil {
		return 6 * len(s)
	}
	return len(b)
}

// results returns the table. total is how many rows Splunk has, most how many
// were wanted.
func (t *table) results(total, most int) Results {
	out := Results{Found: true, Total: total, Fields: []string{}, Rows: [][]string{}, Why: t.why}
	for _, name := range t.names { // a column in which no row has a value tells nothing
		if slices.ContainsFunc(t.rows, func(row map[string]string) bool { return row[name] != "" }) {
			out.Fields = append(out.Fields, name)
		}
	}
	size := t.size
	for _, cells := range t.rows {
		row := make([]string, len(out.Fields))
		for i, name := range out.Fields {
			if row[i] = cells[name]; row[i] == "" {
				size += 3 // an empty cell has a size too
			}
		}
		if size > maxTable+maxTable/10 {
			out.Why = fmt.Sprintf("more than %d KiB are not read", maxTable>>10)
			break
		}
		out.Rows = append(out.Rows, row)
	}
	if out.Why == "" {
		switch {
		case len(out.Rows) < total && len(out.Rows) == most:
			out.Why = fmt.Sprintf("no more than %d rows were asked for", most)
		case len(out.Rows) < total:
			out.Why = "Splunk gave no more rows"
		case t.lost:
			out.Why = "long cells and some fields are cut"
		}
	}
	out.Truncated = out.Why != ""
	return out
}
