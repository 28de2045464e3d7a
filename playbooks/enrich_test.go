package playbooks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/funneltest"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira"
	"github.com/funnelsec/funnel/integrations/virustotal"
)

const md5 = "44d88612fea8a8f36de82e1278abb02f"

func created(observables ...funnel.Observable) jira.IssueEvent {
	return jira.IssueEvent{ID: "10042", Key: "SIRT-42", Project: "SIRT", Alert: &jira.AlertRef{Search: "x"}, Observables: funnel.Observables{Observables: observables}}
}

func user(value string) funnel.Observable { return funnel.Observable{Kind: funnel.User, Value: value} }
func hash() funnel.Observable             { return funnel.Observable{Kind: funnel.MD5, Value: md5} }

// answered adds the comment's answer to that of the look-up.
func answered(action string, answer funneltest.Answer) funneltest.Answers {
	return funneltest.Answers{action: answer, "jira.keep_comment": funneltest.Always(jira.Comment{ID: "1"})}
}

func comment(t *testing.T, r funneltest.Result, name string) funnel.Document {
	t.Helper()
	in := funneltest.Input[jira.KeepCommentInput](t, r, "comment")
	if in.Issue != "SIRT-42" || in.Name != name || in.Revision != jira.Final {
		t.Errorf("comment %+v", in)
	}
	return in.Body
}

func TestEnrichUser(t *testing.T) {
	t.Parallel()
	groups := make([]string, 12)
	for i := range groups {
		groups[i] = fmt.Sprint("G", i)
	}
	found := activedirectory.User{
		Found: true, Account: "jdoe", UPN: "jdoe@corp.example.com", DisplayName: "Jane Doe", Mail: "j.doe@example.com", Title: "Accountant", Department: "Finance",
		Manager: activedirectory.Manager{DN: "CN=Boss", DisplayName: "The Boss", Mail: "boss@example.com"}, Groups: groups, GroupsTotal: 14, NestedGroups: []string{"N1", "N2"}, NestedGroupsTotal: 2,
		PrimaryGroup: "Domain Users", Privileged: []string{"Administrators", "Domain Admins"}, MoreGroups: true,
		Enabled: true, Locked: true, PasswordExpired: true, MustChangePassword: true, LastLogon: at("2026-02-20T08:00:00+01:00"), LastLogonLag: funnel.Duration(14 * 24 * time.Hour), PasswordSet: at("2025-01-02T03:04:05Z"),
	}
	r := funneltest.Run(t, EnrichUser, created(hash(), user(`CORP\jdoe`)), answered("activedirectory.lookup_user", funneltest.Always(found)))
	wantPaths(t, r, "lookup comment")
	if in := funneltest.Input[activedirectory.LookupUserInput](t, r, "lookup"); in.Account != `CORP\jdoe` {
		t.Errorf("asked for %q", in.Account)
	}
	wantText(t, "the comment", comment(t, r, "enrich_user"), `
User: Jane Doe

Mind: it has power over the domain by Administrators, Domain Admins; it is locked out after wrong passwords; its password must be changed at the next logon.

Account | jdoe
Principal name | jdoe@corp.example.com
Title | Accountant
Department | Finance
Mail | j.doe@example.com
Manager | The Boss, boss@example.com
Account state | enabled, locked
Password | expired, must be changed at the next logon, set at 2025-01-02 03:04:05 UTC
Last logon | 2026-02-20 07:00:00 UTC (the true one may be up to 14 days later)
Primary group | Domain Users
Groups (10 of 14) | G0, G1, G2, G3, G4, G5, G6, G7, G8, G9
Groups through others (2 of 2) | N1, N2

Not all groups could be read: there may be others, and others with power.
`)
}

