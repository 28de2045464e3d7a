package intake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
)

// canary is a value that no answer, log or row of a refused delivery may hold.
const canary = "CANARY-4711"

func TestBadBodies(t *testing.T) {
	t.Parallel()
	deep := func(n int, open, inner, shut string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(shut, n)
	}
	for _, c := range []struct {
		name, body string
		status     int
		pointer    string
	}{
		{"empty", "", 400, ""},
		{"not JSON", canary, 400, ""},
		{"cut", `{"value":"` + canary, 400, ""},
		{"trailing data", good + canary, 400, ""},
		{"two documents", good + good, 400, ""},
		{"duplicate key", `{"value":"` + canary + `","value":"x"}`, 400, "/value"},
		{"duplicate key inside", `{"a":{"b":"` + canary + `","b":1}}`, 400, "/a/b"},
		{"duplicate key by escape", `{"value":"` + canary + `","v\u0061lue":"x"}`, 400, "/value"},
		{"case variant of a key", `{"value":"` + canary + `","Value":"x"}`, 400, "/Value"},
		{"bad UTF-8", "{\"value\":\"" + canary + "\xff\"}", 400, ""},
		{"lone surrogate", `{"value":"` + canary + `\ud800"}`, 400, ""},
		{"BOM", "\ufeff" + good, 400, ""},
		{"NUL", "{\"value\":\"\x00\"}", 400, ""},
		{"wrong type", `{"value":{"` + canary + `":"` + canary + `"}}`, 422, ""},
		// bombs
		{"deep arrays", deep(5000, "[", `"`+canary+`"`, "]"), 400, ""},
		{"deep objects", deep(5000, `{"a":`, "1", "}"), 400, ""},
		{"deep and cut", strings.Repeat("[", 60_000), 400, ""},
		{"wide array", "[" + strings.Repeat("1,", 30_000) + "1]", 400, ""},
		{"wide array of arrays", "[" + strings.Repeat("[],", 20_001) + "1]", 400, ""},
		{"wide object", "{" + strings.Repeat(`"`+"a"+`":1,`, 1000) + `"b":1}`, 400, ""},
		{"long number", `{"more":` + strings.Repeat("9", 60_000) + `}`, 400, "/more"},
		{"large exponent", `{"more":1e` + strings.Repeat("9", 100) + `}`, 400, "/more"},
		{"long key", `{"` + strings.Repeat("k", 50_000) + `":1,"` + strings.Repeat("k", 50_000), 413, ""},
		{"large", `{"value":"` + strings.Repeat("x", 70_000) + `"}`, 413, ""},
	} {
		for _, source := range []string{"path", "signed"} {
			t.Run(c.name+" "+source, func(t *testing.T) {
				t.Parallel()
				d := newDesk(t)
				refusal := d.refuses(request(source, c.body), c.status)
				if c.pointer != "" && !strings.HasPrefix(refusal.Pointer, c.pointer) {
					t.Errorf("it points to %q, want %q", refusal.Pointer, c.pointer)
				}
				if len(refusal.Detail) > 1000 {
					t.Errorf("the answer has %d bytes", len(refusal.Detail))
				}
				told := refusal.Error()
				if c.status == 413 && source == "signed" { // an unread body may be anybody's
					if got := d.rows(); got != "0/0/0" {
						t.Errorf("stored %s", got)
					}
				} else {
					last := d.lastDelivery()
					if last.Verdict != record.Refused || last.Reason == "" || last.Bytes != len(c.body) {
						t.Errorf("the delivery is %+v", last)
					}
					told += last.Reason
				}
				if got := d.rows(); !strings.HasSuffix(got, "/0/0") {
					t.Errorf("stored %s", got)
				}
				if strings.Contains(told+d.log.String(), canary) {
					t.Errorf("a value came out: %s %s", told, d.log.String())
				}
			})
		}
	}
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, good)
	_ = z.Close()
	for name, change := range map[string]func(*intake.Request){
		"none":      header("Content-Type"),
		"text":      header("Content-Type", "text/plain"),
		"multipart": header("Content-Type", "multipart/form-data; boundary=x"),
		"charset":   header("Content-Type", "application/json; charset=utf-16"),
		"two":       header("Content-Type", "application/json", "text/plain"),
		"gzip":      header("Content-Encoding", "gzip"),
		"truly gzip": func(r *intake.Request) {
			header("Content-Encoding", "gzip")(r)
			r.Body, r.ContentLength = bytes.NewReader(packed.Bytes()), int64(packed.Len())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.refuses(request("path", good, change), http.StatusUnsupportedMediaType)
			if got := d.rows(); got != "1/0/0" {
				t.Errorf("stored %s", got)
			}
			d.takes(request("path", good, header("Content-Type", "application/json; charset=UTF-8")))
		})
	}
}

