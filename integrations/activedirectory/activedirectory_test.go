package activedirectory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

// rig is a directory, and a client of it with a clock of its own.
type rig struct {
	*directoryfake.Server
	*activedirectory.Client
	clock atomic.Int64 // seconds after now
	dials atomic.Int64
}

func (r *rig) Close() error { return errors.Join(r.Client.Close(), r.Server.Close()) }

// setup starts a rig; the arguments may be nil.
func setup(t *testing.T, directory func(*directoryfake.Options), change func(*activedirectory.Config, *funnel.Env)) *rig {
	t.Helper()
	opts := directoryfake.Options{Entries: directoryfake.DemoAt(now), Passwords: directoryfake.DemoPasswords(), Now: func() time.Time { return now }}
	if directory != nil {
		directory(&opts)
	}
	server, err := directoryfake.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: server}
	cfg := activedirectory.Config{
		URL: server.URL(), BaseDN: directoryfake.DemoBaseDN, CA: string(server.CAPEM()),
		BindName: directoryfake.DemoBindName, Password: funnel.NewSecret(directoryfake.DemoPassword),
	}
	env := funnel.Env{
		Connection: "ad", Timeout: 20 * time.Second,
		Clock: func() time.Time { return now.Add(time.Duration(r.clock.Load()) * time.Second) },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			r.dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	if change != nil {
		change(&cfg, &env)
	}
	if r.Client, err = activedirectory.Connect(t.Context(), env, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) lookup(t *testing.T, account string) activedirectory.User {
	t.Helper()
	u, err := r.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: account})
	if err != nil {
		t.Fatalf("%s: %v", account, err)
	}
	return u
}

func (r *rig) fails(t *testing.T, code funnel.Code, text string) error {
	t.Helper()
	u, err := r.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
	wantError(t, err, code, text)
	if u.Found {
		t.Errorf("found %+v beside the error", u)
	}
	return err
}

func wantError(t *testing.T, err error, code funnel.Code, text string) {
	t.Helper()
	if err == nil || funnel.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Fatalf("error is %q (%s), want %s with %q", err, funnel.CodeOf(err), code, text)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), directoryfake.DemoPassword) {
		t.Error("the error holds the password")
	}
}

// count returns how many operations of a kind the directory processed.
func (r *rig) count(kind string) int {
	n := 0
	for _, op := range r.Journal() {
		if op.Kind == kind {
			n++
		}
	}
	return n
}

