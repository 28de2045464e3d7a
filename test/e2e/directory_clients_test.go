package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

// The simulated directory speaks LDAP to a client that others wrote: OpenLDAP's.
func TestDirectoryClients(t *testing.T) {
	t.Parallel()
	useReal(t)
	search := installed(t, "ldapsearch", "ldap-utils")
	entries := directoryfake.Demo()
	for i := range 1200 {
		name := fmt.Sprintf("many%04d", i)
		dn := "CN=" + name + ",OU=People," + directoryfake.DemoBaseDN
		entries = append(entries, directoryfake.Entry{DN: dn, Attributes: map[string][]string{
			"objectClass": {"top", "person", "organizationalPerson", "user"}, "sAMAccountName": {name}, "objectGUID": {directoryfake.GUID(dn)}, "description": {"crowd"},
		}})
	}
	server, err := directoryfake.Start(directoryfake.Options{Entries: entries, Passwords: directoryfake.DemoPasswords(), PlainAddr: "127.0.0.1:0", Referrals: []string{"ldap://elsewhere.test/DC=elsewhere,DC=test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	other, err := directoryfake.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for path, pem := range map[string][]byte{ca: server.CAPEM(), filepath.Join(dir, "other.pem"): other.PEM()} {
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(code int, tool, url string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, tool, append([]string{"-x", "-o", "TLS_CACERT=" + ca, "-H", url}, args...)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != code {
			t.Fatalf("%s %s ended with %d (%v), want %d:\n%s", tool, strings.Join(args, " "), cmd.ProcessState.ExitCode(), err, code, out)
		}
		return string(out)
	}
	as := func(password string, more ...string) []string {
		return append([]string{"-D", directoryfake.DemoBindName, "-w", password, "-o", "ldif-wrap=no"}, more...)
	}
	find := func(more ...string) []string {
		return as(directoryfake.DemoPassword, append([]string{"-LLL", "-b", directoryfake.DemoBaseDN}, more...)...)
	}

	out := run(0, search, server.URL(), find("(&(objectCategory=person)(sAMAccountName=jdoe))", "displayName", "manager", "objectSid", "lastLogonTimestamp", "msDS-User-Account-Control-Computed")...)
	for _, want := range []string{"dn: CN=Jane Doe,OU=People,DC=corp,DC=example,DC=test", "displayName: Jane Doe", "manager: CN=Richard Roe,", "objectSid:: AQUAAAAAAAUVAAAA", "lastLogonTimestamp: 13", "msDS-User-Account-Control-Computed: 0", "# refldap://elsewhere.test/"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "sAMAccountName:") {
		t.Errorf("what was not asked for:\n%s", out)
	}
	if out := run(0, search, server.URL(), find("(member:1.2.840.113556.1.4.1941:=CN=Jane Doe,OU=People,"+directoryfake.DemoBaseDN+")", "1.1")...); strings.Count(out, "dn: ") != 3 {
		t.Errorf("groups in a chain:\n%s", out)
	}
	if out := run(0, search, server.URL(), find(`(|(sAMAccountName=\2a)(sAMAccountName=\2a\29\28uid=\2a))`, "1.1")...); strings.Contains(out, "dn: ") {
		t.Errorf("an escaped star finds:\n%s", out)
	}
	// Unpaged AD stops at 1,000 entries with code 4, and gives what it has.
	if out := run(4, search, server.URL(), find("(description=crowd)", "1.1")...); strings.Count(out, "dn: ") != 1000 {
		t.Errorf("unpaged it gives %d entries", strings.Count(out, "dn: "))
	}
	out = run(0, search, server.URL(), append(find("(description=crowd)", "1.1"), "-E", "pr=250/noprompt")...)
	if strings.Count(out, "dn: ") != 1200 {
		t.Errorf("paged it gives %d entries", strings.Count(out, "dn: "))
	}
	pages := 0
	for _, op := range server.Journal() {
		if op.Kind == "search" && op.Entries == 250 {
			pages++
		}
	}
	if pages != 4 {
		t.Errorf("the journal has %d full pages, want 4", pages)
	}
	if out := run(0, "ldapwhoami", server.URL(), as(directoryfake.DemoPassword)...); !strings.Contains(out, `u:CORP\svc-funnel`) {
		t.Errorf("who am I: %s", out)
	}
	if out := run(0, search, server.PlainURL(), append(find("(sAMAccountName=jdoe)", "1.1"), "-ZZ")...); strings.Count(out, "dn: ") != 1 {
		t.Errorf("under StartTLS:\n%s", out)
	}
	for _, c := range []struct {
		code int
		want string
		tool string
		url  string
		args []string
	}{
		{49, "data 52e", search, server.URL(), as("wrong", "-b", directoryfake.DemoBaseDN)},
		{8, "Strong(er) authentication required", search, server.PlainURL(), find("(cn=*)")},
		{1, "successful bind must be completed", search, server.URL(), []string{"-b", directoryfake.DemoBaseDN}},
		{32, "NO_OBJECT", search, server.URL(), as(directoryfake.DemoPassword, "-b", "OU=Nowhere,"+directoryfake.DemoBaseDN)},
		{255, "Can't contact LDAP server", search, server.URL(), append(find("(cn=*)"), "-o", "TLS_CACERT="+filepath.Join(dir, "other.pem"))},
		{53, "does not support delete", "ldapdelete", server.URL(), as(directoryfake.DemoPassword, "CN=Jane Doe,OU=People,"+directoryfake.DemoBaseDN)},
	} {
		if out := run(c.code, c.tool, c.url, c.args...); !strings.Contains(out, c.want) {
			t.Errorf("no %q in:\n%s", c.want, out)
		}
	}
}
