package jira

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// bodies returns the markup of the comments of SIRT-1.
func bodies(t *testing.T, site *jirafake.Site) []string {
	t.Helper()
	issue, _ := site.Issue("SIRT-1")
	var list []string
	for _, c := range issue.Comments {
		list = append(list, string(c.Body))
	}
	return list
}

// TestMarkUntilProven: comments show a mark until the site has shown that it
// keeps properties, and at an old site always.
func TestMarkUntilProven(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		// A comment that was changed is told by its times, so no two are the same.
		var ticks atomic.Int64
		start := time.Now()
		now := func() time.Time { return start.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
		site, c := commented(t, jirafake.Options{Deployment: jirafake.DataCenter, OldComments: old, Now: now})
		for i := range 3 {
			must[Comment](t)(perform(t, c, AddComment, effect(fmt.Sprint("add", i)), AddCommentInput{Issue: "SIRT-1", Body: says("hello")}))
		}
		for i := range 4 {
			must[Comment](t)(perform(t, c, KeepComment, effect(fmt.Sprint("keep", i)), keep("a", i, "living")))
		}
		got := bodies(t, site)
		for i, want := range []bool{true, old, old, old} {
			if marked := strings.Contains(got[i], markStart); marked != want {
				t.Errorf("old %v, comment %d: marked %v, want %v: %s", old, i, marked, want, got[i])
			}
		}
		for i := range 3 {
			if _, found := lookUp(t, c, AddComment, effect(fmt.Sprint("add", i)), AddCommentInput{Issue: "SIRT-1"}); !found {
				t.Errorf("old %v: comment %d is not found", old, i)
			}
		}
		// A client that was started anew knows nothing of the site.
		c.dialect = &dataCenter{}
		if _, found := lookUp(t, c, KeepComment, effect("keep3"), keep("a", 3, "living")); !found {
			t.Errorf("old %v: the kept comment is not found", old)
		}
		if out := must[Comment](t)(perform(t, c, KeepComment, effect("late"), keep("a", 2, "late"))); !out.Unchanged {
			t.Errorf("old %v: an older revision replaced a newer one", old)
		}
	}
}

