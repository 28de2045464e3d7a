package splunk

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

func events() []map[string]any {
	return []map[string]any{
		{"index": "endpoint", "user": "jdoe", "_raw": "a"}, {"index": "endpoint", "user": "rroe", "_raw": "b"}, {"index": "endpoint", "user": "jdoe", "_raw": "c"},
	}
}

func TestRunSearch(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "job", "oneshot"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			api := fake(splunkfake.APIOptions{Events: events()})
			c := clientOf(t, api, Config{})
			in := RunSearchInput{Search: "index=endpoint user=$user$", Params: map[string]string{"user": "jdoe"}, Earliest: "-7d@d", Latest: "now", MaxRows: 1, Mode: mode}
			r, err := c.RunSearch(t.Context(), in)
			if err != nil || !r.Found || !r.Done || len(r.Rows) != 1 || !r.Truncated || !slices.Equal(r.Fields, []string{"index", "user"}) {
				t.Fatalf("results are %+v, error %v", r, err)
			}
			in.MaxRows = 0
			if r, err = c.RunSearch(t.Context(), in); err != nil || len(r.Rows) != 2 || r.Truncated {
				t.Fatalf("all results are %+v, error %v", r, err)
			}
			j := api.Journal()[1]
			if j.Parsed != `and(index="endpoint" user="jdoe")` || j.Form["earliest_time"] != "-7d@d" || j.Form["latest_time"] != "now" || j.Form["max_time"] == "" {
				t.Errorf("the search is %+v", j)
			}
			want := "info create2 job2 results2 cancel2 create2 job2 results2 cancel2"
			if mode == "oneshot" {
				want = "info oneshot2 oneshot2"
			}
			if got := calls(api); got != want || api.Known() != 0 {
				t.Errorf("calls are %s, want %s; %d jobs are left", got, want, api.Known())
			}
		})
	}
}

// A job is cancelled however the search ends.
func TestCancelled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		search string
		fault  splunkfake.Faults
		code   funnel.Code
	}{
		"not done in time":  {"index=endpoint | slow 1000000", splunkfake.Faults{}, funnel.Unavailable},
		"results refused":   {"index=endpoint", splunkfake.Faults{On: "results", Status: 403}, funnel.Unauthorized},
		"status unreadable": {"index=endpoint", splunkfake.Faults{On: "job", Body: "{}"}, funnel.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := fake(splunkfake.APIOptions{Events: events()})
			c := clientOf(t, api, Config{})
			if test.fault.On != "" {
				api.Misbehave(test.fault)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			defer cancel()
			if _, err := c.RunSearch(ctx, RunSearchInput{Search: test.search}); funnel.CodeOf(err) != test.code {
				t.Errorf("the error is %v, want %s", err, test.code)
			}
			if api.Known() != 0 {
				t.Errorf("the job is still there: %s", calls(api))
			}
		})
	}
}

