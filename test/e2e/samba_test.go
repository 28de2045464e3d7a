package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
)

const patient = 20 * time.Second // of one operation: a loaded machine is slow

// TestSamba tries the integration on a real Active Directory domain controller,
// Samba's, in a domain that is hardened: the service account reads only what the
// guide has it allowed to.
func TestSamba(t *testing.T) {
	t.Parallel()
	useReal(t)
	d := provision(t)
	d.start(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *domain)
	}{
		{"users", sambaUsers},
		{"least rights", sambaRights},
		{"groups", sambaGroups},
		{"computers", sambaHosts},
		{"injection", sambaInjection},
		{"StartTLS", sambaStartTLS},
		{"plain", sambaPlain},
		{"certificate", sambaCertificate},
		{"global catalog", sambaCatalog},
		{"refused binds", sambaBinds},
		{"the server", sambaServer},
		{"says nothing", sambaSilent},
		{"killed and back", sambaKilled},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, d) })
	}
}

func look(t *testing.T, c *activedirectory.Client, account string) activedirectory.User {
	t.Helper()
	u, err := c.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: account})
	if err != nil {
		t.Fatalf("%s: %v", account, err)
	}
	return u
}

// states writes a user's state in one line.
func states(u activedirectory.User) string {
	var list []string
	for _, s := range []struct {
		word string
		is   bool
	}{{"enabled", u.Enabled}, {"locked", u.Locked}, {"password expired", u.PasswordExpired}, {"must change", u.MustChangePassword}, {"ended", u.Expired}} {
		if s.is {
			list = append(list, s.word)
		}
	}
	return strings.Join(list, ", ")
}

func sambaUsers(t *testing.T, d *domain) {
	c, line := d.client(t, patient, nil)
	own := d.attributes(t, "jdoe") // as Samba's own tools write them
	for _, account := range []string{"jdoe", `LAB\jdoe`, "jdoe@lab.test", "jdoe@example.com", "JDOE"} {
		u := look(t, c, account)
		if !u.Found || u.Account != "jdoe" || u.Title != "Clerk" || u.EmployeeID != "10042" || u.Location != "Springfield" || u.Department != "Finance" ||
			u.Manager.DisplayName != "The boss" || u.Manager.Mail != "boss@example.com" || states(u) != "enabled" || len(u.Unread) != 0 || u.MoreGroups {
			t.Errorf("%s: %+v", account, u)
		}
		if u.PrimaryGroup != "Domain Users" || !slices.Equal(u.Groups, []string{"Inner"}) || !slices.Equal(u.NestedGroups, []string{"Middle", "Outer", "Users"}) || len(u.Privileged) != 0 {
			t.Errorf("%s: groups %q, through others %q, primary %q, privileged %q", account, u.Groups, u.NestedGroups, u.PrimaryGroup, u.Privileged)
		}
		if u.SID != own["objectSid"] || u.GUID != own["objectGUID"] || len(u.GUID) != 36 {
			t.Errorf("SID %s and GUID %s, want %s and %s", u.SID, u.GUID, own["objectSid"], own["objectGUID"])
		}
		if u.PasswordSet == nil || !u.PasswordSet.Equal(at(t, own["pwdLastSet"])) || u.LastLogon == nil || !u.LastLogon.Equal(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) ||
			time.Duration(u.LastLogonLag) != 14*24*time.Hour || u.AccountExpires != nil || u.Created == nil || u.Created.Format("20060102150405")+".0Z" != own["whenCreated"] {
			t.Errorf("times %v %v %v %v; want %v", u.PasswordSet, u.LastLogon, u.AccountExpires, u.Created, own)
		}
		if text := asJSON(t, u); strings.Contains(text, "canary") {
			t.Errorf("an attribute that is not on the list: %s", text)
		}
	}
	for account, want := range map[string]string{
		"gone": "", "fresh": "enabled, password expired, must change", "stale": "enabled, password expired", "ended": "enabled, ended", "boss": "enabled",
	} {
		if u := look(t, c, account); !u.Found || states(u) != want || u.LastLogon != nil || len(u.Unread) != 0 {
			t.Errorf("%s is %q, want %q: %+v", account, states(u), want, u)
		}
	}
	if u := look(t, c, "ended"); u.AccountExpires == nil || u.AccountExpires.Year() != 2020 {
		t.Errorf("%+v", u)
	}
	// It has just logged on, so the controller has written when.
	if u := look(t, c, "svc-funnel"); u.LastLogon == nil || time.Since(*u.LastLogon) > time.Hour || time.Since(*u.LastLogon) < -time.Hour {
		t.Errorf("the service account's last logon is %v", u.LastLogon)
	}
	// Made an administrator by the primary group, which no memberOf tells.
	if u := look(t, c, "hidden"); u.PrimaryGroup != "Domain Admins" || !slices.Equal(u.Privileged, []string{"Administrators", "Domain Admins"}) || slices.Contains(u.Groups, "Domain Admins") {
		t.Errorf("hidden: %+v", u)
	}
	for _, account := range []string{"nobody", "WS-0142$", "Inner", "many"} {
		if u := look(t, c, account); u.Found || u.Why == "" {
			t.Errorf("%s: %+v", account, u)
		}
	}
	// The directory refers to its other partitions; nobody follows.
	out, _ := exec.Command("ldapsearch", d.ldapsearch("ldaps://"+d.ip, "svc-funnel@lab.test", "(sAMAccountName=jdoe)", "1.1")...).CombinedOutput()
	if !strings.Contains(string(out), "refldaps://lab.test/CN=Configuration") {
		t.Errorf("the directory does not refer, so this shows nothing: %s", out)
	}
	if !slices.Equal(line.calls, []string{"dc1.lab.test:636"}) {
		t.Errorf("it called %v", line.calls)
	}
}

