package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/upstream"
)

const secretPath = "/hooks/path-secret?q=query-secret"

func connectTo(t *testing.T, secret string, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	env := funnel.Env{Connection: "relay", HTTP: upstream.NewHTTP(upstream.Options{Timeout: 10 * time.Second}), Clock: func() time.Time { return time.Unix(1e9, 0) }}
	client, err := connect(t.Context(), env, Config{URL: server.URL + secretPath, Secret: funnel.NewSecret(secret)})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func send(t *testing.T, c *Client, key, input string) (Sent, error) {
	t.Helper()
	var out Sent
	ctx := funnel.WithAttempt(t.Context(), funnel.Attempt{Key: funnel.EffectKey(key)})
	b, err := Send.Spec().Invoke(ctx, c, []byte(input))
	if err == nil && json.Unmarshal(b, &out) != nil {
		t.Fatalf("the outcome %s does not decode", b)
	}
	return out, err
}

func TestSend(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", "signing-secret"} {
		c := connectTo(t, secret, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			if want := `{"id":"thekey","type":"test","data":{"n":12345678901234567890}}`; string(body) != want {
				t.Errorf("body %s, want %s", body, want)
			}
			if r.Method != "POST" || r.URL.RequestURI() != secretPath || r.Header.Get("webhook-id") != "thekey" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s with %v", r.Method, r.URL.RequestURI(), r.Header)
			}
			want := ""
			if secret != "" {
				mac := hmac.New(sha256.New, []byte(secret))
				mac.Write(body)
				want = "sha256=" + hex.EncodeToString(mac.Sum(nil))
			}
			if got := r.Header.Get("X-Hub-Signature"); got != want {
				t.Errorf("signature %q, want %q", got, want)
			}
			w.WriteHeader(http.StatusAccepted)
		})
		if sent, err := send(t, c, "thekey", `{"type":"test","data":{"n":12345678901234567890}}`); err != nil || sent != (Sent{ID: "thekey", Status: 202}) {
			t.Errorf("sent %+v, error %v", sent, err)
		}
	}
}

func TestSameIDOutsideOfAStep(t *testing.T) {
	t.Parallel()
	c := connectTo(t, "", func(http.ResponseWriter, *http.Request) {})
	a, err := send(t, c, "", `{"type":"test","data":1}`)
	b, err2 := send(t, c, "", `{"type":"test","data":1}`)
	other, err3 := send(t, c, "", `{"type":"test","data":2}`)
	if err != nil || err2 != nil || err3 != nil || a.ID == "" || a.ID != b.ID || a.ID == other.ID {
		t.Errorf("IDs %q, %q and %q, errors %v %v %v", a.ID, b.ID, other.ID, err, err2, err3)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]funnel.Code{
		400: funnel.Invalid, 401: funnel.Unauthorized, 403: funnel.Unauthorized, 404: funnel.NotFound, 408: funnel.Uncertain, 409: funnel.Conflict,
		410: funnel.NotFound, 413: funnel.Invalid, 422: funnel.Invalid, 429: funnel.Throttled, 500: funnel.Uncertain, 502: funnel.Uncertain, 503: funnel.Uncertain,
		302: funnel.Invalid,
	} {
		c := connectTo(t, "signing-secret", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "body-secret")
		})
		_, err := send(t, c, "key", `{"type":"test"}`)
		if funnel.CodeOf(err) != want || strings.Contains(err.Error(), "secret?") || strings.Contains(err.Error(), "-secret") {
			t.Errorf("status %d: %v with the code %s, want %s", status, err, funnel.CodeOf(err), want)
		}
		e := err.(*funnel.Error)
		if late := want == funnel.Throttled || want == funnel.Uncertain; late != e.RetryAt.Equal(time.Unix(1e9+9, 0)) {
			t.Errorf("status %d comes back at %v", status, e.RetryAt)
		}
	}
}

func TestLostAnswer(t *testing.T) {
	t.Parallel()
	c := connectTo(t, "", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := send(t, c, "key", `{"type":"test"}`)
	if funnel.CodeOf(err) != funnel.Uncertain || strings.Contains(err.Error(), "-secret") {
		t.Errorf("error %v with the code %s", err, funnel.CodeOf(err))
	}
	if _, err := send(t, c, "key", `{"type":""}`); funnel.CodeOf(err) != funnel.Invalid {
		t.Errorf("error %v without a type", err)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	c := connectTo(t, "", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(nil)
	server.Close()
	c.url, _ = url.Parse(server.URL + secretPath)
	c.http = upstream.NewHTTP(upstream.Options{})(c.url, nil)
	if _, err := send(t, c, "key", `{"type":"test"}`); funnel.CodeOf(err) != funnel.Unavailable || strings.Contains(err.Error(), "-secret") {
		t.Errorf("error %v with the code %s", err, funnel.CodeOf(err))
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	env := funnel.Env{Connection: "relay", HTTP: func(*url.URL, func(http.Header)) *http.Client { return nil }}
	for address, want := range map[string]string{
		"https://relay.example.com/path-secret":        "",
		"http://127.0.0.1:8080/path-secret":            "",
		"http://relay.example.com/path-secret":         "https",
		"path-secret":                                  "url is not an address",
		"https://user:path-secret@relay.example.com/":  "url is not an address",
		"https://relay.example.com/%zz?q=path-secret!": "url is not an address",
	} {
		_, err := connect(t.Context(), env, Config{URL: address})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "path-secret")) {
			t.Errorf("%s: error %v, want one about %q", address, err, want)
		}
	}
	funnel.NewRegistry().Add(Integration())
}
