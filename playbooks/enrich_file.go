package playbooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/virustotal"
)

const fileTitle = "File"

// EnrichFile comments what virus scanners think of the alert's file.
var EnrichFile = funnel.NewPlaybook("enrich_file", "Comment what the scanners know about the file.", jira.IssueCreated, enrichFile,
	tells("enrich_file", fileTitle), funnel.Saves(6*time.Minute))

func enrichFile(r *funnel.Run, e jira.IssueEvent) error {
	if e.Alert == nil {
		return nil // a person's ticket: nothing is known to look up
	}
	note, err := fileNote(r, e.FileHash())
	if err != nil {
		return err
	}
	_, err = funnel.Step(r, "comment", jira.KeepComment, jira.KeepCommentInput{Issue: e.Key, Name: "enrich_file", Revision: jira.Final, Body: note})
	return err
}

func fileNote(r *funnel.Run, hash string) (funnel.Document, error) {
	if hash == "" {
		return unknown(fileTitle, "the alert has no file hash, so nobody was asked. Unknown is not clean."), nil
	}
	report, err := funnel.Step(r, "report", virustotal.FileReport, virustotal.FileReportInput{Hash: hash})
	switch {
	case funnel.CodeOf(err) == funnel.Invalid:
		return unknown(fileTitle, fmt.Sprintf("%q is no file hash, so VirusTotal was not asked. Unknown is not clean.", cut(hash, 100))), nil
	case err != nil:
		return funnel.Document{}, err
	case r.Skipped("report"):
		return unknown(fileTitle, "a person skipped the look-up of "+hash+". Unknown is not clean."), nil
	case !report.Found:
		return unknown(fileTitle, "VirusTotal has never seen "+hash+". Unknown is not clean."), nil
	}
	return funnel.NewDocument(
		funnel.Heading(3, funnel.Text(fileTitle+": "+string(report.Verdict.Rating))),
		funnel.Paragraph(funnel.Strong(funnel.Text(votes(report)))),
		fileFacts(report).table(),
		funnel.Paragraph(funnel.Link("The report at VirusTotal", "https://www.virustotal.com/gui/file/", report.Hash)),
	), nil
}

func votes(r virustotal.Report) string {
	text := fmt.Sprintf("%d of %s call it malicious", r.Malicious, plural(r.Total, "engine", "engines"))
	if r.Suspicious > 0 {
		text += fmt.Sprintf(", %d suspicious", r.Suspicious)
	}
	if r.Verdict.Rating == funnel.Unknown {
		text = "No engine has judged it. Unknown is not clean"
	}
	return text + "."
}

func fileFacts(r virustotal.Report) *facts {
	f := &facts{}
	f.data("Threat", r.Label)
	f.data("Name", r.Name)
	if len(r.Names) > 1 {
		f.data("Also seen as", cut(strings.Join(r.Names, ", "), maxValue))
	}
	f.data("Type", r.Type)
	if r.Size > 0 {
		f.add("Size", funnel.Text(plural(int(r.Size), "byte", "bytes")))
	}
	f.time("First seen", r.FirstSeen, "", "")
	f.time("Last seen", r.LastSeen, "", "")
	f.time("Last analysis", r.LastAnalysis, "", "")
	f.data("SHA-256", r.SHA256)
	f.data("MD5", r.MD5)
	return f
}
