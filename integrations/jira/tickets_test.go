package jira

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

func TestOpenTicket(t *testing.T) { everywhere(t, testOpenTicket) }

func testOpenTicket(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	key := effect("1")
	ticket := must[Ticket](t)(perform(t, c, OpenTicket, key, ticketInput()))
	issue, ok := site.Issue(ticket.Key)
	if !ok || ticket.ID != issue.ID || ticket.Project != "SIRT" || ticket.Repeat || ticket.Seen != 1 {
		t.Fatalf("ticket %+v, issue %+v", ticket, issue)
	}
	if want := c.base.String() + "/browse/SIRT-1"; ticket.URL != want {
		t.Errorf("the ticket's page is %s, want %s", ticket.URL, want)
	}
	want := []string{"demo-alert", "funnel", "funnel-" + string(key), "funnel-fp-" + funnel.Fingerprint("a")}
	if slices.Sort(want); !slices.Equal(issue.Labels, want) {
		t.Errorf("labels %v, want %v", issue.Labels, want)
	}
	if got := string(issue.Properties["funnel.effect"]); got != `{"key":"`+string(key)+`","attempt":1}` {
		t.Errorf("property %s", got)
	}
	if text := jirafake.Text(issue.Description); text != "something happened" || issue.Priority != "High" || issue.Type != "Task" {
		t.Errorf("description %q, priority %q, type %q", text, issue.Priority, issue.Type)
	}
}

func TestUnprovenTicketSaysSo(t *testing.T) { everywhere(t, testUnprovenTicketSaysSo) }

func testUnprovenTicketSaysSo(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	in := ticketInput()
	in.Description = funnel.NewDocument(funnel.Preformatted(strings.Repeat("x", 2*maxText)))
	must[Ticket](t)(performAs(t, c, OpenTicket, funnel.Attempt{Key: effect("1"), Number: 2, Unproven: true}, in))
	text := jirafake.Text(site.Issues()[0].Description)
	if !strings.HasSuffix(text, cutNote+"\n"+unprovenNote) {
		t.Errorf("the description ends with %q", text[len(text)-200:])
	}
}

func TestRefusedTicket(t *testing.T) { everywhere(t, testRefusedTicket) }

func testRefusedTicket(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	for name, test := range map[string]struct {
		change func(*OpenTicketInput)
		want   string
	}{
		"priority":    {func(in *OpenTicketInput) { in.Priority = "Blazing" }, "priority: The priority selected is invalid."},
		"type":        {func(in *OpenTicketInput) { in.IssueType = "Epos" }, "issuetype"},
		"project":     {func(in *OpenTicketInput) { in.Project = "NONE" }, "project"},
		"bad project": {func(in *OpenTicketInput) { in.Project = `A" OR project = "B` }, "project is not the key"},
		"fingerprint": {func(in *OpenTicketInput) { in.Fingerprint = "" }, "fingerprint is empty"},
		"label":       {func(in *OpenTicketInput) { in.Labels = []string{"funnel-" + string(effect("2"))} }, "Funnel's own"},
	} {
		in := ticketInput()
		test.change(&in)
		_, err := perform(t, c, OpenTicket, effect(name), in)
		wantCode(t, err, funnel.Invalid, test.want)
	}
	if n := len(site.Issues()); n != 0 {
		t.Errorf("%d issues were created", n)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                "(no summary)",
		" \t\r\n\u2028\x00\u202e":         "(no summary)",
		"a\r\nb\tc\u2028d  e":             "a b c d e",
		"a\u202eb\x00c\xffd":              "abc\ufffdd",
		strings.Repeat("é", 255):          strings.Repeat("é", 255),
		strings.Repeat("é", 256):          strings.Repeat("é", 254) + "…",
		strings.Repeat("\U0001f525", 255): strings.Repeat("\U0001f525", 127) + "…",
	} {
		if got := summary(in); got != want {
			t.Errorf("summary(%.20q…) = %q, want %q", in, got, want)
		}
	}
}

// TestAnyTicketIsTaken: whatever the alert holds, the site takes the ticket.
func TestAnyTicketIsTaken(t *testing.T) { everywhere(t, testAnyTicketIsTaken) }