// ldapsearch are the arguments of OpenLDAP's client.
func (d *domain) ldapsearch(url, who, filter string, attributes ...string) []string {
	return append([]string{"-LLL", "-x", "-o", "TLS_CACERT=" + d.dir + "/tls/ca.pem", "-o", "ldif-wrap=no", "-H", url, "-D", who, "-w", sambaPassword, "-b", sambaBase, filter}, attributes...)
}

// In a hardened domain an ordinary account sees names, and no states: that is
// unknown, never "enabled" or "never logged on". The service account may read
// them, and may write nothing.
func sambaRights(t *testing.T, d *domain) {
	plain, _ := d.client(t, patient, func(c *activedirectory.Config) { c.BindName = "plain@lab.test" })
	u := look(t, plain, "jdoe")
	if !u.Found || u.Enabled || !slices.Equal(u.Unread, []string{"lastLogonTimestamp", "accountExpires", "userAccountControl", "msDS-User-Account-Control-Computed", "pwdLastSet"}) {
		t.Errorf("an ordinary account reads %+v", u)
	}
	c, _ := d.client(t, patient, nil)
	for _, account := range []string{"jdoe", "gone", "hidden", "svc-funnel", "many0001"} {
		if u := look(t, c, account); !u.Found || len(u.Unread) != 0 {
			t.Errorf("Funnel's account may not read of %s: %v", account, u.Unread)
		}
	}
	ldif := strings.NewReader("dn: " + sambaUser("jdoe") + "\nchangetype: modify\nreplace: title\ntitle: Chief\n")
	modify := exec.Command("ldapmodify", "-x", "-o", "TLS_CACERT="+d.dir+"/tls/ca.pem", "-H", "ldaps://"+d.ip, "-D", "svc-funnel@lab.test", "-w", sambaPassword)
	modify.Stdin = ldif
	if out, err := modify.CombinedOutput(); err == nil || !strings.Contains(string(out), "Insufficient access (50)") {
		t.Errorf("Funnel's account may write: %s", out)
	}
}

