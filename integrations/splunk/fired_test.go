package splunk

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

// askAll asks for everything about the moment of the test.
var askAll = funnel.Reading{Source: "soc", Since: at().Add(-time.Hour), Until: at().Add(time.Hour)}

func (c *Client) mustList(t *testing.T) map[string]funnel.Firing {
	t.Helper()
	list, err := c.listFired(t.Context(), askAll)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]funnel.Firing{}
	for _, f := range list {
		if _, twice := out[f.Group]; twice {
			t.Errorf("%s is listed twice", f.Group)
		}
		out[f.Group] = f
	}
	return out
}

// TestReadWhatFired: what is read of an alert has the events that its webhooks
// have, by likeness and mark, in both ways of listing.
func TestReadWhatFired(t *testing.T) {
	for _, noDash := range []bool{false, true} {
		api := fake(splunkfake.APIOptions{NoDash: noDash})
		c := clientOf(t, api, Config{})
		const many = 250 // more than a page
		for i := range many {
			f := splunkfake.Firing{SID: fmt.Sprintf("scheduler__admin__search__s_at_%d", i), Search: fmt.Sprintf("S %d", i%3), Rows: rows(2), Each: i%2 == 0, URL: "https://funnel.example.com/hooks/soc/SECRET"}
			if err := api.Trigger(t.Context(), nil, f); err != nil {
				t.Fatal(err)
			}
		}
		fired := c.mustList(t)
		if len(fired) != many {
			t.Fatalf("%d are listed, want %d (without a list of all: %v)", len(fired), many, noDash)
		}
		for i, want := range []int{2, 1} { // for each result, and once
			f := fired[fmt.Sprintf("scheduler__admin__search__s_at_%d", i)]
			told, err := c.told(t.Context(), askAll, f)
			if err != nil || told.NotOurs || told.Gone != "" || len(told.Bodies) != want || f.Single != (i == 1) {
				t.Errorf("alert %d: %d bodies, single %v, gone %q, not ours %v (%v)", i, len(told.Bodies), f.Single, told.Gone, told.NotOurs, err)
			}
			for n, body := range told.Bodies {
				mustBeAlike(t, body, f, rows(2)[n])
			}
		}
	}
}

// mustBeAlike compares what was read with what the webhook of the row sends.
func mustBeAlike(t *testing.T, body []byte, f funnel.Firing, row map[string]any) {
	t.Helper()
	var got []byte
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		got, _ = io.ReadAll(q.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer hook.Close()
	row["_kv"], row["empty"] = "1", ""
	sender := splunkfake.New(splunkfake.Options{URL: hook.URL})
	if err := sender.FireEach(t.Context(), splunkfake.Alert{SID: f.Group, Search: f.Name}, row); err != nil {
		t.Fatal(err)
	}
	one := func(body []byte, read bool) funnel.Arrival[AlertEvent] {
		list, err := decodeAlert(funnel.Request{Source: "soc", Connection: "splunk", Body: body, ReceivedAt: at(), Read: read})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v", body, err)
		}
		return list[0]
	}
	sent, read := one(got, false), one(body, true)
	if sent.Group != f.Group || sent.Group != read.Group || sent.Kin != read.Kin || sent.Mark != read.Mark || sent.Mark == "" {
		t.Errorf("sent %q %q %q, read %q %q %q: they must be alike\n%s\n%s", sent.Group, sent.Kin, sent.Mark, read.Group, read.Kin, read.Mark, got, body)
	}
	if sent.Event.Fingerprint != read.Event.Fingerprint || sent.Event.Read || !read.Event.Read {
		t.Errorf("the fingerprints differ, or what was read does not say so")
	}
}

// TestWhoseAlert: what is not sent to the source is left alone; what nobody can
// know is taken for ours.
func TestWhoseAlert(t *testing.T) {
	for name, c := range map[string]struct {
		firing splunkfake.Firing
		ours   bool
	}{
		"to us":               {splunkfake.Firing{URL: "https://f.example.com/hooks/soc/S"}, true},
		"to another source":   {splunkfake.Firing{URL: "https://f.example.com/hooks/social/S"}, false},
		"elsewhere":           {splunkfake.Firing{URL: "https://other.example.com/"}, false},
		"no webhook":          {splunkfake.Firing{Actions: "email"}, false},
		"hidden":              {splunkfake.Firing{Hidden: true}, true},
		"hidden, and no hook": {splunkfake.Firing{Hidden: true, Actions: "email"}, false},
	} {
		api := fake(splunkfake.APIOptions{})
		f := c.firing
		f.SID, f.Search, f.Rows = "scheduler__1", "S", rows(1)
		if err := api.Trigger(t.Context(), nil, f); err != nil {
			t.Fatal(err)
		}
		client := clientOf(t, api, Config{})
		told, err := client.told(t.Context(), askAll, client.mustList(t)["scheduler__1"])
		if err != nil || told.NotOurs == c.ours {
			t.Errorf("%s: not ours is %v (%v)", name, told.NotOurs, err)
		}
	}
}

// TestGone: an alert whose job has expired, or whose rows cannot be read, is not
// passed over: there is a body that tells what is known.
func TestGone(t *testing.T) {
	for name, c := range map[string]struct {
		firing splunkfake.Firing
		why    string
	}{
		"expired":   {splunkfake.Firing{SID: "scheduler__1", Each: true, Rows: rows(3), Severity: 5}, "expired"},
		"real time": {splunkfake.Firing{SID: "rt_scheduler__1", RealTime: true, Rows: rows(3), Severity: 5}, "real-time"},
	} {
		api := fake(splunkfake.APIOptions{})
		c.firing.Search = "S"
		if err := api.Trigger(t.Context(), nil, c.firing); err != nil {
			t.Fatal(err)
		}
		client := clientOf(t, api, Config{})
		f := client.mustList(t)[c.firing.SID]
		api.Expire(c.firing.SID)
		told, err := client.told(t.Context(), askAll, f)
		if err != nil || !strings.Contains(told.Gone, c.why) || len(told.Bodies) != 1 {
			t.Fatalf("%s: %q, %d bodies (%v)", name, told.Gone, len(told.Bodies), err)
		}
		list, err := decodeAlert(funnel.Request{Source: "soc", Connection: "splunk", Body: told.Bodies[0], ReceivedAt: at(), Read: true})
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		e := list[0].Event
		if e.Gone == "" || e.Severity != "critical" || e.Missed != f.Count || e.Time == nil || !e.Time.Equal(at()) {
			t.Errorf("%s: the event is %+v", name, e)
		}
		// A sender cannot say so of itself.
		if list, err = decodeAlert(funnel.Request{Source: "soc", Connection: "splunk", Body: told.Bodies[0], ReceivedAt: at()}); err != nil || list[0].Event.Gone != "" || list[0].Event.Read {
			t.Errorf("%s: a delivery passes for what was read (%v)", name, err)
		}
	}
}

// TestListingFails: what cannot be read is an error for the next time, never an
// empty list.
func TestListingFails(t *testing.T) {
	api := fake(splunkfake.APIOptions{})
	if err := api.Trigger(t.Context(), nil, splunkfake.Firing{SID: "scheduler__1", Search: "S", Rows: rows(1)}); err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, api, Config{})
	for _, fault := range []splunkfake.Faults{{Status: 503}, {Status: 401}, {HTML: 200}, {Half: true}, {Body: `{}`}} {
		api.Misbehave(fault)
		if list, err := client.listFired(t.Context(), askAll); err == nil {
			t.Errorf("%+v: %d alerts and no error", fault, len(list))
		}
	}
}