func TestLookupUser(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	day := func(n int) *time.Time { d := now.AddDate(0, 0, -n); return &d }
	got := r.lookup(t, `CORP\jdoe`)
	if got.GUID == "" || len(got.GUID) != 36 || !strings.HasPrefix(got.SID, "S-1-5-21-1004336348-1177238915-682003330-") {
		t.Errorf("GUID %q, SID %q", got.GUID, got.SID)
	}
	got.GUID, got.SID = "", ""
	want := activedirectory.User{
		Found: true, Account: "jdoe", UPN: "jdoe@corp.example.test", DisplayName: "Jane Doe", Mail: "jdoe@example.test",
		Title: "Senior Accountant", Department: "Finance", Company: "Example Corp", Location: "Springfield", EmployeeID: "10042",
		Manager: activedirectory.Manager{DN: "CN=Richard Roe,OU=People,DC=corp,DC=example,DC=test", DisplayName: "Richard Roe", Mail: "rroe@example.test"},
		Groups:  []string{"All Staff", "Finance", "VPN Users"}, GroupsTotal: 3, PrimaryGroup: "Domain Users",
		Enabled: true, LastLogon: day(3), LastLogonLag: funnel.Duration(14 * 24 * time.Hour), PasswordSet: day(21), Created: day(1400),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	for _, account := range []string{"JDoe", "jdoe@corp.example.test", "jdoe@example.test", `corp.example.test\jdoe`, " jdoe "} {
		if u := r.lookup(t, account); u.Account != "jdoe" {
			t.Errorf("%s: %+v", account, u)
		}
	}
	if n := r.dials.Load(); n != 1 {
		t.Errorf("%d connections for look-ups one after the other", n)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	for account, want := range map[string]string{
		"jdoe":       "enabled",
		"rmiles":     "",
		"jstiles":    "enabled locked",
		"jroe":       "enabled expired",
		"ppoe":       "enabled expired change never",
		"jpublic":    "enabled",
		"lloe":       "enabled ends over",
		"svc-backup": "enabled",
	} {
		u := r.lookup(t, account)
		var got []string
		for _, s := range []struct {
			word string
			is   bool
		}{{"enabled", u.Enabled}, {"locked", u.Locked}, {"expired", u.PasswordExpired}, {"change", u.MustChangePassword}, {"never", u.LastLogon == nil}, {"ends", u.AccountExpires != nil}, {"over", u.Expired}} {
			if s.is {
				got = append(got, s.word)
			}
		}
		if !u.Found || strings.Join(got, " ") != want {
			t.Errorf("%s is %v, want %q", account, got, want)
		}
		if len(u.Unread) > 0 {
			t.Errorf("%s: unread %v", account, u.Unread)
		}
	}
}

// What the service account may not read is unknown, not "not locked".
func TestUnreadStates(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) {
		for _, e := range o.Entries {
			for _, attribute := range []string{"userAccountControl", "msDS-User-Account-Control-Computed", "pwdLastSet", "accountExpires", "lastLogonTimestamp", "logonCount"} {
				delete(e.Attributes, attribute)
			}
		}
	}, nil)
	u := r.lookup(t, "jdoe")
	if u.Enabled || u.Expired || !slices.Equal(u.Unread, []string{"lastLogonTimestamp", "accountExpires", "userAccountControl", "msDS-User-Account-Control-Computed", "pwdLastSet"}) {
		t.Errorf("%+v", u)
	}
	h, err := r.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: "FIN-LAPTOP-07"})
	if err != nil || h.Enabled || !slices.Equal(h.Unread, []string{"lastLogonTimestamp", "userAccountControl"}) {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestNotFoundIsAnAnswer(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	for account, why := range map[string]string{
		"nobody":             "no user account of that name",
		"nobody@example.org": "no user account of that name",
		"FIN-LAPTOP-07$":     "computers and managed service accounts",
		"Finance":            "no user account of that name", // a group
		`OTHER\jdoe`:         "another domain",
		"":                   "no account name was given",
	} {
		if u := r.lookup(t, account); u.Found || !strings.Contains(u.Why, why) {
			t.Errorf("%s: %+v, want %s", account, u, why)
		}
	}
}

func TestTwoMatchesAreNoAnswer(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) {
		for i := range 6 {
			o.Entries = append(o.Entries, directoryfake.Entry{DN: fmt.Sprintf("CN=Shared %d,OU=People,%s", i, directoryfake.DemoBaseDN), Attributes: map[string][]string{
				"objectClass": {"user"}, "objectCategory": {"CN=Person,CN=Schema,CN=Configuration," + directoryfake.DemoBaseDN},
				"sAMAccountName": {fmt.Sprintf("shared%d", i)}, "mail": {"shared@example.test"},
			}})
		}
	}, nil)
	if u := r.lookup(t, "shared@example.test"); u.Found || u.Why != "several accounts match" {
		t.Errorf("%+v", u)
	}
	for _, op := range r.Journal() {
		if op.Entries > 4 {
			t.Errorf("%d entries were sent", op.Entries)
		}
	}
}

func TestInjection(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	for _, account := range []string{
		"*", "*)(uid=*", "jdoe)(|(uid=*", "jd*", "jdoe*", "*)(objectClass=*", "jdoe\x00", `jdoe\2a`, `CORP\*`, `CORP\\2a`, "*@corp.example.test",
		"*)(mail=*@example.test", "(jdoe)", "jdoe)", "\xff\xfe", "jd\xffoe", "jdoe)(userAccountControl:1.2.840.113556.1.4.803:=2", `\6a\64\6f\65`,
	} {
		if u := r.lookup(t, account); u.Found {
			t.Errorf("%q found %s", account, u.Account)
		}
	}
	for _, op := range r.Journal() {
		if op.Kind != "search" {
			continue
		}
		if op.Entries != 0 {
			t.Errorf("%s matched %d entries", op.Filter, op.Entries)
		}
		if !strings.HasPrefix(op.Filter, "(&(objectCategory=person)(objectClass=user)(|(") || strings.Count(op.Filter, "(") > 7 {
			t.Errorf("filter is %s", op.Filter)
		}
	}
}

func TestAsksOnlyForWhatItShows(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	r.lookup(t, "jdoe")
	for _, op := range r.Journal() {
		if op.Kind == "search" && (len(op.Attributes) == 0 || slices.Contains(op.Attributes, "*")) {
			t.Errorf("asked for everything: %+v", op)
		}
	}
}

