package playbooks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/splunk"
)

// ShowRows comments all rows that the alert's search found; the alert itself
// carries the first one only. It does nothing for an alert whose source has no
// connection to Splunk, for a search that found one row, and for a search that
// sends an alert for each result, for there each row has an alert of its own.
var ShowRows = funnel.NewPlaybook("show_rows", "Comment all rows that the alert's search found.", jira.IssueCreated, showRows,
	funnel.Tells(jira.KeepComment, tellRows), funnel.Settings(rowsDefaults()), funnel.Saves(3*time.Minute))

// RowsSettings are the options of show_rows.
type RowsSettings struct {
	Shown   int      `json:"shown,omitempty" doc:"At most so many rows are shown on the ticket, 1 to 200; the others are in an attachment" example:"50"`
	Read    int      `json:"read,omitempty" doc:"At most so many rows are read, up to 10000; no more than 200 KiB in any case" example:"1000"`
	Columns []string `json:"columns,omitempty" doc:"Fields that are shown first; if empty, those that tell most" example:"[\"user\",\"dest\"]"`
}

func rowsDefaults() RowsSettings { return RowsSettings{Shown: 50, Read: 1000} }

// Validate reports what is wrong with the settings.
func (s *RowsSettings) Validate() error {
	switch {
	case s.Shown < 1 || s.Shown > 200:
		return funnel.Errorf(funnel.Invalid, "shown is %d, want 1 to 200", s.Shown)
	case s.Read < s.Shown || s.Read > 10_000:
		return funnel.Errorf(funnel.Invalid, "read is %d, want from shown (%d) to 10000", s.Read, s.Shown)
	}
	return nil
}

func aboutRows() enrichment { return enrichment{name: "show_rows", title: "All rows"} }

// tellRows says that the run waits or failed, and what there is meanwhile.
func tellRows(e jira.IssueEvent, s funnel.Status) (jira.KeepCommentInput, bool) {
	x := aboutRows()
	body := append(x.status(s), funnel.Paragraph(funnel.Text("The description has the row that came with the alert.")))
	return jira.KeepCommentInput{Issue: e.Key, Name: x.name, Revision: s.Revision, Body: funnel.NewDocument(body...)}, e.Alert != nil
}

func showRows(r *funnel.Run, e jira.IssueEvent) error {
	if e.Alert == nil || e.Alert.SID == "" || e.Alert.Connection == "" {
		return nil
	}
	settings, err := funnel.SettingsOf(r, rowsDefaults())
	if err != nil {
		return err
	}
	x, via := aboutRows(), funnel.Via(e.Alert.Connection)
	job, err := funnel.Step(r, "job", splunk.GetJob, splunk.GetJobInput{SID: e.Alert.SID}, via)
	switch {
	case err != nil:
		return err
	case r.Skipped("job"): // who skips it wants the rows in any case
	case !job.Found:
		return x.comment(r, e, gone()...)
	case job.Mode == splunk.Each, job.Done && !job.Failed && job.Rows <= 1:
		return nil
	}
	rows, err := funnel.Step(r, "rows", splunk.GetResults, splunk.GetResultsInput{SID: e.Alert.SID, MaxRows: settings.Read}, via)
	switch {
	case err != nil:
		return err
	case r.Skipped("rows"):
		return x.comment(r, e, x.unknown(funnel.Text("not asked, a person skipped the look-up.")))
	case !rows.Found:
		return x.comment(r, e, gone()...)
	case len(rows.Rows) == 0:
		return x.comment(r, e, x.unknown(funnel.Text("Splunk gave none. "), funnel.Data(clip(rows.Why, maxValue))))
	}
	t := tableOf(rows, settings)
	if t.whole {
		return x.comment(r, e, t.note("")...)
	}
	// The comment says truly whether there is a file. A retry of the file gets a
	// comment of its own: the text is another one.
	_, failed := funnel.Step(r, "file", jira.AttachFile, jira.AttachFileInput{Issue: e.Key, Name: rowsFile, MediaType: "text/csv", Text: sheet(rows.Fields, rows.Rows)})
	step, note := "comment", "All that were read are in the attachment "+rowsFile+"."
	switch {
	case failed != nil:
		step, note = "comment-without", "The file with all of them could not be attached."
	case r.Skipped("file"):
		note = "A person skipped the file with all of them."
	}
	_, err = funnel.Step(r, step, jira.KeepComment, jira.KeepCommentInput{Issue: e.Key, Name: x.name, Revision: jira.Final, Body: funnel.NewDocument(t.note(note)...)})
	return errors.Join(failed, err)
}

const rowsFile = "splunk-rows.csv"

// gone says that Splunk no longer has the rows.
func gone() []funnel.Block {
	return []funnel.Block{aboutRows().unknown(
		funnel.Text("Splunk does not know the alert's search job. It has expired, or the connection may not see it. The description has the row that came with the alert; the search can be run again in Splunk."))}
}

