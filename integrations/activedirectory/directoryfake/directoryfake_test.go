package directoryfake_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server with the demo's entries.
func start(t *testing.T, change func(*directoryfake.Options)) *directoryfake.Server {
	t.Helper()
	opts := directoryfake.Options{Entries: directoryfake.Demo(), Passwords: directoryfake.DemoPasswords()}
	if change != nil {
		change(&opts)
	}
	s, err := directoryfake.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func trust(t *testing.T, s *directoryfake.Server) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CAPEM()) {
		t.Fatal("no certificate in CAPEM")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

// dial connects over LDAPS without a bind.
func dial(t *testing.T, s *directoryfake.Server) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(s.URL(), ldap.DialWithTLSConfig(trust(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	c.SetTimeout(20 * time.Second)
	t.Cleanup(func() { c.Close() })
	return c
}

// bound connects and binds as the demo's service account.
func bound(t *testing.T, s *directoryfake.Server) *ldap.Conn {
	t.Helper()
	c := dial(t, s)
	if err := c.Bind(directoryfake.DemoBindName, directoryfake.DemoPassword); err != nil {
		t.Fatal(err)
	}
	return c
}

func search(filter string, attrs ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(directoryfake.DemoBaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, attrs, nil)
}

// accounts returns the sorted sAMAccountNames of a result.
func accounts(r *ldap.SearchResult) []string {
	names := []string{}
	for _, e := range r.Entries {
		names = append(names, e.GetAttributeValue("sAMAccountName"))
	}
	slices.Sort(names)
	return names
}

func wantCode(t *testing.T, err error, code uint16, text string) {
	t.Helper()
	if !ldap.IsErrorWithCode(err, code) || !strings.Contains(err.Error(), text) {
		t.Fatalf("error is %v, want code %d with %q", err, code, text)
	}
}

func TestBind(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *directoryfake.Options) {
		for _, sam := range []string{"jdoe", "rmiles", "jstiles", "jroe", "ppoe", "lloe"} {
			o.Passwords[sam] = "right"
		}
	})
	c := dial(t, s)
	for _, tt := range []struct{ name, password, data string }{
		{"jdoe@corp.example.test", "right", ""},
		{`CORP\jdoe`, "right", ""},
		{`corp\JDOE`, "right", ""},
		{"cn=jane doe, ou=people,dc=CORP,dc=example,dc=test", "right", ""},
		{"jdoe@corp.example.test", "wrong", "data 52e"},
		{"nobody@corp.example.test", "right", "data 525"},
		{`OTHER\jdoe`, "right", "data 525"},
		{`CORP\rmiles`, "right", "data 533"},
		{`CORP\rmiles`, "wrong", "data 52e"}, // its state is no news for who cannot log on
		{`CORP\jstiles`, "wrong", "data 775"},
		{`CORP\jroe`, "right", "data 532"},
		{`CORP\ppoe`, "right", "data 773"},
		{`CORP\lloe`, "right", "data 701"},
		{`CORP\svc-backup`, "right", "data 52e"}, // without a password of its own
	} {
		err := c.Bind(tt.name, tt.password)
		switch {
		case tt.data == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.data != "":
			wantCode(t, err, ldap.LDAPResultInvalidCredentials, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, "+tt.data+", v4563")
		}
	}
	// A refused bind leaves the connection anonymous.
	_, err := c.Search(search("(cn=*)"))
	wantCode(t, err, ldap.LDAPResultOperationsError, "successful bind must be completed")
}

func TestAnonymousSeesOnlyTheRootDSE(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := dial(t, s)
	r, err := c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"defaultNamingContext"}, nil))
	if err != nil || len(r.Entries) != 1 || r.Entries[0].GetAttributeValue("defaultNamingContext") != directoryfake.DemoBaseDN {
		t.Fatalf("root DSE: %v %v", r, err)
	}
	if err := c.UnauthenticatedBind("jdoe"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Search(search("(sAMAccountName=jdoe)"))
	wantCode(t, err, ldap.LDAPResultOperationsError, "000004DC")
}