func TestReferralsAreIgnored(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) { o.Referrals = []string{"ldap://evil.test/DC=evil,DC=test"} }, nil)
	if u := r.lookup(t, "jdoe"); !u.Found || r.dials.Load() != 1 {
		t.Errorf("%+v, %d connections", u, r.dials.Load())
	}
}

func TestManagerThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, dn := range map[string]string{
		"deleted":      "CN=Gone,OU=People," + directoryfake.DemoBaseDN,
		"other domain": "CN=Boss,DC=other,DC=test",
		"malformed":    "nonsense",
	} {
		r := setup(t, func(o *directoryfake.Options) {
			for _, e := range o.Entries {
				if e.Attributes["manager"] != nil {
					e.Attributes["manager"] = []string{dn}
				}
			}
		}, nil)
		if u := r.lookup(t, "jdoe"); !u.Found || u.Manager != (activedirectory.Manager{DN: dn}) {
			t.Errorf("%s: %+v", name, u.Manager)
		}
	}
}

func TestManyGroups(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) {
		for _, e := range o.Entries {
			if !slices.Contains(e.Attributes["sAMAccountName"], "jdoe") {
				continue
			}
			for i := range 1800 {
				e.Attributes["memberOf"] = append(e.Attributes["memberOf"], fmt.Sprintf(`CN=Group\, no. %04d,OU=Groups,%s`, 1800-i, directoryfake.DemoBaseDN))
			}
		}
	}, nil)
	u := r.lookup(t, "jdoe")
	if len(u.Groups) != 100 || u.GroupsTotal != 1500 || !u.MoreGroups || !slices.IsSorted(u.Groups[2:]) || u.Groups[5] == "" || !strings.HasPrefix(u.Groups[5], "Group, no. ") {
		t.Errorf("%d of %d groups: %.5q", len(u.Groups), u.GroupsTotal, u.Groups)
	}
}

func TestStartTLS(t *testing.T) {
	t.Parallel()
	r := setup(t, func(o *directoryfake.Options) { o.PlainAddr = "127.0.0.1:0" }, nil)
	cfg := activedirectory.Config{
		URL: r.PlainURL(), StartTLS: true, BaseDN: directoryfake.DemoBaseDN, CA: string(r.CAPEM()),
		BindName: directoryfake.DemoBindName, Password: funnel.NewSecret(directoryfake.DemoPassword),
	}
	c, err := activedirectory.Connect(t.Context(), funnel.Env{Dial: new(net.Dialer).DialContext}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.count("starttls") != 1 || r.count("bind") != 1 {
		t.Errorf("journal: %+v", r.Journal())
	}
	cfg.CA = otherCA(t)
	c, err = activedirectory.Connect(t.Context(), funnel.Env{Dial: new(net.Dialer).DialContext}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantError(t, c.Check(t.Context()), funnel.Unavailable, "certificate is not trusted")
}

func otherCA(t *testing.T) string {
	t.Helper()
	ca, err := directoryfake.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return string(ca.PEM())
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*activedirectory.Config, *funnel.Env){
		"other authority":    func(c *activedirectory.Config, _ *funnel.Env) { c.CA = otherCA(t) },
		"system authorities": func(c *activedirectory.Config, _ *funnel.Env) { c.CA = "" },
		"other host": func(c *activedirectory.Config, e *funnel.Env) {
			addr := strings.TrimPrefix(c.URL, "ldaps://")
			c.URL = "ldaps://dc1.corp.example.test"
			e.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		},
	} {
		r := setup(t, nil, change)
		r.fails(t, funnel.Unavailable, "certificate is not trusted, set ca_file")
		if n := r.count("bind"); n != 0 {
			t.Errorf("%s: the password was sent", name)
		}
	}
}

func TestCAFile(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(c *activedirectory.Config, _ *funnel.Env) {
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, []byte(c.CA), 0o600); err != nil {
			t.Fatal(err)
		}
		c.CA, c.CAFile = "", path
	})
	if u := r.lookup(t, "jdoe"); !u.Found {
		t.Errorf("%+v", u)
	}
}

func TestRefusedBinds(t *testing.T) {
	t.Parallel()
	for account, want := range map[string]string{
		"nobody":  "there is no such account (account nobody@corp.example.test, AD data 525)",
		"rmiles":  "the account is disabled",
		"jstiles": "the account is locked out",
		"jroe":    "password has expired",
		"ppoe":    "must change its password",
		"lloe":    "the account has expired",
	} {
		r := setup(t, func(o *directoryfake.Options) { o.Passwords[account] = directoryfake.DemoPassword },
			func(c *activedirectory.Config, _ *funnel.Env) { c.BindName = account + "@corp.example.test" })
		r.fails(t, funnel.Unauthorized, want)
	}
}

