package virustotal

import (
	"context"
	"encoding/base64"
	"net/url"
	"time"

	"github.com/funnelsec/funnel"
)

// URLReportInput is the input of virustotal.url_report.
type URLReportInput struct {
	URL string `json:"url" doc:"URL, http or https; user and password in it are not sent" example:"https://www.example.org/" minLength:"8" maxLength:"4096"`
}

// URLResult is what VirusTotal knows about a URL. Its texts were written by
// strangers, the site among them: show them as data, and the URLs not as links.
type URLResult struct {
	URL     string         `json:"url" doc:"The URL that was asked for, without user and password"`
	Found   bool           `json:"found" doc:"Whether VirusTotal has ever been asked to scan the URL"`
	Verdict funnel.Verdict `json:"verdict" doc:"The engines' votes in one word"`
	Votes
	Asked      *time.Time `json:"asked,omitempty" doc:"When VirusTotal was asked; runs share an answer. Absent: it was not"`
	FinalURL   string     `json:"final_url,omitempty" doc:"Where redirects led; at most 2,000 characters"`
	Title      string     `json:"title,omitempty" doc:"Title of the page"`
	Status     int        `json:"status,omitempty" doc:"HTTP status with which the site answered VirusTotal" example:"200"`
	Names      []string   `json:"names,omitempty" doc:"What the threat is called, at most ten"`
	Categories []string   `json:"categories,omitempty" doc:"What categorisers say the site is for, at most ten"`
	FirstSeen  *time.Time `json:"first_seen,omitempty" doc:"First submission"`
	LastSeen   *time.Time `json:"last_seen,omitempty" doc:"Last submission"`
	Permalink  string     `json:"permalink,omitempty" doc:"Page for people at VirusTotal"`
}

// URLReport looks a URL up; it does not have it scanned. A URL that VirusTotal
// does not know is an answer, not an error; about URLs of local networks it is
// not asked.
func (c *Client) URLReport(ctx context.Context, in URLReportInput) (URLResult, error) {
	address, err := webAddress(in.URL)
	if err != nil {
		return URLResult{}, err
	}
	text := address.String()
	if what := private(address.Hostname()); what != "" {
		return URLResult{URL: text, Verdict: notAsked(what)}, nil
	}
	id := base64.RawURLEncoding.EncodeToString([]byte(text)) // docs.virustotal.com/reference/url
	asked := c.now()
	var answer object[urlAttributes]
	found, err := c.get(ctx, &answer, "api/v3/urls", id)
	switch {
	case err != nil:
		return URLResult{}, err
	case !found:
		return URLResult{URL: text, Asked: asked, Verdict: neverSeen("URL")}, nil
	}
	a := answer.Data.Attributes
	if kind, ok := funnel.HashKind(answer.Data.ID); answer.Data.Type != "url" || !ok || kind != funnel.SHA256 {
		return URLResult{}, unreadable("is not the report of a URL")
	}
	// The identifier is a hash of VirusTotal's own form of the URL, which we
	// cannot compute: the URL itself says what the answer is about.
	if theirs, err := url.Parse(a.URL); err != nil || !sameURL(address, theirs) {
		return URLResult{}, unreadable("is about another URL than the one asked for")
	}
	if a.Status < 0 || a.Status > 999 {
		return URLResult{}, unreadable("tells an HTTP status that cannot be")
	}
	votes, verdict, err := c.judge("URL", a.judged)
	if err != nil {
		return URLResult{}, err
	}
	return URLResult{
		URL: text, Found: true, Asked: asked, Verdict: verdict, Votes: votes, Permalink: pages + "url/" + id,
		FinalURL: clip(a.FinalURL, 2000), Title: short(a.Title), Status: a.Status, Names: shorts(a.Names), Categories: opinions(a.Categories),
		FirstSeen: instant(a.First), LastSeen: instant(a.Last),
	}, nil
}

// urlAttributes is the part of a URL object that is read
// (docs.virustotal.com/reference/url-object).
type urlAttributes struct {
	judged
	URL        string            `json:"url"`
	FinalURL   string            `json:"last_final_url"`
	Title      string            `json:"title"`
	Status     int               `json:"last_http_response_code"`
	Names      []string          `json:"threat_names"`
	Categories map[string]string `json:"categories"`            // by partner
	First      int64             `json:"first_submission_date"` // seconds since 1970, as the other
	Last       int64             `json:"last_submission_date"`
}