func TestPlainNeedsStartTLS(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *directoryfake.Options) { o.PlainAddr = "127.0.0.1:0" })
	c, err := ldap.DialURL(s.PlainURL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetTimeout(20 * time.Second)
	wantCode(t, c.Bind(directoryfake.DemoBindName, directoryfake.DemoPassword), ldap.LDAPResultStrongAuthRequired, "00002028")
	if err := c.StartTLS(trust(t, s)); err != nil {
		t.Fatal(err)
	}
	if err := c.Bind(directoryfake.DemoBindName, directoryfake.DemoPassword); err != nil {
		t.Fatal(err)
	}
	who, err := c.WhoAmI(nil)
	if err != nil || who.AuthzID != `u:CORP\svc-funnel` {
		t.Fatalf("who am I: %v %v", who, err)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	c := bound(t, start(t, nil))
	people := "(&(objectCategory=person)(objectClass=user)"
	for filter, want := range map[string]string{
		"(samaccountname=JDOE)":                              "jdoe",
		"(|(mail=jdoe@example.test)(sAMAccountName=x))":      "jdoe",
		people + "(displayName=jane*))":                      "adm-jdoe jdoe jroe",
		people + "(displayName=J*o*n S*es))":                 "jstiles",
		people + "(displayName=*doe))":                       "jdoe",
		"(sn=*)":                                             "", // not in the schema
		"(!(sn=x))":                                          "", // undefined, so not true either
		people + "(!(mail=*)))":                              "adm-jdoe svc-backup svc-funnel",
		"(department~=sales)":                                "jpublic",
		"(userAccountControl:1.2.840.113556.1.4.803:=2)":     "rmiles",
		"(userAccountControl:1.2.840.113556.1.4.804:=65538)": "jpublic rmiles svc-backup svc-funnel",
		"(lockoutTime>=1)":                                   "jstiles",
		people + "(pwdLastSet<=0))":                          "ppoe",
		"(manager=cn=richard roe,ou=people," + strings.ToLower(directoryfake.DemoBaseDN) + ")": "jdoe jstiles rmiles",
		"(manager=CN=Richard*)": "", // no substrings on names
		"(memberOf=CN=All Staff,OU=Groups," + directoryfake.DemoBaseDN + ")":                                                      "Finance IT Operations jdoe jpublic jroe jstiles lloe mmajor nnoe ppoe rroe",
		people + "(memberOf:1.2.840.113556.1.4.1941:=CN=All Staff,OU=Groups," + directoryfake.DemoBaseDN + ")(title=Accountant))": "rmiles", // through Finance only
		"(msDS-User-Account-Control-Computed=16)":                                                                                 "",       // computed: cannot be searched
		"(sAMAccountName=" + ldap.EscapeFilter("*)(uid=*") + ")":                                                                  "",
		"(sAMAccountName=" + ldap.EscapeFilter("*") + ")":                                                                         "",
		`(sAMAccountName=\ff\fe)`:                                                                                                 "",
		"(&)":                                                                                                                     "*", // true for every object
		"(|)":                                                                                                                     "",
		"(objectCategory=computer)":                                                                                               "DC1$ FIN-LAPTOP-07$",
	} {
		r, err := c.Search(search(filter, "sAMAccountName"))
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		got := strings.Join(accounts(r), " ")
		if want == "*" {
			if len(r.Entries) < 20 {
				t.Errorf("%s: %d entries, want all", filter, len(r.Entries))
			}
		} else if got != want {
			t.Errorf("%s\n got %q\nwant %q", filter, got, want)
		}
	}
}

func TestSearchScopesAndErrors(t *testing.T) {
	t.Parallel()
	c := bound(t, start(t, nil))
	people := "OU=People," + directoryfake.DemoBaseDN
	for _, tt := range []struct {
		base  string
		scope int
		n     int
		code  uint16
		text  string
	}{
		{people, ldap.ScopeBaseObject, 1, 0, ""},
		{people, ldap.ScopeSingleLevel, 10, 0, ""},
		{people, ldap.ScopeWholeSubtree, 11, 0, ""},
		{directoryfake.DemoBaseDN, ldap.ScopeSingleLevel, 5, 0, ""},
		{"CN=Nobody," + people, ldap.ScopeBaseObject, 0, ldap.LDAPResultNoSuchObject, "best match of:\n\t'OU=People,"},
		{"nonsense", ldap.ScopeBaseObject, 0, ldap.LDAPResultInvalidDNSyntax, "BAD_NAME"},
		{"DC=other,DC=test", ldap.ScopeWholeSubtree, 0, ldap.LDAPResultReferral, "RefErr"},
	} {
		r, err := c.Search(ldap.NewSearchRequest(tt.base, tt.scope, 0, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
		if tt.code != 0 {
			wantCode(t, err, tt.code, tt.text)
		} else if err != nil || len(r.Entries) != tt.n {
			t.Errorf("%s scope %d: %d entries, %v, want %d", tt.base, tt.scope, len(r.Entries), err, tt.n)
		}
	}
}

func TestAttributeSelection(t *testing.T) {
	t.Parallel()
	c := bound(t, start(t, func(o *directoryfake.Options) { o.MaxValRange = 2 }))
	names := func(asked ...string) []string {
		r, err := c.Search(search("(sAMAccountName=jdoe)", asked...))
		if err != nil || len(r.Entries) != 1 {
			t.Fatalf("%v: %v", r, err)
		}
		var got []string
		for _, a := range r.Entries[0].Attributes {
			got = append(got, fmt.Sprintf("%s/%d", a.Name, len(a.Values)))
		}
		return got
	}
	if got := names("MAIL", "nosuch", "msds-user-account-control-computed"); !slices.Equal(got, []string{"mail/1", "msDS-User-Account-Control-Computed/1"}) {
		t.Errorf("named: %v", got)
	}
	if got := names("1.1"); len(got) != 0 {
		t.Errorf("1.1: %v", got)
	}
	for _, asked := range [][]string{nil, {"*"}} {
		got := names(asked...)
		if len(got) < 15 || slices.Contains(got, "msDS-User-Account-Control-Computed/1") {
			t.Errorf("%v: %v", asked, got)
		}
	}
	if got := names("memberOf"); !slices.Equal(got, []string{"memberOf;range=0-1/2"}) {
		t.Errorf("first range: %v", got)
	}
	if got := names("memberOf;range=2-*"); !slices.Equal(got, []string{"memberOf;range=2-*/1"}) {
		t.Errorf("last range: %v", got)
	}
}

// crowd returns the demo and n more users.
func crowd(n int) []directoryfake.Entry {
	entries := directoryfake.Demo()
	for i := range n {
		entries = append(entries, directoryfake.Entry{
			DN:         fmt.Sprintf("CN=user%04d,OU=People,%s", i, directoryfake.DemoBaseDN),
			Attributes: map[string][]string{"objectClass": {"user"}, "sAMAccountName": {fmt.Sprintf("user%04d", i)}},
		})
	}
	return entries
}

func TestLimitsAndPaging(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *directoryfake.Options) { o.Entries = crowd(1500) })
	c := bound(t, s)
	all := search("(sAMAccountName=user*)", "sAMAccountName")

	r, err := c.Search(all)
	wantCode(t, err, ldap.LDAPResultSizeLimitExceeded, "")
	if len(r.Entries) != 1000 {
		t.Errorf("without paging: %d entries, want AD's 1000", len(r.Entries))
	}
	few := search("(sAMAccountName=user*)", "sAMAccountName")
	few.SizeLimit = 2
	r, err = c.Search(few)
	wantCode(t, err, ldap.LDAPResultSizeLimitExceeded, "")
	if len(r.Entries) != 2 {
		t.Errorf("size limit 2: %d entries", len(r.Entries))
	}
	r, err = c.SearchWithPaging(all, 400)
	if err != nil || len(r.Entries) != 1500 {
		t.Fatalf("paged: %d entries, %v", len(r.Entries), err)
	}
	if got := accounts(r); len(slices.Compact(got)) != 1500 {
		t.Errorf("paged: some entries came twice")
	}
	var pages []int
	for _, op := range s.Journal() {
		if op.Kind == "search" && op.Result == 0 {
			pages = append(pages, op.Entries)
		}
	}
	if !slices.Equal(pages, []int{400, 400, 400, 300}) {
		t.Errorf("pages: %v", pages)
	}
	bad := ldap.NewControlPaging(10)
	bad.SetCookie([]byte("made up"))
	req := search("(sAMAccountName=user*)")
	req.Controls = []ldap.Control{bad}
	_, err = c.Search(req)
	wantCode(t, err, ldap.LDAPResultUnavailableCriticalExtension, "Error processing control")
}

func TestReferences(t *testing.T) {
	t.Parallel()
	url := "ldap://DomainDnsZones.corp.example.test/DC=DomainDnsZones,DC=corp,DC=example,DC=test"
	c := bound(t, start(t, func(o *directoryfake.Options) { o.Referrals = []string{url} }))
	r, err := c.Search(search("(sAMAccountName=jdoe)"))
	if err != nil || len(r.Entries) != 1 || !slices.Equal(r.Referrals, []string{url}) {
		t.Errorf("%v %v", r, err)
	}
	req := search("(sAMAccountName=jdoe)")
	req.Controls = []ldap.Control{ldap.NewControlString(ldap.ControlTypeMicrosoftDomainScope, true, "")}
	if r, err = c.Search(req); err != nil || len(r.Referrals) != 0 {
		t.Errorf("domain scope: %v %v", r, err)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := bound(t, s)
	dn := "CN=Jane Doe,OU=People," + directoryfake.DemoBaseDN
	mod := ldap.NewModifyRequest(dn, nil)
	mod.Replace("title", []string{"x"})
	wantCode(t, c.Modify(mod), ldap.LDAPResultUnwillingToPerform, "modify")
	wantCode(t, c.Add(ldap.NewAddRequest("CN=x,"+directoryfake.DemoBaseDN, nil)), ldap.LDAPResultUnwillingToPerform, "add")
	wantCode(t, c.Del(ldap.NewDelRequest(dn, nil)), ldap.LDAPResultUnwillingToPerform, "delete")
	wantCode(t, c.ModifyDN(ldap.NewModifyDNRequest(dn, "CN=x", true, "")), ldap.LDAPResultUnwillingToPerform, "rename")
	_, err := c.Compare(dn, "title", "x")
	wantCode(t, err, ldap.LDAPResultUnwillingToPerform, "compare")
}

func TestJournal(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	s := start(t, func(o *directoryfake.Options) { o.Now = func() time.Time { return at } })
	c := bound(t, s)
	if _, err := c.Search(search("(&(objectClass=user)(!(sAMAccountName="+ldap.EscapeFilter(`a*(b)\ü`+"\x00")+"))(cn=J*e))", "cn", "mail")); err != nil {
		t.Fatal(err)
	}
	ops := s.Journal()
	if len(ops) != 2 {
		t.Fatalf("journal: %+v", ops)
	}
	if op := ops[0]; op.Kind != "bind" || op.Name != directoryfake.DemoBindName || op.Result != 0 || !op.At.Equal(at) {
		t.Errorf("bind: %+v", op)
	}
	if strings.Contains(fmt.Sprintf("%+v", ops), directoryfake.DemoPassword) {
		t.Error("the journal holds a password")
	}
	op := ops[1]
	if want := `(&(objectClass=user)(!(sAMAccountName=a\2a\28b\29\5c\c3\bc\00))(cn=J*e))`; op.Filter != want {
		t.Errorf("filter is %s, want %s", op.Filter, want)
	}
	if op.BaseDN != directoryfake.DemoBaseDN || !slices.Equal(op.Attributes, []string{"cn", "mail"}) || op.Entries != 2 {
		t.Errorf("search: %+v", op)
	}
}

func TestDownAndBackOnTheSamePort(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := bound(t, s)
	before := s.URL()
	if err := s.Down(true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Search(search("(cn=*)")); err == nil {
		t.Error("a connection survived")
	}
	u, _ := url.Parse(before)
	if raw, err := net.Dial("tcp", u.Host); err == nil {
		raw.Close()
		t.Error("a new connection was accepted")
	}
	if err := s.Down(false); err != nil {
		t.Fatal(err)
	}
	if s.URL() != before {
		t.Errorf("came back at %s, was at %s", s.URL(), before)
	}
	bound(t, s)
}

func TestHang(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := bound(t, s)
	s.Hang(true)
	c.SetTimeout(50 * time.Millisecond)
	if _, err := c.Search(search("(cn=*)")); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("search: %v", err)
	}
	_, err := ldap.DialURL(s.URL(), ldap.DialWithTLSConfig(trust(t, s)), ldap.DialWithDialer(&net.Dialer{Timeout: 50 * time.Millisecond}))
	var timeout net.Error
	var wrapped *ldap.Error
	if !errors.As(err, &wrapped) || !errors.As(wrapped.Err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial: %v", err)
	}
	s.Hang(false)
	c.SetTimeout(20 * time.Second)
	if _, err := c.Search(search("(cn=*)")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n := len(s.Journal()); n != 2 {
		t.Errorf("%d operations in the journal, want the bind and the last search", n)
	}
}

func TestBusyDropAndDrip(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := bound(t, s)
	s.BusyNext(2)
	for range 2 {
		_, err := c.Search(search("(cn=*)"))
		wantCode(t, err, ldap.LDAPResultBusy, "BUSY")
	}
	if _, err := c.Search(search("(cn=*)")); err != nil {
		t.Error(err)
	}
	s.SlowDrip(time.Microsecond)
	if r, err := c.Search(search("(sAMAccountName=jdoe)", "cn")); err != nil || len(r.Entries) != 1 {
		t.Errorf("dripping: %v %v", r, err)
	}
	s.SlowDrip(0)
	s.DropNext(1)
	if _, err := c.Search(search("(cn=*)")); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("dropped: %v", err)
	}
	bound(t, s) // only one was dropped
}

func TestCAReuse(t *testing.T) {
	t.Parallel()
	ca, err := directoryfake.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	one := start(t, func(o *directoryfake.Options) { o.CA = ca })
	two := start(t, func(o *directoryfake.Options) { o.CA = ca; o.Hosts = []string{"dc1.corp.example.test"} })
	other := start(t, nil)
	cfg := trust(t, one)
	cfg.ServerName = "dc1.corp.example.test"
	c, err := ldap.DialURL(two.URL(), ldap.DialWithTLSConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c, err := ldap.DialURL(other.URL(), ldap.DialWithTLSConfig(trust(t, one))); err == nil {
		c.Close()
		t.Error("another authority was trusted")
	}
}

func TestStartRefusesBadEntries(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string][]directoryfake.Entry{
		"malformed":         {{DN: "nonsense"}},
		"no domain":         {{DN: "CN=x"}},
		"two domains":       {{DN: "CN=x,DC=a,DC=test"}, {DN: "CN=x,DC=b,DC=test"}},
		"occurs twice":      {{DN: "CN=x,DC=a"}, {DN: "cn=X, dc=A"}},
		"attribute doubled": {{DN: "CN=x,DC=a", Attributes: map[string][]string{"cn": {"x"}, "CN": {"x"}}}},
	} {
		if s, err := directoryfake.Start(directoryfake.Options{Entries: entries}); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDemoShowsEveryState(t *testing.T) {
	t.Parallel()
	users, refs := 0, map[string]bool{}
	byDN := map[string]directoryfake.Entry{}
	for _, e := range directoryfake.Demo() {
		byDN[e.DN] = e
		if slices.Contains(e.Attributes["objectCategory"], "CN=Person,CN=Schema,CN=Configuration,"+directoryfake.DemoBaseDN) {
			users++
		}
		for _, a := range []string{"memberOf", "member", "manager"} {
			for _, dn := range e.Attributes[a] {
				refs[dn] = true
			}
		}
	}
	for dn := range refs {
		if _, ok := byDN[dn]; !ok {
			t.Errorf("%s is referred to and does not exist", dn)
		}
	}
	if users < 10 {
		t.Errorf("%d users", users)
	}
	for _, e := range byDN { // member and memberOf are two ends of one link
		for _, g := range e.Attributes["memberOf"] {
			if !slices.Contains(byDN[g].Attributes["member"], e.DN) {
				t.Errorf("%s is in %s, which does not list it", e.DN, g)
			}
		}
	}
}
