package intake_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/intake"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/store"
)

func TestAccept(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.takes(request("path", good))
	if got.Verdict != record.Accepted || got.EventID == 0 || got.Runs != 1 || len(d.woken) != 1 {
		t.Fatalf("the first: %+v, woken %v", got, d.woken)
	}
	for _, body := range []string{good, `{"key":"k1","value":"another"}`} {
		again := d.takes(request("path", body))
		if again.Verdict != record.Duplicate || again.EventID != got.EventID || len(d.woken) != 1 {
			t.Errorf("a repeat: %+v, woken %v", again, d.woken)
		}
	}
	if other := d.takes(request("bearer", good)); other.Verdict != record.Accepted {
		t.Errorf("the same key of another source: %+v", other)
	}
	if got := d.rows(); got != "4/2/2" {
		t.Errorf("stored %s", got)
	}
}

// What has no key is known by its body for the day.
func TestBodyIsTheKey(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const body = `{"value":"v"}`
	first := d.takes(request("path", body))
	d.now = d.now.Add(11 * time.Hour)
	if got := d.takes(request("path", body)); got.Verdict != record.Duplicate || got.EventID != first.EventID {
		t.Errorf("the same day: %+v", got)
	}
	if got := d.takes(request("path", body+" ")); got.Verdict != record.Accepted {
		t.Errorf("another body: %+v", got)
	}
	d.now = d.now.Add(2 * time.Hour)
	if got := d.takes(request("path", body)); got.Verdict != record.Accepted {
		t.Errorf("the next day: %+v", got)
	}
}

// All events of one delivery are kept, also if none has a key.
func TestSeveralEvents(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const body = `{"more":3}`
	first := d.takes(request("path", body))
	if got := d.rows(); got != "4/4/4" {
		t.Errorf("stored %s", got)
	}
	if got := d.takes(request("path", body)); got.Verdict != record.Duplicate || got.EventID != first.EventID {
		t.Errorf("a repeat: %+v", got)
	}
	if got := d.rows(); got != "8/4/4" {
		t.Errorf("after the repeat %s are stored", got)
	}
}

// Jira's identifier of a delivery counts, whatever is in the body.
func TestDeliveryIdentifier(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := header("X-Atlassian-Webhook-Identifier", "id-1")
	first := d.takes(request("path", `{"key":"a"}`, id))
	if got := d.takes(request("path", `{"key":"b"}`, id)); got.Verdict != record.Duplicate || got.EventID != first.EventID {
		t.Errorf("the same identifier: %+v", got)
	}
	if got := d.takes(request("bearer", `{"key":"c"}`, id)); got.Verdict != record.Accepted {
		t.Errorf("the same identifier at another source: %+v", got)
	}
	if got := d.takes(request("path", `{"key":"a"}`, header("X-Atlassian-Webhook-Identifier", "id-2"))); got.Verdict != record.Duplicate {
		t.Errorf("the same key with another identifier: %+v", got)
	}
	long := header("X-Atlassian-Webhook-Identifier", strings.Repeat("x", 5000))
	d.takes(request("path", `{"key":"`+strings.Repeat("k", 5000)+`1"}`, long))
	if got := d.takes(request("path", `{"key":"`+strings.Repeat("k", 5000)+`2"}`)); got.Verdict != record.Accepted {
		t.Errorf("a long key that differs at its end: %+v", got)
	}
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if got := d.takes(request("path", `{"quiet":true}`)); got.Verdict != record.Ignored || got.Reason != "it is quiet" {
		t.Errorf("it is %+v", got)
	}
	if last := d.lastDelivery(); last.Verdict != record.Ignored || last.Reason != "it is quiet" || d.rows() != "1/0/0" {
		t.Errorf("the delivery is %+v", last)
	}
}

// An event that no playbook wants is visible.
func TestUnmatched(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if got := d.takes(request("lonely", good)); got.Verdict != record.Accepted || got.Runs != 0 {
		t.Errorf("it is %+v", got)
	}
	list, err := d.store.Events(context.Background(), store.EventFilter{Disposition: record.Unmatched, Page: store.Page{Limit: 10}})
	if err != nil || len(list) != 1 {
		t.Errorf("unmatched events: %v (%v)", list, err)
	}
}

// As long as we do not know who we are, nothing is stored and the sender is
// asked to come back.
func TestAccountUnknown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.account = ""
	const body = `{"key":"k","actor":"jdoe"}`
	if r := d.refuses(request("path", body), http.StatusServiceUnavailable); r.RetryAfter == 0 {
		t.Error("it is not told when to come back")
	}
	if got := d.rows(); got != "0/0/0" {
		t.Errorf("stored %s", got)
	}
	d.account = "funnel"
	d.takes(request("path", body))
}

func TestLoopGuard(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if got := d.takes(request("path", `{"key":"a","actor":"funnel"}`)); got.Verdict != record.Accepted || got.Runs != 0 {
		t.Errorf("our own doing: %+v", got)
	}
	if got := d.takes(request("path", `{"key":"b","actor":"jdoe"}`)); got.Runs != 1 {
		t.Errorf("a person's: %+v", got)
	}
	own, err := d.store.Events(context.Background(), store.EventFilter{Disposition: record.Own, Page: store.Page{Limit: 10}})
	if err != nil || len(own) != 1 || len(d.woken) != 1 {
		t.Errorf("own events: %v (%v), woken %v", own, err, d.woken)
	}
}

// A store that does not take it makes a 503, not a loss.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{good, `{"quiet":true}`, `{"key":`, fmt.Sprintf(`{"value":%d}`, 1)} {
		r, err := d.receive(request("path", body))
		refusal, ok := err.(*intake.Refusal)
		if !ok || refusal.Status != http.StatusServiceUnavailable || refusal.RetryAfter == 0 {
			t.Errorf("body %d: %+v, %v", i, r, err)
		}
	}
}
