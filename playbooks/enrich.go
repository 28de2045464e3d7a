package playbooks

import (
	"strings"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
)

// An enrichment keeps one comment of its own on the ticket. While it waits or
// after it failed, the comment says so; what was found replaces that for good.

// enrichment is what the enrichments have in common.
type enrichment struct {
	name  string // of the playbook and of its comment
	title string // what the comment is about: "User"
	// asks reports whether there is something to look up.
	asks func(jira.IssueEvent) bool
}

// concerns reports whether the ticket gets a comment: one of an alert always, so
// that its reader sees that nothing was found out; one that a person wrote only
// if something in it can be looked up.
func (x enrichment) concerns(e jira.IssueEvent) bool { return e.Alert != nil || x.asks(e) }

// comment writes what was found.
func (x enrichment) comment(r *funnel.Run, e jira.IssueEvent, body ...funnel.Block) error {
	_, err := funnel.Step(r, "comment", jira.KeepComment, jira.KeepCommentInput{
		Issue: e.Key, Name: x.name, Revision: jira.Final, Body: funnel.NewDocument(body...),
	})
	return err
}

// unknown is a comment that says why nothing is known, which is never good news.
func (x enrichment) unknown(why ...funnel.Inline) funnel.Block {
	return funnel.Paragraph(append([]funnel.Inline{funnel.Strong(funnel.Text(x.title)), funnel.Text(": unknown: ")}, why...)...)
}

// tells declares that the comment says what the run waits for, or why it failed.
func (x enrichment) tells() funnel.PlaybookOption {
	return funnel.Tells(jira.KeepComment, func(e jira.IssueEvent, s funnel.Status) (jira.KeepCommentInput, bool) {
		return jira.KeepCommentInput{Issue: e.Key, Name: x.name, Revision: s.Revision, Body: funnel.NewDocument(x.status(s)...)}, x.concerns(e)
	})
}

func (x enrichment) status(s funnel.Status) []funnel.Block {
	text := []funnel.Inline{funnel.Strong(funnel.Text(x.title))}
	why := funnel.Data(clip(strings.TrimRight(s.Why, ". "), maxValue))
	if s.State == "failed" {
		text = append(text, funnel.Text(": unknown, because asking failed: "), why, funnel.Text(". A person has to look at the run."))
	} else {
		text = append(text, funnel.Text(": waiting"))
		if s.System != "" {
			text = append(text, funnel.Text(" for "), funnel.Data(clip(s.System, maxValue)))
		}
		text = append(text, funnel.Text(": "), why)
		until := ". Until when is not known."
		if !s.Until.IsZero() {
			until = ". It goes on at " + instant(s.Until) + "."
		}
		text = append(text, funnel.Text(until))
	}
	blocks := []funnel.Block{funnel.Paragraph(text...)}
	if s.RunURL != "" {
		blocks = append(blocks, funnel.Paragraph(funnel.LinkWithin("Open the run in Funnel", s.RunURL, s.RunURL)))
	}
	return blocks
}
