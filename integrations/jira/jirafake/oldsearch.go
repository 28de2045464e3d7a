package jirafake

import "net/http"

// oldSearchBody is the request of Data Center's search, which counts pages by offsets.
type oldSearchBody struct {
	JQL        string   `json:"jql"`
	StartAt    int      `json:"startAt"`
	MaxResults *int     `json:"maxResults"`
	Fields     []string `json:"fields"`
}

func (s *Site) getOldSearch(c *call) reply {
	q := c.r.URL.Query()
	b := oldSearchBody{JQL: q.Get("jql"), Fields: splitList(q["fields"])}
	start, ok1 := number(q.Get("startAt"), 0)
	size, ok2 := number(q.Get("maxResults"), searchPage)
	if !ok1 || !ok2 {
		return failure(http.StatusBadRequest, "startAt and maxResults must be whole numbers.")
	}
	b.StartAt, b.MaxResults = start, &size
	return s.oldSearch(c, b)
}

func (s *Site) postOldSearch(c *call) reply {
	var b oldSearchBody
	if rep, ok := c.decode(&b); !ok {
		return rep
	}
	return s.oldSearch(c, b)
}

// oldSearch answers one page, counted from an offset into what matches at the moment: a change between two pages moves
// issues from one to the other.
func (s *Site) oldSearch(c *call, b oldSearchBody) reply {
	size := searchPage
	if b.MaxResults != nil {
		size = *b.MaxResults
	}
	q, err := s.parseJQL(b.JQL)
	switch {
	case err != nil:
		return failure(http.StatusBadRequest, err.Error())
	case size < 0 || b.StartAt < 0:
		return failure(http.StatusBadRequest, "startAt and maxResults must not be negative.")
	}
	size = min(size, s.opt.SearchPage)
	fields := b.Fields
	if len(fields) == 0 {
		fields = []string{"*navigable"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.catchUp(s.opt.Now())
	all, _ := s.index.find(q, 0, len(s.order), nil)
	page := all[min(b.StartAt, len(all)):]
	page = page[:min(size, len(page))]
	list := []obj{}
	for _, id := range page {
		list = append(list, c.bean(s.byID[id], chooseFields(fields)))
	}
	s.record(c, Entry{Kind: KindSearch, JQL: b.JQL, Found: len(page)})
	return reply{status: http.StatusOK, value: obj{
		"expand": "names,schema", "startAt": b.StartAt, "maxResults": size, "total": len(all), "issues": list,
	}}
}
