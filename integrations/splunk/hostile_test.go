package splunk

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

// TestHostileAnswers: whatever Splunk, or what stands in its place, answers, each
// action ends in time with the right code and keeps the token to itself.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name  string
		fault splunkfake.Faults
		code  funnel.Code
		want  string // in the error
	}{
		{"down", splunkfake.Faults{Down: true}, funnel.Unavailable, ""},
		{"hang", splunkfake.Faults{Hang: true}, funnel.Unavailable, ""},
		{"half an answer", splunkfake.Faults{Half: true}, funnel.Unavailable, ""},
		{"drip", splunkfake.Faults{Drip: true}, funnel.Unavailable, ""},
		{"200 with a page", splunkfake.Faults{HTML: 200}, funnel.Unavailable, "not the expected JSON"},
		{"malformed", splunkfake.Faults{Body: `{"entry":[{"content":{"sid":"1",`}, funnel.Unavailable, "not the expected JSON"},
		{"not UTF-8", splunkfake.Faults{Body: "{\"a\":\"\xff\"}"}, funnel.Unavailable, "not the expected JSON"},
		{"a list", splunkfake.Faults{Body: `[1,2]`}, funnel.Unavailable, "not the expected JSON"},
		{"401", splunkfake.Faults{Status: 401}, funnel.Unauthorized, "token"},
		{"403", splunkfake.Faults{Status: 403}, funnel.Unauthorized, "lacks a permission"},
		{"404 of a proxy", splunkfake.Faults{HTML: 404}, funnel.Unavailable, "not Splunk's own"},
		{"404 of another kind", splunkfake.Faults{Status: 404}, funnel.NotFound, "owner and app"},
		{"429", splunkfake.Faults{Status: 429, RetryAfter: "7"}, funnel.Throttled, "pause"},
		{"503", splunkfake.Faults{Status: 503, RetryAfter: "7"}, funnel.Unavailable, "not available"},
		{"500", splunkfake.Faults{Status: 500}, funnel.Unavailable, "not available"},
		{"302", splunkfake.Faults{Status: 302}, funnel.Unavailable, "redirect"},
		{"400", splunkfake.Faults{Status: 400}, funnel.Invalid, "The fake was told to answer so"},
	}
	type one struct {
		name string
		on   string // the call that is answered so
		do   func(context.Context, *Client) error
	}
	actions := []one{
		{"get_job", "job", func(ctx context.Context, c *Client) error { _, err := c.GetJob(ctx, GetJobInput{SID: "1"}); return err }},
		{"get_results job", "job", func(ctx context.Context, c *Client) error {
			_, err := c.GetResults(ctx, GetResultsInput{SID: "1"})
			return err
		}},
		{"get_results", "results", func(ctx context.Context, c *Client) error {
			_, err := c.GetResults(ctx, GetResultsInput{SID: "1"})
			return err
		}},
		{"run_search", "create", func(ctx context.Context, c *Client) error {
			_, err := c.RunSearch(ctx, RunSearchInput{Search: "user=jdoe"})
			return err
		}},
		{"run_search results", "results", func(ctx context.Context, c *Client) error {
			_, err := c.RunSearch(ctx, RunSearchInput{Search: "user=jdoe"})
			return err
		}},
		{"run_search oneshot", "oneshot", func(ctx context.Context, c *Client) error {
			_, err := c.RunSearch(ctx, RunSearchInput{Search: "user=jdoe", Mode: "oneshot"})
			return err
		}},
	}
	for _, f := range faults {
		for _, a := range actions {
			t.Run(f.name+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				api := fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{{SID: "1", Rows: rows(1)}}, Events: rows(3)})
				c := clientOf(t, api, Config{})
				f.fault.On = a.on
				api.Misbehave(f.fault)
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				if !f.fault.Hang && !f.fault.Drip {
					ctx = t.Context()
				}
				err := a.do(ctx, c)
				if funnel.CodeOf(err) != f.code || !strings.Contains(err.Error(), f.want) {
					t.Fatalf("the error is %v (%s), want %s with %q", err, funnel.CodeOf(err), f.code, f.want)
				}
				if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "127.0.0.1") {
					t.Errorf("the error tells too much: %v", err)
				}
				e, _ := errors.AsType[*funnel.Error](err)
				if f.fault.RetryAfter != "" && !e.RetryAt.Equal(at().Add(7*time.Second)) {
					t.Errorf("it is to come back at %v, want in 7 s", e.RetryAt)
				}
				if (f.fault.Status == 403) != e.Narrow {
					t.Errorf("narrow is %v", e.Narrow)
				}
			})
		}
	}
}

