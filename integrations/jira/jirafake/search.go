package jirafake

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
)

// Page sizes of search: 5,000 is the most for id and key alone, 100 otherwise.
const (
	searchPage     = 50
	searchPageMax  = 5000
	searchPageFull = 100
	searchPageOld  = 1000 // Data Center's jira.search.views.default.max
	maxReconcile   = 50
)

// searchBody is Atlassian's SearchAndReconcileRequestBean.
type searchBody struct {
	JQL             string   `json:"jql"`
	NextPageToken   string   `json:"nextPageToken"`
	MaxResults      *int     `json:"maxResults"`
	Fields          []string `json:"fields"`
	FieldsByKeys    bool     `json:"fieldsByKeys"`
	Expand          string   `json:"expand"`
	Properties      []string `json:"properties"`
	ReconcileIssues []int64  `json:"reconcileIssues"`
}

func (s *Site) getSearch(c *call) reply {
	q := c.r.URL.Query()
	b := searchBody{
		JQL: q.Get("jql"), NextPageToken: q.Get("nextPageToken"),
		Fields: splitList(q["fields"]), Properties: splitList(q["properties"]),
	}
	if text := q.Get("maxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return failure(http.StatusBadRequest, "maxResults must be a whole number.")
		}
		b.MaxResults = &n
	}
	for _, text := range splitList(q["reconcileIssues"]) {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return failure(http.StatusBadRequest, "reconcileIssues must be numeric ids of issues.")
		}
		b.ReconcileIssues = append(b.ReconcileIssues, id)
	}
	return s.search(c, b)
}

func (s *Site) postSearch(c *call) reply {
	var b searchBody
	if rep, ok := c.decode(&b); !ok {
		return rep
	}
	return s.search(c, b)
}

func (s *Site) search(c *call, b searchBody) reply {
	size := searchPage
	if b.MaxResults != nil {
		size = *b.MaxResults
	}
	q, err := s.parseJQL(b.JQL)
	after, tokenOK := readToken(b.NextPageToken, b.JQL)
	switch {
	case !tokenOK:
		return failure(http.StatusBadRequest, "The provided next page token is invalid or expired.")
	case size < 1 || size > searchPageMax:
		return failure(http.StatusBadRequest, "The max results parameter has to be between 1 and 5,000.")
	case len(b.ReconcileIssues) > maxReconcile:
		return failure(http.StatusBadRequest, "The number of issues to reconcile must not exceed 50.")
	case len(b.Properties) > 5:
		return failure(http.StatusBadRequest, "At most 5 properties can be requested.")
	case err != nil:
		return failure(http.StatusBadRequest, err.Error())
	}
	// Only the id is answered by default; id and key alone make large pages possible.
	idOnly := !slices.ContainsFunc(b.Fields, func(f string) bool { return f != "id" })
	small := !slices.ContainsFunc(b.Fields, func(f string) bool { return f != "id" && f != "key" })
	if !small {
		size = min(size, s.opt.SearchPage)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.catchUp(s.opt.Now())
	fresh := map[int64]*doc{}
	for _, id := range b.ReconcileIssues {
		if is := s.byID[id]; is != nil {
			fresh[id] = is.doc()
		}
	}
	ids, more := s.index.find(q, after, size, fresh)
	list := []obj{}
	for _, id := range ids {
		if idOnly {
			list = append(list, obj{"id": strconv.FormatInt(id, 10)})
			continue
		}
		bean := c.bean(s.byID[id], chooseFields(b.Fields))
		if len(b.Properties) > 0 {
			bean["properties"] = s.byID[id].chosenProps(b.Properties)
		}
		list = append(list, bean)
	}
	s.record(c, Entry{Kind: KindSearch, JQL: b.JQL, Found: len(ids)})
	out := obj{"issues": list, "isLast": !more}
	if more {
		out["nextPageToken"] = newToken(ids[len(ids)-1], b.JQL)
	}
	return reply{status: http.StatusOK, value: out}
}

// pageToken is the content of a next page token: where to go on, and a hash of the query that it belongs to.
type pageToken struct {
	After int64  `json:"a"`
	Query uint64 `json:"q"`
}

func hashText(text string) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, text)
	return h.Sum64()
}

func newToken(after int64, jql string) string {
	b, err := json.Marshal(pageToken{after, hashText(jql)})
	if err != nil {
		panic(err) // numbers only
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func readToken(token, jql string) (after int64, ok bool) {
	if token == "" {
		return 0, true
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, false
	}
	var t pageToken
	if json.Unmarshal(b, &t) != nil || t.Query != hashText(jql) || t.After <= 0 {
		return 0, false
	}
	return t.After, true
}
