package virustotal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

const (
	source   = "VirusTotal"
	pages    = "https://www.virustotal.com/gui/" // the pages for people
	maxNames = 10
	maxText  = 200 // characters of one text
)

// Votes are what the engines and VirusTotal's users say.
type Votes struct {
	Malicious    int        `json:"malicious" doc:"Engines that call it malicious"`
	Suspicious   int        `json:"suspicious" doc:"Engines that call it suspicious"`
	Harmless     int        `json:"harmless" doc:"Engines that call it harmless"`
	Undetected   int        `json:"undetected" doc:"Engines that found nothing"`
	Total        int        `json:"total" doc:"Engines that gave one of these four answers"`
	Reputation   int        `json:"reputation,omitempty" doc:"Votes of VirusTotal's users; negative is bad"`
	LastAnalysis *time.Time `json:"last_analysis,omitempty" doc:"When the engines last looked"`
}

// object is an object of API v3 (docs.virustotal.com/reference/objects).
type object[A any] struct {
	Data struct {
		Type       string `json:"type"`
		ID         string `json:"id"`
		Attributes A      `json:"attributes"`
	} `json:"data"`
}

// judged are the attributes that every kind of object has which engines judge.
type judged struct {
	Reputation   int   `json:"reputation"`
	LastAnalysis int64 `json:"last_analysis_date"` // seconds since 1970
	Stats        struct {
		Malicious  int `json:"malicious"`
		Suspicious int `json:"suspicious"`
		Harmless   int `json:"harmless"`
		Undetected int `json:"undetected"`
	} `json:"last_analysis_stats"`
}

// judge counts the votes about a thing, such as a file, and judges by the number
// of engines. Engines that timed out, failed or do not support the type have no
// vote. Votes that cannot be are an error: from them a wrong verdict would follow.
//
//	malicious    at least Config.MaliciousAt engines call it malicious
//	suspicious   at least one engine calls it malicious or suspicious
//	clean        engines voted, and none of them so
//	unknown      no engine voted
func (c *Client) judge(thing string, j judged) (Votes, funnel.Verdict, error) {
	s := j.Stats
	for _, n := range []int{s.Malicious, s.Suspicious, s.Harmless, s.Undetected} {
		if n < 0 || n > 10_000 {
			return Votes{}, funnel.Verdict{}, unreadable("counts engines in a number that cannot be")
		}
	}
	r := Votes{
		Malicious: s.Malicious, Suspicious: s.Suspicious, Harmless: s.Harmless, Undetected: s.Undetected,
		Total:      s.Malicious + s.Suspicious + s.Harmless + s.Undetected,
		Reputation: j.Reputation, LastAnalysis: instant(j.LastAnalysis),
	}
	v := funnel.Verdict{Score: r.Malicious + r.Suspicious, Total: r.Total, Source: source, At: r.LastAnalysis}
	switch {
	case r.Malicious >= c.maliciousAt:
		v.Rating = funnel.Malicious
	case v.Score > 0:
		v.Rating = funnel.Suspicious
	case r.Total > 0:
		v.Rating = funnel.Clean
	default:
		v.Rating, v.Detail = funnel.Unknown, fmt.Sprintf("VirusTotal knows this %s, but no engine has judged it.", thing)
		return r, v, nil
	}
	v.Detail = fmt.Sprintf("%d of %d engines call it malicious, %d suspicious.", r.Malicious, r.Total, r.Suspicious)
	return r, v, nil
}

// says reports whether a verdict says something. Unknown is asked again sooner.
func says(v funnel.Verdict) bool { return v.Rating != funnel.Unknown }

// neverSeen is the verdict of what VirusTotal does not know.
func neverSeen(thing string) funnel.Verdict {
	return funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotFoundThere, Source: source, Detail: fmt.Sprintf("VirusTotal has never seen this %s.", thing)}
}

// notAsked is the verdict of what is not VirusTotal's business.
func notAsked(what string) funnel.Verdict {
	return funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotAsked, Source: source, Detail: fmt.Sprintf("VirusTotal was not asked: it is about %s.", what)}
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
func short(text string) string { return clip(text, maxText) }

func clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if runes := []rune(text[:min(len(text), 4*limit+4)]); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

// shorts bounds a list of texts.
func shorts(texts []string) (list []string) {
	for _, text := range texts[:min(len(texts), maxNames)] {
		list = append(list, short(text))
	}
	return list
}

// opinions returns the different values of a map from partner to category,
// sorted, so that the same answer always gives the same report.
func opinions(categories map[string]string) []string {
	list := make([]string, 0, len(categories))
	for _, category := range categories {
		if category = strings.TrimSpace(category); category != "" {
			list = append(list, category)
		}
	}
	slices.Sort(list)
	return shorts(slices.Compact(list))
}
