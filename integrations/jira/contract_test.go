package jira

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// TestRequestsFollowThePublishedAPI checks each request of the client against
// Atlassian's OpenAPI documents, which lie beside the module, not in it. There is
// none of Data Center: version 2 of Cloud's API is the nearest. Where Data Center
// is known to differ, its requests are not checked:
//   - It reads files at /secure/attachment, not in the API.
//   - What Cloud says about /search and about people by name and key, which it
//     keeps in its document but no longer offers, is checked all the same.
func TestRequestsFollowThePublishedAPI(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file       string
		options    jirafake.Options
		operations int
	}{
		"cloud":           {"cloud-v3.2025-12.json", jirafake.Options{}, 21},
		"data center":     {"cloud-v2.2025-12.yaml", jirafake.Options{Deployment: jirafake.DataCenter}, 20},
		"old data center": {"cloud-v2.2025-12.yaml", jirafake.Options{Deployment: jirafake.DataCenter, OldComments: true}, 21},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkRequests(t, "../../../shared/fixtures/jira/openapi/"+test.file, test.options, test.operations)
		})
	}
}

func checkRequests(t *testing.T, file string, o jirafake.Options, operations int) {
	if _, err := os.Stat(file); err != nil {
		t.Skipf("NOT CHECKED against Atlassian's published API document: %s is absent", file)
	}
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // any host
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	site := jirafake.New(o)
	t.Cleanup(site.Close)
	checked := map[string]int{}
	c := connectAs(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.Deployment == jirafake.DataCenter && strings.HasPrefix(r.URL.Path, "/secure/attachment/") {
			site.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s %s is not in the document: %v", r.Method, r.URL, err)
			return
		}
		checked[r.Method+" "+route.Path]++
		err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
			Request: r, PathParams: params, Route: route,
			Options: &openapi3filter.Options{
				AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true,
				ExcludeRequestBody: strings.HasSuffix(route.Path, "/attachments"), // a form whose schema, a list of objects, no form has
			},
		})
		if err != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		site.ServeHTTP(w, r)
	}), time.Now, o)

	in := ticketInput()
	must[string](t)(c.Account(t.Context()))
	must[Ticket](t)(perform(t, c, OpenTicket, effect("1"), in))
	must[Ticket](t)(perform(t, c, OpenTicket, effect("2"), in))
	lookUp(t, c, OpenTicket, effect("1"), in)
	for range 2 {
		must[bool](t)(c.indexFresh(t.Context(), effect("3"), in, time.Unix(1e9, 0)))
	}
	must[Issue](t)(perform(t, c, GetIssue, "", GetIssueInput{Issue: "SIRT-1"}))
	must[FoundIssues](t)(perform(t, c, SearchIssues, "", SearchIssuesInput{Project: "SIRT", Limit: 1}))
	made := must[Comment](t)(perform(t, c, AddComment, effect("4"), AddCommentInput{Issue: "SIRT-1", Body: says("x")}))
	must[Comment](t)(perform(t, c, UpdateComment, effect("5"), UpdateCommentInput{Issue: "SIRT-1", ID: made.ID, Body: says("y")}))
	must[Comment](t)(perform(t, c, KeepComment, effect("6"), keep("a", 1, "z")))
	must[Comment](t)(perform(t, c, KeepComment, effect("7"), keep("a", 2, "z")))
	must[Link](t)(perform(t, c, LinkIssues, funnel.EffectKey("8"), LinkIssuesInput{Type: "Relates", Inward: "SIRT-2", Outward: "SIRT-1"}))
	must[CreatedIssue](t)(perform(t, c, CreateIssue, effect("9"), CreateIssueInput{Project: "SIRT", IssueType: "Task", Summary: "s", Labels: []string{"l"}}))
	body := says("b")
	must[UpdatedIssue](t)(perform(t, c, UpdateFields, effect("10"), UpdateFieldsInput{Issue: "SIRT-1", Summary: "s", Description: &body, Priority: "Low", AddLabels: []string{"l"}, RemoveLabels: []string{"m"}}))
	must[Transitioned](t)(perform(t, c, TransitionIssue, effect("11"), TransitionIssueInput{Issue: "SIRT-1", To: "Done"}))
	must[Assigned](t)(perform(t, c, AssignIssue, effect("12"), AssignIssueInput{Issue: "SIRT-1", Assignee: jirafake.DefaultEmail}))
	in13 := AttachFileInput{Issue: "SIRT-1", Name: "a.csv", Text: "x"}
	must[Attachment](t)(perform(t, c, AttachFile, effect("13"), in13))
	if _, found := lookUp(t, c, AttachFile, effect("13"), in13); !found {
		t.Error("the attached file is not found")
	}
	some := []funnel.Observable{{Kind: funnel.User, Value: "jdoe"}}
	must[RelatedIssues](t)(perform(t, c, FindRelated, "", FindRelatedInput{Issue: "SIRT-2", Observables: some, Fingerprint: in.Fingerprint}))
	must[LinkedIssues](t)(perform(t, c, LinkRelated, effect("14"), LinkRelatedInput{Issue: "SIRT-3", Related: []string{"SIRT-1"}}))
	must[DuplicateClosed](t)(perform(t, c, CloseDuplicate, effect("15"), CloseDuplicateInput{Issue: "SIRT-3", Of: "SIRT-1", Resolution: "Duplicate", Anyway: true}))
	must[[]funnel.Unmet](t)(c.CheckUses(t.Context(), []funnel.Use{
		Use("a", UseProject, "NONE"), Use("b", UseIssueType, "Task", "SIRT"), Use("c", UsePriority, "High", "SIRT", "Task"), Use("d", UseStatus, "Done", "SIRT"),
		Use("e", UseStatus, "Done"), Use("f", UseLinkType, "Relates"), Use("g", UseAssignee, "funnel@example.com", "SIRT"),
	}))
	// Taking an issue from somebody is not checked: the operation's text says that
	// null does it, and its schema does not let null through.
	if len(checked) != operations {
		t.Errorf("%d operations were checked, want %d: %v", len(checked), operations, checked)
	}
}
