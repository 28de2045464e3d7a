package jirafake

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// obj is a JSON object on its way out.
type obj = map[string]any

// call is one request to the API.
type call struct {
	site    *Site
	r       *http.Request
	body    []byte
	version string  // of the API, from the path: "3" or "2"
	lost    bool    // the client will not see the answer
	late    bool    // the client was already gone
	events  []event // webhooks of what the call changed
}

// wire builds answers of the version that was asked.
func (c *call) wire() wire { return c.site.wire(c.version) }

type callKey struct{}

// withCall returns the request as the routes see it. Beside issue/{key}/comment/{comment} the mux of net/http cannot have
// issue/createmeta/{key}/issuetypes, so that stands one step higher.
func withCall(c *call) *http.Request {
	r := c.r.WithContext(context.WithValue(c.r.Context(), callKey{}, c))
	if strings.Contains(r.URL.Path, "/issue/createmeta/") {
		u := *r.URL
		u.Path, u.RawPath = strings.Replace(u.Path, "/issue/createmeta/", "/createmeta/", 1), ""
		r.URL = &u
	}
	return r
}

func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

// decode reads the body as JSON into v and returns Jira's complaint if it cannot.
func (c *call) decode(v any) (reply, bool) {
	if err := json.Unmarshal(c.body, v); err != nil {
		return failure(http.StatusBadRequest, "There was an error parsing JSON. Check that your request body is valid."), false
	}
	return reply{}, true
}

// reply is an answer that is not yet on the wire.
type reply struct {
	status    int
	header    http.Header
	value     any    // sent as JSON
	raw       []byte // sent as it is, if value is nil
	malformed bool
}