// Well-formed answers of the wrong shape.
func TestWrongShapes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		on, body string
		want     string // in the error; "" if it is an answer
	}{
		"job of another":    {"job", `{"entry":[{"content":{"sid":"2","dispatchState":"DONE","isDone":true}}]}`, "not about the job"},
		"no entry":          {"job", `{"entry":[]}`, "not about the job"},
		"state a number":    {"job", `{"entry":[{"content":{"sid":"1","dispatchState":1}}]}`, "not about the job"},
		"numbers as text":   {"job", `{"entry":[{"content":{"sid":"1","dispatchState":"DONE","isDone":"1","resultCount":"1"}}]}`, ""},
		"negative count":    {"job", `{"entry":[{"content":{"sid":"1","dispatchState":"DONE","isDone":1,"resultCount":-7}}]}`, ""},
		"absurd count":      {"job", `{"entry":[{"content":{"sid":"1","dispatchState":"DONE","isDone":true,"resultCount":1e300}}]}`, ""},
		"no results":        {"results", `{"fields":[]}`, "no results"},
		"results an object": {"results", `{"results":{"a":1}}`, "no results"},
		"row a list":        {"results", `{"results":[["a"]]}`, "a row is not an object"},
		"nested field":      {"results", `{"results":[{"a":{"b":1}}]}`, "a field of a row is neither"},
		"fields odd":        {"results", `{"fields":{"name":7},"results":[{"user":null,"n":1.50,"b":true}]}`, ""},
		"saved search odd":  {"saved", `{"entry":7}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{{SID: "1", Search: "Rule", Rows: rows(1)}}})
			c := clientOf(t, api, Config{})
			api.Misbehave(splunkfake.Faults{On: test.on, Body: test.body})
			_, err := c.GetResults(t.Context(), GetResultsInput{SID: "1"})
			if test.on == "saved" {
				_, err = c.GetJob(t.Context(), GetJobInput{SID: "1"})
			}
			if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || funnel.CodeOf(err) != funnel.Unavailable) {
				t.Errorf("the error is %v (%s), want %q", err, funnel.CodeOf(err), test.want)
			}
		})
	}
}

// An answer without an end is cut off.
func TestHugeAnswers(t *testing.T) {
	t.Parallel()
	api := fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{{SID: "1", Rows: rows(1)}}, Events: rows(1)})
	c := clientOf(t, api, Config{})
	api.Misbehave(splunkfake.Faults{On: "results", Huge: true}, splunkfake.Faults{On: "oneshot", Huge: true}, splunkfake.Faults{On: "job", Huge: true, Times: 1})
	if _, err := c.GetJob(t.Context(), GetJobInput{SID: "1"}); funnel.CodeOf(err) != funnel.Unavailable {
		t.Errorf("of a huge job the error is %v", err)
	}
	if r, err := c.GetResults(t.Context(), GetResultsInput{SID: "1"}); err != nil || !r.Truncated || len(r.Rows) != 0 {
		t.Errorf("of huge results: %+v, error %v", r, err)
	}
	if _, err := c.RunSearch(t.Context(), RunSearchInput{Search: "x", Mode: "oneshot"}); funnel.CodeOf(err) != funnel.Invalid {
		t.Errorf("of a huge oneshot search the error is %v", err)
	}
}

// What a hostile server says reaches an error in one line and cut.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/info") {
			_, _ = w.Write([]byte(`{}`))
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"messages":[{"type":"FATAL","text":"a\u0000\u202e\nb` + strings.Repeat("x", 5000) + `"}]}`))
	}), Config{})
	_, err := c.RunSearch(t.Context(), RunSearchInput{Search: "x"})
	if funnel.CodeOf(err) != funnel.Invalid || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x00\n\u202e") {
		t.Errorf("the error is %q", err)
	}
	// A saved search with a path for a name is not asked for.
	saw := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw += r.URL.Path + " "
		_, _ = w.Write([]byte(`{"entry":[{"acl":{"app":"..","owner":"a"},"content":{"sid":"1","dispatchState":"DONE","isDone":true,"isSavedSearch":true,"label":".."}}]}`))
	}))
	t.Cleanup(server.Close)
	odd, err := connect(t.Context(), env(), Config{URL: server.URL, Token: funnel.NewSecret(token)})
	if err != nil {
		t.Fatal(err)
	}
	if j, err := odd.GetJob(t.Context(), GetJobInput{SID: "1"}); err != nil || j.Mode != "" || strings.Contains(saw, "saved") {
		t.Errorf("the job is %+v, error %v; asked was %s", j, err, saw)
	}
}
