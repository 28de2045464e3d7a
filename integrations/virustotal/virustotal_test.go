package virustotal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

const apiKey = "k3y-of-the-test"

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
		Connection: "vt",
		HTTP: func(_ *url.URL, authorize func(http.Header)) *http.Client {
			return &http.Client{Transport: transport{authorize}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		},
		Clock: at,
	}
}

// client returns a client of what answers with the handler.
func client(t *testing.T, h http.Handler) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := connect(t.Context(), env(), Config{URL: server.URL, APIKey: funnel.NewSecret(apiKey)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(status int, body string, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestCapturedReport(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/file.mihari.json")
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, answer(http.StatusOK, string(body)))
	const sha256 = "5528d3755e12a27dcd5abff3ae73fa186ce732091ecc781ecb5531875519e2e5"
	for _, hash := range []string{sha256, strings.ToUpper(sha256), "dd6d476e007e985ec46288be4a699c0c", "6774b0c2b68fde876bcdb571c38fdb61e98dbf88"} {
		r, err := c.FileReport(t.Context(), FileReportInput{Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"hash":"` + strings.ToLower(hash) + `","found":true,"verdict":{"rating":"clean","detail":"0 of 57 engines call it malicious, 0 suspicious.",` +
			`"total":57,"source":"VirusTotal","at":"2021-09-18T00:00:00Z"},"asked":"2026-03-01T15:04:05Z","malicious":0,"suspicious":0,"harmless":0,"undetected":57,"total":57,` +
			`"type":"Text","size":55,"first_seen":"2021-09-18T00:00:00Z","last_seen":"2021-09-18T00:00:00Z","last_analysis":"2021-09-18T00:00:00Z",` +
			`"md5":"dd6d476e007e985ec46288be4a699c0c","sha256":"` + sha256 + `","permalink":"https://www.virustotal.com/gui/file/` + sha256 + `"}`
		if string(got) != want {
			t.Errorf("report is\n%s, want\n%s", got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		malicious, suspicious, harmless, undetected int
		want                                        funnel.Rating
		text                                        string
	}{
		{58, 1, 0, 12, funnel.Malicious, "malicious (59 of 71)"},
		{3, 0, 0, 60, funnel.Malicious, "malicious (3 of 63)"},
		{2, 0, 0, 60, funnel.Suspicious, "suspicious (2 of 62)"},
		{0, 1, 0, 60, funnel.Suspicious, "suspicious (1 of 61)"},
		{0, 9, 0, 60, funnel.Suspicious, "suspicious (9 of 69)"},
		{0, 0, 0, 60, funnel.Clean, "clean (0 of 60)"},
		{0, 0, 1, 0, funnel.Clean, "clean (0 of 1)"},
		{0, 0, 0, 0, funnel.Unknown, "unknown"},
	}
	for _, test := range tests {
		file := virustotalfake.Demo()[0]
		file.Malicious, file.Suspicious, file.Harmless, file.Undetected = test.malicious, test.suspicious, test.harmless, test.undetected
		c := client(t, virustotalfake.New(virustotalfake.Options{Files: []virustotalfake.File{file}}))
		r, err := c.FileReport(t.Context(), FileReportInput{Hash: file.MD5})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict.Rating != test.want || r.Verdict.String() != test.text || !r.Found {
			t.Errorf("verdict of %+v is %+v (%s), want %s (%s)", test, r.Verdict, r.Verdict, test.want, test.text)
		}
	}
}

func TestMaliciousAt(t *testing.T) {
	t.Parallel()
	file := virustotalfake.Demo()[0]
	file.Malicious = 5
	server := httptest.NewServer(virustotalfake.New(virustotalfake.Options{Files: []virustotalfake.File{file}}))
	t.Cleanup(server.Close)
	for threshold, want := range map[int]funnel.Rating{5: funnel.Malicious, 6: funnel.Suspicious} {
		c, err := connect(t.Context(), env(), Config{URL: server.URL, APIKey: funnel.NewSecret(apiKey), MaliciousAt: threshold})
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.FileReport(t.Context(), FileReportInput{Hash: file.SHA1})
		if err != nil || r.Verdict.Rating != want {
			t.Errorf("with malicious_at %d the rating is %s, want %s (error %v)", threshold, r.Verdict.Rating, want, err)
		}
	}
}

// TestUnknownIsNotClean: VirusTotal's own "not found" is an answer, anybody
// else's is not.
func TestUnknownIsNotClean(t *testing.T) {
	t.Parallel()
	fake := virustotalfake.New(virustotalfake.Options{APIKey: apiKey})
	r, err := client(t, fake).FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("A", 32)})
	if err != nil {
		t.Fatal(err)
	}
	if r.Found || r.Verdict.Rating != funnel.Unknown || r.Verdict.Why != funnel.NotFoundThere || r.Hash != strings.Repeat("a", 32) {
		t.Errorf("report is %+v", r)
	}
	for _, body := range []string{"<h1>404</h1>", "", `{"error":{"code":"OtherError"}}`, `{"error":"NotFoundError"}`} {
		_, err := client(t, answer(http.StatusNotFound, body)).FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("a", 32)})
		if funnel.CodeOf(err) != funnel.Unavailable {
			t.Errorf("404 with %q gives %v (%s), want unavailable", body, err, funnel.CodeOf(err))
		}
	}
}

func TestInvalidHash(t *testing.T) {
	t.Parallel()
	fake := virustotalfake.New(virustotalfake.Options{})
	c := client(t, fake)
	for _, hash := range []string{"", "hunter2", strings.Repeat("a", 31), strings.Repeat("g", 32), strings.Repeat("a", 30) + "/x", " " + strings.Repeat("a", 32)} {
		_, err := c.FileReport(t.Context(), FileReportInput{Hash: hash})
		if funnel.CodeOf(err) != funnel.Invalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("hash %q gives %v (%s), want an invalid one without the value", hash, err, funnel.CodeOf(err))
		}
	}
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("%d look-ups were sent, want none", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	const quota, many = `{"error":{"code":"QuotaExceededError","message":"hunter2"}}`, `{"error":{"code":"TooManyRequestsError","message":"hunter2"}}`
	tests := map[string]struct {
		answer http.Handler
		code   funnel.Code
		again  time.Time
	}{
		"wrong key":              {answer(401, `{"error":{"code":"WrongCredentialsError","message":"hunter2"}}`, "Retry-After", "7"), funnel.Unauthorized, time.Time{}},
		"forbidden":              {answer(403, `{"error":{"code":"ForbiddenError","message":"hunter2"}}`), funnel.Unauthorized, time.Time{}},
		"a quota":                {answer(429, quota), funnel.Throttled, at().Add(time.Minute)},
		"quota with retry-after": {answer(429, quota, "Retry-After", "90"), funnel.Throttled, at().Add(90 * time.Second)},
		"minute's quota":         {answer(429, many), funnel.Throttled, at().Add(time.Minute)},
		"retry-after":            {answer(429, many, "Retry-After", "7"), funnel.Throttled, at().Add(7 * time.Second)},
		"retry-after as a date":  {answer(429, many, "Retry-After", at().Add(5*time.Minute).Format(http.TimeFormat)), funnel.Throttled, at().Add(5 * time.Minute)},
		"429 of a proxy":         {answer(429, "<h1>slow down</h1>"), funnel.Throttled, at().Add(time.Minute)},
		"transient":              {answer(503, `{"error":{"code":"TransientError"}}`), funnel.Unavailable, time.Time{}},
		"503 with retry-after":   {answer(503, ``, "Retry-After", "7"), funnel.Unavailable, at().Add(7 * time.Second)},
		"deadline":               {answer(504, `{"error":{"code":"DeadlineExceededError"}}`), funnel.Unavailable, time.Time{}},
		"broken":                 {answer(500, "hunter2"), funnel.Unavailable, time.Time{}},
		"teapot":                 {answer(418, "hunter2"), funnel.Unavailable, time.Time{}},
		"redirect":               {answer(302, "", "Location", "https://evil.example.test/"), funnel.Unavailable, time.Time{}},
		"no content":             {answer(204, ""), funnel.Unavailable, time.Time{}},
		"bad request":            {answer(400, `{"error":{"code":"BadRequestError"}}`), funnel.Invalid, time.Time{}},
		"not available yet":      {answer(400, `{"error":{"code":"NotAvailableYet"}}`), funnel.Unavailable, time.Time{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client(t, test.answer).FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("a", 64)})
			check(t, err, test.code, test.again)
		})
	}
}

// check compares an error, which holds neither key nor text of the answer.
func check(t *testing.T, err error, code funnel.Code, again time.Time) {
	t.Helper()
	var e *funnel.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error is %v (%s), want %s", err, funnel.CodeOf(err), code)
	}
	if !e.RetryAt.Equal(again) {
		t.Errorf("to be asked again at %v, want %v", e.RetryAt, again)
	}
	if strings.Contains(err.Error(), apiKey) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "127.0.0.1:") && strings.Contains(err.Error(), "/api/") {
		t.Errorf("error says too much: %v", err)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("a", 64)
	file := func(attributes string) string {
		return `{"data":{"type":"file","id":"` + sum + `","attributes":{"sha256":"` + sum + `"` + attributes + `}}}`
	}
	tests := map[string]struct{ body, want string }{
		"page":            {"<!DOCTYPE html><p>hunter2", "not the JSON of a report"},
		"empty":           {"", "not the JSON of a report"},
		"breaks off":      {file(`,"size":1`)[:60], "not the JSON of a report"},
		"text for number": {file(`,"last_analysis_stats":{"malicious":"hunter2"}`), "not the JSON of a report"},
		"list":            {`[` + file("") + `]`, "not the JSON of a report"},
		"null":            {`null`, "not the report of a file"},
		"empty object":    {`{}`, "not the report of a file"},
		"another type":    {strings.Replace(file(""), `"file"`, `"domain"`, 1), "not the report of a file"},
		"no hash":         {`{"data":{"type":"file","attributes":{}}}`, "not the report of a file"},
		"another file":    {strings.ReplaceAll(file(""), sum, strings.Repeat("b", 64)), "another file"},
		"negative votes":  {file(`,"last_analysis_stats":{"malicious":-3,"undetected":60}`), "cannot be"},
		"many votes":      {file(`,"last_analysis_stats":{"undetected":9223372036854775807,"harmless":9223372036854775807}`), "cannot be"},
		"bad md5":         {file(`,"md5":"hunter2"`), "an MD5 that is none"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client(t, answer(http.StatusOK, test.body)).FileReport(t.Context(), FileReportInput{Hash: sum})
			check(t, err, funnel.Unavailable, time.Time{})
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %q, want %q in it", err, test.want)
			}
		})
	}
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	file := virustotalfake.Demo()[0]
	file.Name, file.Label, file.Type = strings.Repeat("ä", 5000), "<script>", strings.Repeat("x", 300)
	object := map[string]any{}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/api/v3/files/"+file.MD5, nil)
	r.Header.Set("X-Apikey", "x")
	virustotalfake.New(virustotalfake.Options{Files: []virustotalfake.File{file}}).ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &object); err != nil {
		t.Fatal(err)
	}
	attributes := object["data"].(map[string]any)["attributes"].(map[string]any)
	attributes["names"] = strings.Split(strings.Repeat(strings.Repeat("n", 300)+",", 5000), ",")
	attributes["last_analysis_date"], attributes["first_submission_date"] = int64(1)<<60, -5
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	report, err := client(t, answer(http.StatusOK, string(body))).FileReport(t.Context(), FileReportInput{Hash: file.MD5})
	if err != nil {
		t.Fatal(err)
	}
	if n := len([]rune(report.Name)); n != maxText || !strings.HasSuffix(report.Name, "ä…") {
		t.Errorf("name has %d characters", n)
	}
	if len(report.Names) != maxNames || len([]rune(report.Names[0])) != maxText || len([]rune(report.Type)) != maxText || report.Label != "<script>" {
		t.Errorf("%d names, type %q, label %q", len(report.Names), report.Type, report.Label)
	}
	if report.LastAnalysis != nil || report.FirstSeen != nil || report.Verdict.At != nil {
		t.Errorf("times are %v, %v, %v, want none", report.LastAnalysis, report.FirstSeen, report.Verdict.At)
	}
	if out, err := json.Marshal(report); err != nil || len(out) > 16<<10 {
		t.Errorf("report is %d bytes, error %v", len(out), err)
	}
}

func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	_, err := c.FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("a", 32)})
	check(t, err, funnel.Unavailable, time.Time{})
	if !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("error is %q", err)
	}
}

func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	file := virustotalfake.Demo()[0]
	fake := virustotalfake.New(virustotalfake.Options{APIKey: apiKey, Files: virustotalfake.Demo()})
	c := client(t, fake)
	for name, f := range map[string]virustotalfake.Faults{
		"down": {Down: true}, "page": {HTML200: true}, "malformed": {MalformedJSON: true}, "types": {WrongTypes: true}, "503": {Status: 503},
	} {
		fake.Misbehave(f)
		_, err := c.FileReport(t.Context(), FileReportInput{Hash: file.MD5})
		if funnel.CodeOf(err) != funnel.Unavailable {
			t.Errorf("%s gives %v (%s), want unavailable", name, err, funnel.CodeOf(err))
		}
	}
	fake.Misbehave(virustotalfake.Faults{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.FileReport(ctx, FileReportInput{Hash: file.MD5}); funnel.CodeOf(err) != funnel.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hanging gives %v (%s), want unavailable for the deadline", err, funnel.CodeOf(err))
	}
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("the journal has %d look-ups, want none", n)
	}
	fake.Misbehave(virustotalfake.Faults{})
	if _, err := c.FileReport(t.Context(), FileReportInput{Hash: file.MD5}); err != nil {
		t.Errorf("after the fault: %v", err)
	}
}

// TestClientErrors: what the server's HTTP client says reaches the engine, but
// a look-up is never uncertain, and "not found" of anything else is no verdict.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	again := at().Add(time.Hour)
	for code, want := range map[funnel.Code]funnel.Code{
		funnel.Uncertain: funnel.Unavailable, funnel.Unavailable: funnel.Unavailable, funnel.Throttled: funnel.Throttled, funnel.NotFound: funnel.NotFound,
	} {
		e := env()
		e.HTTP = func(*url.URL, func(http.Header)) *http.Client {
			return &http.Client{Transport: failing{&funnel.Error{Code: code, Message: "the line is cut", RetryAt: again}}}
		}
		c, err := connect(t.Context(), e, Config{APIKey: funnel.NewSecret(apiKey)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.FileReport(t.Context(), FileReportInput{Hash: strings.Repeat("a", 32)})
		check(t, err, want, again)
		if err.Error() != "asking VirusTotal: the line is cut" {
			t.Errorf("error is %q", err)
		}
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestConnect(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ options, want string }{
		"defaults":      {`{"api_key":"k"}`, ""},
		"loopback":      {`{"api_key":"k","url":"http://127.0.0.1:8080"}`, ""},
		"no key":        {`{}`, "api_key is missing"},
		"key with line": {`{"api_key":"hunter2\n"}`, "api_key holds"},
		"plain http":    {`{"api_key":"k","url":"http://vt.example.com"}`, "url needs https"},
		"no address":    {`{"api_key":"k","url":"www.virustotal.com"}`, "url is not an address"},
		"password":      {`{"api_key":"k","url":"https://a:hunter2@vt.example.com"}`, "url is not an address"},
		"negative":      {`{"api_key":"k","malicious_at":-1}`, "malicious_at"},
		"unknown":       {`{"api_key":"k","apikey":"k"}`, "unknown field"},
	}
	for name, test := range tests {
		_, err := Integration().Connect.Connect(t.Context(), env(), []byte(test.options))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (funnel.CodeOf(err) != funnel.Invalid || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: error is %v (%s), want %q", name, err, funnel.CodeOf(err), test.want)
		}
	}
}

// TestInvoke goes the engine's way, by the registry and JSON.
func TestInvoke(t *testing.T) {
	t.Parallel()
	action, ok := funnel.NewRegistry().Add(Integration()).Action("virustotal.file_report")
	if !ok {
		t.Fatal("virustotal.file_report is not registered")
	}
	c := client(t, virustotalfake.New(virustotalfake.Options{APIKey: apiKey, Files: virustotalfake.Demo()}))
	out, err := action.Invoke(t.Context(), c, []byte(`{"hash":"44d88612fea8a8f36de82e1278abb02f"}`))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Name != "eicar.com" || r.Label != "virus.eicar/test" || r.Verdict.Rating != funnel.Malicious {
		t.Errorf("report is %+v", r)
	}
}
