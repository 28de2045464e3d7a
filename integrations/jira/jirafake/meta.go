package jirafake

import (
	"fmt"
	"net/http"
	"slices"
)

func (s *Site) getMyself(c *call) reply {
	me := c.wire().user(s.opt.Account)
	me["locale"] = "en_US"
	return reply{status: http.StatusOK, value: me}
}

func (s *Site) getServerInfo(*call) reply {
	if s.opt.Deployment == DataCenter {
		return reply{status: http.StatusOK, value: obj{
			"baseUrl": s.base(), "version": "9.12.5", "versionNumbers": []int{9, 12, 5}, "deploymentType": "Server",
			"buildNumber": 912005, "buildDate": "2024-03-01T00:00:00.000+0000", "serverTime": s.opt.Now().Format(stamp),
			"scmInfo": "simulated", "serverTitle": "Jira (simulated)",
		}}
	}
	return reply{status: http.StatusOK, value: obj{
		"baseUrl": s.base(), "displayUrl": s.base(), "version": "1001.0.0-SNAPSHOT", "versionNumbers": []int{1001, 0, 0},
		"deploymentType": "Cloud", "buildNumber": 100000, "buildDate": "2025-12-01T00:00:00.000+0000",
		"serverTime": s.opt.Now().Format(stamp), "scmInfo": "simulated", "serverTitle": "Jira (simulated)",
	}}
}

func (s *Site) getLinkTypes(c *call) reply {
	w, list := c.wire(), []obj{}
	for _, t := range linkTypes {
		list = append(list, w.linkType(t))
	}
	return reply{status: http.StatusOK, value: obj{"issueLinkTypes": list}}
}

// getFields lists the fields of all issues.
func (s *Site) getFields(*call) reply {
	list := []obj{}
	for _, name := range append(slices.Clone(fieldNames), CustomField) {
		list = append(list, obj{
			"id": name, "key": name, "name": name, "custom": name == CustomField, "orderable": true, "navigable": name != "comment",
			"searchable": true, "clauseNames": []string{name},
		})
	}
	return reply{status: http.StatusOK, value: list}
}

func (s *Site) getProject(c *call) reply {
	key := c.r.PathValue("key")
	p := s.project(key)
	if p == nil {
		return failure(http.StatusNotFound, fmt.Sprintf("No project could be found with key '%s'.", key))
	}
	w := c.wire()
	out := w.project(p)
	types := []obj{}
	for _, t := range p.types {
		types = append(types, w.issueType(p, t))
	}
	out["issueTypes"], out["lead"], out["description"] = types, w.user(s.opt.Account), ""
	return reply{status: http.StatusOK, value: out}
}