// Bounds of the table on the ticket.
const (
	mostColumns = 8
	mostCell    = 120    // characters
	mostTable   = 24_000 // characters; a comment has room for 32,767
	mostCommon  = 12     // fields that are equal in all rows
)

// rowsTable is what of the rows is shown.
type rowsTable struct {
	results splunk.Results
	columns []int // of the fields whose values differ
	common  []int // of the fields whose values do not
	shown   int   // rows
	whole   bool  // nothing is left out
}

// tableOf chooses columns and rows. Fields that are equal in all rows are said
// once, above the table.
func tableOf(rows splunk.Results, settings RowsSettings) rowsTable {
	t := rowsTable{results: rows, whole: true}
	for i := range rows.Fields {
		first := rows.Rows[0][i]
		if slices.ContainsFunc(rows.Rows, func(row []string) bool { return row[i] != first }) {
			t.columns = append(t.columns, i)
		} else {
			t.common = append(t.common, i)
		}
	}
	by := func(a, b int) int {
		return cmp.Compare(weight(rows.Fields[a], settings.Columns), weight(rows.Fields[b], settings.Columns))
	}
	slices.SortStableFunc(t.columns, by)
	slices.SortStableFunc(t.common, by)
	if len(t.columns) > mostColumns || len(t.common) > mostCommon {
		t.whole = false
	}
	t.columns, t.common = t.columns[:min(len(t.columns), mostColumns)], t.common[:min(len(t.common), mostCommon)]
	size := 0
	for _, row := range rows.Rows {
		if size += t.size(row); t.shown == settings.Shown || size > mostTable {
			break
		}
		t.shown++
	}
	if t.shown < len(rows.Rows) {
		t.whole = false
	}
	return t
}

// size is about how many characters a row takes; a cell that is cut makes the
// table less than whole.
func (t *rowsTable) size(row []string) int {
	size := 0
	for _, i := range t.columns {
		n := utf8.RuneCountInString(row[i])
		if n > mostCell {
			t.whole, n = false, mostCell
		}
		size += n + 4
	}
	return size
}

// weight orders fields: those that the settings name, then those that say when,
// who, where and what, then the others as Splunk has them.
func weight(name string, first []string) int {
	if i := slices.Index(first, name); i >= 0 {
		return i - len(first)
	}
	telling := []string{
		"_time", "user", "src_user", "dest_user", "src", "src_ip", "src_host", "dest", "dest_ip", "dest_host", "host", "url", "domain",
		"file_name", "process", "process_name", "action", "signature", "severity", "count", "file_path", "file_hash", "sha256", "md5",
	}
	if i := slices.Index(telling, name); i >= 0 {
		return i
	}
	return len(telling)
}

// note writes the table; remark says where the rest is.
func (t rowsTable) note(remark string) []funnel.Block {
	rows := t.results
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text(fmt.Sprintf("All rows: %d", rows.Total)))}
	var text []funnel.Inline
	if !rows.Done {
		text = append(text, funnel.Text("The search goes on; these are the rows up to now. "))
	}
	if t.shown < rows.Total {
		text = append(text, funnel.Text(fmt.Sprintf("The first %d of %d are shown. ", t.shown, rows.Total)))
	} else if !t.whole {
		text = append(text, funnel.Text("Some columns or long values are left out. "))
	}
	if rows.Truncated {
		text = append(text, funnel.Text(fmt.Sprintf("%d were read: ", len(rows.Rows))), funnel.Data(clip(rows.Why, maxValue)), funnel.Text(". "))
	}
	if remark != "" {
		text = append(text, funnel.Text(remark))
	}
	if len(text) > 0 {
		blocks = append(blocks, funnel.Paragraph(text...))
	}
	if len(t.common) > 0 {
		text := []funnel.Inline{funnel.Strong(funnel.Text("In all of them: "))}
		for n, i := range t.common {
			if n > 0 {
				text = append(text, funnel.Text("; "))
			}
			text = append(text, funnel.Data(clip(rows.Fields[i], mostCell)), funnel.Text(": "), funnel.Data(clip(oneLine(rows.Rows[0][i]), mostCell)))
		}
		blocks = append(blocks, funnel.Paragraph(text...))
	}
	if len(t.columns) == 0 {
		return blocks
	}
	var header [][]funnel.Inline
	for _, i := range t.columns {
		header = append(header, funnel.Item(funnel.Data(clip(rows.Fields[i], mostCell))))
	}
	var lines [][][]funnel.Inline
	for _, row := range rows.Rows[:t.shown] {
		var cells [][]funnel.Inline
		for _, i := range t.columns {
			cells = append(cells, funnel.Item(funnel.Data(clip(oneLine(row[i]), mostCell))))
		}
		lines = append(lines, cells)
	}
	return append(blocks, funnel.Table(header, lines...))
}

// oneLine puts the values of a cell beside one another.
func oneLine(cell string) string { return strings.ReplaceAll(cell, "\n", ", ") }
