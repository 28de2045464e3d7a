package playbooks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/activedirectory"
)

func host(value string) funnel.Observable { return funnel.Observable{Kind: funnel.Host, Value: value} }

func lookOf(value string) string {
	return "look/host-" + funnel.Fingerprint("host", value) + "/lookup"
}

func TestEnrichHost(t *testing.T) {
	t.Parallel()
	found := activedirectory.Host{
		Found: true, Name: "FIN-LAPTOP-07", DNSName: "fin-laptop-07.corp.example.com", System: "Windows 11 Enterprise", SystemVersion: "10.0 (22631)", Location: "Second floor",
		ManagedBy: activedirectory.Manager{DN: "CN=Jane", DisplayName: "Jane Doe", Mail: "j.doe@example.com"}, Unit: "OU=Laptops,DC=corp", Enabled: true, PrimaryGroup: "Domain Computers",
		LastLogon: at("2026-02-20T08:00:00Z"), LastLogonLag: funnel.Duration(14 * 24 * time.Hour), PasswordSet: at("2026-02-10T00:00:00Z"), Created: at("2024-01-01T00:00:00Z"),
		Groups: []string{"Kiosks"}, GroupsTotal: 1, SPNs: []string{"HOST/fin-laptop-07"}, SPNsTotal: 1,
	}
	r := funneltest.Run(t, EnrichHost, created(user("jdoe"), host("FIN-LAPTOP-07")), answered("activedirectory.lookup_host", funneltest.Always(found)))
	wantPaths(t, r, lookOf("FIN-LAPTOP-07")+" comment")
	if in := funneltest.Input[activedirectory.LookupHostInput](t, r, lookOf("FIN-LAPTOP-07")); in.Host != "FIN-LAPTOP-07" {
		t.Errorf("asked for %q", in.Host)
	}
	wantText(t, "the comment", comment(t, r, "enrich_host"), `
Host: FIN-LAPTOP-07

Full name | fin-laptop-07.corp.example.com
System | Windows 11 Enterprise 10.0 (22631)
Location | Second floor
Managed by | Jane Doe, j.doe@example.com
Account state | enabled
Last logon | 2026-02-20 08:00:00 UTC (the true one may be up to 14 days later)
Password set | 2026-02-10 00:00:00 UTC (a computer in use changes it every 30 days)
Joined | 2024-01-01 00:00:00 UTC
Unit | OU=Laptops,DC=corp
Groups (1 of 1) | Kiosks
Services (1 of 1) | HOST/fin-laptop-07
`)
}

func TestHostStates(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		host activedirectory.Host
		want string
	}{
		"controller": {activedirectory.Host{Found: true, Name: "DC1", Enabled: true, DomainController: true, Privileged: []string{"Domain Controllers"}}, "Mind: it is a domain controller."},
		"disabled":   {activedirectory.Host{Found: true, Name: "OLD"}, "Mind: its account is disabled."},
		"power":      {activedirectory.Host{Found: true, Name: "X", Enabled: true, Privileged: []string{"Domain Admins"}}, "Mind: it has power over the domain by Domain Admins."},
		"unread":     {activedirectory.Host{Found: true, DNSName: "x.test", Unread: []string{"lastLogonTimestamp", "userAccountControl"}}, "Account state | enabled or disabled: unknown\nLast logon | unknown"},
		"never":      {activedirectory.Host{Found: true, Name: "NEW", Enabled: true}, "Last logon | none recorded"},
		"not found":  {activedirectory.Host{Why: "no computer of that name in the directory"}, "Host: unknown: the directory has no computer WS-1. It says: no computer of that name in the directory"},
		"hostile":    {activedirectory.Host{Found: true, Name: "[~accountid:1] http://evil.test", Enabled: true}, "Host: [~accountid:1] hxxp://evil[.]test"},
	} {
		r := funneltest.Run(t, EnrichHost, created(host("WS-1")), answered("activedirectory.lookup_host", funneltest.Always(test.host)))
		doc := comment(t, r, "enrich_host")
		if got := doc.String(); !strings.Contains(got, test.want) {
			t.Errorf("%s: no %q in\n%s", name, test.want, got)
		}
		if links(doc) != 0 {
			t.Errorf("%s: data became a link", name)
		}
	}
}

// Several computers share one comment, up to the playbook's limit.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	var observables []funnel.Observable
	for i := range 5 {
		observables = append(observables, host(fmt.Sprint("WS-", i)))
	}
	none := funneltest.Always(activedirectory.Host{Why: "no computer of that name in the directory"})
	r := funneltest.Run(t, EnrichHost, created(observables...), answered("activedirectory.lookup_host", none), funneltest.Skip(lookOf("WS-1")))
	wantPaths(t, r, lookOf("WS-0")+" "+lookOf("WS-1")+" "+lookOf("WS-2")+" comment")
	wantText(t, "the comment", comment(t, r, "enrich_host"), `
Host: unknown: the directory has no computer WS-0. It says: no computer of that name in the directory

Host: unknown: WS-1: not asked, a person skipped the look-up.

Host: unknown: the directory has no computer WS-2. It says: no computer of that name in the directory

2 more were not looked up: the playbook's limit for one ticket is reached.
`)
	wantPaths(t, funneltest.Run(t, EnrichHost, created(user("jdoe")), nil), "") // names no computer
	r = funneltest.Run(t, EnrichHost, created(host("WS-1")), answered("activedirectory.lookup_host", funneltest.Fails(funnel.Unauthorized, "the password is wrong")))
	if funnel.CodeOf(r.Err) != funnel.Unauthorized || len(r.Calls) != 1 {
		t.Errorf("error %v, steps %v", r.Err, r.Paths())
	}
	for _, most := range []int{0, 21, -1} {
		if (HostSettings{Most: most}).Validate() == nil {
			t.Errorf("most: %d is taken", most)
		}
	}
}
