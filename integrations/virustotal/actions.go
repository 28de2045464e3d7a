package virustotal

import (
	"context"
	"fmt"
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
	var answer fileAnswer
	found, err := c.get(ctx, &answer, "api/v3/files", hash)
	switch {
	case err != nil:
		return Report{}, err
	case !found:
		verdict := funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotFoundThere, Source: source, Detail: "VirusTotal has never seen this file."}
		return Report{Hash: hash, Verdict: verdict}, nil
	}
	a := answer.Data.Attributes
	if err := answer.check(kind, hash); err != nil {
		return Report{}, err
	}
	report := Report{
		Hash: hash, Found: true,
		Name: short(a.Name), Type: short(a.Type), Label: short(a.Threat.Label), Size: a.Size, Reputation: a.Reputation,
		FirstSeen: instant(a.First), LastSeen: instant(a.Last), LastAnalysis: instant(a.LastAnalysis),
		MD5: strings.ToLower(a.MD5), SHA256: strings.ToLower(a.SHA256), Permalink: permalink + strings.ToLower(a.SHA256),
		Malicious: a.Stats.Malicious, Suspicious: a.Stats.Suspicious, Harmless: a.Stats.Harmless, Undetected: a.Stats.Undetected,
	}
	for _, name := range a.Names[:min(len(a.Names), maxNames)] {
		report.Names = append(report.Names, short(name))
	}
	report.Total = report.Malicious + report.Suspicious + report.Harmless + report.Undetected
	report.Verdict = c.verdict(report)
	return report, nil
}

const (
	source    = "VirusTotal"
	permalink = "https://www.virustotal.com/gui/file/"
	maxNames  = 10
	maxText   = 200 // characters of one text
)

// verdict judges by the number of engines. Engines that timed out, failed or do
// not support the type have no vote.
//
//	malicious    at least Config.MaliciousAt engines call it malicious
//	suspicious   at least one engine calls it malicious or suspicious
//	clean        engines voted, and none of them so
//	unknown      no engine voted
func (c *Client) verdict(r Report) funnel.Verdict {
	v := funnel.Verdict{Score: r.Malicious + r.Suspicious, Total: r.Total, Source: source, At: r.LastAnalysis}
	switch {
	case r.Malicious >= c.maliciousAt:
		v.Rating = funnel.Malicious
	case v.Score > 0:
		v.Rating = funnel.Suspicious
	case r.Total > 0:
		v.Rating = funnel.Clean
	default:
		v.Rating, v.Detail = funnel.Unknown, "VirusTotal knows this file, but no engine has judged it."
		return v
	}
	v.Detail = fmt.Sprintf("%d of %d engines call it malicious, %d suspicious.", r.Malicious, r.Total, r.Suspicious)
	return v
}

// fileAnswer is the part of a file object that is read
// (docs.virustotal.com/reference/files).
type fileAnswer struct {
	Data struct {
		Type       string `json:"type"`
		Attributes struct {
			MD5    string   `json:"md5"`
			SHA1   string   `json:"sha1"`
			SHA256 string   `json:"sha256"`
			Name   string   `json:"meaningful_name"`
			Names  []string `json:"names"`
			Type   string   `json:"type_description"`
			Size   int64    `json:"size"`

			Reputation   int   `json:"reputation"`
			First        int64 `json:"first_submission_date"` // seconds since 1970, as the others
			Last         int64 `json:"last_submission_date"`
			LastAnalysis int64 `json:"last_analysis_date"`

			Stats struct {
				Malicious  int `json:"malicious"`
				Suspicious int `json:"suspicious"`
				Harmless   int `json:"harmless"`
				Undetected int `json:"undetected"`
			} `json:"last_analysis_stats"`
			Threat struct {
				Label string `json:"suggested_threat_label"`
			} `json:"popular_threat_classification"`
		} `json:"attributes"`
	} `json:"data"`
}

// check refuses an answer that is not about the file that was asked for, and
// votes that cannot be: from them a wrong verdict would follow.
func (f fileAnswer) check(kind funnel.Kind, hash string) error {
	a := f.Data.Attributes
	if is, ok := funnel.HashKind(a.SHA256); f.Data.Type != "file" || !ok || is != funnel.SHA256 {
		return unreadable("is not the report of a file")
	}
	if is, ok := funnel.HashKind(a.MD5); a.MD5 != "" && (!ok || is != funnel.MD5) {
		return unreadable("has an MD5 that is none")
	}
	theirs := map[funnel.Kind]string{funnel.MD5: a.MD5, funnel.SHA1: a.SHA1, funnel.SHA256: a.SHA256}[kind]
	if !strings.EqualFold(theirs, hash) {
		return unreadable("is about another file than the one asked for")
	}
	for _, n := range []int{a.Stats.Malicious, a.Stats.Suspicious, a.Stats.Harmless, a.Stats.Undetected} {
		if n < 0 || n > 10_000 {
			return unreadable("counts engines in a number that cannot be")
		}
	}
	return nil
}

// instant returns seconds since 1970 as a time; nil if not set or not a time
// that has a JSON form.
func instant(seconds int64) *time.Time {
	if seconds <= 0 || seconds > 253402300799 { // the end of the year 9999
		return nil
	}
	t := time.Unix(seconds, 0).UTC()
	return &t
}

// short bounds a text from outside.
func short(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if runes := []rune(text[:min(len(text), 4*maxText+4)]); len(runes) > maxText {
		return string(runes[:maxText-1]) + "…"
	}
	return text
}