// Each state of an account is said first, in words; what is unknown is not said
// to be well.
func TestUserStates(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		user  activedirectory.User
		want  []string
		never string
	}{
		"well":     {activedirectory.User{Enabled: true}, []string{"Account state | enabled, not locked", "Password | not expired", "Last logon | none recorded"}, "Mind:"},
		"disabled": {activedirectory.User{}, []string{"Mind: the account is disabled.", "Account state | disabled, not locked"}, "unknown"},
		"expired":  {activedirectory.User{Enabled: true, PasswordExpired: true}, []string{"Mind: its password has expired."}, "must be changed"},
		"ended": {
			activedirectory.User{Enabled: true, Expired: true, AccountExpires: at("2020-01-01T00:00:00Z")},
			[]string{"Mind: it has ended.", "Account expires | 2020-01-01 00:00:00 UTC, which has passed"},
			"unknown",
		},
		"unread": {
			activedirectory.User{Unread: []string{"lastLogonTimestamp", "accountExpires", "userAccountControl"}},
			[]string{"Account state | enabled or disabled: unknown", "Last logon | unknown", "Account expires | unknown", "may not read lastLogonTimestamp, accountExpires, userAccountControl."},
			"Mind:",
		},
	} {
		test.user.Found, test.user.Account = true, "jdoe"
		r := funneltest.Run(t, EnrichUser, created(user("jdoe")), answered("activedirectory.lookup_user", funneltest.Always(test.user)))
		got := comment(t, r, "enrich_user").String()
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
		if strings.Contains(got, test.never) {
			t.Errorf("%s: %q in\n%s", name, test.never, got)
		}
	}
}

func TestEnrichHostileUser(t *testing.T) {
	t.Parallel()
	found := activedirectory.User{
		Found: true, Account: "jdoe", DisplayName: "[~accountid:1]\u202e http://evil.test", Title: strings.Repeat("x", 600), Manager: activedirectory.Manager{DN: "CN=Boss"},
		Unread: []string{"userAccountControl", "msDS-User-Account-Control-Computed"},
	}
	r := funneltest.Run(t, EnrichUser, created(user("jdoe")), answered("activedirectory.lookup_user", funneltest.Always(found)))
	doc := comment(t, r, "enrich_user")
	wantText(t, "the comment", doc, `
User: [~accountid:1] hxxp://evil[.]test

Account | jdoe
Title | `+strings.Repeat("x", 499)+`…
Manager | CN=Boss
Account state | enabled or disabled: unknown; locked: unknown
Password | expired: unknown
Last logon | none recorded

Funnel's account may not read userAccountControl, msDS-User-Account-Control-Computed.
`)
	if links(doc) != 0 {
		t.Error("data became a link")
	}
}

func TestUnknownUser(t *testing.T) {
	t.Parallel()
	none := funneltest.Always(activedirectory.User{Why: "no account has this name"})
	for name, test := range map[string]struct {
		event   jira.IssueEvent
		options []funneltest.Option
		paths   string
		want    string
	}{
		"no user":   {created(hash()), nil, "comment", "User: unknown: the alert names no user."},
		"not found": {created(user("*)(uid=*")), nil, "lookup comment", "User: unknown: the directory has no account *)(uid=*. It says: no account has this name"},
		"skipped":   {created(user("jdoe")), []funneltest.Option{funneltest.Skip("lookup")}, "lookup comment", "User: unknown: not asked, a person skipped the look-up."},
	} {
		t.Log(name)
		r := funneltest.Run(t, EnrichUser, test.event, answered("activedirectory.lookup_user", none), test.options...)
		wantPaths(t, r, test.paths)
		wantText(t, "the comment", comment(t, r, "enrich_user"), test.want)
	}
}

