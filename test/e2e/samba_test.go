package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
)

const (
	sambaIP       = "127.0.0.10"
	sambaPassword = "Lab-only-Passw0rd!"
	sambaBase     = "DC=lab,DC=test"
	manyUsers     = 1500
)

// domain is a Samba Active Directory domain controller of the test's own.
type domain struct {
	dir, config string
	ca          []byte
	cmd         *exec.Cmd
}

// provision makes a domain and fills it; the controller does not run yet.
func provision(t *testing.T) *domain {
	t.Helper()
	tool := installed(t, "samba-tool", "samba-ad-dc", "samba", "samba-dsdb-modules", "samba-vfs-modules", "winbind", "samba-ad-provision", "krb5-user", "ldap-utils", "ldb-tools")
	dir, err := os.MkdirTemp("", "funnel-samba-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &domain{dir: dir, config: filepath.Join(dir, "etc", "smb.conf")}
	command(t, dir, nil, tool, "domain", "provision", "--realm=LAB.TEST", "--domain=LAB", "--server-role=dc", "--dns-backend=NONE", "--adminpass="+sambaPassword,
		"--host-name=dc1", "--host-ip="+sambaIP, "--targetdir="+dir, "--use-rfc2307", "--option=interfaces="+sambaIP+"/8", "--option=bind interfaces only=yes")
	d.certificate(t)
	if err := os.MkdirAll(filepath.Join(dir, "run", "ncalrpc"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := strings.ReplaceAll(`[global]
  netbios name = DC1
  realm = LAB.TEST
  workgroup = LAB
  server role = active directory domain controller
  server services = ldap, kdc, cldap
  interfaces = `+sambaIP+`/8
  bind interfaces only = yes
  private dir = $D/private
  state directory = $D/state
  cache directory = $D/cache
  lock directory = $D/lock
  pid directory = $D/run
  ncalrpc dir = $D/run/ncalrpc
  ntp signd socket directory = $D/run/ntp
  tls enabled = yes
  tls keyfile = $D/tls/key.pem
  tls certfile = $D/tls/cert.pem
  tls cafile = $D/tls/ca.pem
  log file = $D/log
`, "$D", dir)
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.fill(t, tool)
	return d
}

// certificate makes an authority and the controller's certificate.
func (d *domain) certificate(t *testing.T) {
	t.Helper()
	dir := filepath.Join(d.dir, "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write := func(name, kind string, der []byte) []byte {
		b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return b
	}
	authority, server := key(), key()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	}
	ca, leaf := template(1, "Lab authority"), template(2, "dc1.lab.test")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf.DNSNames, leaf.IPAddresses, leaf.ExtKeyUsage = []string{"dc1.lab.test"}, []net.IP{net.ParseIP(sambaIP)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, authority.Public(), authority)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, server.Public(), authority)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(server)
	if err != nil {
		t.Fatal(err)
	}
	d.ca = write("ca.pem", "CERTIFICATE", caDER)
	write("cert.pem", "CERTIFICATE", leafDER)
	write("key.pem", "PRIVATE KEY", keyDER)
}

// fill makes the accounts, while no controller runs.
func (d *domain) fill(t *testing.T, tool string) {
	t.Helper()
	ldb := "-H" + filepath.Join(d.dir, "private", "sam.ldb")
	do := func(args ...string) {
		t.Helper()
		command(t, d.dir, nil, tool, append(args, ldb, "--configfile="+d.config)...)
	}
	for _, user := range []string{"svc-funnel", "jdoe", "boss", "gone", "fresh", "locked"} {
		do("user", "create", user, sambaPassword, "--mail-address="+user+"@example.com", "--given-name="+user, "--department=Finance")
	}
	do("user", "disable", "gone")
	for _, group := range []string{"Inner", "Middle", "Outer", "Everyone"} {
		do("group", "add", group)
	}
	do("group", "addmembers", "Inner", "jdoe")
	do("group", "addmembers", "Middle", "Inner")
	do("group", "addmembers", "Outer", "Middle")
	do("group", "addmembers", "Inner", "Outer") // a cycle
	do("computer", "create", "WS-0142")
	do("domain", "passwordsettings", "set", "--account-lockout-threshold=3", "--complexity=off")
	modify := func(dn, attribute, value string) string {
		return fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: %s\n%s: %s\n\n", dn, attribute, attribute, value)
	}
	user := func(cn string) string { return "CN=" + cn + ",CN=Users," + sambaBase }
	d.ldb(t, "ldbmodify", modify(user("jdoe"), "manager", user("boss"))+modify(user("fresh"), "pwdLastSet", "0")+modify(user("jdoe"), "title", "Clerk")+
		modify("CN=WS-0142,CN=Computers,"+sambaBase, "dNSHostName", "ws-0142.lab.test")+modify("CN=WS-0142,CN=Computers,"+sambaBase, "managedBy", user("boss")))
	var add, members strings.Builder
	fmt.Fprintf(&members, "dn: %s\nchangetype: modify\nadd: member\n", user("Everyone"))
	for i := range manyUsers {
		name := fmt.Sprintf("many%04d", i)
		fmt.Fprintf(&add, "dn: %s\nobjectClass: user\nsAMAccountName: %s\nuserAccountControl: 514\n\n", user(name), name)
		fmt.Fprintf(&members, "member: %s\n", user(name))
	}
	d.ldb(t, "ldbadd", add.String())
	d.ldb(t, "ldbmodify", members.String()+"\n")
}

func (d *domain) ldb(t *testing.T, tool, ldif string) {
	t.Helper()
	file := filepath.Join(d.dir, tool+".ldif")
	if err := os.WriteFile(file, []byte(ldif), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, d.dir, nil, tool, "-H", filepath.Join(d.dir, "private", "sam.ldb"), "--configfile="+d.config, file)
}

// start starts the controller and returns when it answers.
func (d *domain) start(t *testing.T) {
	t.Helper()
	d.cmd = exec.Command("samba", "--configfile="+d.config, "-i", "-M", "single")
	out, err := os.OpenFile(filepath.Join(d.dir, "samba.out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	d.cmd.Stdout, d.cmd.Stderr = out, out
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := net.DialTimeout("tcp", sambaIP+":636", time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(d.dir, "samba.out"))
			t.Fatalf("samba does not answer: %v\n%s", err, log)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (d *domain) kill() {
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		d.cmd = nil
	}
}

// client connects our integration to the controller.
func (d *domain) client(t *testing.T, change func(*activedirectory.Config)) *activedirectory.Client {
	t.Helper()
	cfg := activedirectory.Config{
		URL: "ldaps://" + sambaIP, BaseDN: sambaBase, Domain: "LAB", BindName: "svc-funnel@lab.test", Password: funnel.NewSecret(sambaPassword), CA: string(d.ca),
	}
	if change != nil {
		change(&cfg)
	}
	env := funnel.Env{Connection: "ad", Timeout: 20 * time.Second, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	c, err := activedirectory.Connect(t.Context(), env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A real directory server: Samba as an Active Directory domain controller.
func TestSamba(t *testing.T) {
	t.Parallel()
	useReal(t)
	d := provision(t)
	d.start(t)
	c := d.client(t, nil)
	look := func(account string) activedirectory.User {
		t.Helper()
		u, err := c.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: account})
		if err != nil {
			t.Fatalf("%s: %v", account, err)
		}
		return u
	}

	u := look(`LAB\jdoe`)
	if !u.Found || u.Title != "Clerk" || u.Manager.Mail != "boss@example.com" || !u.Enabled || u.Locked || u.MustChangePassword || u.PrimaryGroup != "Domain Users" ||
		!slices.Equal(u.Groups, []string{"Inner"}) || !slices.Equal(u.NestedGroups, []string{"Middle", "Outer"}) ||
		!strings.HasPrefix(u.SID, "S-1-5-21-") || len(u.GUID) != 36 || u.PasswordSet == nil || u.Created == nil || len(u.Unread) != 0 {
		t.Errorf("jdoe: %+v", u)
	}
	if u := look("gone"); !u.Found || u.Enabled {
		t.Errorf("a disabled account: %+v", u)
	}
	if u := look("fresh"); !u.MustChangePassword {
		t.Errorf("an account that must change its password: %+v", u)
	}
	if u := look("nobody"); u.Found || u.Why == "" {
		t.Errorf("no account: %+v", u)
	}
	for _, hostile := range []string{"*", "jdoe)(cn=*", `*)(objectClass=*`} {
		if u := look(hostile); u.Found {
			t.Errorf("%q finds %+v", hostile, u)
		}
	}
	h, err := c.LookupHost(t.Context(), activedirectory.LookupHostInput{Host: "ws-0142.lab.test"})
	if err != nil || !h.Found || h.Name != "WS-0142" || h.ManagedBy.Mail != "boss@example.com" || h.PrimaryGroup != "Domain Computers" {
		t.Errorf("host: %+v, %v", h, err)
	}
	g, err := c.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: "Everyone"})
	if err != nil || g.MembersTotal != manyUsers || g.More || len(g.Members) != 100 || !g.Members[0].Disabled {
		t.Errorf("a group of %d: %d members, more %v, %v", manyUsers, g.MembersTotal, g.More, err)
	}
	g, err = c.LookupGroup(t.Context(), activedirectory.LookupGroupInput{Group: `LAB\Outer`})
	if err != nil || g.MembersTotal != 1 || g.Members[0].Account != "jdoe" || g.Kind != "security" || g.Scope != "global" {
		t.Errorf("a group with groups in it: %+v, %v", g, err)
	}

	t.Run("locked", func(t *testing.T) {
		for range 4 {
			bad := d.client(t, func(c *activedirectory.Config) { c.BindName, c.Password = "locked@lab.test", funnel.NewSecret("wrong") })
			if err := bad.Check(t.Context()); funnel.CodeOf(err) != funnel.Unauthorized {
				t.Fatalf("a wrong password: %v", err)
			}
		}
		if u := look("locked"); !u.Locked || !u.Enabled {
			t.Errorf("a locked account: %+v", u)
		}
	})
	t.Run("StartTLS", func(t *testing.T) {
		c := d.client(t, func(c *activedirectory.Config) { c.URL, c.StartTLS = "ldap://"+sambaIP, true })
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("plain bind", func(t *testing.T) { // the client refuses, and so does the server
		_, err := activedirectory.Connect(t.Context(), funnel.Env{Dial: new(net.Dialer).DialContext}, activedirectory.Config{URL: "ldap://" + sambaIP, BaseDN: sambaBase, BindName: "svc-funnel@lab.test", Password: funnel.NewSecret(sambaPassword)})
		if funnel.CodeOf(err) != funnel.Invalid {
			t.Errorf("a connection without TLS: %v", err)
		}
		out, _ := exec.Command("ldapsearch", "-x", "-H", "ldap://"+sambaIP, "-D", "svc-funnel@lab.test", "-w", sambaPassword, "-b", sambaBase, "-s", "base").CombinedOutput()
		if !strings.Contains(string(out), "Strong(er) authentication required") {
			t.Errorf("the server lets a plain bind in: %s", out)
		}
	})
	t.Run("certificate", func(t *testing.T) {
		other := &domain{dir: t.TempDir()}
		other.certificate(t)
		for name, change := range map[string]func(*activedirectory.Config){
			"of another authority":      func(c *activedirectory.Config) { c.CA = string(other.ca) },
			"of another name":           func(c *activedirectory.Config) { c.URL = "ldaps://127.0.0.10.nip.invalid" },
			"of the system's authority": func(c *activedirectory.Config) { c.CA = "" },
		} {
			if err := d.client(t, change).Check(t.Context()); err == nil {
				t.Errorf("a certificate %s is taken", name)
			}
		}
	})
	t.Run("killed and back", func(t *testing.T) {
		d.kill()
		_, err := c.LookupUser(t.Context(), activedirectory.LookupUserInput{Account: "jdoe"})
		if code := funnel.CodeOf(err); code != funnel.Unavailable {
			t.Fatalf("while the server is dead: %v", err)
		}
		d.start(t)
		if u := look("jdoe"); !u.Found {
			t.Errorf("after it is back: %+v", u)
		}
	})
}
