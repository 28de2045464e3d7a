package activedirectory_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

// group adds a group; it is in others by its memberOf.
func group(o *directoryfake.Options, name, sid string, members []string, memberOf ...string) string {
	dn := "CN=" + name + groupsOU
	for i := range memberOf {
		memberOf[i] = "CN=" + memberOf[i] + groupsOU
	}
	o.Entries = append(o.Entries, directoryfake.Entry{DN: dn, Attributes: map[string][]string{
		"objectClass": {"top", "group"}, "objectCategory": {"CN=Group,CN=Schema,CN=Configuration," + directoryfake.DemoBaseDN}, "cn": {name}, "sAMAccountName": {name},
		"groupType": {"-2147483646"}, "member": members, "memberOf": memberOf, "objectGUID": {directoryfake.GUID(dn)}, "objectSid": {sid},
	}})
	return dn
}

func attributes(o *directoryfake.Options, account string) map[string][]string {
	i := slices.IndexFunc(o.Entries, func(e directoryfake.Entry) bool { return slices.Contains(e.Attributes["sAMAccountName"], account) })
	return o.Entries[i].Attributes
}

// A primary group stands in no memberOf. Somebody who made a strong group the
// primary one of an account hides it from everybody who reads memberOf alone.
func TestPrimaryGroup(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) {
		o.Entries = slices.DeleteFunc(o.Entries, func(e directoryfake.Entry) bool { // of another language
			return slices.ContainsFunc([]string{"CN=Domain Admins,", "CN=Administrators,", "CN=Domain Users,"}, func(name string) bool { return strings.HasPrefix(e.DN, name) })
		})
		attributes(o, "jdoe")["primaryGroupID"] = []string{"512"}
		attributes(o, "rroe")["primaryGroupID"] = []string{"9001"}
		attributes(o, "mmajor")["primaryGroupID"] = []string{"9002"} // no such group
		admins := group(o, "Domänen-Admins", directoryfake.SID(512), nil, "Administratoren")
		group(o, "Administratoren", directoryfake.BuiltinSID(544), []string{admins})
		clerks := group(o, "Clerks", directoryfake.SID(9001), nil, "Outer Clerks")
		group(o, "Outer Clerks", directoryfake.SID(9003), []string{clerks})
		group(o, "Domain Admins", directoryfake.SID(9512), []string{"CN=Mary Major,OU=People," + directoryfake.DemoBaseDN}) // has the name, not the power
		attributes(o, "mmajor")["memberOf"] = append(attributes(o, "mmajor")["memberOf"], "CN=Domain Admins"+groupsOU)
		attributes(o, "FIN-LAPTOP-07$")["primaryGroupID"] = []string{"512"}
	}, nil)
	for account, want := range map[string]string{
		"jdoe":   "Domänen-Admins [Administratoren] [Administratoren Domänen-Admins]",
		"rroe":   "Clerks [Outer Clerks] []",
		"mmajor": "the group whose SID ends in -9002 [] []",
		"nnoe":   "Domain Users [] []", // cannot be read, but everybody knows it
	} {
		u := r.lookup(t, account)
		if got := fmt.Sprint(u.PrimaryGroup, " ", u.NestedGroups, " ", u.Privileged); got != want || u.MoreGroups {
			t.Errorf("%s is in %s, more %v; want %s", account, got, u.MoreGroups, want)
		}
	}
	h, err := r.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: "FIN-LAPTOP-07"})
	if err != nil || h.PrimaryGroup != "Domänen-Admins" || !slices.Equal(h.Privileged, []string{"Administratoren", "Domänen-Admins"}) {
		t.Errorf("%+v, %v", h, err)
	}
	g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Domänen-Admins"})
	if err != nil || g.MembersTotal != 2 || g.Members[0].Account != "FIN-LAPTOP-07$" || g.Members[1].Account != "jdoe" || !slices.Equal(g.Privileged, []string{"Administratoren", "Domänen-Admins"}) {
		t.Errorf("%+v, %v", g, err)
	}
	g, err = r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Administratoren"})
	if err != nil || !slices.Equal(g.Subgroups, []string{"Domänen-Admins"}) || !slices.Equal(g.Privileged, []string{"Administratoren"}) {
		t.Errorf("%+v, %v", g, err)
	}
}

// Power is told by the SID, which no name and no language changes.
func TestPrivileged(t *testing.T) {
	t.Parallel()
	sids := map[string]string{"of-a-guest": directoryfake.SID(514), "of-users": directoryfake.BuiltinSID(545), "of-nobody": "", "of-garbage": "S-1-5-32-544"}
	for _, rid := range []uint32{512, 516, 518, 519, 520, 521, 526, 527} {
		sids["p-"+strconv.Itoa(int(rid))] = directoryfake.SID(rid)
	}
	for _, rid := range []uint32{544, 548, 549, 550, 551} {
		sids["p-"+strconv.Itoa(int(rid))] = directoryfake.BuiltinSID(rid)
	}
	r := setup(t, func(o *directoryfake.Options) {
		jane := attributes(o, "jdoe")
		for name, sid := range sids {
			jane["memberOf"] = append(jane["memberOf"], group(o, name, sid, []string{"CN=Jane Doe,OU=People," + directoryfake.DemoBaseDN}))
		}
	}, nil)
	u := r.lookup(t, "jdoe")
	if len(u.Privileged) != 13 || slices.ContainsFunc(u.Privileged, func(n string) bool { return !strings.HasPrefix(n, "p-") }) || u.MoreGroups {
		t.Errorf("privileged are %q, more %v", u.Privileged, u.MoreGroups)
	}
}

