package playbooks

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/splunk"
)

// connected is a ticket of an alert whose source belongs to a connection.
func connected() jira.IssueEvent {
	e := created()
	e.Alert.Connection, e.Alert.SID = "splunk-soc", "sid-1"
	return e
}

func job(rows int, mode splunk.Mode) funneltest.Answer {
	return funneltest.Always(splunk.Job{SID: "sid-1", Found: true, Done: true, State: "DONE", Rows: rows, Mode: mode})
}

func many(n int, cell string) splunk.Results {
	r := splunk.Results{SID: "sid-1", Found: true, Done: true, Total: n, Fields: []string{"severity", "dest", "user"}}
	for i := range n {
		r.Rows = append(r.Rows, []string{"high", fmt.Sprintf("WS-%04d", i), cell})
		if i == 1 {
			r.Rows[i][2] = "=cmd()|'/c calc'!A1"
		}
	}
	return r
}

func rowsAnswers(mode splunk.Mode, r splunk.Results) funneltest.Answers {
	return funneltest.Answers{
		"splunk.get_job": job(r.Total, mode), "splunk.get_results": funneltest.Always(r),
		"jira.keep_comment": funneltest.Always(jira.Comment{ID: "1"}), "jira.attach_file": funneltest.Always(jira.Attachment{ID: "1"}),
	}
}

func TestShowRows(t *testing.T) {
	t.Parallel()
	r := funneltest.Run(t, ShowRows, connected(), rowsAnswers(splunk.Once, many(3, "jdoe\nrroe http://evil.test/")))
	wantPaths(t, r, "job rows comment")
	for _, c := range r.Calls[:2] {
		if c.Connection != "splunk-soc" {
			t.Errorf("step %s uses the connection %q", c.Path, c.Connection)
		}
	}
	in := funneltest.Input[jira.KeepCommentInput](t, r, "comment")
	if in.Issue != "SIRT-42" || in.Name != "show_rows" || in.Revision != jira.Final {
		t.Errorf("the comment is %+v", in)
	}
	wantText(t, "the comment", in.Body, `
All rows: 3

In all of them: severity: high

user | dest
jdoe, rroe hxxp://evil[.]test/ | WS-0000
=cmd()|'/c calc'!A1 | WS-0001
jdoe, rroe hxxp://evil[.]test/ | WS-0002
`)
}

// TestManyRows: the first rows are on the ticket, all of them in a file.
func TestManyRows(t *testing.T) {
	t.Parallel()
	all := many(120, "jdoe")
	all.Total, all.Truncated, all.Why = 4000, true, "no more than 120 rows were asked for"
	r := funneltest.Run(t, ShowRows, connected(), rowsAnswers(splunk.Once, all))
	wantPaths(t, r, "job rows file comment")
	text := funneltest.Input[jira.KeepCommentInput](t, r, "comment").Body.String()
	want := "All rows: 4000\n\nThe first 50 of 4000 are shown. 120 were read: no more than 120 rows were asked for. All that were read are in the attachment splunk-rows.csv."
	if !strings.HasPrefix(text, want) || !strings.Contains(text, "WS-0049") || strings.Contains(text, "WS-0050") {
		t.Errorf("the comment is\n%s", text)
	}
	file := funneltest.Input[jira.AttachFileInput](t, r, "file")
	read, err := csv.NewReader(strings.NewReader(file.Text)).ReadAll()
	if err != nil || len(read) != 121 || read[120][1] != "WS-0119" || read[2][2] != "'=cmd()|'/c calc'!A1" || file.Issue != "SIRT-42" || file.Name != "splunk-rows.csv" {
		t.Errorf("the file %s of %s has %d lines, error %v", file.Name, file.Issue, len(read), err)
	}
	// Long cells and many columns are bounded on the ticket; the file has them.
	long := many(60, strings.Repeat("x", 3000))
	for i := range 30 {
		long.Fields = append(long.Fields, fmt.Sprintf("f%d", i))
		for n := range long.Rows {
			long.Rows[n] = append(long.Rows[n], strings.Repeat(fmt.Sprint(n), 200))
		}
	}
	r = funneltest.Run(t, ShowRows, connected(), rowsAnswers(splunk.Once, long))
	wantPaths(t, r, "job rows file comment")
	if text := funneltest.Input[jira.KeepCommentInput](t, r, "comment").Body.String(); len(text) > 32_000 || !strings.Contains(text, "of 60 are shown") {
		t.Errorf("the comment has %d characters: %.300s", len(text), text)
	}
}

