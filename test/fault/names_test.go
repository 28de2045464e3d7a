package fault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/virustotal/virustotalfake"
)

// metadata is where clouds keep the credentials of their machines.
const metadata = "169.254.169.254"

// misnamings are what a name server can do to a name, and what /status must say.
func misnamings() []misnaming {
	thousand := naming{}
	for i := range 1000 { // nobody listens there
		thousand.addresses = append(thousand.addresses, netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}))
	}
	return []misnaming{
		{"unknown", naming{code: dnsmessage.RCodeNameError}, "no such host"},
		{"leads to the metadata service", naming{addresses: []netip.Addr{netip.MustParseAddr(metadata)}}, "refusing to dial " + metadata},
		{"cannot be found out", naming{code: dnsmessage.RCodeServerFailure}, "server misbehaving"},
		{"has no address", naming{}, "no such host"},
		{"a thousand dead addresses", thousand, "connection refused"},
		{"no answer", naming{silent: true}, "looking up the host name: "},
	}
}

type misnaming struct {
	name string
	naming
	said string
}

// named is a system behind a name.
type named struct {
	connection, name string
	site             *httptest.Server
	*nameServer
}

// behind puts the system that the connection has behind a name, with a certificate
// for it.
func behind(t *testing.T, w *world, a *authority, names *nameServer, connection string, system http.Handler) *named {
	t.Helper()
	n := &named{connection: connection, name: connection + ".fault.test", nameServer: names, site: httptest.NewUnstartedServer(system)}
	n.site.TLS = &tls.Config{Certificates: []tls.Certificate{*a.leaf(n.name, time.Now().Add(24*time.Hour))}}
	n.site.Config.ErrorLog = log.New(io.Discard, "", 0)
	n.site.StartTLS()
	t.Cleanup(n.site.Close)
	_, port, _ := net.SplitHostPort(n.site.Listener.Addr().String())
	w.configure(t, func(text string) string {
		address := regexp.MustCompile(`(integration: ` + connection + `\n)(    options: \{url: ")[^"]*"`)
		return address.ReplaceAllString(text, "${1}    tls: {ca_file: \""+a.file()+"\"}\n${2}https://"+n.name+":"+port+`"`)
	})
	names.set(n.name, here)
	return n
}

// becomes has the name server say something else, which those learn who connect anew.
func (n *named) becomes(say naming) {
	n.set(n.name, say)
	n.site.CloseClientConnections()
}

// status is what /status says of the connection.
func (n *named) status(w *world) (s struct {
	Name      string `json:"name"`
	Health    string `json:"health"`
	LastError string `json:"last_error"`
},
) {
	_, body, _ := strings.Cut(w.says("/status"), "{")
	var all struct {
		Connections []json.RawMessage `json:"connections"`
	}
	_ = json.Unmarshal([]byte("{"+body), &all)
	for _, c := range all.Connections {
		if _ = json.Unmarshal(c, &s); s.Name == n.connection {
			return s
		}
	}
	return s
}

// TestF12Names is F12: the name server says that a system's name is unknown, that it
// leads to a metadata service or nowhere, or says nothing at all; first that of the
// scanner, then that of Jira. Nothing is dialled that must not be, the other systems'
// work goes on meanwhile, and all of it is done afterwards.
func TestF12Names(t *testing.T) {
	t.Parallel() // it mostly waits
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	p := newPlace(t)
	names, ours := newNameServer(t, w, p), newAuthority(t)
	scanner := behind(t, w, ours, names, "virustotal", virustotalfake.New(virustotalfake.Options{APIKey: scannerKey, Files: files()}))
	jira := behind(t, w, ours, names, "jira", w.jira)
	astray := p.metadata(t, jira, scanner)
	p.lead(t, strings.TrimPrefix(w.server, "http://"), w.addresses(t)+jira.site.URL+scanner.site.URL)
	w.start(t, nil)
	l := w.startLoad(ctx, t, 6, 50_000, false)

	r := result{name: "F12 names"}
	probes, slowest, seen := map[string]bool{}, time.Duration(0), time.Duration(0)
	all := misnamings()
	if !*full {
		all = all[:3]
	}
	for _, system := range []*named{scanner, jira} {
		for _, m := range all {
			began := time.Now()
			system.becomes(m.naming)
			for s := system.status(w); s.Health == "ok" || !strings.Contains(s.LastError, m.said); s = system.status(w) {
				if ctx.Err() != nil {
					t.Fatalf("%s: %s: /status does not say %q but %q\n%s", system.name, m.name, m.said, s.LastError, w.log())
				}
				pause(20 * time.Millisecond)
				system.site.CloseClientConnections() // one may have been under way with the old address
			}
			seen = max(seen, time.Since(began))
			if system == scanner { // what does not need it goes on
				took := w.ticketFor(ctx, t, 90_000+len(probes))
				probes[marker(90_000+len(probes))] = true
				slowest = max(slowest, took)
			}
			system.becomes(here)
			for system.status(w).Health != "ok" {
				if ctx.Err() != nil {
					t.Fatalf("%s: after %s it is not asked again: %s", system.name, m.name, w.says("/status"))
				}
				pause(20 * time.Millisecond)
			}
		}
	}
	acked := l.stop(t)
	for m := range probes {
		acked[m] = true
	}
	w.waitIdle(ctx, t)
	v := w.judge(acked).result()
	r.count, r.lost, r.double, r.notes, r.wrong = v.count, v.lost, v.double, v.notes, append(r.wrong, v.wrong...)
	if n := astray.Load(); n > 0 {
		r.fault("the metadata service was dialled %d times", n)
	}
	if n := w.attention(t); n > 0 {
		r.fault("%d runs are left to a person", n)
	}
	w.measure(&r)
	r.p99 = slowest
	r.note("%d kinds of trouble with each of two names, each on /status within %v; p99 is the longest that an alert took to become a ticket while the scanner had no name", len(all), seen.Round(100*time.Millisecond))
	r.aim(slowest < time.Second, "a ticket within 1 s while another system has no name")
	r.mustBeClean(t)
}

// metadata makes the place's metadata service listen on the ports of the systems, and
// counts who comes.
func (p *place) metadata(t *testing.T, systems ...*named) *atomic.Int32 {
	t.Helper()
	if out, err := exec.Command("ip", "-n", p.name, "addr", "add", metadata+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var astray atomic.Int32
	for _, s := range systems {
		_, port, _ := net.SplitHostPort(s.site.Listener.Addr().String())
		var l net.Listener
		if err := p.in(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(metadata, port)); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				astray.Add(1)
				_ = conn.Close()
			}
		}()
	}
	return &astray
}

// addresses returns the configuration, which holds all addresses that the server needs.
func (w *world) addresses(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ticketFor sends the i-th alert and returns how long it takes until it has a ticket.
func (w *world) ticketFor(ctx context.Context, t *testing.T, i int) time.Duration {
	t.Helper()
	began := time.Now()
	if !w.postUntilAcked(ctx, http.DefaultClient, alert(i)) {
		t.Fatal("an alert is not taken")
	}
	for {
		for _, issue := range w.jira.Issues() {
			if strings.Contains(jirafake.Text(issue.Description), marker(i)) {
				return time.Since(began)
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("alert %d has no ticket: %s", i, w.says("/status"))
		}
		pause(10 * time.Millisecond)
	}
}
