package jirafake_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// specFolder has Atlassian's published documents, which are not part of the repository.
const specFolder = "shared/fixtures/jira/openapi/"

// TestAgainstPublishedSpec sends one request of each kind and checks request and answer against Atlassian's OpenAPI
// documents. It loads a document without validating it, since it is not valid itself.
//
// Of Data Center there is no document; version 2 of Cloud's is the nearest. It still has what Cloud itself has given up, the
// old search and people by key and name, so that nothing of Data Center's answers had to be left out of the check. What it
// cannot say is that Data Center needs the one and refuses the other.
func TestAgainstPublishedSpec(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file, version string
		options       jirafake.Options
	}{
		"cloud":           {"cloud-v3.2025-12.json", "3", jirafake.Options{}},
		"cloud version 2": {"cloud-v2.2025-12.yaml", "2", jirafake.Options{}},
		"data center":     {"cloud-v2.2025-12.yaml", "2", jirafake.Options{Deployment: jirafake.DataCenter}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			againstSpec(t, tt.file, tt.version, tt.options)
		})
	}
}

func againstSpec(t *testing.T, file, version string, o jirafake.Options) {
	spec := loadSpec(t, file)
	s := start(t, o)
	text := func(s string) any {
		if version == "2" {
			return s
		}
		return para(s)
	}
	newIssue := func(summary string, labels ...string) obj {
		issue := newIssue(summary, labels...)
		issue["fields"].(obj)["description"] = text("text of " + summary)
		return issue
	}
	exchange := func(status int, method, path string, body any) []byte {
		t.Helper()
		path = strings.Replace(path, "/api/3/", "/api/"+version+"/", 1)
		code, header, answer := s.send(method, path, body)
		if code != status {
			t.Fatalf("%s %s: status %d, want %d: %s", method, path, code, status, answer)
		}
		if err := spec.check(t, method, path, body, code, header, answer); err != nil {
			t.Errorf("%s %s does not follow the published document: %v", method, path, err)
		}
		return answer
	}
	exchange(200, "GET", "/rest/api/3/myself", nil)
	exchange(200, "GET", "/rest/api/3/serverInfo", nil)
	exchange(200, "GET", "/rest/api/3/project/SIRT", nil)
	exchange(404, "GET", "/rest/api/3/project/NONE", nil)
	exchange(200, "GET", "/rest/api/3/project", nil)
	exchange(200, "GET", "/rest/api/3/project/SIRT/statuses", nil)
	exchange(200, "GET", "/rest/api/3/status", nil)
	exchange(200, "GET", "/rest/api/3/issueLinkType", nil)
	exchange(200, "GET", "/rest/api/3/issue/createmeta/SIRT/issuetypes?maxResults=2", nil)
	exchange(200, "GET", "/rest/api/3/issue/createmeta/SIRT/issuetypes/10001", nil)
	if o.Deployment == jirafake.Cloud {
		exchange(200, "GET", "/rest/api/3/project/search", nil)
	}

	issue := newIssue("First", "funnel-a")
	issue["properties"] = []obj{{"key": "funnel.effect", "value": obj{"key": "k1", "attempt": 1}}}
	exchange(201, "POST", "/rest/api/3/issue", issue)
	exchange(201, "POST", "/rest/api/3/issue", newIssue("Second"))
	exchange(400, "POST", "/rest/api/3/issue", newIssue(""))
	exchange(201, "POST", "/rest/api/3/issueLink", obj{
		"type": obj{"name": "Duplicate"}, "inwardIssue": obj{"key": "SIRT-2"}, "outwardIssue": obj{"key": "SIRT-1"},
	})
	exchange(404, "POST", "/rest/api/3/issueLink", obj{
		"type": obj{"name": "Nonsense"}, "inwardIssue": obj{"key": "SIRT-2"}, "outwardIssue": obj{"key": "SIRT-1"},
	})
	exchange(204, "PUT", "/rest/api/3/issue/SIRT-1", obj{"update": obj{"labels": []obj{{"add": "b"}, {"remove": "funnel-a"}}}})
	exchange(200, "PUT", "/rest/api/3/issue/SIRT-1/properties/funnel.effect", obj{"key": "k2"})
	exchange(201, "PUT", "/rest/api/3/issue/SIRT-1/properties/other", obj{})
	exchange(200, "GET", "/rest/api/3/issue/SIRT-1/properties", nil)
	exchange(200, "GET", "/rest/api/3/issue/SIRT-1/properties/funnel.effect", nil)
	exchange(201, "POST", "/rest/api/3/issue/SIRT-1/comment", obj{"body": text("hello"), "properties": []obj{{"key": "p", "value": 1}}})
	var id string
	for _, c := range first(s.Issue("SIRT-1")).Comments {
		id = c.ID
	}
	exchange(200, "PUT", "/rest/api/3/issue/SIRT-1/comment/"+id, obj{"body": text("hello again")})
	exchange(200, "GET", "/rest/api/3/issue/SIRT-1/comment/"+id+"?expand=properties", nil)
	exchange(200, "GET", "/rest/api/3/issue/SIRT-1/comment?expand=properties&orderBy=-created", nil)
	exchange(200, "GET", "/rest/api/3/issue/SIRT-1/transitions", nil)
	exchange(204, "POST", "/rest/api/3/issue/SIRT-1/transitions", obj{"transition": obj{"id": "31"}})
	code, header, answer := s.attach("SIRT-1", "a.csv", "text/csv", "x")
	if code != 200 {
		t.Fatalf("attaching: status %d: %s", code, answer)
	}
	if err := spec.check(t, "POST", "/rest/api/"+version+"/issue/SIRT-1/attachments", nil, code, header, answer); err != nil {
		t.Errorf("the answer to a file does not follow the published document: %v", err)
	}
	exchange(200, "GET", "/rest/api/3/attachment/"+first(s.Issue("SIRT-1")).Attachments[0].ID, nil)
	history := "&expand=changelog"
	if version == "2" { // whose document lacks "toString", which the captured webhooks have
		history = ""
	}
	exchange(200, "GET", "/rest/api/3/issue/SIRT-1?properties=*all"+history, nil)
	exchange(404, "GET", "/rest/api/3/issue/SIRT-99", nil)
	exchange(200, "GET", "/rest/api/3/field", nil)
	exchange(200, "GET", "/rest/api/3/issueLinkType", nil)
	if o.Deployment == jirafake.DataCenter {
		exchange(200, "GET", "/rest/api/3/user/search?username=funnel", nil)
		exchange(200, "GET", "/rest/api/3/user/assignable/search?issueKey=SIRT-1&username=funnel", nil)
		exchange(204, "PUT", "/rest/api/3/issue/SIRT-1/assignee", obj{"name": "funnel"})
		exchange(200, "GET", "/rest/api/3/search?fields=*all&jql=project%3DSIRT", nil)
		exchange(200, "POST", "/rest/api/3/search", obj{"jql": "project = SIRT", "startAt": 1, "maxResults": 1, "fields": []string{"summary"}})
		exchange(400, "POST", "/rest/api/3/search", obj{"jql": "nonsense"})
		return
	}
	exchange(200, "GET", "/rest/api/3/user/assignable/search?issueKey=SIRT-1&query=funnel", nil)
	exchange(204, "PUT", "/rest/api/3/issue/SIRT-1/assignee", obj{"accountId": jirafake.DefaultAccountID})
	exchange(200, "GET", "/rest/api/3/search/jql?fields=*all&jql=project%3DSIRT", nil)
	exchange(200, "POST", "/rest/api/3/search/jql", obj{"jql": "project = SIRT", "maxResults": 1, "reconcileIssues": []int{10001}})
	exchange(400, "POST", "/rest/api/3/search/jql", obj{"jql": ""})
}