// TestMarkOfAnotherProvesNothing: a person can copy a mark, and an alert can hold
// one; only the last line of a comment of ours is believed.
func TestMarkOfAnotherProvesNothing(t *testing.T) {
	t.Parallel()
	site, c := commented(t, jirafake.Options{Deployment: jirafake.DataCenter, OldComments: true})
	mark := markOf(property{propertyEffect, effectMark{effect("a"), 1}})
	kept := markOf(property{propertyComment, keptMark{"enrich_user", 9, effect("k")}})
	for _, text := range []string{mark, "quoted\n\n" + mark, kept} {
		if _, err := site.PersonComments(jirafake.Person{AccountID: "other", DisplayName: "Jane Doe"}, "SIRT-1", text); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{mark, kept, "x\n" + mark, "\u2028" + mark} {
		for _, doc := range []funnel.Document{says(text), funnel.NewDocument(funnel.Preformatted(text)), funnel.NewDocument(funnel.Preformatted("{noformat}\n" + text + "\n")), around(text)} {
			must[Comment](t)(perform(t, c, AddComment, "", AddCommentInput{Issue: "SIRT-1", Body: doc})) // without a key there is no mark of ours
		}
	}
	if found, ok := lookUp(t, c, AddComment, effect("a"), AddCommentInput{Issue: "SIRT-1"}); ok {
		t.Errorf("a copied mark is evidence: %+v", found)
	}
	if kept, err := c.readKept(t.Context(), keep("enrich_user", 1, "")); err != nil || kept.id != "" {
		t.Errorf("a copied mark names a kept comment: %+v, %v", kept, err)
	}
	must[Comment](t)(perform(t, c, AddComment, effect("a"), AddCommentInput{Issue: "SIRT-1", Body: says("ours")}))
	if _, ok := lookUp(t, c, AddComment, effect("a"), AddCommentInput{Issue: "SIRT-1"}); !ok {
		t.Error("our own mark is no evidence")
	}
}

func TestReadMark(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "e", "e.1", "e.x." + string(effect("a")), "c.1.k", "c.1.k." + funnel.Fingerprint("b"), "e.1.k.more", "x.1.k"} {
		var effect effectMark
		var kept keptMark
		if readMark(markStart+bad+markEnd, "a", &effect) || readMark(markStart+bad+markEnd, "a", &kept) {
			t.Errorf("%q is read as %+v, %+v", bad, effect, kept)
		}
	}
	want := keptMark{"a name. with [all] {sorts}", 1 << 30, effect("k")}
	var got keptMark
	if !readMark(markOf(property{propertyComment, want}), want.Name, &got) || got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

// TestEmptyComments: what says nothing says so.
func TestEmptyComments(t *testing.T) { everywhere(t, testEmptyComments) }

func testEmptyComments(t *testing.T, o jirafake.Options) {
	site, c := commented(t, o)
	for _, doc := range []funnel.Document{{}, says(""), says(" \t"), funnel.NewDocument(funnel.List(nil, funnel.Item(funnel.Text(" "))), funnel.Table(nil), funnel.Heading(1))} {
		must[Comment](t)(perform(t, c, AddComment, effect("x"), AddCommentInput{Issue: "SIRT-1", Body: doc}))
	}
	for _, text := range texts(t, site) {
		if text != "(nothing to say)" {
			t.Errorf("an empty comment is %q", text)
		}
	}
}

// TestOldSearchPages: pages by offset overlook no issue when others come and go
// meanwhile.
func TestOldSearchPages(t *testing.T) {
	t.Parallel()
	issues := make([]int, 0, 30)
	for id := 30; id > 0; id-- {
		issues = append(issues, id)
	}
	var between func(asked int)
	asked := 0
	c := connectAs(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; between != nil && asked > 1 {
			between(asked)
		}
		body, _ := io.ReadAll(r.Body)
		var start, size int
		for _, field := range strings.Split(strings.Trim(string(body), "{}"), ",") {
			_, _ = fmt.Sscanf(field, `"startAt":%d`, &start)
			_, _ = fmt.Sscanf(field, `"maxResults":%d`, &size)
		}
		page := issues[min(start, len(issues)):]
		page = page[:min(size, 7, len(page))]
		var list []string
		for _, id := range page {
			list = append(list, fmt.Sprintf(`{"id":"%d","key":"SIRT-%d"}`, id, id))
		}
		_, _ = fmt.Fprintf(w, `{"startAt":%d,"maxResults":7,"total":%d,"issues":[%s]}`, start, len(issues), strings.Join(list, ","))
	}), newClock().now, jirafake.Options{Deployment: jirafake.DataCenter})
	read := func() []string {
		t.Helper()
		asked = 0
		beans, more, err := c.find(t.Context(), "searching", search{}.newestFirst(), 100)
		if err != nil {
			return []string{string(funnel.CodeOf(err))}
		}
		if more {
			t.Error("there is more")
		}
		var ids []string
		for _, b := range beans {
			ids = append(ids, b.ID)
		}
		return ids
	}
	all := func(from int) []string {
		var ids []string
		for id := from; id > 0; id-- {
			ids = append(ids, fmt.Sprint(id))
		}
		return ids
	}
	if got := read(); !slices.Equal(got, all(30)) {
		t.Errorf("read %v", got)
	}
	between = func(asked int) { issues = append([]int{30 + asked - 1}, issues...) } // one comes before each page
	if got := read(); !slices.Equal(got, all(30)) {
		t.Errorf("with new ones read %v", got)
	}
	between = func(int) { issues = issues[1:] } // one goes before each page
	if got := read(); !slices.Equal(got, []string{"unavailable"}) {
		t.Errorf("with some gone read %v", got)
	}
}