func TestEnrichFile(t *testing.T) {
	t.Parallel()
	sha := strings.Repeat("ab", 32)
	report := virustotal.Report{
		Hash: md5, Found: true, Malicious: 60, Suspicious: 2, Total: 70, Verdict: funnel.Verdict{Rating: funnel.Malicious, Score: 62, Total: 70},
		Name: "mimikatz.exe", Names: []string{"mimikatz.exe", "http://evil.test/@x"}, Type: "Win32 EXE", Size: 1234, Label: "hacktool.mimikatz", Reputation: -7,
		FirstSeen: at("2020-01-01T00:00:00Z"), LastSeen: at("2026-02-01T00:00:00Z"), LastAnalysis: at("2026-02-28T00:00:00Z"), SHA256: sha, MD5: md5,
	}
	r := funneltest.Run(t, EnrichFile, created(user("jdoe"), hash()), answered("virustotal.file_report", funneltest.Always(report)))
	wantPaths(t, r, "report comment")
	if in := funneltest.Input[virustotal.FileReportInput](t, r, "report"); in.Hash != md5 {
		t.Errorf("asked for %q", in.Hash)
	}
	wantText(t, "the comment", comment(t, r, "enrich_file"), `
File: malicious (62 of 70)

Malicious | 60 of 70 engines
Suspicious | 2 of 70 engines
Engines looked at | 2026-02-28 00:00:00 UTC
Threat | hacktool.mimikatz
Name | mimikatz.exe
Names | mimikatz.exe, hxxp://evil[.]test/@x
Type | Win32 EXE
Size | 1234 bytes
First seen | 2020-01-01 00:00:00 UTC
Last seen | 2026-02-01 00:00:00 UTC
Users' votes | -7, negative is bad
Hash | 44d88612fea8a8f36de82e1278abb02f
SHA-256 | `+sha+`

Open the report at VirusTotal <https://www.virustotal.com/gui/file/`+sha+`>
`)
}

func TestUnknownFile(t *testing.T) {
	t.Parallel()
	none := funneltest.Always(virustotal.Report{Hash: md5, Verdict: funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotFoundThere}})
	asked := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	aged := funneltest.Always(virustotal.Report{Hash: md5, Asked: &asked, Verdict: funnel.Verdict{Rating: funnel.Unknown, Why: funnel.NotFoundThere}})
	unjudged := funneltest.Always(virustotal.Report{Hash: md5, Found: true, Verdict: funnel.Verdict{Rating: funnel.Unknown}, SHA256: "../../evil"})
	for name, test := range map[string]struct {
		event   jira.IssueEvent
		answer  funneltest.Answer
		options []funneltest.Option
		paths   string
		want    string
	}{
		"no hash":               {created(user("jdoe")), none, nil, "comment", "File: unknown: the alert names no file hash."},
		"not found":             {created(hash()), none, nil, "report comment", "File: unknown: VirusTotal has never seen this file. That does not make it clean.\n\nHash: " + md5},
		"not found, and shared": {created(hash()), aged, nil, "report comment", "File: unknown: VirusTotal has never seen this file. It was asked at 2026-03-01 12:00:00 UTC. That does not make it clean.\n\nHash: " + md5},
		"unjudged": {
			created(hash()), unjudged, nil, "report comment",
			"File: unknown (no engine has judged it)\n\nMalicious | 0 of 0 engines\nSuspicious | 0 of 0 engines\nHash | " + md5 + "\nSHA-256 | ../../evil",
		},
		"skipped": {created(hash()), none, []funneltest.Option{funneltest.Skip("report")}, "report comment", "File: unknown: not asked, a person skipped the look-up."},
	} {
		t.Log(name)
		r := funneltest.Run(t, EnrichFile, test.event, answered("virustotal.file_report", test.answer), test.options...)
		wantPaths(t, r, test.paths)
		wantText(t, "the comment", comment(t, r, "enrich_file"), test.want)
	}
}