// A group that memberOf names and that cannot be read may be a strong one.
func TestGroupThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) {
		attributes(o, "jdoe")["memberOf"] = append(attributes(o, "jdoe")["memberOf"], "CN=Secret,DC=other,DC=test")
	}, nil)
	if u := r.lookup(t, "jdoe"); !u.MoreGroups || !slices.Contains(u.Groups, "Secret") {
		t.Errorf("%+v", u)
	}
}

// crowded adds users who are all in the group Everyone.
func crowded(many int) func(*directoryfake.Options) {
	return func(o *directoryfake.Options) {
		var members []string
		for i := range many {
			name := fmt.Sprintf("u%04d", i)
			dn := "CN=" + name + ",OU=People," + directoryfake.DemoBaseDN
			members = append(members, dn)
			o.Entries = append(o.Entries, directoryfake.Entry{DN: dn, Attributes: map[string][]string{
				"objectClass": {"top", "person", "organizationalPerson", "user"}, "objectCategory": {"CN=Person,CN=Schema,CN=Configuration," + directoryfake.DemoBaseDN},
				"sAMAccountName": {name}, "userAccountControl": {"512"}, "memberOf": {"CN=Everyone" + groupsOU}, "objectGUID": {directoryfake.GUID(dn)},
			}})
		}
		o.Entries = append(o.Entries, directoryfake.Entry{DN: "CN=Everyone" + groupsOU, Attributes: map[string][]string{
			"objectClass": {"top", "group"}, "objectCategory": {"CN=Group,CN=Schema,CN=Configuration," + directoryfake.DemoBaseDN}, "cn": {"Everyone"},
			"sAMAccountName": {"Everyone"}, "groupType": {"4"}, "member": members, "objectGUID": {directoryfake.GUID("everyone")},
		}})
	}
}

// More members than a page holds are all counted, over one connection; the list
// is bounded. A directory that gives smaller pages is followed.
func TestManyMembers(t *testing.T) {
	t.Parallel()
	const many = 1700
	for _, page := range []int{directoryfake.DefaultMaxPageSize, 120} {
		r := setup(t, func(o *directoryfake.Options) { crowded(many)(o); o.MaxPageSize = page }, nil)
		g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Everyone"})
		if err != nil {
			t.Fatal(err)
		}
		if g.MembersTotal != many || g.More || len(g.Members) != 100 || g.Members[0].Account != "u0000" || g.Kind != "distribution" || g.Scope != "domain_local" {
			t.Errorf("%d members, more %v, %d listed, %s %s", g.MembersTotal, g.More, len(g.Members), g.Kind, g.Scope)
		}
		if n := r.dials.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	}
}

// A directory that does not page, or whose own limit is lower (AD answers with
// code 4 beyond MaxPageSize), gives a part: it is told as one, never as the whole.
func TestSizeLimit(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) { crowded(1700)(o); o.NoPaging = true }, nil)
	g, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Everyone"})
	if err != nil || g.MembersTotal != directoryfake.DefaultMaxPageSize || !g.More || len(g.Members) != 100 {
		t.Errorf("%d members, more %v, %d listed, %v", g.MembersTotal, g.More, len(g.Members), err)
	}
	cut := 0
	for _, op := range r.Journal() {
		if op.Result == 4 {
			cut++
		}
	}
	if cut == 0 {
		t.Error("the directory cut no answer, so this shows nothing")
	}
	if u := r.lookup(t, "u0001"); !u.Found || u.MoreGroups || !slices.Equal(u.Groups, []string{"Everyone"}) {
		t.Errorf("the connection is used up: %+v", u)
	}
	if n := r.dials.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	r = setup(t, func(o *directoryfake.Options) {
		for i := range 1100 {
			attributes(o, "jdoe")["memberOf"] = append(attributes(o, "jdoe")["memberOf"], group(o, fmt.Sprint("G", i), directoryfake.SID(uint32(20000+i)), []string{"CN=Jane Doe,OU=People," + directoryfake.DemoBaseDN}))
		}
		o.NoPaging = true
	}, nil)
	if u := r.lookup(t, "jdoe"); !u.Found || !u.MoreGroups || u.GroupsTotal != 1103 {
		t.Errorf("%d groups, more %v", u.GroupsTotal, u.MoreGroups)
	}
	r.fakeBusy(t)
}

// fakeBusy makes sure that only the size limit is taken for a part.
func (r *rig) fakeBusy(t *testing.T) {
	t.Helper()
	r.BusyNext(1)
	_, err := r.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Finance"})
	wantError(t, err, funnel.Unavailable, "LDAP code 51")
}