// TestWhichRowsAreShown: nobody is told twice, and what is not known is said.
func TestWhichRowsAreShown(t *testing.T) {
	t.Parallel()
	none := splunk.Results{SID: "sid-1", Why: "it has expired", Fields: []string{}, Rows: [][]string{}}
	failed := splunk.Results{Found: true, Done: true, Why: "no such index", Fields: []string{}, Rows: [][]string{}}
	const expired = "All rows: unknown: Splunk does not know the alert's search job."
	for name, test := range map[string]struct {
		job     funneltest.Answer
		results splunk.Results
		skip    string
		paths   string
		want    string // how the comment begins
	}{
		"each result":       {job(7, splunk.Each), many(7, "a"), "", "job", ""},
		"one row":           {job(1, splunk.Once), many(1, "a"), "", "job", ""},
		"mode not known":    {job(2, ""), many(2, "a"), "", "job rows comment", "All rows: 2"},
		"expired":           {funneltest.Always(splunk.Job{SID: "sid-1"}), none, "", "job comment", expired},
		"expired meanwhile": {job(7, splunk.Once), none, "", "job rows comment", expired},
		"failed":            {funneltest.Always(splunk.Job{Found: true, Done: true, Failed: true}), failed, "", "job rows comment", "All rows: unknown: Splunk gave none. no such index"},
		"job skipped":       {job(7, splunk.Each), many(2, "a"), "job", "job rows comment", "All rows: 2"},
		"rows skipped":      {job(7, splunk.Once), many(2, "a"), "rows", "job rows comment", "All rows: unknown: not asked"},
		"file skipped":      {job(70, splunk.Once), many(70, "a"), "file", "job rows file comment", "All rows: 70\n\nThe first 50 of 70 are shown. A person skipped"},
		"live":              {funneltest.Always(splunk.Job{Found: true}), splunk.Results{Found: true, Total: 1, Fields: []string{"a"}, Rows: [][]string{{"1"}}}, "", "job rows comment", "All rows: 1\n\nThe search goes on"},
	} {
		answers := rowsAnswers(splunk.Once, test.results)
		answers["splunk.get_job"] = test.job
		r := funneltest.Run(t, ShowRows, connected(), answers, funneltest.Skip(test.skip))
		if got := strings.Join(r.Paths(), " "); r.Err != nil || got != test.paths {
			t.Errorf("%s: steps %s, want %s; error %v", name, got, test.paths, r.Err)
			continue
		}
		if test.want == "" {
			continue
		}
		if got := funneltest.Input[jira.KeepCommentInput](t, r, "comment").Body.String(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: the comment is\n%s", name, got)
		}
	}
	unconnected, persons := created(), jira.IssueEvent{Key: "SIRT-42"}
	unconnected.Alert.SID = "sid-1"
	for _, e := range []jira.IssueEvent{unconnected, persons} {
		wantPaths(t, funneltest.Run(t, ShowRows, e, nil), "")
	}
}

// A file that cannot be attached does not keep the table from the ticket, and is
// a failure all the same.
func TestFileFails(t *testing.T) {
	t.Parallel()
	answers := rowsAnswers(splunk.Once, many(70, "a"))
	answers["jira.attach_file"] = funneltest.Fails(funnel.Unauthorized, "attachments are off")
	r := funneltest.Run(t, ShowRows, connected(), answers)
	if funnel.CodeOf(r.Err) != funnel.Unauthorized || strings.Join(r.Paths(), " ") != "job rows file comment-without" {
		t.Fatalf("steps %v, error %v", r.Paths(), r.Err)
	}
	if text := funneltest.Input[jira.KeepCommentInput](t, r, "comment-without").Body.String(); !strings.Contains(text, "could not be attached") || !strings.Contains(text, "WS-0049") {
		t.Errorf("the comment is\n%s", text)
	}
}

func TestTellRows(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	in, told := funneltest.Tell[jira.KeepCommentInput](t, ShowRows, connected(), funnel.Status{State: "waiting", System: "splunk-soc", Why: "it is down", Until: until, Revision: 4})
	if !told || in.Revision != 4 || in.Name != "show_rows" {
		t.Errorf("told %v: %+v", told, in)
	}
	wantText(t, "what is told", in.Body, `
All rows: waiting for splunk-soc: it is down. It goes on at 2026-03-01 12:00:00 UTC.

The description has the row that came with the alert.
`)
}