func TestFailedLookUp(t *testing.T) {
	t.Parallel()
	r := funneltest.Run(t, EnrichUser, created(user("jdoe")), answered("activedirectory.lookup_user", funneltest.Fails(funnel.Unauthorized, "the password is wrong")))
	if funnel.CodeOf(r.Err) != funnel.Unauthorized || len(r.Calls) != 1 {
		t.Errorf("error %v, steps %v", r.Err, r.Paths())
	}
	r = funneltest.Run(t, EnrichFile, created(hash()), answered("virustotal.file_report", funneltest.Fails(funnel.Unauthorized, "the key is wrong")))
	if funnel.CodeOf(r.Err) != funnel.Unauthorized || len(r.Calls) != 1 {
		t.Errorf("error %v, steps %v", r.Err, r.Paths())
	}
}

// A ticket that a person wrote is enriched by what is named in it. If that is
// nothing, or ours, nothing is said, not even that something failed.
func TestPeoplesIssues(t *testing.T) {
	t.Parallel()
	ours := observable(funnel.Domain, "corp.example.com")
	ours.Own = true
	answers := networked(funnel.Clean)
	answers["virustotal.file_report"] = funneltest.Always(virustotal.Report{Hash: md5})
	answers["activedirectory.lookup_user"] = funneltest.Always(activedirectory.User{})
	answers["activedirectory.lookup_host"] = funneltest.Always(activedirectory.Host{})
	for _, p := range []*funnel.Playbook{EnrichUser, EnrichHost, EnrichFile, EnrichNetwork} {
		for _, c := range []struct {
			about []funnel.Observable
			says  string // the playbook that comments, "" for none
		}{
			{nil, ""},
			{[]funnel.Observable{ours, observable(funnel.IP, "10.0.0.1"), observable(funnel.Email, "jdoe@example.com")}, ""},
			{[]funnel.Observable{user("jdoe")}, "enrich_user"},
			{[]funnel.Observable{host("WS-0142")}, "enrich_host"},
			{[]funnel.Observable{hash()}, "enrich_file"},
			{[]funnel.Observable{observable(funnel.Domain, "a.example.net")}, "enrich_network"},
		} {
			e := created(c.about...)
			e.Alert = nil
			r := funneltest.Run(t, p, e, answers)
			_, told := funneltest.Tell[jira.KeepCommentInput](t, p, e, funnel.Status{State: "failed"})
			if want := c.says == p.Name; r.Err != nil || want != (len(r.Calls) == 2) || told != want || !want && len(r.Calls) > 0 {
				t.Errorf("%s on %v: steps %v, told %v, error %v", p.Name, c.about, r.Paths(), told, r.Err)
			}
		}
	}
}

func TestTells(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		playbook *funnel.Playbook
		status   funnel.Status
		want     string
	}{
		{
			EnrichUser,
			funnel.Status{State: "waiting", System: "activedirectory", Why: "it failed 5 times in a row, the last error was: dial http://dc1.test.", RunURL: "https://funnel.example.com/runs/7", Revision: 2, Until: *at("2026-03-01T13:00:00+01:00")},
			"User: waiting for activedirectory: it failed 5 times in a row, the last error was: dial hxxp://dc1[.]test. It goes on at 2026-03-01 12:00:00 UTC.\n\nOpen the run in Funnel <https://funnel.example.com/runs/7>",
		},
		{
			EnrichFile,
			funnel.Status{State: "waiting", Why: "the day's quota is used up", Revision: 2},
			"File: waiting: the day's quota is used up. Until when is not known.",
		},
		{
			EnrichFile,
			funnel.Status{State: "failed", Step: "report", Why: "step report: the API key is wrong", RunURL: "/runs/7", Revision: 2},
			"File: unknown, because asking failed: step report: the API key is wrong. A person has to look at the run.\n\nOpen the run in Funnel: /runs/7",
		},
	} {
		in, told := funneltest.Tell[jira.KeepCommentInput](t, test.playbook, created(), test.status)
		if !told || in.Name != test.playbook.Name || in.Issue != "SIRT-42" || in.Revision != 2 {
			t.Errorf("told %v: %+v", told, in)
		}
		wantText(t, "the comment", in.Body, test.want)
	}
}