func sambaGroups(t *testing.T, d *domain) {
	c, line := d.client(t, patient, nil)
	group := func(name string) activedirectory.Group {
		t.Helper()
		start := time.Now()
		g, err := c.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %d members in %v", name, g.MembersTotal, time.Since(start).Round(time.Millisecond))
		return g
	}
	if g := group("Everyone"); g.MembersTotal != manyUsers || g.More || len(g.Members) != 100 || g.Members[0].Account != "many0000" || !g.Members[0].Disabled || g.Members[99].Account != "many0099" {
		t.Errorf("%d members, more %v, first %+v", g.MembersTotal, g.More, g.Members[:1])
	}
	g, own := group(`LAB\Outer`), d.attributes(t, "Outer")
	if g.MembersTotal != 1 || g.Members[0].Account != "jdoe" || g.Kind != "security" || g.Scope != "global" || !slices.Contains(g.Subgroups, "Inner") || !slices.Contains(g.Subgroups, "Middle") ||
		g.SID != own["objectSid"] || g.GUID != own["objectGUID"] || len(g.Unread) != 0 || len(g.Privileged) != 0 {
		t.Errorf("a group with groups in it: %+v", g)
	}
	// It is the primary group of everybody, which no member says.
	if g := group("Domain Users"); g.MembersTotal < manyUsers+9 || g.More {
		t.Errorf("Domain Users has %d members, more %v", g.MembersTotal, g.More)
	}
	g = group("Domain Admins")
	var accounts []string
	for _, m := range g.Members {
		accounts = append(accounts, m.Account)
	}
	if !slices.Equal(accounts, []string{"Administrator", "hidden"}) || !slices.Equal(g.Privileged, []string{"Administrators", "Domain Admins"}) || !slices.Contains(g.MemberOf, "Administrators") {
		t.Errorf("%q: %+v", accounts, g)
	}
	if g := group("Nothing"); g.Found || g.Why == "" {
		t.Errorf("%+v", g)
	}
	if len(line.calls) != 1 {
		t.Errorf("%d connections for pages that need one", len(line.calls))
	}
}

func sambaHosts(t *testing.T, d *domain) {
	c, _ := d.client(t, patient, nil)
	host := func(name string) activedirectory.Host {
		t.Helper()
		h, err := c.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return h
	}
	own := d.attributes(t, "WS-0142$")
	for _, name := range []string{"WS-0142", "ws-0142$", `LAB\WS-0142`, "ws-0142.lab.test"} {
		h := host(name)
		if !h.Found || h.Name != "WS-0142" || !h.Enabled || h.System != "Windows 11 Enterprise" || h.SystemVersion != "10.0 (22631)" || h.ManagedBy.Mail != "boss@example.com" ||
			h.PrimaryGroup != "Domain Computers" || h.LastLogon == nil || h.LastLogon.Year() != 2020 || h.LastLogonLag == 0 || h.SID != own["objectSid"] || h.GUID != own["objectGUID"] ||
			len(h.Unread) != 0 || h.DomainController || h.SPNsTotal != 1 || h.Unit != "CN=Computers,"+sambaBase {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if h := host("OLD-PC"); !h.Found || h.Enabled || h.LastLogon != nil || len(h.Unread) != 0 {
		t.Errorf("a disabled computer: %+v", h)
	}
	if h := host("DC1"); !h.Found || !h.DomainController || !h.Enabled || !slices.Contains(h.Privileged, "Domain Controllers") {
		t.Errorf("the controller: %+v", h)
	}
	if h := host("jdoe"); h.Found {
		t.Errorf("a user is no computer: %+v", h)
	}
}

func sambaInjection(t *testing.T, d *domain) {
	c, _ := d.client(t, patient, nil)
	for _, hostile := range []string{"*", "jdoe)(cn=*", `*)(objectClass=*`, "*)(uid=*", `\2a`, "jdo*", "jdoe\x00", "jdoe)(userAccountControl:1.2.840.113556.1.4.803:=2", "\xff"} {
		u := look(t, c, hostile)
		h, err1 := c.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: hostile})
		g, err2 := c.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: hostile})
		if u.Found || h.Found || g.Found || err1 != nil || err2 != nil {
			t.Errorf("%q finds %v %v %v, %v, %v", hostile, u.Account, h.Name, g.Name, err1, err2)
		}
	}
}