// A wrong password is tried once in a quarter of an hour however many runs ask:
// each try counts towards the lockout of the account.
func TestWrongPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(c *activedirectory.Config, _ *funnel.Env) { c.Password = funnel.NewSecret("wrong") })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := r.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
			if funnel.CodeOf(err) != funnel.Unauthorized || !strings.Contains(err.Error(), "the name or the password is wrong (account svc-funnel@corp.example.test, AD data 52e)") {
				t.Errorf("error is %v", err)
			}
		})
	}
	wg.Wait()
	r.fails(t, funnel.Unauthorized, "not tried again before 10:15 UTC, so that the account is not locked")
	if n := r.count("bind"); n != 1 {
		t.Fatalf("%d binds with a wrong password", n)
	}
	r.clock.Store(15 * 60)
	r.fails(t, funnel.Unauthorized, "AD data 52e")
	if n := r.count("bind"); n != 2 {
		t.Errorf("%d binds after the pause", n)
	}
}

func TestReconnects(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	r.lookup(t, "jdoe")
	if err := r.Down(true); err != nil {
		t.Fatal(err)
	}
	r.fails(t, funnel.Unavailable, "connecting to the directory at 127.0.0.1:")
	if err := r.Down(false); err != nil {
		t.Fatal(err)
	}
	r.lookup(t, "jdoe")
	// The kept connection breaks in the middle of an answer: asked again once.
	r.DropNext(1)
	r.lookup(t, "jdoe")
	// So does the new one: no third try.
	r.DropNext(2)
	r.fails(t, funnel.Unavailable, "binding to the directory")
	r.lookup(t, "jdoe")
}

