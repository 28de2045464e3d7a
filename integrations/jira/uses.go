package jira

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/funnelsec/funnel"
)

// The kinds of names that playbooks can use in Jira. An issue type is within a
// project, a priority within a project and an issue type, an assignee within a
// project; a status is within a project, or within nothing.
const (
	UseProject   = "project"
	UseIssueType = "issue_type"
	UsePriority  = "priority"
	UseLinkType  = "link_type"
	UseStatus    = "status"
	UseAssignee  = "assignee"
)

// Use returns a use of a name in Jira.
func Use(setting, kind, name string, within ...string) funnel.Use {
	return funnel.Use{Setting: setting, Integration: "jira", Kind: kind, Name: name, Within: within}
}

// CheckUses reports which of the names the site does not have, and which issue
// types cannot be created because they need fields that Funnel does not fill.
func (c *Client) CheckUses(ctx context.Context, uses []funnel.Use) ([]funnel.Unmet, error) {
	k := &useCheck{c: c, ctx: ctx, projects: map[string]*projectUse{}}
	for _, u := range uses {
		if err := k.check(u); err != nil {
			return nil, err
		}
	}
	return k.unmet, nil
}

// useCheck is one check; it asks for each thing once.
type useCheck struct {
	c         *Client
	ctx       context.Context
	unmet     []funnel.Unmet
	projects  map[string]*projectUse
	linkTypes []string
	statuses  []string
}

// projectUse is what is known of a project.
type projectUse struct {
	missing  bool
	types    []issueTypeBean
	fields   map[string][]fieldBean // by the ID of the issue type
	statuses []string
}

type issueTypeBean struct {
	ID, Name string
	Subtask  bool
}

// fieldBean is a field of the screen on which an issue is created.
type fieldBean struct {
	FieldID         string
	Name            string
	Required        bool
	HasDefaultValue bool
	AllowedValues   []struct{ Name, Value string }
}

func (k *useCheck) fail(u funnel.Use, instead []string, format string, args ...any) {
	clean := make([]string, 0, len(instead))
	for _, name := range instead {
		if name = shorten(oneLine(name), 100); name != "" && !slices.Contains(clean, name) {
			clean = append(clean, name)
		}
	}
	k.unmet = append(k.unmet, funnel.Unmet{Use: u, Problem: fmt.Sprintf(format, args...), Instead: clean})
}

func (k *useCheck) check(u funnel.Use) error {
	project := ""
	switch {
	case u.Kind == UseProject:
		project = u.Name
	case len(u.Within) > 0:
		project = u.Within[0]
	}
	if project == "" {
		return k.checkGlobal(u)
	}
	p, err := k.project(project)
	switch {
	case err != nil:
		return err
	case p.missing && u.Kind == UseProject:
		names, err := k.c.projectKeys(k.ctx)
		if err != nil {
			return err
		}
		k.fail(u, names, "Jira has no project %s, or does not show it to the account", u.Name)
		return nil
	case p.missing || u.Kind == UseProject:
		return nil // the use of the project says so
	}
	switch u.Kind {
	case UseIssueType:
		return k.checkIssueType(u, p)
	case UsePriority:
		return k.checkPriority(u, p)
	case UseStatus:
		return k.checkStatus(u, p)
	case UseAssignee:
		return k.checkAssignee(u)
	}
	return k.checkGlobal(u)
}

// project reads a project and its issue types.
func (k *useCheck) project(key string) (*projectUse, error) {
	if p := k.projects[key]; p != nil {
		return p, nil
	}
	p := &projectUse{fields: map[string][]fieldBean{}}
	k.projects[key] = p
	if !isProject(key) {
		p.missing = true
		return p, nil
	}
	types, err := readPages[issueTypeBean](k.ctx, k.c, "reading the issue types of "+key, "issue", "createmeta", key, "issuetypes")
	switch {
	case funnel.CodeOf(err) == funnel.NotFound:
		p.missing = true
		return p, nil
	case err != nil:
		return nil, err
	}
	p.types = types
	return p, nil
}

func (p *projectUse) issueType(name string) (issueTypeBean, bool) {
	for _, t := range p.types {
		if strings.EqualFold(t.Name, name) {
			return t, true
		}
	}
	return issueTypeBean{}, false
}

// filled are the fields that Jira or Funnel fills when an issue is created;
// needed are those without which Funnel cannot mark its tickets.
var (
	filled = []string{"project", "issuetype", "summary", "description", "labels", "priority", "reporter"}
	needed = []string{"summary", "description", "labels"}
)

func (k *useCheck) checkIssueType(u funnel.Use, p *projectUse) error {
	project := u.Within[0]
	kind, ok := p.issueType(u.Name)
	if !ok {
		var names []string
		for _, t := range p.types {
			if !t.Subtask {
				names = append(names, t.Name)
			}
		}
		k.fail(u, names, "project %s has no issue type %s that the account may create", project, u.Name)
		return nil
	}
	fields, err := k.fieldsOf(project, p, kind)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, f := range fields {
		there[f.FieldID] = true
		if f.Required && !f.HasDefaultValue && !slices.Contains(filled, f.FieldID) {
			k.fail(u, nil, "in project %s the issue type %s needs the field %s (%s), which Funnel does not fill: make it optional or give it a default", project, u.Name, shorten(oneLine(f.Name), 100), shorten(oneLine(f.FieldID), 100))
		}
	}
	for _, f := range needed {
		if !there[f] {
			k.fail(u, nil, "in project %s the field %s is not on the screen on which an issue of type %s is created: Funnel fills it", project, f, u.Name)
		}
	}
	return nil
}

