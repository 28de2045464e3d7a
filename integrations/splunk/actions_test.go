package splunk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

const token = "t0ken-of-the-test"

// at is a moment on an ordinary afternoon.
func at() time.Time { return time.Date(2026, 3, 1, 15, 4, 5, 0, time.UTC) }

// transport adds the credential, as the server's own client does.
type transport struct{ authorize func(http.Header) }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	t.authorize(r.Header)
	return http.DefaultTransport.RoundTrip(r)
}

func env() funnel.Env {
	return funnel.Env{
		Connection: "splunk",
		HTTP: func(_ *url.URL, authorize func(http.Header)) *http.Client {
			return &http.Client{Transport: transport{authorize}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		},
		Clock: at, Timeout: 2 * time.Second,
	}
}

// clientOf returns a client of what answers with the handler.
func clientOf(t *testing.T, h http.Handler, config Config) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	config.URL, config.Token = server.URL, funnel.NewSecret(token)
	c, err := connect(t.Context(), env(), config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rows returns rows of the field user and some of Splunk's own.
func rows(n int) []map[string]any {
	list := make([]map[string]any, n)
	for i := range list {
		list[i] = map[string]any{"user": fmt.Sprintf("u%d", i), "count": "7", "_raw": "raw", "_time": "1767225600.5", "linecount": "1", "src": []string{"10.0.0.1", "10.0.0.2"}}
	}
	return list
}

func fake(o splunkfake.APIOptions) *splunkfake.API {
	o.Token, o.Clock = token, at
	return splunkfake.NewAPI(o)
}

func calls(a *splunkfake.API) string {
	var list []string
	for _, c := range a.Journal() {
		name := c.Kind
		if c.V2 {
			name += "2"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

func TestGetResults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options splunkfake.APIOptions
		config  Config
		calls   string
	}{
		{"enterprise", splunkfake.APIOptions{}, Config{}, "info job2 results2 results2 results2"},
		{"name space", splunkfake.APIOptions{}, Config{App: "my app"}, "info job2 results2 results2 results2"},
		{"old", splunkfake.APIOptions{Version: "8.2.9"}, Config{}, "info job results results results"},
		{"between", splunkfake.APIOptions{Version: "9.0.1"}, Config{}, "info job results results results"},
		{"old cloud", splunkfake.APIOptions{Version: "9.0.2208", Cloud: true}, Config{}, "info job results results results"},
		{"cloud", splunkfake.APIOptions{Version: "9.0.2209.1", Cloud: true}, Config{}, "info job2 results2 results2 results2"},
		{"second only", splunkfake.APIOptions{Version: "10.2.0", OnlyV2: true}, Config{}, "info job2 results2 results2 results2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const sid = "scheduler__admin__search__a b/c%2F?_at_1"
			test.options.Jobs = []splunkfake.Job{{SID: sid, Rows: rows(450)}}
			api := fake(test.options)
			c := clientOf(t, api, test.config)
			r, err := c.GetResults(t.Context(), GetResultsInput{SID: sid})
			if err != nil {
				t.Fatal(err)
			}
			if !r.Found || !r.Done || r.Total != 450 || len(r.Rows) != 450 || r.Truncated || r.Why != "" || r.SID != sid {
				t.Errorf("results are %d of %d, found %v, done %v, truncated %v: %s", len(r.Rows), r.Total, r.Found, r.Done, r.Truncated, r.Why)
			}
			if want := []string{"_time", "count", "src", "user"}; !slices.Equal(r.Fields, want) {
				t.Fatalf("fields are %q, want %q", r.Fields, want)
			}
			for i, row := range r.Rows {
				if want := []string{"2026-01-01T00:00:00.500+00:00", "7", "10.0.0.1\n10.0.0.2", fmt.Sprintf("u%d", i)}; !slices.Equal(row, want) {
					t.Fatalf("row %d is %q, want %q", i, row, want)
				}
			}
			if got := calls(api); got != test.calls {
				t.Errorf("calls are %s, want %s", got, test.calls)
			}
		})
	}
}

// The version is not the last word: what does not have an address is asked by the
// other one, which is remembered.
func TestFallBack(t *testing.T) {
	t.Parallel()
	for name, strip := range map[string]string{"no v2": "/v2/", "no v1": "/search/jobs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := splunkfake.APIOptions{Jobs: []splunkfake.Job{{SID: "1", Rows: rows(1)}}}
			if name == "no v1" {
				options.Version, options.Cloud = "9.0.2208", true // says that it is old
			}
			api := fake(options)
			refused := 0
			c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, strip) {
					refused++
					w.WriteHeader([]int{http.StatusMethodNotAllowed, http.StatusGone}[refused%2])
					return
				}
				api.ServeHTTP(w, r)
			}), Config{})
			for range 2 {
				if r, err := c.GetResults(t.Context(), GetResultsInput{SID: "1"}); err != nil || len(r.Rows) != 1 {
					t.Fatalf("results are %+v, error %v", r, err)
				}
			}
			if refused != 1 {
				t.Errorf("the address that is not there was asked %d times, want once", refused)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	long := []map[string]any{}
	for i := range 300 {
		long = append(long, map[string]any{"user": fmt.Sprint(i), "text": strings.Repeat("é<", 2000)})
	}
	huge := []map[string]any{{"user": "a", "_raw": strings.Repeat("x", 3<<20)}, {"user": "b"}}
	heavy := []map[string]any{}
	for i := range 40 {
		heavy = append(heavy, map[string]any{"user": fmt.Sprint(i), "_raw": strings.Repeat("x", 100<<10)}) // 200 of them do not fit into an answer
	}
	wide := map[string]any{}
	for i := range 300 {
		wide[fmt.Sprintf("f%03d", i)] = "1"
	}
	sparse := []map[string]any{}
	for i := range 2000 {
		sparse = append(sparse, map[string]any{fmt.Sprintf("f%03d", i%200): "1"})
	}
	tests := map[string]struct {
		rows []map[string]any
		in   GetResultsInput
		want string // number of rows, or at least if it begins with >
		why  string
	}{
		"max_rows":    {rows(9), GetResultsInput{MaxRows: 4}, "4", "no more than 4 rows were asked for"},
		"exactly":     {rows(9), GetResultsInput{MaxRows: 9}, "9", ""},
		"bytes":       {long, GetResultsInput{}, ">10", "more than 200 KiB are not read"},
		"one huge":    {huge, GetResultsInput{}, "0", "row 1 is larger than 2 MiB"},
		"not wanted":  {huge, GetResultsInput{Fields: []string{"user"}}, "2", ""},
		"heavy":       {heavy, GetResultsInput{}, "40", ""},
		"long cell":   {[]map[string]any{{"user": strings.Repeat("ü", 8000)}}, GetResultsInput{}, "1", "long cells and some fields are cut"},
		"many fields": {[]map[string]any{wide}, GetResultsInput{}, "1", "long cells and some fields are cut"},
		"sparse":      {sparse, GetResultsInput{MaxRows: 10000}, ">100", "more than 200 KiB are not read"},
		"none":        {nil, GetResultsInput{}, "0", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{{SID: "1", Rows: test.rows}}}), Config{})
			test.in.SID = "1"
			r, err := c.GetResults(t.Context(), test.in)
			if err != nil {
				t.Fatal(err)
			}
			least, atLeast := strings.CutPrefix(test.want, ">")
			var n int
			if _, err := fmt.Sscan(least, &n); err != nil {
				t.Fatal(err)
			}
			if atLeast && len(r.Rows) < n || !atLeast && len(r.Rows) != n || r.Why != test.why || r.Truncated != (test.why != "") || r.Total != len(test.rows) {
				t.Errorf("%d rows of %d, truncated %v: %q; want %s: %q", len(r.Rows), r.Total, r.Truncated, r.Why, test.want, test.why)
			}
			b, err := json.Marshal(r)
			if err != nil || len(b) > 256<<10 {
				t.Errorf("the outcome has %d bytes, error %v", len(b), err)
			}
			for _, row := range r.Rows {
				if len(row) != len(r.Fields) {
					t.Fatalf("a row has %d cells for %d fields", len(row), len(r.Fields))
				}
			}
		})
	}
}

func TestJobThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := clientOf(t, fake(splunkfake.APIOptions{}), Config{})
	r, err := c.GetResults(t.Context(), GetResultsInput{SID: "gone"})
	if err != nil || r.Found || r.Why == "" || r.Rows == nil || r.Fields == nil {
		t.Errorf("results are %+v, error %v", r, err)
	}
	j, err := c.GetJob(t.Context(), GetJobInput{SID: "gone"})
	if err != nil || j.Found || j.Why == "" {
		t.Errorf("the job is %+v, error %v", j, err)
	}
	for _, sid := range []string{"", ".", "..", "a\nb", "\xff", strings.Repeat("x", maxSID+1)} {
		if _, err := c.GetJob(t.Context(), GetJobInput{SID: sid}); funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("sid %q: error %v", sid, err)
		}
	}
}

// A job that expires between two pages is cut there.
func TestExpiresWhileRead(t *testing.T) {
	t.Parallel()
	api := fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{{SID: "1", Rows: rows(450)}}})
	pages := 0
	c := clientOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/results") {
			if pages++; pages == 2 {
				api.Expire("1")
			}
		}
		api.ServeHTTP(w, r)
	}), Config{})
	r, err := c.GetResults(t.Context(), GetResultsInput{SID: "1"})
	if err != nil || !r.Found || len(r.Rows) != 200 || r.Total != 450 || !r.Truncated || r.Why != "the search job expired while it was read" {
		t.Errorf("%d rows of %d: %s, error %v", len(r.Rows), r.Total, r.Why, err)
	}
}

