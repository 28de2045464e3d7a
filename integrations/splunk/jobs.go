package splunk

import (
	"context"
	"time"

	"github.com/tidwall/gjson"

	"github.com/funnelsec/funnel"
)

// GetJobInput is the input of splunk.get_job.
type GetJobInput struct {
	SID      string `json:"sid" doc:"ID of the search job, as an alert names it" example:"scheduler__admin__search__demo_at_1767225600_1" minLength:"1" maxLength:"1024"`
	Required bool   `json:"required,omitempty" doc:"Fail if Splunk does not know the job"`
}

// Job is a search job of Splunk.
type Job struct {
	SID    string `json:"sid" doc:"ID of the search job"`
	Found  bool   `json:"found" doc:"False if Splunk does not know the job: it never existed, it has expired, or it is hidden from the token's account"`
	Done   bool   `json:"done" doc:"Whether the search has ended"`
	Failed bool   `json:"failed,omitempty" doc:"Whether the search ended without its results"`
	State  string `json:"state,omitempty" doc:"Splunk's word for it: QUEUED, PARSING, RUNNING, PAUSED, FINALIZING, FAILED or DONE"`
	Rows   int    `json:"rows" doc:"How many rows of results there are"`
	Search string `json:"search,omitempty" doc:"Name of the saved search that it is a run of"`
	App    string `json:"app,omitempty" doc:"App of the search"`
	Owner  string `json:"owner,omitempty" doc:"Splunk user who owns it"`
	Mode   Mode   `json:"mode,omitempty" enum:"once,each" doc:"Whether the saved search sends one alert for all rows (once) or one for each row (each); empty if Splunk does not tell"`
	Why    string `json:"why,omitempty" doc:"Why it was not found, or what Splunk says about the failure"`

	realtime bool
}

// Mode says how many alerts a saved search sends.
type Mode string

// The modes: Splunk's trigger conditions "once" and "for each result".
const (
	Once Mode = "once"
	Each Mode = "each"
)

// GetJob looks a search job up. A job that Splunk does not know is an answer, not
// an error: Found is false; unless the input says that it is required.
func (c *Client) GetJob(ctx context.Context, in GetJobInput) (Job, error) {
	what := "reading a search job"
	if err := checkSID(what, in.SID); err != nil {
		return Job{}, err
	}
	job, err := c.job(ctx, what, in.SID)
	if err == nil && !job.Found && in.Required {
		return Job{}, funnel.Errorf(funnel.NotFound, "%s: %s", what, job.Why)
	}
	if err != nil || !job.Found || job.Search == "" {
		return job, err
	}
	job.Mode, err = c.mode(ctx, job)
	return job, err
}

// job reads {"entry":[{"author":…,"acl":{"app":…,"owner":…},"content":{"sid":…,
// "isDone":…,"dispatchState":…,"resultCount":…,"label":…}}]} (help.splunk.com,
// REST API Reference, "search/jobs/{search_id}").
func (c *Client) job(ctx context.Context, what, sid string) (Job, error) {
	a, err := c.readJob(ctx, what, sid)
	switch {
	case err != nil:
		return Job{}, err
	case a.missing != "":
		return Job{SID: sid, Why: "Splunk does not know the search job: it never existed there, or it has expired"}, nil
	case a.large:
		return Job{}, call{what: what}.unreadable("it is larger than 1 MiB")
	case !a.json.Exists(): // 204: it is about to begin
		return Job{SID: sid, Found: true, State: "QUEUED"}, nil
	}
	entry := a.json.Get("entry.0")
	content := entry.Get("content")
	if content.Get("sid").String() != sid || content.Get("dispatchState").Type != gjson.String {
		return Job{}, call{what: what}.unreadable("it is not about the job that was asked for")
	}
	job := Job{
		SID: sid, Found: true, Done: truth(content.Get("isDone")), Failed: truth(content.Get("isFailed")),
		State: shorten(content.Get("dispatchState").Str, 40), Rows: count(content.Get("resultCount")),
		App: shorten(entry.Get("acl.app").String(), maxName), Owner: shorten(entry.Get("acl.owner").String(), maxName),
		realtime: truth(content.Get("isRealTimeSearch")),
	}
	if truth(content.Get("isSavedSearch")) {
		job.Search = shorten(content.Get("label").String(), maxName)
	}
	if job.State == "FAILED" {
		job.Done, job.Failed = true, true
	}
	if job.Failed {
		job.Why = orElse(shorten(content.Get("messages.0.text").String(), 300), "the search failed")
	}
	return job, nil
}

// maxName bounds names that Splunk tells, in characters.
const maxName = 255

// mode asks the saved search whether it alerts once or for each result
// ("alert.digest_mode", savedsearches.conf). A search that is gone or not for the
// token's eyes leaves it open.
func (c *Client) mode(ctx context.Context, job Job) (Mode, error) {
	if !isSegment(job.Owner) || !isSegment(job.App) || !isSegment(job.Search) {
		return "", nil
	}
	a, err := c.readSearch(ctx, "reading a saved search", job.Owner, job.App, job.Search)
	if err != nil {
		if code := funnel.CodeOf(err); code == funnel.Unauthorized || code == funnel.Invalid {
			return "", nil
		}
		return "", err
	}
	switch digest := a.json.Get("entry.0.content.alert\\.digest_mode"); {
	case !digest.Exists():
		return "", nil
	case truth(digest):
		return Once, nil
	}
	return Each, nil
}

// truth reads a truth value, which Splunk writes as true or as "1".
func truth(v gjson.Result) bool {
	switch v.Type {
	case gjson.True:
		return true
	case gjson.String:
		return v.Str == "1" || v.Str == "true"
	case gjson.Number:
		return v.Num == 1
	}
	return false
}

// count reads a number that is not negative, which Splunk may write as text.
func count(v gjson.Result) int {
	n := v.Int()
	if n < 0 || n > 1<<31 {
		return 0
	}
	return int(n)
}

// await asks for a job until it is done, as long as the client's patience lasts.
func (c *Client) await(ctx context.Context, what, sid string, patience time.Duration) (Job, error) {
	end := time.NewTimer(patience)
	defer end.Stop()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		job, err := c.job(ctx, what, sid)
		if err != nil || !job.Found || job.Done || job.realtime {
			return job, err
		}
		next := time.NewTimer(pause)
		select {
		case <-next.C:
		case <-end.C:
			next.Stop()
			return job, nil
		case <-ctx.Done():
			next.Stop()
			return job, funnel.Errorf(funnel.Unavailable, "%s: it was not done in time", what)
		}
	}
}
