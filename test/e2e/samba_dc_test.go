package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
)

const (
	sambaPassword = "Lab-only-Passw0rd!"
	sambaBase     = "DC=lab,DC=test"
	manyUsers     = 1500
	fileTime2020  = "132223104000000000" // 2020-01-01 00:00:00 UTC
)

func sambaUser(cn string) string { return "CN=" + cn + ",CN=Users," + sambaBase }

// domain is a Samba Active Directory domain controller of the test's own.
type domain struct {
	ip          string // a loopback address of its own: its ports are the usual ones
	dir, config string
	ca          []byte
	cmd         *exec.Cmd
}

// provision makes a domain and fills it; the controller does not run yet.
func provision(t *testing.T) *domain {
	t.Helper()
	tool := installed(t, "samba-tool", "samba-ad-dc", "samba", "samba-dsdb-modules", "samba-vfs-modules", "winbind", "samba-ad-provision", "krb5-user", "ldap-utils", "ldb-tools")
	installed(t, "ldbadd", "ldb-tools")
	dir, err := os.MkdirTemp("", "funnel-samba-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	random := make([]byte, 3)
	_, _ = rand.Read(random)
	d := &domain{ip: fmt.Sprintf("127.%d.%d.%d", 16+random[0]%200, random[1], 1+random[2]%254), dir: dir, config: filepath.Join(dir, "etc", "smb.conf")}
	start := time.Now()
	command(t, dir, nil, tool, "domain", "provision", "--realm=LAB.TEST", "--domain=LAB", "--server-role=dc", "--dns-backend=NONE", "--adminpass="+sambaPassword,
		"--host-name=dc1", "--host-ip="+d.ip, "--targetdir="+dir, "--use-rfc2307", "--option=interfaces="+d.ip+"/8", "--option=bind interfaces only=yes")
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
  interfaces = `+d.ip+`/8
  bind interfaces only = yes
  private dir = $D/private
  state directory = $D/state
  cache directory = $D/cache
  lock directory = $D/lock
  pid directory = $D/run
  ncalrpc dir = $D/run/ncalrpc
  ntp signd socket directory = $D/run/ntp
  ldap server require strong auth = yes
  tls enabled = yes
  tls keyfile = $D/tls/key.pem
  tls certfile = $D/tls/cert.pem
  tls cafile = $D/tls/ca.pem
  log file = $D/log
`, "$D", dir)
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	made := time.Now()
	d.fill(t, tool)
	t.Logf("a domain was made in %v and filled in %v", made.Sub(start).Round(100*time.Millisecond), time.Since(made).Round(100*time.Millisecond))
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
	leaf.DNSNames, leaf.IPAddresses, leaf.ExtKeyUsage = []string{"dc1.lab.test"}, []net.IP{net.ParseIP(d.ip)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
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
	sam := filepath.Join(d.dir, "private", "sam.ldb")
	d.allow(t, tool, sam)
	var add, change strings.Builder
	// A password is set as UTF-16 in quotes (MS-ADTS 3.1.1.3.1.5).
	var password []byte
	for _, c := range utf16.Encode([]rune(`"` + sambaPassword + `"`)) {
		password = binary.LittleEndian.AppendUint16(password, c)
	}
	for _, name := range []string{"svc-funnel", "jdoe", "boss", "gone", "fresh", "stale", "locked", "ended", "hidden", "plain"} {
		fmt.Fprintf(&add, "dn: %s\nobjectClass: user\nsAMAccountName: %s\nuserPrincipalName: %s@lab.test\ndisplayName: The %s\nmail: %s@example.com\ndepartment: Finance\nuserAccountControl: %d\nunicodePwd:: %s\n\n",
			sambaUser(name), name, name, name, name, map[string]int{"gone": 0x202, "svc-funnel": 0x10200}[name]|0x200, base64.StdEncoding.EncodeToString(password))
	}
	for i := range manyUsers {
		name := fmt.Sprintf("many%04d", i)
		fmt.Fprintf(&add, "dn: %s\nobjectClass: user\nsAMAccountName: %s\nuserAccountControl: 514\n\n", sambaUser(name), name)
	}
	fmt.Fprintf(&add, "dn: CN=WS-0142,CN=Computers,%s\nobjectClass: computer\nsAMAccountName: WS-0142$\nuserAccountControl: 4096\ndNSHostName: ws-0142.lab.test\noperatingSystem: Windows 11 Enterprise\n"+
		"operatingSystemVersion: 10.0 (22631)\nservicePrincipalName: HOST/WS-0142\nmanagedBy: %s\n\n", sambaBase, sambaUser("boss"))
	fmt.Fprintf(&add, "dn: CN=OLD-PC,CN=Computers,%s\nobjectClass: computer\nsAMAccountName: OLD-PC$\nuserAccountControl: 4098\n\n", sambaBase)
	members := make([]string, manyUsers)
	for i := range members {
		members[i] = fmt.Sprintf("many%04d", i)
	}
	for _, g := range []struct {
		name    string
		members []string
	}{{"Inner", []string{"jdoe"}}, {"Middle", []string{"Inner"}}, {"Outer", []string{"Middle"}}, {"Everyone", members}} {
		fmt.Fprintf(&add, "dn: %s\nobjectClass: group\nsAMAccountName: %s\ngroupType: -2147483646\n", sambaUser(g.name), g.name)
		for _, m := range g.members {
			fmt.Fprintf(&add, "member: %s\n", sambaUser(m))
		}
		add.WriteString("\n")
	}
	modify := func(dn, how, attribute, value string) {
		fmt.Fprintf(&change, "dn: %s\nchangetype: modify\n%s: %s\n%s: %s\n\n", dn, how, attribute, attribute, value)
	}
	for attribute, value := range map[string]string{"manager": sambaUser("boss"), "title": "Clerk", "employeeID": "10042", "l": "Springfield", "info": "canary-not-asked-for"} {
		modify(sambaUser("jdoe"), "replace", attribute, value)
	}
	modify(sambaUser("Inner"), "add", "member", sambaUser("Outer")) // a cycle
	modify(sambaUser("Funnel Readers"), "add", "member", sambaUser("svc-funnel"))
	modify(sambaUser("fresh"), "replace", "pwdLastSet", "0")
	modify(sambaUser("ended"), "replace", "accountExpires", fileTime2020)
	modify(sambaUser("Domain Admins"), "add", "member", sambaUser("hidden"))
	modify(sambaUser("hidden"), "replace", "primaryGroupID", "512") // and so out of memberOf
	modify(sambaBase, "replace", "lockoutThreshold", "3")
	// As hardened domains have it: an ordinary account may not read the states of others.
	modify("CN=Pre-Windows 2000 Compatible Access,CN=Builtin,"+sambaBase, "delete", "member", "CN=S-1-5-11,CN=ForeignSecurityPrincipals,"+sambaBase)
	d.ldif(t, "ldbadd", sam, add.String())
	d.ldif(t, "ldbmodify", sam, change.String())
	// Below the rules of the directory, which let nobody set these.
	change.Reset()
	modify(sambaUser("stale"), "replace", "pwdLastSet", fileTime2020)
	modify(sambaUser("jdoe"), "replace", "lastLogonTimestamp", fileTime2020)
	modify("CN=WS-0142,CN=Computers,"+sambaBase, "replace", "lastLogonTimestamp", fileTime2020)
	d.ldif(t, "ldbmodify", filepath.Join(d.dir, "private", "sam.ldb.d", "DC=LAB,DC=TEST.ldb"), change.String())
}

// allow lets the group of Funnel's account read what the guide says that it needs,
// and nothing else. New accounts inherit it.
func (d *domain) allow(t *testing.T, tool, sam string) {
	t.Helper()
	d.ldif(t, "ldbadd", sam, "dn: "+sambaUser("Funnel Readers")+"\nobjectClass: group\nsAMAccountName: Funnel Readers\ngroupType: -2147483646\n")
	readers, user, sddl := d.attributes(t, "Funnel Readers")["objectSid"], "bf967aba-0de6-11d0-a285-00aa003049e2", ""
	for _, what := range []string{
		"4c164200-20c0-11d0-a768-00aa006e0529", // Account Restrictions
		"5f202010-79a5-11d0-9020-00c04fc2d4cf", // Logon Information
		"bc0ac240-79a9-11d0-9020-00c04fc2d4cf", // Group Membership
		"bf967962-0de6-11d0-a285-00aa003049e2", // employeeID
		"bf967a78-0de6-11d0-a285-00aa003049e2", // whenCreated
	} {
		sddl += "(OA;CIIO;RP;" + what + ";" + user + ";" + readers + ")"
	}
	command(t, d.dir, nil, tool, "dsacl", "set", "-H", sam, "--configfile="+d.config, "--objectdn="+sambaBase, "--sddl="+sddl)
}

func (d *domain) ldif(t *testing.T, tool, database, text string) {
	t.Helper()
	file := filepath.Join(d.dir, "changes.ldif")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, d.dir, nil, tool, "-H", database, "--configfile="+d.config, file)
}

// attributes returns what Samba's own tool reads of an account from the database:
// the first value of each attribute.
func (d *domain) attributes(t *testing.T, account string) map[string]string {
	t.Helper()
	out := command(t, d.dir, nil, "ldbsearch", "-H", filepath.Join(d.dir, "private", "sam.ldb"), "--configfile="+d.config, "(sAMAccountName="+account+")",
		"objectSid", "objectGUID", "pwdLastSet", "accountExpires", "lastLogonTimestamp", "whenCreated")
	list := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && list[name] == "" {
			list[name] = value
		}
	}
	return list
}

// at returns a FILETIME as a time, by other arithmetic than the integration's.
func at(t *testing.T, fileTime string) time.Time {
	t.Helper()
	v, err := strconv.ParseInt(fileTime, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(v/864e9)).Add(time.Duration(v%864e9) * 100)
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
		conn, err := net.DialTimeout("tcp", d.ip+":636", time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(d.dir, "samba.out"))
			t.Fatalf("samba does not answer: %v\n%s", err, log)
		}
		time.Sleep(50 * time.Millisecond) // between two looks from outside; nothing is ordered by it
	}
}

func (d *domain) kill() {
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		d.cmd = nil
	}
}

// signal stops (STOP) the controller or lets it go on (CONT). While it is stopped
// the system still accepts connections for it.
func (d *domain) signal(t *testing.T, name string) {
	t.Helper()
	command(t, d.dir, nil, "kill", "-"+name, strconv.Itoa(d.cmd.Process.Pid))
}

// dialer connects to the controller whatever the address says, and remembers who
// was called and what was sent.
type dialer struct {
	ip      string
	mu      sync.Mutex
	calls   []string
	written strings.Builder
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.calls = append(d.calls, address)
	d.mu.Unlock()
	c, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(d.ip, port))
	if err != nil {
		return nil, err
	}
	return tapped{c, d}, nil
}

type tapped struct {
	net.Conn
	d *dialer
}

func (c tapped) Write(b []byte) (int, error) {
	c.d.mu.Lock()
	c.d.written.Write(b)
	c.d.mu.Unlock()
	return c.Conn.Write(b)
}

func (d *domain) options() activedirectory.Config {
	return activedirectory.Config{
		URL: "ldaps://dc1.lab.test", BaseDN: sambaBase, Domain: "LAB", BindName: "svc-funnel@lab.test", Password: funnel.NewSecret(sambaPassword), CA: string(d.ca),
	}
}

// client connects our integration to the controller; change may be nil.
func (d *domain) client(t *testing.T, timeout time.Duration, change func(*activedirectory.Config)) (*activedirectory.Client, *dialer) {
	t.Helper()
	cfg, line := d.options(), &dialer{ip: d.ip}
	if change != nil {
		change(&cfg)
	}
	c, err := activedirectory.Connect(t.Context(), funnel.Env{Connection: "ad", Timeout: timeout, Dial: line.dial}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, line
}
