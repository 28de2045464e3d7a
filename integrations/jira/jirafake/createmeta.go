package jirafake

import (
	"fmt"
	"net/http"
	"slices"
)

// customName is the name of CustomField.
const customName = "Business unit"

func noProject(key string) reply {
	return failure(http.StatusNotFound, fmt.Sprintf("No project could be found with key '%s'.", key))
}

func (s *Site) getProjects(c *call) reply {
	list := []obj{}
	for _, p := range s.projects {
		list = append(list, c.wire().project(p))
	}
	return reply{status: http.StatusOK, value: list}
}

// searchProjects is Cloud's list of projects.
func (s *Site) searchProjects(c *call) reply {
	list := s.getProjects(c).value.([]obj)
	return reply{status: http.StatusOK, value: obj{"startAt": 0, "maxResults": 50, "total": len(list), "isLast": true, "values": list}}
}

func (s *Site) getStatuses(c *call) reply {
	list := []obj{}
	for _, st := range statuses {
		list = append(list, c.wire().status(st))
	}
	return reply{status: http.StatusOK, value: list}
}

func (s *Site) getProjectStatuses(c *call) reply {
	p := s.project(c.r.PathValue("key"))
	if p == nil {
		return noProject(c.r.PathValue("key"))
	}
	list := []obj{}
	for _, t := range p.types {
		it := c.wire().issueType(p, t)
		list = append(list, obj{"self": it["self"], "id": it["id"], "name": t, "subtask": false, "statuses": s.getStatuses(c).value})
	}
	return reply{status: http.StatusOK, value: list}
}

// getCreateTypes lists the issue types of a project that can be created.
func (s *Site) getCreateTypes(c *call) reply {
	p := s.project(c.r.PathValue("key"))
	if p == nil {
		return noProject(c.r.PathValue("key"))
	}
	list := []obj{}
	for _, t := range p.types {
		list = append(list, c.wire().issueType(p, t))
	}
	return c.page("issueTypes", list)
}

// getCreateFields lists the fields of the screen on which an issue is created.
func (s *Site) getCreateFields(c *call) reply {
	p, w := s.project(c.r.PathValue("key")), c.wire()
	if p == nil {
		return noProject(c.r.PathValue("key"))
	}
	if !slices.ContainsFunc(p.types, func(t string) bool { return w.issueType(p, t)["id"] == c.r.PathValue("type") }) {
		return failure(http.StatusNotFound, "The issue type does not exist in the project.")
	}
	field := func(id, name, kind string, required bool) obj {
		return obj{
			"fieldId": id, "key": id, "name": name, "required": required, "hasDefaultValue": false,
			"operations": []string{"set"}, "schema": obj{"type": kind, "system": id},
		}
	}
	var names []obj
	for _, name := range priorities {
		names = append(names, w.priority(name))
	}
	priority := field("priority", "Priority", "priority", false)
	priority["hasDefaultValue"], priority["allowedValues"] = true, names
	reporter := field("reporter", "Reporter", "user", true)
	reporter["hasDefaultValue"] = true
	list := []obj{
		field("project", "Project", "project", true), field("issuetype", "Issue Type", "issuetype", true), field("summary", "Summary", "string", true),
		field("description", "Description", "string", false), field("labels", "Labels", "array", false), priority, reporter,
		field(CustomField, customName, "string", p.needsCustom),
	}
	return c.page("fields", list)
}

// page answers a part of a list: Cloud and Data Center name it differently.
func (c *call) page(name string, list []obj) reply {
	q := c.r.URL.Query()
	start, ok1 := number(q.Get("startAt"), 0)
	size, ok2 := number(q.Get("maxResults"), 50)
	if !ok1 || !ok2 {
		return failure(http.StatusBadRequest, "startAt and maxResults must be whole numbers.")
	}
	total := len(list)
	list = list[min(start, total):]
	list = list[:min(size, len(list), 5)] // small, so that a client that does not page misses some
	out := obj{"startAt": start, "maxResults": size, "total": total, name: list}
	if c.wire().dataCenter {
		delete(out, name)
		out["values"], out["isLast"] = list, start+len(list) >= total
	}
	return reply{status: http.StatusOK, value: out}
}

// missingCustom is the complaint about a required field that a create lacks.
func (e *edit) missingCustom(errs problems) {
	if e.project != nil && e.project.needsCustom && e.custom[CustomField] == nil {
		errs.add(CustomField, customName+" is required.")
	}
}