func (k *useCheck) fieldsOf(project string, p *projectUse, kind issueTypeBean) ([]fieldBean, error) {
	if fields, known := p.fields[kind.ID]; known {
		return fields, nil
	}
	fields, err := readPages[fieldBean](k.ctx, k.c, "reading the fields of issues in "+project, "issue", "createmeta", project, "issuetypes", kind.ID)
	p.fields[kind.ID] = fields
	return fields, err
}

func (k *useCheck) checkPriority(u funnel.Use, p *projectUse) error {
	if len(u.Within) < 2 {
		return nil
	}
	kind, ok := p.issueType(u.Within[1])
	if !ok {
		return nil // the use of the issue type says so
	}
	fields, err := k.fieldsOf(u.Within[0], p, kind)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.FieldID != "priority" {
			continue
		}
		var names []string
		for _, v := range f.AllowedValues {
			names = append(names, v.Name)
		}
		if len(names) > 0 && !hasName(names, u.Name) {
			k.fail(u, names, "project %s has no priority %s", u.Within[0], u.Name)
		}
		return nil
	}
	k.fail(u, nil, "in project %s an issue of type %s has no priority: leave the priorities empty", u.Within[0], u.Within[1])
	return nil
}

func (k *useCheck) checkStatus(u funnel.Use, p *projectUse) error {
	if p.statuses == nil {
		var types []struct{ Statuses []struct{ Name string } }
		if err := k.read("reading the statuses of "+u.Within[0], &types, "project", u.Within[0], "statuses"); err != nil {
			return err
		}
		for _, t := range types {
			for _, s := range t.Statuses {
				p.statuses = append(p.statuses, s.Name)
			}
		}
	}
	if !hasName(p.statuses, u.Name) {
		k.fail(u, p.statuses, "project %s has no status %s", u.Within[0], u.Name)
	}
	return nil
}

func (k *useCheck) checkAssignee(u funnel.Use) error {
	query := k.c.dialect.assignable("", u.Name)
	query.Del("issueKey")
	query.Set("project", u.Within[0])
	_, err := k.c.assignableBy(k.ctx, "looking for an assignee in "+u.Within[0], u.Name, query)
	if funnel.CodeOf(err) == funnel.Invalid {
		k.fail(u, nil, "in project %s nobody, or nobody alone, can be assigned as %s; use a mail address or %s", u.Within[0], u.Name, k.c.dialect.accounts())
		return nil
	}
	return err
}

// checkGlobal checks what belongs to the site.
func (k *useCheck) checkGlobal(u funnel.Use) error {
	switch u.Kind {
	case UseLinkType:
		if k.linkTypes == nil {
			var all struct{ IssueLinkTypes []struct{ Name string } }
			if err := k.read("reading the link types", &all, "issueLinkType"); err != nil {
				return err
			}
			for _, t := range all.IssueLinkTypes {
				k.linkTypes = append(k.linkTypes, t.Name)
			}
		}
		if !hasName(k.linkTypes, u.Name) {
			k.fail(u, k.linkTypes, "Jira has no link type %s", u.Name)
		}
	case UseStatus:
		if k.statuses == nil {
			var all []struct{ Name string }
			if err := k.read("reading the statuses", &all, "status"); err != nil {
				return err
			}
			for _, s := range all {
				k.statuses = append(k.statuses, s.Name)
			}
		}
		if !hasName(k.statuses, u.Name) {
			k.fail(u, k.statuses, "Jira has no status %s", u.Name)
		}
	}
	return nil
}

func hasName(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

func (k *useCheck) read(what string, into any, path ...string) error {
	return k.c.do(k.ctx, call{what: what, method: http.MethodGet, path: path, want: http.StatusOK, into: into})
}

// projectKeys returns the keys of up to 50 projects that the account sees.
func (c *Client) projectKeys(ctx context.Context) ([]string, error) {
	var keys []string
	var answer json.RawMessage
	k := call{what: "reading the projects", method: http.MethodGet, path: c.dialect.projects(), want: http.StatusOK, into: &answer}
	if err := c.do(ctx, k); err != nil {
		return nil, err
	}
	type project struct{ Key string }
	var all []project
	if json.Unmarshal(answer, &all) != nil {
		var page struct{ Values []project }
		if json.Unmarshal(answer, &page) != nil {
			return nil, k.unreadable("it is no list of projects")
		}
		all = page.Values
	}
	for _, p := range all[:min(len(all), 50)] {
		keys = append(keys, p.Key)
	}
	return keys, nil
}

// maxMeta is how many issue types or fields are read.
const maxMeta = 1000

// readPages reads all of a list that Jira answers in pages: as issueTypes or fields in
// Cloud, as values in Data Center.
func readPages[T any](ctx context.Context, c *Client, what string, path ...string) ([]T, error) {
	var list []T
	for len(list) < maxMeta {
		var page struct {
			IssueTypes, Fields, Values []T
			Total                      int
		}
		k := call{
			what: what, method: http.MethodGet, path: path, want: http.StatusOK, into: &page,
			query: url.Values{"startAt": {strconv.Itoa(len(list))}, "maxResults": {"100"}},
		}
		if err := c.do(ctx, k); err != nil {
			return nil, err
		}
		found := slices.Concat(page.IssueTypes, page.Fields, page.Values)
		list = append(list, found...)
		if len(found) == 0 || len(list) >= page.Total {
			return list, nil
		}
	}
	return list, nil
}
