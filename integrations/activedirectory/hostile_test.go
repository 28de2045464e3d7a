package activedirectory

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory/directoryfake"
)

// said is a message of a directory with the given ID.
func said(id int64, op []byte, controls ...[]byte) []byte {
	parts := [][]byte{{0x02, 0x04, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, op}
	if len(controls) > 0 {
		parts = append(parts, tlv(0xa0, controls...))
	}
	return tlv(0x30, parts...)
}

// an entry with attributes, as name, value, name, value; a value "a|b" is two.
func anEntry(dn string, attributes ...string) []byte {
	var list [][]byte
	for i := 0; i < len(attributes); i += 2 {
		var values [][]byte
		for v := range strings.SplitSeq(attributes[i+1], "|") {
			values = append(values, octets(v))
		}
		list = append(list, tlv(0x30, octets(attributes[i]), tlv(0x31, values...)))
	}
	return tlv(0x64, octets(dn), tlv(0x30, list...))
}

func done(code uint16) []byte {
	return tlv(0x65, []byte{0x0a, 0x03, 0, byte(code >> 8), byte(code)}, octets(""), octets("the directory's own <b>text</b>"))
}

// cookie is the paging control that says that there is more.
func cookie(more string) []byte {
	return tlv(0x30, octets("1.2.840.113556.1.4.319"), octets(string(tlv(0x30, []byte{0x02, 0x01, 0x00}, octets(more)))))
}

// endless repeats bytes for ever.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

type raw = func(id int64) io.Reader

func says(ops ...[]byte) raw {
	return func(id int64) io.Reader {
		var b bytes.Buffer
		for _, op := range ops {
			b.Write(said(id, op))
		}
		return &b
	}
}

func plain(b string) raw { return func(int64) io.Reader { return strings.NewReader(b) } }

const hostileDN = "CN=Jane Doe,OU=People," + directoryfake.DemoBaseDN

// hostileRig is a directory that behaves until it is told not to.
func hostileRig(t *testing.T, timeout time.Duration) (*directoryfake.Server, *Client) {
	t.Helper()
	server, err := directoryfake.Start(directoryfake.Options{Entries: directoryfake.Demo(), Passwords: directoryfake.DemoPasswords()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	c, err := Connect(t.Context(), funnel.Env{Dial: new(net.Dialer).DialContext, Timeout: timeout}, Config{
		URL: server.URL(), BaseDN: directoryfake.DemoBaseDN, CA: string(server.CAPEM()), BindName: directoryfake.DemoBindName, Password: funnel.NewSecret(directoryfake.DemoPassword),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return server, c
}

// Whatever a directory answers, a look-up ends with the right code, within its
// deadline, within bounded memory, and the next one works. It runs alone, so that
// what it measures is its own.
func TestHostileDirectory(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	groups := make([]string, 8000)
	for i := range groups {
		groups[i] = fmt.Sprintf("CN=Group no. %d,OU=Groups,%s", i, directoryfake.DemoBaseDN)
	}
	deep := answer(nest(2000))
	never := 300 * time.Millisecond
	for name, tt := range map[string]struct {
		answer  raw
		timeout time.Duration
		code    funnel.Code // "" if it is an answer
		text    string      // in the error, or in the answer's Why
	}{
		"endless entries":            {func(id int64) io.Reader { return &endless{b: said(id, anEntry("CN="+long, "cn", long))} }, 0, funnel.Unavailable, "malformed or too large"},
		"endless small entries":      {func(id int64) io.Reader { return &endless{b: said(id, anEntry("CN=x"))} }, 0, funnel.Unavailable, "malformed or too large"},
		"endless messages of others": {func(id int64) io.Reader { return &endless{b: said(id+7, anEntry("CN=x"))} }, 0, funnel.Unavailable, "malformed or too large"},
		"endless references":         {func(id int64) io.Reader { return &endless{b: said(id, tlv(0x73, octets("ldap://evil.test/")))} }, 0, funnel.Unavailable, "malformed or too large"},
		"endless zeros":              {func(int64) io.Reader { return &endless{b: make([]byte, 512)} }, 0, funnel.Unavailable, "malformed or too large"},
		"claims 2 GiB":               {plain("\x30\x84\x7f\xff\xff\xff\x02\x01\x01"), 0, funnel.Unavailable, "malformed or too large"},
		"claims 1 MiB, sends little": {plain("\x30\x83\x0f\xff\x00\x02\x01\x01"), never, funnel.Unavailable, "no answer within the deadline"},
		"nested":                     {plain(string(deep)), 0, funnel.Unavailable, "malformed or too large"},
		"HTTP":                       {plain("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>Sign in</h1>"), 0, funnel.Unavailable, "malformed or too large"},
		"no entry structure":         {says(tlv(0x64)), 0, funnel.Unavailable, ""},
		"entry of numbers":           {says(tlv(0x64, []byte{0x02, 0x01, 0x05}, tlv(0x30))), 0, funnel.Unavailable, ""},
		"done without a code":        {says(tlv(0x65)), 0, funnel.Unavailable, ""},
		"foreign message IDs":        {func(id int64) io.Reader { return bytes.NewReader(said(id+1, done(0))) }, never, funnel.Unavailable, "no answer within the deadline"},
		"unknown code":               {says(done(120)), 0, funnel.Internal, "unexpected LDAP code 120"},
		"code of a library":          {says(done(200)), 0, funnel.Unavailable, "malformed or too large"},
		"code too great":             {says(done(0xeee)), 0, funnel.Unavailable, "malformed or too large"},
		"refers to others":           {says(tlv(0x65, []byte{0x0a, 0x01, 10}, octets(""), octets(""), tlv(0xa3, octets("ldap://evil.test/")))), 0, funnel.NotFound, "another domain"},
		"nothing":                    {says(done(0)), 0, "", "no user account of that name"},
		"somebody else":              {says(anEntry(hostileDN, "sAMAccountName", "evil"), done(0)), 0, "", "spelt differently"},
		"the same twice":             {says(anEntry(hostileDN, "sAMAccountName", "jdoe"), anEntry(hostileDN, "sAMAccountName", "jdoe"), done(0)), 0, "", "several accounts"},
		"8,000 groups in one entry":  {says(anEntry(hostileDN, "sAMAccountName", "jdoe", "memberOf", strings.Join(groups, "|")), done(0)), 0, "", ""},
		"more than the bound":        {says(anEntry(hostileDN, "sAMAccountName", "jdoe", "description", strings.Repeat(long+"|", 110)), done(0)), 0, funnel.Unavailable, "malformed or too large"},
		"wrong types": {says(anEntry(hostileDN, "sAMAccountName", "jdoe", "userAccountControl", "0x200", "msDS-User-Account-Control-Computed", "99999999999999999999",
			"pwdLastSet", "yesterday", "lastLogonTimestamp", "-1", "accountExpires", "9e9", "whenCreated", "2026", "objectSid", "S-1-5-32-544", "objectGUID", "x",
			"primaryGroupID", "-513", "displayName", "\xff\xfe\u202e", "title", strings.Repeat("é", 9000), "mail", "", "manager", "nonsense", "memberOf", "=|,|\xff"), done(0)), 0, "", ""},
	} {
		if tt.timeout == 0 {
			tt.timeout = 20 * time.Second
		}
		server, c := hostileRig(t, tt.timeout)
		for c.Check(t.Context()) != nil && tt.timeout == never {
			t.Log("a loaded machine misses the short deadline of the bind; the point is that of the search")
		}
		server.RawNext(tt.answer, tt.answer) // the second for those that are asked again on a new connection
		if tt.code == "" {
			server.RawNext(tt.answer)
		}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		u, err := c.LookupUser(t.Context(), LookupUserInput{Account: "jdoe"})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		switch {
		case tt.code == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.code == "" && !strings.Contains(u.Why, tt.text):
			t.Errorf("%s: %.300v", name, fmt.Sprintf("%+v", u))
		case tt.code != "" && (funnel.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "own <b>")):
			t.Errorf("%s: %s %v, want %s with %q", name, funnel.CodeOf(err), err, tt.code, tt.text)
		}
		out, err := json.Marshal(u)
		if err != nil || len(out) > 64<<10 {
			t.Errorf("%s: the outcome has %d bytes, %v", name, len(out), err)
		}
		// Two tries at 1 MiB; go-ldap's decoder copies a message at each level.
		if used := after.TotalAlloc - before.TotalAlloc; used > 96<<20 {
			t.Errorf("%s: %d MiB were allocated", name, used>>20)
		} else {
			t.Logf("%-28s %5d KiB allocated, %v", name, used>>10, took.Round(time.Millisecond))
		}
		server.RawNext()
		for tries := 1; ; tries++ { // it heals by itself
			u, err := c.LookupUser(t.Context(), LookupUserInput{Account: "jdoe"})
			if err == nil && u.Found {
				break
			}
			if tt.timeout != never || tries == 100 {
				t.Errorf("%s: afterwards: %v", name, err)
				break
			}
		}
	}
}

// Values of the wrong type are unknown, and no value passes its bound.
func TestWrongTypes(t *testing.T) {
	t.Parallel()
	server, c := hostileRig(t, 20*time.Second)
	server.RawNext(says(anEntry(hostileDN, "sAMAccountName", "jdoe", "userAccountControl", "0x200", "msDS-User-Account-Control-Computed", "99999999999999999999",
		"pwdLastSet", "yesterday", "objectSid", "S-1-5-32-544", "objectGUID", "x", "title", strings.Repeat("é", 9000), "displayName", "a\xffb"), done(0)))
	u, err := c.LookupUser(t.Context(), LookupUserInput{Account: "jdoe"})
	if err != nil {
		t.Fatal(err)
	}
	if u.Enabled || u.Locked || u.PasswordExpired || u.MustChangePassword || len(u.Unread) != 5 || u.SID != "" || u.GUID != "" || u.PasswordSet != nil || len(u.Title) > maxText+4 || u.DisplayName != "a\uFFFDb" {
		t.Errorf("%+v", u)
	}
}

// A directory whose pages never end, or that says so with empty ones, is left:
// after 20 pages, 5,000 groups or the first empty page.
func TestEndlessPages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		groups, pages int
	}{"small pages": {3, maxPages}, "empty pages": {0, 1}, "large pages": {2000, 3}} {
		server, c := hostileRig(t, 20*time.Second)
		page := func(id int64) io.Reader {
			var b bytes.Buffer
			for i := range tt.groups {
				sid := binary.LittleEndian.AppendUint32([]byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0}, 544)
				b.Write(said(id, anEntry(fmt.Sprintf("CN=G%d,DC=x", i), "objectSid", string(sid))))
			}
			b.Write(said(id, done(0), cookie("and so on")))
			return &b
		}
		answers := []raw{says(anEntry(hostileDN, "sAMAccountName", "jdoe"), done(0))}
		for range 50 {
			answers = append(answers, page)
		}
		server.RawNext(answers...)
		u, err := c.LookupUser(t.Context(), LookupUserInput{Account: "jdoe"})
		searches := 0
		for _, op := range server.Journal() {
			if op.Kind == "search" {
				searches++
			}
		}
		if err != nil || !u.Found || !u.MoreGroups || searches != 1+tt.pages || len(u.NestedGroups) > maxGroups || len(u.Privileged) > maxGroups || u.NestedGroupsTotal != min(tt.groups*tt.pages, maxSearched) {
			t.Errorf("%s: %d searches, %d groups, more %v, privileged %d, %v", name, searches, u.NestedGroupsTotal, u.MoreGroups, len(u.Privileged), err)
		}
	}
}

// A directory that drips an answer byte by byte is left at the deadline, however
// many bytes came.
func TestSlowDrip(t *testing.T) {
	t.Parallel()
	server, c := hostileRig(t, 400*time.Millisecond)
	for c.Check(t.Context()) != nil { // a loaded machine may miss the short deadline
		continue
	}
	server.SlowDrip(20 * time.Millisecond) // an entry of about 1,500 bytes: half a minute
	_, err := c.LookupUser(t.Context(), LookupUserInput{Account: "jdoe"})
	if funnel.CodeOf(err) != funnel.Unavailable || !strings.Contains(err.Error(), "no answer within the deadline") {
		t.Errorf("%v", err)
	}
}