func (p reply) write(w http.ResponseWriter) {
	body := p.raw
	if p.value != nil {
		var err error
		if body, err = json.Marshal(p.value); err != nil {
			panic(err) // every value is built by this package
		}
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	}
	for k, v := range p.header {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	if p.malformed {
		body = append(body[:len(body)/2:len(body)/2], `,"`...)
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		if p.status == http.StatusNoContent {
			p.status = http.StatusOK // a 204 cannot carry a body
		}
	}
	w.WriteHeader(p.status)
	w.Write(body)
}

// failure is an answer in the shape of Atlassian's ErrorCollection.
func failure(status int, message string) reply {
	return reply{status: status, value: obj{"errorMessages": []string{message}, "errors": obj{}}}
}

// invalid is a 400 that names fields.
func invalid(fields map[string]string) reply {
	return reply{status: http.StatusBadRequest, value: obj{"errorMessages": []string{}, "errors": fields}}
}

// unauthenticated is what a site answers to wrong credentials: plain text, not JSON (seen in a 2025 report to
// atlassian/gajira-login, issue 59).
func unauthenticated() reply {
	return reply{
		status: http.StatusUnauthorized,
		header: http.Header{
			"Content-Type":         {"text/html;charset=UTF-8"},
			"Www-Authenticate":     {`OAuth realm="https%3A%2F%2Fjira.invalid"`},
			"X-Seraph-Loginreason": {"AUTHENTICATED_FAILED"},
		},
		raw: []byte("Client must be authenticated to access this resource."),
	}
}

func unavailable() reply {
	return reply{status: http.StatusServiceUnavailable, header: http.Header{"Content-Type": {"text/plain"}}, raw: []byte("Service Unavailable\n")}
}

// authenticated checks Bearer credentials or, in Cloud, Basic ones (e-mail address and API token).
func (s *Site) authenticated(r *http.Request) bool {
	if email, token, ok := r.BasicAuth(); ok && s.opt.Deployment == Cloud {
		return strings.EqualFold(email, s.opt.Account.Email) && s.tokens.takes(token)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && s.tokens.takes(token)
}

// recorder lets handlers hand a reply through http.ServeMux, and keeps what the mux itself writes.
type recorder struct {
	reply  reply
	header http.Header
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.reply = reply{status: status, header: r.header} }

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.reply.raw = append(r.reply.raw, b...)
	return len(b), nil
}

// apiRoutes lists the simulated part of the API by its addresses in version 3. Version 2 has the same, also by the name
// "latest", and Data Center has only version 2.
func (s *Site) apiRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	routes := map[string]func(*call) reply{
		"GET /rest/api/3/myself":                        s.getMyself,
		"GET /rest/api/3/serverInfo":                    s.getServerInfo,
		"GET /rest/api/3/project/{key}":                 s.getProject,
		"POST /rest/api/3/issue":                        s.postIssue,
		"GET /rest/api/3/issue/{key}":                   s.getIssue,
		"PUT /rest/api/3/issue/{key}":                   s.putIssue,
		"GET /rest/api/3/issue/{key}/properties":        s.getProperties,
		"GET /rest/api/3/issue/{key}/properties/{name}": s.getProperty,
		"PUT /rest/api/3/issue/{key}/properties/{name}": s.putProperty,
		"GET /rest/api/3/issue/{key}/comment":           s.getComments,
		"POST /rest/api/3/issue/{key}/comment":          s.postComment,
		"GET /rest/api/3/issue/{key}/comment/{comment}": s.getComment,
		"PUT /rest/api/3/issue/{key}/comment/{comment}": s.putComment,
		"GET /rest/api/3/issue/{key}/transitions":       s.getTransitions,
		"POST /rest/api/3/issue/{key}/transitions":      s.postTransition,
		"PUT /rest/api/3/issue/{key}/assignee":          s.putAssignee,
		"GET /rest/api/3/user/assignable/search":        s.getAssignable,
		"GET /rest/api/3/user/search":                   s.getUsers,
		"GET /rest/api/3/field":                         s.getFields,
		"POST /rest/api/3/issue/{key}/attachments":      s.postAttachments,
		"GET /rest/api/3/attachment/{id}":               s.getAttachment,
		"GET /rest/api/3/attachment/content/{id}":       s.getContent,
		"POST /rest/api/3/issueLink":                    s.postLink,
		"GET /rest/api/3/issueLinkType":                 s.getLinkTypes,
		"GET /rest/api/3/project":                       s.getProjects,
		"GET /rest/api/3/project/{key}/statuses":        s.getProjectStatuses,
		"GET /rest/api/3/status":                        s.getStatuses,

		"GET /rest/api/3/createmeta/{key}/issuetypes":        s.getCreateTypes,
		"GET /rest/api/3/createmeta/{key}/issuetypes/{type}": s.getCreateFields,
	}
	if s.opt.Deployment == DataCenter {
		routes["GET /rest/api/3/search"], routes["POST /rest/api/3/search"] = s.getOldSearch, s.postOldSearch
		delete(routes, "GET /rest/api/3/attachment/content/{id}") // clients read files where people do
		routes["GET /secure/attachment/{id}/{name}"] = s.getFile
	} else {
		routes["GET /rest/api/3/search/jql"], routes["POST /rest/api/3/search/jql"] = s.getSearch, s.postSearch
		routes["/rest/api/3/search"] = removedSearch
		routes["GET /rest/api/3/project/search"] = s.searchProjects
	}
	for pattern, h := range routes {
		handle := func(w http.ResponseWriter, r *http.Request) {
			c := r.Context().Value(callKey{}).(*call)
			c.r = r // carries the path values
			w.(*recorder).reply = h(c)
		}
		mux.HandleFunc(strings.Replace(pattern, "/api/3/", "/api/2/", 1), handle)
		if !strings.Contains(pattern, "/api/3/") {
			continue
		}
		mux.HandleFunc(strings.Replace(pattern, "/api/3/", "/api/latest/", 1), handle)
		if s.opt.Deployment == Cloud {
			mux.HandleFunc(pattern, handle)
		}
	}
	mux.HandleFunc("/rest/", func(w http.ResponseWriter, _ *http.Request) { w.(*recorder).reply = unknownRoute(nil) })
	return mux
}

func unknownRoute(*call) reply {
	return failure(http.StatusNotFound, "The requested resource does not exist on this simulated site.")
}

// removedSearch answers as Jira Cloud does since the old search was switched off (CHANGE-2046).
func removedSearch(*call) reply {
	return failure(http.StatusGone, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. "+
		"A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046")
}