// The size counts, whatever the header says of it.
func TestSizes(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	exact := `{"value":"` + strings.Repeat("x", 64<<10-12) + `"}`
	unknown := func(r *intake.Request) { r.ContentLength = -1 }
	d.takes(request("path", exact))
	d.takes(request("path", strings.Replace(exact, "x", "y", 1), unknown))
	for _, r := range []intake.Request{
		request("path", exact+" ", unknown),
		request("path", "", func(r *intake.Request) { r.ContentLength, r.Body = 1<<40, failing{t} }),
	} {
		if refusal := d.refuses(r, http.StatusRequestEntityTooLarge); !strings.Contains(refusal.Detail, "at most 65536 bytes") {
			t.Errorf("it is told: %s", refusal.Detail)
		}
	}
	d.refuses(request("path", good, func(r *intake.Request) { r.Body = io.MultiReader(strings.NewReader(good[:5]), broken{}) }), http.StatusBadRequest)
}

// failing is a body that must not be read.
type failing struct{ t *testing.T }

func (f failing) Read([]byte) (int, error) {
	f.t.Error("the body was read")
	return 0, io.EOF
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset, " + canary) }

// A stranger's body is not even read.
func TestStrangersAreNotRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, r := range []intake.Request{request("path", "", key("x")), request("bearer", "", header("Authorization")), request("signed", "", header("X-Hub-Signature")), request("absent", "")} {
		r.Body, r.ContentLength = failing{t}, 1<<20
		d.refuses(r, http.StatusNotFound)
	}
}

// slow is a body that is under way until it is let go.
type slow struct{ gate chan struct{} }

func (s slow) Read([]byte) (int, error) { <-s.gate; return 0, io.EOF }

// The bytes in memory are bounded, who waits too long is sent away, and signed
// bodies, which may be a stranger's, take nothing from the others.
func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		gate := make(chan struct{})
		const places = (16 << 20) / (64 << 10)
		for range places {
			go func() {
				r := request("signed", "", header("X-Hub-Signature", "sha256="+strings.Repeat("0", 64)))
				r.Body, r.ContentLength = slow{gate}, -1
				_, _ = d.receive(r)
			}()
		}
		synctest.Wait()
		began := time.Now()
		if r := d.refuses(request("signed", good), http.StatusServiceUnavailable); r.RetryAfter == 0 {
			t.Error("it is not told when to come back")
		}
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("it waited %v", waited)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := d.in.Receive(ctx, request("signed", good)); err == nil {
			t.Error("a caller who is gone was served")
		}
		d.takes(request("path", good))
		taken := make(chan intake.Result, 1)
		go func() { taken <- d.takes(request("signed", `{"key":"k2"}`)) }()
		synctest.Wait()
		close(gate)
		if got := <-taken; got.Verdict != record.Accepted {
			t.Errorf("who waited got %+v", got)
		}
		synctest.Wait()
		if err := d.store.Close(); err != nil {
			t.Error(err)
		}
	})
}