func TestJobThatIsNotDone(t *testing.T) {
	t.Parallel()
	api := fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{
		{SID: "slow", Slow: 2, Silent: 1, Rows: rows(3)}, {SID: "never", Slow: 1 << 30}, {SID: "live", RealTime: true, Rows: rows(2)}, {SID: "failed", Failed: "no such index"},
	}})
	c := clientOf(t, api, Config{})
	if r, err := c.GetResults(t.Context(), GetResultsInput{SID: "slow"}); err != nil || len(r.Rows) != 3 {
		t.Errorf("of a slow job: %+v, error %v", r, err)
	}
	if r, err := c.GetResults(t.Context(), GetResultsInput{SID: "live"}); err != nil || len(r.Rows) != 2 || r.Done {
		t.Errorf("of a real-time search: %+v, error %v", r, err)
	}
	if r, err := c.GetResults(t.Context(), GetResultsInput{SID: "failed"}); err != nil || r.Why != "no such index" || !r.Found {
		t.Errorf("of a failed search: %+v, error %v", r, err)
	}
	c.patience = 50 * time.Millisecond
	_, err := c.GetResults(t.Context(), GetResultsInput{SID: "never"})
	if e, ok := errors.AsType[*funnel.Error](err); !ok || e.Code != funnel.Throttled || !e.Narrow || !e.RetryAt.After(at()) {
		t.Errorf("of a job that never ends the error is %#v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c.patience = time.Hour
	if _, err := c.GetResults(ctx, GetResultsInput{SID: "never"}); funnel.CodeOf(err) != funnel.Unavailable {
		t.Errorf("at the deadline the error is %v", err)
	}
}

func TestGetJob(t *testing.T) {
	t.Parallel()
	api := fake(splunkfake.APIOptions{Jobs: []splunkfake.Job{
		{SID: "once", Search: "Rule / one", App: "soc", Owner: "nobody", Rows: rows(3)},
		{SID: "each", Search: "Rule 2", Each: true},
		{SID: "hidden", Search: "Rule 3", Hidden: true},
		{SID: "adhoc"},
		{SID: "queued", Silent: 1},
	}})
	c := clientOf(t, api, Config{})
	for sid, want := range map[string]Job{
		"once":   {SID: "once", Found: true, Done: true, State: "DONE", Rows: 3, Search: "Rule / one", App: "soc", Owner: "nobody", Mode: Once},
		"each":   {SID: "each", Found: true, Done: true, State: "DONE", Search: "Rule 2", App: "search", Owner: "admin", Mode: Each},
		"hidden": {SID: "hidden", Found: true, Done: true, State: "DONE", Search: "Rule 3", App: "search", Owner: "admin"},
		"adhoc":  {SID: "adhoc", Found: true, Done: true, State: "DONE", App: "search", Owner: "admin"},
		"queued": {SID: "queued", Found: true, State: "QUEUED"},
	} {
		if got, err := c.GetJob(t.Context(), GetJobInput{SID: sid}); err != nil || got != want {
			t.Errorf("job %s is %+v, want %+v; error %v", sid, got, want, err)
		}
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	good := Config{URL: "https://splunk.example.com:8089", Token: funnel.NewSecret("x")}
	for want, change := range map[string]func(*Config){
		"":                           func(*Config) {},
		"url is not an address":      func(c *Config) { c.URL = "splunk" },
		"url needs https":            func(c *Config) { c.URL = "http://splunk.example.com:8089" },
		"token is missing":           func(c *Config) { c.Token = funnel.Secret{} },
		"token holds spaces":         func(c *Config) { c.Token = funnel.NewSecret("a\nb") },
		"owner is not the name":      func(c *Config) { c.Owner = ".." },
		"app is not the name":        func(c *Config) { c.App = "a\x00" },
		"url is not an address such": func(c *Config) { c.URL = "https://u:p@splunk.example.com" },
	} {
		c := good
		change(&c)
		_, err := connect(t.Context(), env(), c)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	c := clientOf(t, fake(splunkfake.APIOptions{}), Config{})
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := splunkfake.NewAPI(splunkfake.APIOptions{Token: "another"})
	if err := clientOf(t, wrong, Config{}).Check(t.Context()); funnel.CodeOf(err) != funnel.Unauthorized || strings.Contains(err.Error(), token) {
		t.Errorf("with a wrong token the error is %v", err)
	}
}