func sambaStartTLS(t *testing.T, d *domain) {
	c, line := d.client(t, patient, func(c *activedirectory.Config) { c.URL, c.StartTLS = "ldap://dc1.lab.test", true })
	if u := look(t, c, "jdoe"); !u.Found {
		t.Errorf("%+v", u)
	}
	if !slices.Equal(line.calls, []string{"dc1.lab.test:389"}) {
		t.Errorf("it called %v", line.calls)
	}
	if sent := line.written.String(); strings.Contains(sent, sambaPassword) || strings.Contains(sent, "svc-funnel") || !strings.Contains(sent, "1.3.6.1.4.1.1466.20037") {
		t.Errorf("it was sent readably: %q", sent)
	}
}

// A bind without TLS: our client does not even connect, and the server refuses
// another client's (code 8, strong authentication required).
func sambaPlain(t *testing.T, d *domain) {
	cfg, line := d.options(), &dialer{ip: d.ip}
	cfg.URL = "ldap://dc1.lab.test"
	if _, err := activedirectory.Connect(t.Context(), funnel.Env{Dial: line.dial}, cfg); funnel.CodeOf(err) != funnel.Invalid || len(line.calls) != 0 {
		t.Errorf("a connection without TLS: %v, called %v", err, line.calls)
	}
	cmd := exec.Command("ldapsearch", d.ldapsearch("ldap://"+d.ip, "svc-funnel@lab.test", "(sAMAccountName=jdoe)")...)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 8 || !strings.Contains(string(out), "Strong(er) authentication required (8)") {
		t.Errorf("the server lets a plain bind in, or says otherwise (%d): %s", cmd.ProcessState.ExitCode(), out)
	}
}

