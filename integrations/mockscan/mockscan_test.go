package mockscan_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/mockscan"
	"github.com/funnelsec/funnel/integrations/splunk"
)

func options() mockscan.Options {
	return mockscan.Options{
		Users: []string{"jdoe", "asmith"},
		Files: []mockscan.File{
			{Name: "a.exe", MD5: strings.Repeat("a", 32), SHA256: strings.Repeat("a", 64)},
			{Name: "b.docm", MD5: strings.Repeat("b", 32), SHA256: strings.Repeat("b", 64)},
		},
		Start: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC),
	}
}

// event returns what the trigger makes of a detection.
func event(t *testing.T, d mockscan.Detection) (string, splunk.AlertEvent) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"result": d.Row(), "sid": d.SID(), "search_name": d.Rule})
	if err != nil {
		t.Fatal(err)
	}
	found, err := splunk.Alert.Spec().Decode(funnel.Request{Source: "splunk", Body: body})
	if err != nil {
		t.Fatalf("the trigger refuses %s: %v", d.ID, err)
	}
	var e splunk.AlertEvent
	if err := json.Unmarshal(found[0].Event, &e); err != nil {
		t.Fatal(err)
	}
	return found[0].Key, e
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	a, b := mockscan.Alerts(7, 50, options()), mockscan.Alerts(7, 200, options())
	if !reflect.DeepEqual(a, b[:50]) {
		t.Error("more detections of one seed are other detections")
	}
	if c := mockscan.Alerts(8, 50, options()); reflect.DeepEqual(a, c) {
		t.Error("two seeds give the same detections")
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	all := mockscan.Alerts(1, 300, options())
	count := map[mockscan.Kind]int{}
	prints, keys, ids := map[string]string{}, map[string]bool{}, map[string]bool{}
	for i, d := range all {
		count[d.Kind]++
		key, e := event(t, d)
		if keys[key] || ids[d.ID] {
			t.Errorf("%s has the key or the ID of an earlier one", d.ID)
		}
		keys[key], ids[d.ID] = true, true
		prints[d.ID] = e.Fingerprint
		if !e.Time.Equal(d.Time) || e.Time.Before(options().Start) || i > 0 && !d.Time.After(all[i-1].Time) {
			t.Errorf("%s happened at %v, the event says %v", d.ID, d.Time, e.Time)
		}
		if d.Kind == mockscan.Repeat && prints[d.Of] != e.Fingerprint {
			t.Errorf("%s repeats %s, but has another fingerprint", d.ID, d.Of)
		}
		if d.Kind == mockscan.Repeat == (d.Of == "") {
			t.Errorf("%s of kind %s repeats %q", d.ID, d.Kind, d.Of)
		}
		if known := slices.Contains(options().Users, d.User); known == (d.Kind == mockscan.UnknownUser || d.Kind == mockscan.Hostile) && d.Kind != mockscan.Repeat {
			t.Errorf("%s of kind %s has the user %q", d.ID, d.Kind, d.User)
		}
		if e.Observable(funnel.Host) != d.Host || e.Observable(funnel.IP) != d.SrcIP || e.Observable(funnel.User) != d.User {
			t.Errorf("observables of %s are %v", d.ID, e.Observables.Observables)
		}
		if e.FileHash() != d.File.SHA256 || e.Observable(funnel.MD5) != d.File.MD5 {
			t.Errorf("hashes of %s are %v", d.ID, e.Observables.Observables)
		}
		if e.Severity == "" {
			t.Errorf("%s has the severity %q, which the trigger does not know", d.ID, d.Severity)
		}
	}
	for _, kind := range []mockscan.Kind{mockscan.UnknownUser, mockscan.UnknownFile, mockscan.NoHash, mockscan.Hostile} {
		if count[kind] != 1 {
			t.Errorf("there are %d detections of kind %s, want 1", count[kind], kind)
		}
	}
	if n := count[mockscan.Repeat]; n < 30 || n > 100 {
		t.Errorf("%d of 300 are repeats, want about one in five", n)
	}
}

func TestOpening(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, d := range mockscan.Alerts(3, 7, options()) {
		kinds = append(kinds, string(d.Kind))
	}
	want := "plain plain repeat unknown_user unknown_file no_hash hostile"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("the first alerts are %s, want %s", got, want)
	}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	text := fmt.Sprint(mockscan.Alerts(1, 7, options())[6].Row())
	for _, want := range []string{"*)(uid=*", "[~admin]", "{html}<script>", "@here", "http://evil.example.test/x"} {
		if !strings.Contains(text, want) {
			t.Errorf("the hostile detection lacks %q", want)
		}
	}
}

func TestWithoutUsersAndFiles(t *testing.T) {
	t.Parallel()
	for _, d := range mockscan.Alerts(1, 3, mockscan.Options{}) {
		if _, e := event(t, d); e.Observable(funnel.User) != "" || e.FileHash() != "" {
			t.Errorf("%s has observables from nowhere: %v", d.ID, e.Observables.Observables)
		}
	}
}

// TestRows: the first row is the one that the webhook sends, and the others are
// alerts of their own.
func TestRows(t *testing.T) {
	t.Parallel()
	most := 0
	for _, d := range mockscan.Alerts(1, 14, options()) {
		rows, ids := d.Rows(), map[any]bool{}
		if !reflect.DeepEqual(rows[0], d.Row()) {
			t.Errorf("%s: the first row is not its own", d.ID)
		}
		for _, row := range rows {
			ids[row["detection_id"]] = true
		}
		if len(ids) != len(rows) {
			t.Errorf("%s has %d rows with %d IDs", d.ID, len(rows), len(ids))
		}
		most = max(most, len(rows))
	}
	if most <= 50 {
		t.Errorf("no search found more than %d rows", most)
	}
}