func first[T, U any](v T, _ U) T { return v }

type spec struct {
	router routers.Router
}

func loadSpec(t *testing.T, specFile string) spec {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for { // up to the module's root
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("found no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	file := filepath.Join(filepath.Dir(root), specFolder, specFile)
	if _, err := os.Stat(file); err != nil {
		t.Skipf("NOT CHECKED against Atlassian's published API document: %s is absent (it lies beside the module, not in it)", specFile)
	}
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		t.Fatalf("loading %s: %v", specFile, err)
	}
	doc.Servers = nil // any host
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatalf("reading the routes of %s: %v", specFile, err)
	}
	// Jira writes times without a colon in the zone, which its own document calls date-time.
	jiraTime := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}$`)
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(v string) error {
		if !jiraTime.MatchString(v) {
			return fmt.Errorf("%q is not a time as Jira writes it", v)
		}
		return nil
	}))
	return spec{router}
}

func (sp spec) check(t *testing.T, method, path string, body any, status int, header http.Header, answer []byte) error {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://jira.test"+path, strings.NewReader(asJSON(t, body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	route, params, err := sp.router.FindRoute(req)
	if err != nil {
		return fmt.Errorf("finding the route: %w", err)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true, IncludeResponseStatus: true,
		},
	}
	if status < 300 && !strings.HasSuffix(route.Path, "/attachments") { // a form whose schema, a list of objects, no form has
		if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	if status == http.StatusNoContent {
		if len(answer) > 0 {
			return fmt.Errorf("a 204 with a body")
		}
		return nil // the document names a media type although there is no body
	}
	// Real sites answer null for an empty field, as the captured webhooks show; the document's "any value" forbids it.
	answer = regexp.MustCompile(`"(assignee|resolution|resolutiondate|from|fromString|to|toString)":null,?`).ReplaceAll(answer, nil)
	return openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: status, Header: header, Body: io.NopCloser(bytes.NewReader(answer)), Options: in.Options,
	})
}
