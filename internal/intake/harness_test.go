package intake_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pathSecret  = "path-secret-0123456789abcdef"
	oldSecret   = "path-secret-of-yesterday-012"
	otherSecret = "another-sources-path-secret-"
	token       = "bearer-token-0123456789abcde"
	oldToken    = "bearer-token-of-yesterday-01"
	signing     = "signing-secret-0123456789abc"
)

// thing is what the test's trigger decodes.
type thing struct {
	Key   string `json:"key"`
	Actor string `json:"actor"`
	Value string `json:"value"`
	More  int    `json:"more"`  // further things without a key of their own
	Quiet bool   `json:"quiet"` // nothing for us
}

func decode(r funnel.Request) ([]funnel.Arrival[thing], error) {
	var v thing
	if err := json.Unmarshal(r.Body, &v); err != nil {
		return nil, funnel.Errorf(funnel.Invalid, "reading a thing: it has the wrong shape")
	}
	switch {
	case v.Quiet:
		return nil, funnel.Ignored("it is quiet")
	case v.Actor != "" && r.Account == "":
		return nil, funnel.ErrAccountUnknown
	}
	list := []funnel.Arrival[thing]{{Key: v.Key, Actor: v.Actor, Event: v}}
	for range v.More {
		list = append(list, funnel.Arrival[thing]{Event: v})
	}
	return list, nil
}

// desk is an intake on a real store.
type desk struct {
	*testing.T
	in      *intake.Intake
	store   *store.Store
	account string
	now     time.Time
	log     strings.Builder

	mu    sync.Mutex
	woken []int64
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d := &desk{T: t, store: s, account: "funnel", now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	trigger := funnel.NewTrigger("test.thing", "A thing.", decode).Spec()
	lonely := funnel.NewTrigger("test.lonely", "Nobody wants it.", decode).Spec()
	source := func(name string, auth intake.Auth) intake.Source {
		return intake.Source{Name: name, Triggers: []*funnel.TriggerSpec{trigger}, Connection: "c", Auth: auth, MaxBody: 64 << 10, Account: func() string { return d.account }}
	}
	unmatched := source("lonely", intake.None())
	unmatched.Triggers = []*funnel.TriggerSpec{lonely}
	d.in = intake.New(intake.Options{
		Inbox: s, Log: slog.New(slog.NewTextHandler(&d.log, nil)), Clock: func() time.Time { return d.now },
		Match: func(trigger string) []string {
			if trigger == "test.thing" {
				return []string{"p"}
			}
			return nil
		},
		Wake: func(runs ...int64) { d.mu.Lock(); d.woken = append(d.woken, runs...); d.mu.Unlock() },
		Sources: []intake.Source{
			source("path", intake.PathSecret(pathSecret, oldSecret)), source("other", intake.PathSecret(otherSecret)),
			source("bearer", intake.Bearer(token, oldToken)), source("signed", intake.Signature(funnel.NewSecret(signing))),
			source("none", intake.None()), source("broken", intake.Auth{}), unmatched,
		},
	})
	return d
}

const good = `{"key":"k1","value":"v"}`

// request is a good delivery to the source, changed by the functions.
func request(source, body string, change ...func(*intake.Request)) intake.Request {
	r := intake.Request{
		Source: source, Header: http.Header{"Content-Type": {"application/json"}}, Remote: netip.MustParseAddr("192.0.2.1"),
		Body: strings.NewReader(body), ContentLength: int64(len(body)),
	}
	switch source {
	case "path":
		r.Key = pathSecret
	case "other":
		r.Key = otherSecret
	case "bearer":
		r.Header.Set("Authorization", "Bearer "+token)
	case "signed":
		r.Header.Set("X-Hub-Signature", sign(signing, body))
	default:
		r.Loopback = true
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func sign(secret, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(h, body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

func key(k string) func(*intake.Request) { return func(r *intake.Request) { r.Key = k } }

func header(name string, values ...string) func(*intake.Request) {
	return func(r *intake.Request) {
		r.Header.Del(name)
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
}

func (d *desk) receive(r intake.Request) (intake.Result, error) {
	return d.in.Receive(context.Background(), r)
}

// takes checks that the delivery is taken.
func (d *desk) takes(r intake.Request) intake.Result {
	d.Helper()
	result, err := d.receive(r)
	if err != nil {
		d.Fatalf("it was refused: %v", err)
	}
	return result
}

// refuses checks that the delivery is refused with the status.
func (d *desk) refuses(r intake.Request, status int) *intake.Refusal {
	d.Helper()
	result, err := d.receive(r)
	var refusal *intake.Refusal
	if !errors.As(err, &refusal) {
		d.Fatalf("it was taken: %+v (%v)", result, err)
	}
	if refusal.Status != status {
		d.Fatalf("it was refused with %d (%v), want %d", refusal.Status, refusal, status)
	}
	return refusal
}

// rows counts what is stored, as "deliveries/events/runs".
func (d *desk) rows() string {
	d.Helper()
	page := store.Page{Limit: 10_000}
	deliveries, err1 := d.store.Deliveries(context.Background(), store.DeliveryFilter{Page: page})
	events, err2 := d.store.Events(context.Background(), store.EventFilter{Page: page})
	runs, err3 := d.store.Runs(context.Background(), store.RunFilter{Page: page})
	if err := errors.Join(err1, err2, err3); err != nil {
		d.Fatal(err)
	}
	return fmt.Sprintf("%d/%d/%d", len(deliveries), len(events), len(runs))
}

func (d *desk) lastDelivery() record.Delivery {
	d.Helper()
	list, err := d.store.Deliveries(context.Background(), store.DeliveryFilter{Page: store.Page{Limit: 1}})
	if err != nil || len(list) == 0 {
		d.Fatalf("there is no delivery (%v)", err)
	}
	return list[0]
}
