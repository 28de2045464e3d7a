package virustotal

import (
	"context"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// FileReportInput is the input of virustotal.file_report.
type FileReportInput struct {
	Hash string `json:"hash" doc:"MD5, SHA-1 or SHA-256 of the file, hexadecimal" example:"44d88612fea8a8f36de82e1278abb02f" pattern:"^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$"`
}

// Report is what VirusTotal knows about a file. Its texts were written by
// strangers, uploaders and engines: show them as data.
type Report struct {
	Hash         string         `json:"hash" doc:"The hash that was asked for, in lower case"`
	Found        bool           `json:"found" doc:"Whether VirusTotal has ever seen the file"`
	Verdict      funnel.Verdict `json:"verdict" doc:"The engines' votes in one word"`
	Asked        *time.Time     `json:"asked,omitempty" doc:"When VirusTotal was asked; runs share an answer"`
	Malicious    int            `json:"malicious" doc:"Engines that call it malicious"`
	Suspicious   int            `json:"suspicious" doc:"Engines that call it suspicious"`
	Harmless     int            `json:"harmless" doc:"Engines that call it harmless"`
	Undetected   int            `json:"undetected" doc:"Engines that found nothing"`
	Total        int            `json:"total" doc:"Engines that gave one of these four answers"`
	Name         string         `json:"name,omitempty" doc:"The most telling of its names"`
	Names        []string       `json:"names,omitempty" doc:"Names under which it was uploaded, at most ten"`
	Type         string         `json:"type,omitempty" doc:"Kind of file" example:"Win32 EXE"`
	Size         int64          `json:"size,omitempty" doc:"Size in bytes"`
	Label        string         `json:"label,omitempty" doc:"What the engines mostly call the threat" example:"trojan.mimikatz/hacktool"`
	Reputation   int            `json:"reputation,omitempty" doc:"Votes of VirusTotal's users; negative is bad"`
	FirstSeen    *time.Time     `json:"first_seen,omitempty" doc:"First upload"`
	LastSeen     *time.Time     `json:"last_seen,omitempty" doc:"Last upload"`
	LastAnalysis *time.Time     `json:"last_analysis,omitempty" doc:"When the engines last looked"`
	MD5          string         `json:"md5,omitempty" doc:"MD5 of the file"`
	SHA256       string         `json:"sha256,omitempty" doc:"SHA-256 of the file"`
	Permalink    string         `json:"permalink,omitempty" doc:"Page for people at VirusTotal"`
}

// FileReport looks a file up by its hash. A hash that VirusTotal does not know
// is an answer, not an error: Found is false and the verdict unknown.
func (c *Client) FileReport(ctx context.Context, in FileReportInput) (Report, error) {
	kind, ok := funnel.HashKind(in.Hash)
	if !ok {
		return Report{}, funnel.Errorf(funnel.Invalid, "asking VirusTotal: hash is not an MD5, SHA-1 or SHA-256: want 32, 40 or 64 hexadecimal digits")
	}
	hash := strings.ToLower(in.Hash)
	asked := c.now()
	var answer object[fileAttributes]
	found, err := c.get(ctx, &answer, "api/v3/files", hash)
	switch {
	case err != nil:
		return Report{}, err
	case !found:
		return Report{Hash: hash, Asked: asked, Verdict: neverSeen("file")}, nil
	}
	a := answer.Data.Attributes
	if err := a.check(answer.Data.Type, kind, hash); err != nil {
		return Report{}, err
	}
	votes, verdict, err := c.judge("file", a.judged)
	if err != nil {
		return Report{}, err
	}
	return Report{
		Hash: hash, Found: true, Verdict: verdict, Asked: asked,
		Name: short(a.Name), Names: shorts(a.Names), Type: short(a.Type), Label: short(a.Threat.Label), Size: a.Size, Reputation: votes.Reputation,
		FirstSeen: instant(a.First), LastSeen: instant(a.Last), LastAnalysis: votes.LastAnalysis,
		MD5: strings.ToLower(a.MD5), SHA256: strings.ToLower(a.SHA256), Permalink: pages + "file/" + strings.ToLower(a.SHA256),
		Malicious: votes.Malicious, Suspicious: votes.Suspicious, Harmless: votes.Harmless, Undetected: votes.Undetected, Total: votes.Total,
	}, nil
}

// fileAttributes is the part of a file object that is read
// (docs.virustotal.com/reference/files).
type fileAttributes struct {
	judged
	MD5    string   `json:"md5"`
	SHA1   string   `json:"sha1"`
	SHA256 string   `json:"sha256"`
	Name   string   `json:"meaningful_name"`
	Names  []string `json:"names"`
	Type   string   `json:"type_description"`
	Size   int64    `json:"size"`
	First  int64    `json:"first_submission_date"` // seconds since 1970, as the others
	Last   int64    `json:"last_submission_date"`
	Threat struct {
		Label string `json:"suggested_threat_label"`
	} `json:"popular_threat_classification"`
}

// check refuses an answer that is not about the file that was asked for: from
// it a wrong verdict would follow.
func (a fileAttributes) check(object string, kind funnel.Kind, hash string) error {
	if is, ok := funnel.HashKind(a.SHA256); object != "file" || !ok || is != funnel.SHA256 {
		return unreadable("is not the report of a file")
	}
	if is, ok := funnel.HashKind(a.MD5); a.MD5 != "" && (!ok || is != funnel.MD5) {
		return unreadable("has an MD5 that is none")
	}
	theirs := map[funnel.Kind]string{funnel.MD5: a.MD5, funnel.SHA1: a.SHA1, funnel.SHA256: a.SHA256}[kind]
	if !strings.EqualFold(theirs, hash) {
		return unreadable("is about another file than the one asked for")
	}
	return nil
}