func TestSearchesThatAreRefused(t *testing.T) {
	t.Parallel()
	api := fake(splunkfake.APIOptions{Events: events()})
	c := clientOf(t, api, Config{})
	user := map[string]string{"user": "jdoe"}
	for want, in := range map[string]RunSearchInput{
		"outputlookup changes something":           {Search: "index=a | OutputLookup x.csv"},
		"collect changes something":                {Search: "index=a | appendpipe [ collect index=b ]"},
		"delete changes something":                 {Search: `index=a | map search="search x |delete"`},
		"there is no value for $user$":             {Search: "user=$user$"},
		"there is no place $user$":                 {Search: "user=jdoe", Params: user},
		"written $name$":                           {Search: "price=$5", Params: user},
		"written $name$; a dollar sign":            {Search: "user=$User$", Params: user},
		"$user$ stands in quotes":                  {Search: `user="$user$"`, Params: user},
		"$user$ stands in quotes or in a macro":    {Search: "`m($user$)`", Params: user},
		"$user$ stands in quotes or":               {Search: "where '$user$'=1", Params: user},
		"$user$ stands in the middle":              {Search: "user=a$user$", Params: user},
		"$user$ stands in the middle of a":         {Search: "user=$user$b", Params: user},
		`opened by " are not closed`:               {Search: `user=$user$ "x`, Params: user},
		"opened by ' are not closed":               {Search: "user=$user$ it's", Params: user},
		"a quotation mark stands in single quotes": {Search: `a=O'Bri"en' $user$ "`, Params: user},
		"a macro holds quotes":                     {Search: "`m(\")` $user$", Params: user},
		"a backslash stands before":                {Search: `a=\" $user$ "`, Params: user},
		"the name of a parameter":                  {Search: "x", Params: map[string]string{"a b": "1"}},
		"the value of user is longer":              {Search: "user=$user$", Params: map[string]string{"user": strings.Repeat("x", 1025)}},
		"it is not text":                           {Search: "a\x00b"},
		"earliest is not a time":                   {Search: "a", Earliest: "-24h latest=now"},
		"latest is not a time":                     {Search: "a", Latest: "now&x"},
		"max_rows is not":                          {Search: "a", MaxRows: 10001},
		"mode is neither":                          {Search: "a", Mode: "export"},
		"Unknown search command 'frob'":            {Search: "a | frob"},
	} {
		if _, err := c.RunSearch(t.Context(), in); funnel.CodeOf(err) != funnel.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error is %v, want %q", in, err, want)
		}
	}
	for value, want := range map[string]string{"a*b": "holds *", "a`b": "holds a backquote", "a\nb": "control characters", "a\xffb": "control characters", "$a$": "two dollar signs", "a\u2028b": "control characters"} {
		if _, err := bind("x=$v$", map[string]string{"v": value}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), value) {
			t.Errorf("the value %q: the error is %v, want %q", value, err, want)
		}
	}
	for _, j := range api.Journal() {
		if j.Kind == "create" && j.Found {
			t.Errorf("a refused search reached Splunk: %+v", j)
		}
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	for search, want := range map[string]string{
		`$a$`:                           `"1"`,
		`x IN ($a$,$b$) y>$a$`:          `x IN ("1","\"\\") y>"1"`,
		`[search x=$a$] | head 1`:       `[search x="1"] | head 1`,
		`"a \" $$" x=$a$ 'f g' p=$$5`:   `"a \" $" x="1" 'f g' p=$5`,
		"`m(\"a b\")` ```it's``` x=$a$": "`m(\"a b\")` ```it's``` x=\"1\"",
		"`m(\"a b\")` ```note``` x=$a$": "`m(\"a b\")` ```note``` x=\"1\"",
		"where like(f, $b$)\nhead=$a$":  "where like(f, \"\\\"\\\\\")\nhead=\"1\"",
	} {
		params := map[string]string{"a": "1"}
		if strings.Contains(search, "$b$") {
			params["b"] = `"\`
		}
		got, err := bind(search, params)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s becomes %s, want %s; error %v", search, got, want, err)
		}
	}
}

// inProcess answers requests by the handler, without a network.
type inProcess struct {
	http.Handler
	authorize func(http.Header)
}

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	h.authorize(r.Header)
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestParametersStayValues: no value changes what a search is. Whatever the event
// holds, Splunk reads the search of the operator with the value as one string, or
// is not asked at all.
func TestParametersStayValues(t *testing.T) {
	t.Parallel()
	corpus := []string{
		`" OR index="secrets`, `x" | delete | search "`, `\`, `\\`, `\"`, `"`, `\" OR user=*`, `[search index=secrets]`, `a | outputlookup x`, `$user$`, "`m`",
		`') OR 1=1 --`, `admin" NOT user="x`, "ＯＲ", `a"b\"c\\"d`, `WS-0142$`, `CORP\jdoe`, `= ( ) , < >`, "", " ",
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.SampledFrom(corpus), rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("\"\\'`$*|[]()= aOR")), 0, 20, -1)).Draw(t, "value")
		api := splunkfake.NewAPI(splunkfake.APIOptions{Token: token, Events: events()})
		e := env()
		e.HTTP = func(_ *url.URL, authorize func(http.Header)) *http.Client {
			return &http.Client{Transport: inProcess{api, authorize}}
		}
		c, err := connect(context.Background(), e, Config{URL: "http://127.0.0.1", Token: funnel.NewSecret(token)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.RunSearch(context.Background(), RunSearchInput{Search: "index=endpoint ( user=$v$ OR src_user=$v$ ) NOT host=x | head 3", Params: map[string]string{"v": value}})
		created := slices.DeleteFunc(api.Journal(), func(c splunkfake.Call) bool { return c.Kind != "create" })
		if err != nil {
			if funnel.CodeOf(err) != funnel.Invalid || len(created) != 0 || literal(value) == "" || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q: the error is %v after %d searches", value, err, len(created))
			}
			return
		}
		v := strconv.Quote(value)
		if want := fmt.Sprintf(`and(index="endpoint" or(and(user=%s) and(src_user=%s)) not(host="x")) | head 3`, v, v); len(created) != 1 || created[0].Parsed != want {
			t.Fatalf("%q: Splunk read %+v, want %s", value, created, want)
		}
	})
}
