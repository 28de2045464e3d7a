package activedirectory_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

const groupsOU = ",OU=Groups," + directoryfake.DemoBaseDN

func TestLookupHost(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	for _, name := range []string{"FIN-LAPTOP-07", "fin-laptop-07$", `CORP\FIN-LAPTOP-07`, "fin-laptop-07.corp.example.test", "FIN-LAPTOP-07.corp.example.test."} {
		h, err := r.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: name})
		if err != nil {
			t.Fatal(err)
		}
		if !h.Found || h.Name != "FIN-LAPTOP-07" || h.DNSName != "fin-laptop-07.corp.example.test" || h.System != "Windows 11 Enterprise" || !h.Enabled || h.DomainController ||
			h.ManagedBy.DisplayName != "Jane Doe" || h.SPNsTotal != 2 || h.LastLogon == nil || h.LastLogonLag == 0 || h.PrimaryGroup != "Domain Computers" ||
			h.Unit != "OU=Computers,"+directoryfake.DemoBaseDN || !strings.HasPrefix(h.SID, "S-1-5-21-") || h.GUID == "" || len(h.Unread) != 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if h, err := r.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: "dc1"}); err != nil || !h.DomainController {
		t.Errorf("%+v, %v", h, err)
	}
	for name, why := range map[string]string{
		"": "no computer name", "NOWHERE": "no computer of that name", `OTHER\FIN-LAPTOP-07`: "another domain", "jdoe@corp.example.test": "a person",
		"a\x00b": "control characters", "fin-laptop-07.elsewhere.test": "no computer of that name", "jdoe": "no computer of that name",
		"*)(objectClass=*": "no computer of that name", "FIN-LAPTOP-0*": "no computer of that name",
	} {
		h, err := r.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: name})
		if err != nil || h.Found || !strings.Contains(h.Why, why) || name != "" && strings.Contains(h.Why, name) {
			t.Errorf("%q: %+v, %v; want %q", name, h, err, why)
		}
	}
}

// Two computers that claim one name are no answer.
func TestTwoComputersOfOneName(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) {
		o.Entries = append(o.Entries, directoryfake.Entry{DN: "CN=TWIN,OU=Computers," + directoryfake.DemoBaseDN, Attributes: map[string][]string{
			"objectClass": {"top", "computer"}, "objectCategory": {"CN=Computer,CN=Schema,CN=Configuration," + directoryfake.DemoBaseDN}, "sAMAccountName": {"TWIN$"},
			"dNSHostName": {"fin-laptop-07.corp.example.test"}, "objectGUID": {directoryfake.GUID("twin")},
		}})
	}, nil)
	h, err := r.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: "fin-laptop-07.corp.example.test"})
	if err != nil || h.Found || h.Why != "several computers match" {
		t.Errorf("%+v, %v", h, err)
	}
}

// chain puts groups into groups: jdoe is in Inner, Inner in Middle, Middle in
// Outer, and Outer in Inner again.
func chain(o *directoryfake.Options) {
	i := slices.IndexFunc(o.Entries, func(e directoryfake.Entry) bool { return strings.HasPrefix(e.DN, "CN=Jane Doe,") })
	jane := o.Entries[i].DN
	link := func(name string, of string, members ...string) {
		o.Entries = append(o.Entries, directoryfake.Entry{DN: "CN=" + name + groupsOU, Attributes: map[string][]string{
			"objectClass": {"top", "group"}, "objectCategory": {"CN=Group,CN=Schema,CN=Configuration," + directoryfake.DemoBaseDN}, "cn": {name}, "sAMAccountName": {name},
			"groupType": {"-2147483640"}, "member": members, "memberOf": {"CN=" + of + groupsOU}, "objectGUID": {directoryfake.GUID(name)}, "objectSid": {directoryfake.SID(uint32(7000 + len(o.Entries)))},
			"managedBy": {jane}, "description": {"the " + name},
		}})
	}
	link("Inner", "Middle", jane, "CN=Outer"+groupsOU)
	link("Middle", "Outer", "CN=Inner"+groupsOU)
	link("Outer", "Inner", "CN=Middle"+groupsOU)
	o.Entries[i].Attributes["memberOf"] = append(o.Entries[i].Attributes["memberOf"], "CN=Inner"+groupsOU)
}

func TestNestedGroups(t *testing.T) {
	t.Parallel()
	r := setup(t, chain, nil)
	u, err := r.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(u.Groups, "Inner") || !slices.Equal(u.NestedGroups, []string{"Middle", "Outer"}) || u.NestedGroupsTotal != 2 || u.PrimaryGroup != "Domain Users" {
		t.Errorf("groups %q, through others %q", u.Groups, u.NestedGroups)
	}
	g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: `CORP\outer`})
	if err != nil {
		t.Fatal(err)
	}
	if !g.Found || g.Name != "Outer" || g.Kind != "security" || g.Scope != "universal" || g.ManagedBy.DisplayName != "Jane Doe" || g.MembersTotal != 1 || g.More ||
		!slices.Equal(g.Members, []activedirectory.Member{{Account: "jdoe", Name: "Jane Doe"}}) || !slices.Contains(g.Subgroups, "Inner") || !slices.Contains(g.MemberOf, "Inner") {
		t.Errorf("%+v", g)
	}
}

// The demo's administrator shows what power looks like.
func TestDemoAdministrator(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	for account, want := range map[string]string{"adm-jdoe": "Administrators Domain Admins", "svc-backup": "Backup Operators", "jdoe": ""} {
		if u := r.lookup(t, account); strings.Join(u.Privileged, " ") != want || u.MoreGroups || u.PrimaryGroup != "Domain Users" {
			t.Errorf("%s: %q in %q", account, u.Privileged, u.PrimaryGroup)
		}
	}
	g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Domain Users"})
	if err != nil || g.MembersTotal != 13 {
		t.Errorf("%d members, %v", g.MembersTotal, err)
	}
}

func TestLookupGroup(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "all staff"})
	if err != nil {
		t.Fatal(err)
	}
	var accounts []string
	for _, m := range g.Members {
		accounts = append(accounts, m.Account)
		if m.Disabled != (m.Account == "rmiles") {
			t.Errorf("%+v", m)
		}
	}
	if want := "jdoe jpublic jroe jstiles lloe mmajor nnoe ppoe rmiles rroe"; strings.Join(accounts, " ") != want || g.MembersTotal != 10 || !slices.Equal(g.Subgroups, []string{"Finance", "IT Operations"}) {
		t.Errorf("members %q of %d, subgroups %q", accounts, g.MembersTotal, g.Subgroups)
	}
	for name, why := range map[string]string{"": "no group name", "Nobody": "no group of that name", "*": "no group of that name", `X\Finance`: "another domain", "a*)(cn=*": "no group of that name"} {
		g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: name})
		if err != nil || g.Found || !strings.Contains(g.Why, why) {
			t.Errorf("%q: %+v, %v", name, g, err)
		}
	}
}
