package playbooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/virustotal"
)

// EnrichFile comments what the virus scanners think of the file that the ticket
// is about: of its alert, or by the hash that a person wrote.
var EnrichFile = funnel.NewPlaybook("enrich_file", "Comment what the scanners know about the file.", jira.IssueCreated, enrichFile,
	aboutFile().tells(), funnel.Saves(6*time.Minute))

func aboutFile() enrichment {
	return enrichment{name: "enrich_file", title: "File", asks: func(e jira.IssueEvent) bool { return e.FileHash() != "" }}
}

func enrichFile(r *funnel.Run, e jira.IssueEvent) error {
	x := aboutFile()
	if !x.concerns(e) {
		return nil
	}
	hash := e.FileHash()
	if hash == "" {
		return x.comment(r, e, x.unknown(funnel.Text("the alert names no file hash.")))
	}
	report, err := funnel.Step(r, "report", virustotal.FileReport, virustotal.FileReportInput{Hash: hash})
	if err != nil {
		return err
	}
	if r.Skipped("report") {
		return x.comment(r, e, x.unknown(funnel.Text("not asked, a person skipped the look-up.")))
	}
	return x.comment(r, e, fileNote(hash, report)...)
}

func fileNote(hash string, report virustotal.Report) []funnel.Block {
	v := report.Verdict
	if !report.Found {
		why := "VirusTotal has never seen this file."
		if v.Why != "" && v.Why != funnel.NotFoundThere {
			why = v.String() + "."
		}
		if report.Asked != nil {
			why += " It was asked at " + instant(*report.Asked) + "."
		}
		return []funnel.Block{
			aboutFile().unknown(funnel.Text(why + " That does not make it clean.")),
			funnel.Paragraph(funnel.Text("Hash: "), funnel.Fixed(funnel.Data(hash))),
		}
	}
	var f facts
	f.put("Malicious", funnel.Text(fmt.Sprintf("%d of %d engines", report.Malicious, report.Total)))
	f.put("Suspicious", funnel.Text(fmt.Sprintf("%d of %d engines", report.Suspicious, report.Total)))
	f.when("Engines looked at", report.LastAnalysis, "")
	f.add("Threat", report.Label)
	f.add("Name", report.Name)
	f.add("Names", strings.Join(report.Names, ", "))
	f.add("Type", report.Type)
	if report.Size > 0 {
		f.put("Size", funnel.Text(fmt.Sprintf("%d bytes", report.Size)))
	}
	f.when("First seen", report.FirstSeen, "")
	f.when("Last seen", report.LastSeen, "")
	f.add("Users' votes", votes(report.Reputation))
	f.when("VirusTotal was asked", report.Asked, "")
	f.put("Hash", funnel.Fixed(funnel.Data(hash)))
	if report.SHA256 != "" && !strings.EqualFold(report.SHA256, hash) {
		f.put("SHA-256", funnel.Fixed(funnel.Data(report.SHA256)))
	}
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text("File: "+verdictText(v))), f.table()}
	if kind, ok := funnel.HashKind(report.SHA256); ok && kind == funnel.SHA256 {
		blocks = append(blocks, funnel.Paragraph(funnel.Link("Open the report at VirusTotal", "https://www.virustotal.com/gui/file/", report.SHA256)))
	}
	return blocks
}

// verdictText says a verdict and, of an unknown one, why.
func verdictText(v funnel.Verdict) string {
	if (v.Rating == funnel.Unknown || v.Rating == "") && v.Why == "" {
		return "unknown (no engine has judged it)"
	}
	return v.String()
}

func votes(n int) string {
	switch {
	case n < 0:
		return fmt.Sprintf("%d, negative is bad", n)
	case n > 0:
		return fmt.Sprint(n)
	}
	return ""
}