// TestOtherProduct: the error of a connection to the other product says what to
// look at.
func TestOtherProduct(t *testing.T) {
	t.Parallel()
	for _, d := range []jirafake.Deployment{jirafake.Cloud, jirafake.DataCenter} {
		other := map[jirafake.Deployment]jirafake.Deployment{jirafake.Cloud: jirafake.DataCenter, jirafake.DataCenter: jirafake.Cloud}[d]
		site := jirafake.New(jirafake.Options{Deployment: d})
		t.Cleanup(site.Close)
		err := connectAs(t, site, newClock().now, jirafake.Options{Deployment: other}).Check(t.Context())
		switch d {
		case jirafake.DataCenter: // version 3 of the API is not there, and Basic is no personal access token
			wantCode(t, err, funnel.Unauthorized, "check the connection's email and token")
		case jirafake.Cloud: // which takes a bearer token, here the same one, and has no user keys
			wantCode(t, err, funnel.Unavailable, "which account")
		}
	}
	absent := connectTo(t, http.NotFoundHandler(), newClock().now)
	wantCode(t, absent.Check(t.Context()), funnel.Unavailable, "check the connection's url and deployment")
}

// TestDataCenterBadAnswers: what cannot be believed proves neither that something
// is there nor that it is not.
func TestDataCenterBadAnswers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"html": "<html>", "null": "null", "no list": `{"total":0}`, "no total": `{"issues":[],"comments":[]}`, "wrong types": `{"issues":7,"comments":{},"total":"x"}`,
		"path as id": `{"total":1,"issues":[{"id":"../x","key":"SIRT-1"}],"comments":7}`, "cut off": `{"total":0,"issues":[],"comments":[`,
	} {
		c := connectAs(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }), newClock().now, jirafake.Options{Deployment: jirafake.DataCenter})
		if found, more, err := c.find(t.Context(), "searching", search{}, 10); funnel.CodeOf(err) != funnel.Unavailable {
			t.Errorf("%s: found %v, more %v, error %v", name, found, more, err)
		}
		if _, found, err := c.findComment(t.Context(), effect("a"), AddCommentInput{Issue: "SIRT-1"}); funnel.CodeOf(err) != funnel.Unavailable {
			t.Errorf("%s: found %v, error %v", name, found, err)
		}
	}
	// Comments of any shape are no evidence, and no failure either.
	c := connectAs(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/myself") {
			_, _ = io.WriteString(w, `{"key":"me","name":"me"}`)
			return
		}
		mark := strings.ReplaceAll(markOf(property{propertyEffect, effectMark{effect("a"), 1}}), `"`, `\"`)
		_, _ = io.WriteString(w, `{"total":6,"comments":[{"id":"1"},{"id":"2","body":7},{"id":"3","body":{"type":"doc"}},{"id":"4","body":"`+mark+`"},{"id":"5","author":{"key":"you"},"body":"`+mark+`"},
			{"id":"6","author":{"key":"me"},"body":"`+markStart+`e.1"}]}`)
	}), newClock().now, jirafake.Options{Deployment: jirafake.DataCenter})
	if _, found, err := c.findComment(t.Context(), effect("a"), AddCommentInput{Issue: "SIRT-1"}); found || err != nil {
		t.Errorf("found %v, error %v", found, err)
	}
}

// TestNobodyWithoutName: an answer without a name or a key names nobody.
func TestNobodyWithoutName(t *testing.T) {
	t.Parallel()
	written := 0
	c := connectAs(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			written++
		}
		_, _ = io.WriteString(w, `[{"name":"-1","displayName":"x","emailAddress":"x@example.com"},{"key":"k","displayName":"x"}]`)
	}), newClock().now, jirafake.Options{Deployment: jirafake.DataCenter})
	for _, who := range []string{"x", "-1", "k", "x@example.com"} {
		if _, err := perform(t, c, AssignIssue, effect("a"), AssignIssueInput{Issue: "SIRT-1", Assignee: who}); funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("%q: %v", who, err)
		}
	}
	if written != 0 {
		t.Errorf("%d writes", written)
	}
}
