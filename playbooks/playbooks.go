// Package playbooks holds the playbooks that ship with Funnel: an alert opens a
// ticket, and each enrichment is a small run of its own, so that a slow or broken
// system delays nothing else.
package playbooks

import (
	"fmt"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
)

// All returns the shipped playbooks.
func All() []*funnel.Playbook { return []*funnel.Playbook{OpenTicket, EnrichUser, EnrichFile} }

// when writes a time for people.
func when(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

// tells says in the living comment of the name that the run waits or failed.
func tells(name, title string) funnel.PlaybookOption {
	return funnel.Tells(jira.KeepComment, func(e jira.IssueEvent, s funnel.Status) (jira.KeepCommentInput, bool) {
		return jira.KeepCommentInput{Issue: e.Key, Name: name, Revision: s.Revision, Body: statusNote(title, s)}, e.Alert != nil
	})
}

// statusNote is what stands on the ticket while there is no result.
func statusNote(title string, s funnel.Status) funnel.Document {
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text(title))}
	if s.State == "failed" {
		blocks = append(blocks, funnel.Paragraph(
			funnel.Strong(funnel.Text("Failed: unknown.")), funnel.Text(" "), funnel.Data(s.Why), funnel.Text(". It needs a person to retry, skip or cancel it.")))
	} else {
		until := "Nobody knows until when."
		if !s.Until.IsZero() {
			until = "It goes on at " + when(s.Until) + "."
		}
		blocks = append(blocks, funnel.Paragraph(
			funnel.Strong(funnel.Text("Waiting: not known yet.")), funnel.Text(" "), funnel.Data(s.Why), funnel.Text(". "+until+" This comment will hold the result.")))
	}
	if s.RunURL != "" {
		blocks = append(blocks, funnel.Paragraph(funnel.LinkWithin("The run in Funnel", s.RunURL, s.RunURL)))
	}
	return funnel.NewDocument(blocks...)
}

// unknown is a result that says that nothing is known, and why.
func unknown(title, why string) funnel.Document {
	return funnel.NewDocument(
		funnel.Heading(3, funnel.Text(title)),
		funnel.Paragraph(funnel.Strong(funnel.Text("Unknown:")), funnel.Text(" "), funnel.Data(why)),
	)
}

// facts is a table of names and values; empty values are left out.
type facts struct{ rows [][][]funnel.Inline }

func (f *facts) add(name string, value ...funnel.Inline) {
	f.rows = append(f.rows, funnel.Row(funnel.Item(funnel.Text(name)), value))
}

func (f *facts) data(name, value string) {
	if value != "" {
		f.add(name, funnel.Data(value))
	}
}

func (f *facts) time(name string, t *time.Time, otherwise, note string) {
	switch {
	case t != nil:
		f.add(name, funnel.Text(when(*t)+note))
	case otherwise != "":
		f.add(name, funnel.Text(otherwise))
	}
}

func (f *facts) table() funnel.Block {
	return funnel.Table(funnel.Row(funnel.Item(funnel.Text("What")), funnel.Item(funnel.Text("Value"))), f.rows...)
}

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