func sambaCertificate(t *testing.T, d *domain) {
	other := &domain{ip: d.ip, dir: t.TempDir()}
	other.certificate(t)
	for name, change := range map[string]func(*activedirectory.Config){
		"of another authority":       func(c *activedirectory.Config) { c.CA = string(other.ca) },
		"of another name":            func(c *activedirectory.Config) { c.URL = "ldaps://dc2.lab.test" },
		"of another address":         func(c *activedirectory.Config) { c.URL = "ldaps://127.0.0.11" },
		"of no system's authority":   func(c *activedirectory.Config) { c.CA = "" },
		"of another, under StartTLS": func(c *activedirectory.Config) { c.URL, c.StartTLS = "ldap://dc2.lab.test", true },
	} {
		c, line := d.client(t, patient, change)
		err := c.Check(t.Context())
		if funnel.CodeOf(err) != funnel.Unavailable || !strings.Contains(err.Error(), "certificate is not trusted") {
			t.Errorf("a certificate %s: %v", name, err)
		}
		if strings.Contains(line.written.String(), sambaPassword) {
			t.Errorf("a certificate %s: the password was sent", name)
		}
	}
	c, _ := d.client(t, patient, func(c *activedirectory.Config) { c.URL = "ldaps://" + d.ip }) // by address, which it holds
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func sambaCatalog(t *testing.T, d *domain) {
	c, line := d.client(t, patient, func(c *activedirectory.Config) { c.URL = "ldaps://dc1.lab.test:3269" })
	if u := look(t, c, "jdoe"); !u.Found || u.Title != "Clerk" || states(u) != "enabled" || line.calls[0] != "dc1.lab.test:3269" {
		t.Errorf("%+v", u)
	}
}

// Why a bind was refused, as the guide's table has it.
func sambaBinds(t *testing.T, d *domain) {
	for _, b := range []struct{ account, password, want string }{
		{"nobody", sambaPassword, "AD data 52e"}, // 525 at Microsoft's
		{"gone", sambaPassword, "the account is disabled (account gone@lab.test, AD data 533)"},
		{"fresh", sambaPassword, "the account must change its password first (account fresh@lab.test, AD data 773)"},
		{"stale", sambaPassword, "password has expired (account stale@lab.test, AD data 532)"},
		{"ended", sambaPassword, "the account has expired (account ended@lab.test, AD data 701)"},
		{"locked", "wrong", "the name or the password is wrong (account locked@lab.test, AD data 52e)"},
	} {
		tries := 1
		if b.account == "locked" {
			tries = 3
		}
		for range tries { // each by a client of its own: one client does not try again
			c, _ := d.client(t, patient, func(c *activedirectory.Config) {
				c.BindName, c.Password = b.account+"@lab.test", funnel.NewSecret(b.password)
			})
			if err := c.Check(t.Context()); funnel.CodeOf(err) != funnel.Unauthorized || !strings.Contains(err.Error(), b.want) {
				t.Errorf("%s: %v, want %q", b.account, err, b.want)
			}
		}
	}
	c, _ := d.client(t, patient, func(c *activedirectory.Config) { c.BindName = "locked@lab.test" })
	if err := c.Check(t.Context()); funnel.CodeOf(err) != funnel.Unauthorized || !strings.Contains(err.Error(), "the account is locked out (account locked@lab.test, AD data 775)") {
		t.Errorf("a locked account with the right password: %v", err)
	}
	// One client with a wrong password locks nobody out, however often it is asked.
	wrong, line := d.client(t, patient, func(c *activedirectory.Config) { c.BindName, c.Password = "boss@lab.test", funnel.NewSecret("wrong") })
	for range 10 {
		if err := wrong.Check(t.Context()); funnel.CodeOf(err) != funnel.Unauthorized {
			t.Fatalf("%v", err)
		}
	}
	if len(line.calls) != 1 {
		t.Errorf("a wrong password was tried %d times", len(line.calls))
	}
	reader, _ := d.client(t, patient, nil)
	if u := look(t, reader, "locked"); states(u) != "enabled, locked" {
		t.Errorf("locked is %q: %+v", states(u), u)
	}
	if u := look(t, reader, "boss"); states(u) != "enabled" {
		t.Errorf("boss is %q", states(u))
	}
}

// A controller that is stopped accepts connections and says nothing: a look-up
// ends at its deadline, on a kept connection and on a new one, and goes on with
// the controller.
func sambaSilent(t *testing.T, d *domain) {
	c, _ := d.client(t, 2*time.Second, nil)
	heals(t, c)
	d.signal(t, "STOP")
	fresh, _ := d.client(t, 2*time.Second, nil)
	for name, c := range map[string]*activedirectory.Client{"on a kept connection": c, "on a new connection": fresh} {
		start := time.Now()
		_, err := c.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
		if funnel.CodeOf(err) != funnel.Unavailable || !strings.Contains(err.Error(), "no answer within the deadline") {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s it ended after %v", name, time.Since(start).Round(10*time.Millisecond))
	}
	d.signal(t, "CONT")
	heals(t, c)
	heals(t, fresh)
}

// heals looks up until it works: a short deadline is missed on a loaded machine.
func heals(t *testing.T, c *activedirectory.Client) {
	t.Helper()
	for range 30 {
		u, err := c.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
		if err == nil && u.Found {
			return
		}
		if code := funnel.CodeOf(err); code != funnel.Unavailable {
			t.Fatalf("%+v, %v", u, err)
		}
	}
	t.Fatal("the connection does not heal")
}

// A controller that was killed: look-ups are unavailable at once, and the same
// client goes on when it is back.
func sambaKilled(t *testing.T, d *domain) {
	c, line := d.client(t, patient, nil)
	look(t, c, "jdoe")
	d.kill()
	for range 3 {
		_, err := c.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
		if funnel.CodeOf(err) != funnel.Unavailable {
			t.Fatalf("while the server is dead: %v", err)
		}
	}
	d.start(t)
	if u := look(t, c, "jdoe"); !u.Found {
		t.Errorf("after it is back: %+v", u)
	}
	calls := len(line.calls)
	look(t, c, "jdoe")
	if len(line.calls) != calls {
		t.Error("the new connection is not kept")
	}
}