func TestRowsSettings(t *testing.T) {
	t.Parallel()
	for settings, good := range map[string]bool{
		`{}`: true, `{"shown":200,"read":10000,"columns":["dest"]}`: true, `{"shown":0}`: false, `{"shown":201}`: false, `{"read":10}`: false, `{"read":10001}`: false,
	} {
		if err := ShowRows.CheckSettings([]byte(settings)); (err == nil) != good {
			t.Errorf("settings %s: %v", settings, err)
		}
	}
	r := funneltest.Run(t, ShowRows, connected(), rowsAnswers(splunk.Once, many(3, "jdoe")), funneltest.WithSettings(`{"shown":2,"columns":["dest"]}`))
	if text := funneltest.Input[jira.KeepCommentInput](t, r, "comment").Body.String(); !strings.Contains(text, "dest | user\nWS-0000") || strings.Contains(text, "WS-0002") {
		t.Errorf("the comment is\n%s", text)
	}
}

// TestVerify: an alert whose search job Splunk does not know opens no ticket, and
// its run says why until a person decides.
func TestVerify(t *testing.T) {
	t.Parallel()
	opens := funneltest.Always(jira.Ticket{Key: "SIRT-1", Seen: 1})
	verify := funneltest.WithSettings(`{"verify":true}`)
	r := funneltest.Run(t, OpenTicket, alert(), funneltest.Answers{"splunk.get_job": job(1, splunk.Once), "jira.open_ticket": opens}, verify)
	wantPaths(t, r, "verify ticket")
	if in := funneltest.Input[splunk.GetJobInput](t, r, "verify"); in.SID != "1" || !in.Required {
		t.Errorf("asked is %+v", in)
	}
	unknown := funneltest.Answers{"splunk.get_job": funneltest.Fails(funnel.NotFound, "Splunk does not know the search job"), "jira.open_ticket": opens}
	r = funneltest.Run(t, OpenTicket, alert(), unknown, verify)
	if funnel.CodeOf(r.Err) != funnel.NotFound || len(r.Calls) != 1 || !strings.Contains(r.Err.Error(), "verify") {
		t.Errorf("steps %v, error %v", r.Paths(), r.Err)
	}
	wantPaths(t, funneltest.Run(t, OpenTicket, alert(), unknown, verify, funneltest.Skip("verify")), "verify ticket")
	wantPaths(t, funneltest.Run(t, OpenTicket, alert(), unknown), "ticket")
}

// TestSheetIsInert: no cell is a formula, and the text comes back.
func TestSheetIsInert(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@a": "'@a", "\t=a": "'\t=a", "\ra": "'\ra", "＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠a": "'＠a",
		"  =a": "'  =a", "\ufeff=a": "'\ufeff=a", "\x00\u200b=a": "'\x00\u200b=a", "a=1": "a=1", "'=a": "'=a", "": "", "10": "10",
	} {
		if got := inert(cell); got != want {
			t.Errorf("%q becomes %q, want %q", cell, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("=+-@\t\n＝\"', ;x")), 0, 8, -1))
		rows := rapid.SliceOfN(rapid.SliceOfN(text, 2, 2), 1, 5).Draw(t, "rows")
		read, err := csv.NewReader(strings.NewReader(sheet([]string{"a", "=b"}, rows))).ReadAll()
		if err != nil || len(read) != len(rows)+1 || read[0][1] != "'=b" {
			t.Fatalf("%q is read as %q, error %v", rows, read, err)
		}
		for i, row := range rows {
			for k, cell := range row {
				got := read[i+1][k]
				if visible := strings.TrimLeft(got, " \t\n\u00a0\u3000\ufeff\x00\u200b"); strings.ContainsAny(got[:min(1, len(got))], "\t\r\n") || visible != "" && strings.ContainsRune("=+-@＝＋－＠", []rune(visible)[0]) {
					t.Fatalf("the cell %q is read as the formula %q", cell, got)
				}
				plain := strings.NewReplacer("\r", "") // line breaks in quotes are written as CRLF and read as LF
				if plain.Replace(got) != plain.Replace(inert(cell)) {
					t.Fatalf("the cell %q is read as %q", cell, got)
				}
			}
		}
	})
}