func testAnyTicketIsTaken(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		in := ticketInput()
		in.Summary = rapid.String().Draw(rt, "summary")
		in.Labels = rapid.SliceOf(rapid.String()).Draw(rt, "labels")
		in.Fingerprint = "x" + rapid.String().Draw(rt, "fingerprint")
		in.Description = anyDocument().Draw(rt, "description")
		if n++; n > 100 { // the site keeps every issue
			return
		}
		if _, err := c.OpenTicket(t.Context(), in); err != nil {
			rt.Fatal(err)
		}
	})
	for _, e := range site.Journal(jirafake.KindCreateIssue) {
		if e.Mentions != 0 || e.Media != 0 {
			t.Errorf("a document from data has %d mentions and %d media", e.Mentions, e.Media)
		}
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	in := ticketInput()
	first := claimTicket(in)
	if first.Scope != "SIRT" || first.Fingerprint != in.Fingerprint || first.Window != 24*time.Hour {
		t.Errorf("claim %+v", first)
	}
	in.Follows, in.Window = "SIRT-7", funnel.Duration(time.Hour)
	if next := claimTicket(in); next.Fingerprint != in.Fingerprint+"/after/SIRT-7" || next.Window != time.Hour {
		t.Errorf("claim of a ticket that follows %+v", next)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	got := repeatTicket(Ticket{Key: "SIRT-7", Seen: 1}, funnel.Seen{Count: 3, First: at, Last: at.Add(time.Hour)})
	if !got.Repeat || got.Seen != 3 || got.Key != "SIRT-7" || got.FirstSeen.Location() != time.UTC || !got.LastSeen.Equal(at.Add(time.Hour)) {
		t.Errorf("repeat %+v", got)
	}
}

// TestFindTicket: an unsure ticket is found once the index knows it.
func TestFindTicket(t *testing.T) { everywhere(t, testFindTicket) }

func testFindTicket(t *testing.T, o jirafake.Options) {
	clock := newClock()
	o.Now, o.IndexLag = clock.now, jirafake.UniformLag(time.Minute, time.Minute)
	site, c := newSite(t, o)
	key, in := effect("1"), ticketInput()
	site.Next(jirafake.IsCreate, jirafake.Fault{Kind: jirafake.AnswerLost})
	_, err := perform(t, c, OpenTicket, key, in)
	wantCode(t, err, funnel.Uncertain)
	if _, found := lookUp(t, c, OpenTicket, key, in); found {
		t.Fatal("found before the index knows it")
	}
	clock.advance(2 * time.Minute)
	ticket, found := lookUp(t, c, OpenTicket, key, in)
	if !found || ticket.Key != "SIRT-1" || ticket.Seen != 1 || ticket.URL == "" {
		t.Errorf("found %v: %+v", found, ticket)
	}
	if _, found := lookUp(t, c, OpenTicket, effect("2"), in); found {
		t.Error("another effect was found")
	}
}

// TestCopiedLabel: a label proves nothing on an issue that somebody else made.
func TestCopiedLabel(t *testing.T) { everywhere(t, testCopiedLabel) }

func testCopiedLabel(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	key := effect("1")
	stranger := jirafake.Person{AccountID: "other", DisplayName: "Jane Doe"}
	if _, err := site.PersonCreates(stranger, jirafake.NewIssue{Summary: "a clone", Labels: []string{"funnel", "funnel-" + string(key)}}); err != nil {
		t.Fatal(err)
	}
	if ticket, found := lookUp(t, c, OpenTicket, key, ticketInput()); found {
		t.Errorf("a stranger's issue passes for ours: %+v", ticket)
	}
	// Our own account made it, and the property is gone: the creator decides.
	ours := jirafake.Person{AccountID: us(o)}
	if _, err := site.PersonCreates(ours, jirafake.NewIssue{Summary: "ours", Labels: []string{"funnel-" + string(key)}}); err != nil {
		t.Fatal(err)
	}
	if ticket, found := lookUp(t, c, OpenTicket, key, ticketInput()); !found || ticket.Key != "SIRT-2" {
		t.Errorf("our issue without its property: %v %+v", found, ticket)
	}
	// Our account made it, for another effect.
	in := ticketInput()
	made := must[Ticket](t)(perform(t, c, OpenTicket, effect("2"), in))
	if err := c.editIssue(t.Context(), "labelling", made.ID, map[string]any{"update": map[string]any{"labels": []any{map[string]string{"add": "funnel-" + string(effect("3"))}}}}); err != nil {
		t.Fatal(err)
	}
	if ticket, found := lookUp(t, c, OpenTicket, effect("3"), in); found {
		t.Errorf("the ticket of another effect was found: %+v", ticket)
	}
}

func TestOldestOfSeveral(t *testing.T) { everywhere(t, testOldestOfSeveral) }

func testOldestOfSeveral(t *testing.T, o jirafake.Options) {
	_, c := newSite(t, o)
	key, in := effect("1"), ticketInput()
	first := must[Ticket](t)(perform(t, c, OpenTicket, key, in))
	must[Ticket](t)(perform(t, c, OpenTicket, key, in))
	if found, _ := lookUp(t, c, OpenTicket, key, in); found.Key != first.Key {
		t.Errorf("found %s, want the oldest, %s", found.Key, first.Key)
	}
}

// TestIndexFresh: absence is proven only after the index has shown a change that
// is younger than the attempt.
func TestIndexFresh(t *testing.T) { everywhere(t, testIndexFresh) }

func testIndexFresh(t *testing.T, o jirafake.Options) {
	clock := newClock()
	o.Now, o.IndexLag = clock.now, jirafake.UniformLag(time.Minute, time.Minute)
	site, c := newSite(t, o)
	in := ticketInput()
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	key := effect("unsure")
	fresh := func(since time.Time) bool {
		t.Helper()
		ok, err := OpenTicket.Spec().Fresh(t.Context(), c, key, input, since)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	sent := clock.now()
	if fresh(sent) {
		t.Fatal("fresh without a known issue")
	}
	must[Ticket](t)(perform(t, c, OpenTicket, effect("known"), in))
	clock.advance(2 * time.Minute)
	sent = clock.now()
	if fresh(sent) {
		t.Fatal("fresh without an answer from the index")
	}
	clock.advance(30 * time.Second)
	if fresh(sent) {
		t.Fatal("fresh before the lag is over")
	}
	if n := len(site.Journal(jirafake.KindUpdateIssue)); n != 1 {
		t.Errorf("the known issue was labelled %d times, want once", n)
	}
	clock.advance(time.Minute)
	if !fresh(sent) {
		t.Fatal("not fresh after the index has shown the label")
	}
	if labels := site.Issues()[0].Labels; slices.ContainsFunc(labels, func(l string) bool { return strings.HasPrefix(l, labelProbe) }) {
		t.Errorf("a label of the probe stays: %v", labels)
	}
	// The removed label is still in the index; it says nothing about a later attempt.
	if fresh(clock.now()) {
		t.Error("a label of an earlier attempt passes as proof for a later one")
	}
}

// TestFreshLooksAgain: the index may catch up between the look-up and the probe.
func TestFreshLooksAgain(t *testing.T) { everywhere(t, testFreshLooksAgain) }

func testFreshLooksAgain(t *testing.T, o jirafake.Options) {
	clock := newClock()
	o.Now, o.IndexLag = clock.now, jirafake.UniformLag(time.Minute, time.Minute)
	_, c := newSite(t, o)
	in, key := ticketInput(), effect("unsure")
	must[Ticket](t)(perform(t, c, OpenTicket, effect("known"), in))
	clock.advance(2 * time.Minute)
	since := clock.now()
	must[Ticket](t)(perform(t, c, OpenTicket, key, in))
	if fresh, err := c.indexFresh(t.Context(), key, in, since); fresh || err != nil {
		t.Fatalf("fresh %v, error %v", fresh, err)
	}
	clock.advance(2 * time.Minute)
	if fresh, err := c.indexFresh(t.Context(), key, in, since); fresh || err != nil {
		t.Errorf("absence passes as proven although the ticket is there: %v, error %v", fresh, err)
	}
}

func TestProbeOnALockedIssue(t *testing.T) { everywhere(t, testProbeOnALockedIssue) }

func testProbeOnALockedIssue(t *testing.T, o jirafake.Options) {
	site, c := newSite(t, o)
	must[Ticket](t)(perform(t, c, OpenTicket, effect("known"), ticketInput()))
	site.Always(jirafake.IsWrite, jirafake.Fault{Kind: jirafake.Reply, Status: 403, Body: "{}"})
	if fresh, err := c.indexFresh(t.Context(), effect("unsure"), ticketInput(), time.Now()); fresh || err != nil {
		t.Errorf("fresh %v, error %v; want no proof and no failure", fresh, err)
	}
}

func TestEmission(t *testing.T) {
	t.Parallel()
	in := ticketInput()
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	origin := funnel.Origin{
		EventID: "17", Source: "splunk", Trigger: "splunk.alert", Connection: "splunk-emea",
		Data: json.RawMessage(`{"search":"Credential dumping","sid":"1","row":[{"name":"_raw"}],"observables":[{"kind":"user","value":"CORP\\jdoe","field":"user"}]}`),
	}
	em, err := OpenTicket.Spec().Emit("jira-emea", origin, input, []byte(`{"id":"10042","key":"SIRT-42","project":"SIRT","url":"https://jira.example.com/browse/SIRT-42","seen":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if em.Trigger != "jira.issue_created" || em.Key != "jira.issue_created:jira-emea:10042" {
		t.Errorf("emission %s with key %s", em.Trigger, em.Key)
	}
	e := em.Event.(IssueEvent)
	if e.Alert == nil || e.Alert.EventID != "17" || e.Alert.Source != "splunk" || e.Alert.Search != "Credential dumping" || e.Alert.SID != "1" || e.Alert.Connection != "splunk-emea" || e.Observable(funnel.User) != `CORP\jdoe` {
		t.Errorf("event %+v, alert %+v", e, e.Alert)
	}
	b, err := json.Marshal(e)
	if err != nil || strings.Contains(string(b), "_raw") {
		t.Errorf("the event is %s, error %v", b, err)
	}
	origin.Data = json.RawMessage(`[1]`)
	if e := ticketEvent(origin, in, Ticket{}); e.Alert == nil || e.Alert.Search != "" || e.Observables.Observables == nil {
		t.Errorf("event of an alert of another shape %+v", e)
	}
}