func TestOldConnectionsAreNotKept(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	r.lookup(t, "jdoe")
	r.clock.Store(119)
	r.lookup(t, "jdoe")
	if n := r.dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	r.clock.Store(119 + 120)
	r.lookup(t, "jdoe")
	if n := r.dials.Load(); n != 2 {
		t.Errorf("%d connections after two minutes of silence", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for range 5 {
				if u, err := r.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "rroe"}); err != nil || u.Account != "rroe" {
					t.Errorf("%+v %v", u, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestBusy(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, nil)
	r.BusyNext(1)
	r.fails(t, funnel.Unavailable, "binding to the directory")
	r.lookup(t, "jdoe")
	r.BusyNext(1)
	r.fails(t, funnel.Unavailable, "LDAP code 51, Busy")
	r.lookup(t, "jdoe")
	if n := r.dials.Load(); n != 2 {
		t.Errorf("%d connections: a busy directory's connection is still good", n)
	}
}

func TestHang(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(_ *activedirectory.Config, e *funnel.Env) { e.Timeout = 200 * time.Millisecond })
	r.Hang(true) // a new connection: the handshake
	if err := r.fails(t, funnel.Unavailable, "no answer within the deadline"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cause is %v", err)
	}
	r.Hang(false)
	for {
		// A loaded machine may miss the short deadline; the point is the next one.
		_, err := r.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
		if err == nil {
			break
		}
		wantError(t, err, funnel.Unavailable, "no answer within the deadline")
	}
	r.Hang(true) // a kept connection: the search
	r.fails(t, funnel.Unavailable, "no answer within the deadline")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.LookupUser(ctx, activedirectory.LookupUserInput{Account: "jdoe"})
	wantError(t, err, funnel.Unavailable, "canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cause is %v", err)
	}
}

// Cancelling ends a search that the directory does not answer, long before the
// deadline.
func TestCancelDuringSearch(t *testing.T) {
	t.Parallel()
	r := setup(t, nil, func(_ *activedirectory.Config, e *funnel.Env) { e.Timeout = time.Hour })
	r.lookup(t, "jdoe")
	r.SlowDrip(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.LookupUser(ctx, activedirectory.LookupUserInput{Account: "jdoe"})
		done <- err
	}()
	for r.count("search") < 3 { // processed, and its answer is dripping
		select {
		case err := <-done:
			t.Fatalf("ended by itself: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	wantError(t, <-done, funnel.Unavailable, "canceled")
}

func TestWrongBase(t *testing.T) {
	t.Parallel()
	for base, code := range map[string]funnel.Code{
		"OU=Nowhere," + directoryfake.DemoBaseDN: funnel.NotFound,
		"DC=other,DC=test":                       funnel.NotFound,
	} {
		r := setup(t, nil, func(c *activedirectory.Config, _ *funnel.Env) { c.BaseDN = base })
		r.fails(t, code, "check base_dn")
		wantError(t, r.Check(t.Context()), code, "check base_dn")
	}
}

func TestDialersErrorsStand(t *testing.T) {
	t.Parallel()
	at := now.Add(time.Minute)
	r := setup(t, nil, func(_ *activedirectory.Config, e *funnel.Env) {
		e.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &funnel.Error{Code: funnel.Throttled, Message: "too many connections", RetryAt: at}
		}
	})
	err := r.fails(t, funnel.Throttled, "too many connections")
	var e *funnel.Error
	if !errors.As(err, &e) || !e.RetryAt.Equal(at) {
		t.Errorf("%+v", e)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := activedirectory.Config{URL: "ldaps://dc1.example.test", BaseDN: "OU=x,DC=example,DC=test", BindName: "x", Password: funnel.NewSecret("hunter2-secret")}
	env := funnel.Env{Dial: new(net.Dialer).DialContext}
	if _, err := activedirectory.Connect(t.Context(), env, good); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*activedirectory.Config)
		text   string
	}{
		"plain":               {func(c *activedirectory.Config) { c.URL = "ldap://dc1.example.test" }, "would send the password readably"},
		"starttls over ldaps": {func(c *activedirectory.Config) { c.StartTLS = true }, "start_tls is for ldap://"},
		"other scheme":        {func(c *activedirectory.Config) { c.URL = "https://dc1.example.test" }, "ldaps:// or ldap://"},
		"ldapi":               {func(c *activedirectory.Config) { c.URL = "ldapi://x" }, "ldaps:// or ldap://"},
		"no host":             {func(c *activedirectory.Config) { c.URL = "ldaps://" }, "url must be"},
		"password in the url": {func(c *activedirectory.Config) { c.URL = "ldaps://a:hunter2-secret@b" }, "url must be"},
		"bad url":             {func(c *activedirectory.Config) { c.URL = "ldaps://a:hunter2-secret\x7f" }, "url must be"},
		"path":                {func(c *activedirectory.Config) { c.URL += "/DC=x" }, "without path"},
		"no base":             {func(c *activedirectory.Config) { c.BaseDN = "" }, "base_dn must be"},
		"bad base":            {func(c *activedirectory.Config) { c.BaseDN = "example.test" }, "base_dn must be"},
		"no account":          {func(c *activedirectory.Config) { c.BindName = "" }, "bind_name and password"},
		"no password":         {func(c *activedirectory.Config) { c.Password = funnel.Secret{} }, "bind_name and password"},
		"bad ca":              {func(c *activedirectory.Config) { c.CA = "hello" }, "holds no PEM certificate"},
		"no ca file":          {func(c *activedirectory.Config) { c.CAFile = "/nonexistent/ca.pem" }, "reading ca_file"},
	} {
		cfg := good
		tt.change(&cfg)
		_, err := activedirectory.Connect(t.Context(), env, cfg)
		if funnel.CodeOf(err) != funnel.Invalid || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "hunter2-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIntegration(t *testing.T) {
	t.Parallel()
	in := activedirectory.Integration()
	funnel.NewRegistry().Add(in) // panics on what does not fit
	server := setup(t, nil, nil).Server
	options, err := json.Marshal(map[string]any{
		"url": server.URL(), "base_dn": server.BaseDN(), "bind_name": directoryfake.DemoBindName,
		"password": directoryfake.DemoPassword, "ca": string(server.CAPEM()),
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := in.Connect.Connect(t.Context(), funnel.Env{Dial: new(net.Dialer).DialContext}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer client.(*activedirectory.Client).Close()
	if err := client.(funnel.Checker).Check(t.Context()); err != nil {
		t.Error(err)
	}
	out, err := activedirectory.LookupUser.Spec().Invoke(t.Context(), client, []byte(`{"account":"svc-backup"}`))
	if err != nil {
		t.Fatal(err)
	}
	var u activedirectory.User
	if err := json.Unmarshal(out, &u); err != nil || u.DisplayName != "Backup Service" || u.Manager.DisplayName != "Norma Noe" {
		t.Errorf("%s", out)
	}
	if _, err := activedirectory.LookupUser.Spec().Invoke(t.Context(), client, []byte(`{"acount":"x"}`)); funnel.CodeOf(err) != funnel.Invalid {
		t.Errorf("a misspelt input: %v", err)
	}
}
