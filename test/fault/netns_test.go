package fault

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// place is a network namespace of its own, as if it were another machine. Its only
// way out is a link to this one. What listens on this machine's loopback is made to
// listen on its loopback too, and the other way round, so that addresses are the
// same on both; these relays are not the link, and are not cut with it.
type place struct {
	name       string
	link       string // this end of the link
	near, far  string // addresses of this and of the other end
	home, away int    // descriptors of this machine's namespace and of the place
}

var places atomic.Int64

// newPlace makes a namespace, which takes root and iproute2.
func newPlace(t *testing.T) *place {
	t.Helper()
	clearPlaces()
	n := places.Add(1)
	id := fmt.Sprintf("%d-%d", os.Getpid(), n)
	subnet := fmt.Sprintf("10.77.%d", n%subnets)
	p := &place{name: "funnel-" + id, link: "fn" + id, near: subnet + ".1", far: subnet + ".2"}
	for _, args := range [][]string{
		{"netns", "add", p.name},
		{"-n", p.name, "link", "set", "lo", "up"},
		{"link", "add", p.link, "type", "veth", "peer", "name", "out", "netns", p.name},
		{"addr", "add", p.near + "/30", "dev", p.link},
		{"link", "set", p.link, "up"},
		{"-n", p.name, "addr", "add", p.far + "/30", "dev", "out"},
		{"-n", p.name, "link", "set", "out", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			p.remove()
			if !*full {
				t.Skipf("NOT RUN: network namespaces need root and iproute2: ip %v: %v %s", args, err, out)
			}
			t.Fatalf("ip %v: %v %s", args, err, out)
		}
	}
	t.Cleanup(p.remove)
	var err error
	if p.home, err = unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		p.away, err = unix.Open("/run/netns/"+p.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(p.home), unix.Close(p.away) })
	return p
}

// clearPlaces removes the places of tests that were killed, once.
var clearPlaces = sync.OnceFunc(func() {
	left, _ := filepath.Glob("/run/netns/funnel-*")
	for _, path := range left {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(path), "funnel-%d-", &pid); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			_ = exec.Command("ip", "netns", "del", filepath.Base(path)).Run()
		}
	}
})

func (p *place) remove() {
	_ = exec.Command("ip", "link", "del", p.link).Run()
	_ = exec.Command("ip", "netns", "del", p.name).Run()
}

// in does something in the namespace: sockets that it makes and processes that it
// starts belong there.
func (p *place) in(do func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(p.away, unix.CLONE_NEWNET); err != nil {
			ended <- err
			return // without unlocking: the thread ends with the goroutine
		}
		err := do()
		if back := unix.Setns(p.home, unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		ended <- err
	}()
	return <-ended
}

// dial connects to an address of the namespace.
func (p *place) dial(to string) (conn net.Conn, err error) {
	err = p.in(func() (err error) { conn, err = net.Dial("tcp", to); return err })
	return conn, err
}

// lead makes the server's address lead into the namespace, and all other addresses
// of the configuration that are on this machine lead out of it.
func (p *place) lead(t *testing.T, server, configuration string) {
	t.Helper()
	l, err := net.Listen("tcp", server)
	if err != nil {
		t.Fatal(err)
	}
	relay(t, l, func() (net.Conn, error) { return p.dial(server) })
	for _, address := range regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(configuration, -1) {
		if address == server {
			continue
		}
		var l net.Listener
		if err := p.in(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
			t.Fatal(err)
		}
		relay(t, l, func() (net.Conn, error) { return net.Dial("tcp", address) })
	}
}

// relay passes what arrives at the listener on.
func relay(t *testing.T, l net.Listener, dial func() (net.Conn, error)) *way {
	t.Helper()
	w := &way{}
	w.carry(t, l, dial)
	return w
}

// cable is a node's link to the database. How it is cut decides what the node and
// the database see.
type cable struct {
	t *testing.T
	p *place
	// deaf: what the node sends arrives, and no answer comes back.
	deaf bool
}

func (c *cable) cut(yes bool) {
	c.t.Helper()
	args := []string{"link", "set", c.p.link, "down"}
	switch {
	case c.deaf && yes:
		args = []string{"route", "add", "blackhole", c.p.far + "/32"}
	case c.deaf:
		args = []string{"route", "del", "blackhole", c.p.far + "/32"}
	case !yes:
		args[3] = "up"
	}
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		c.t.Errorf("ip %v: %v %s", args, err, out)
	}
}

// placeNames are the addresses by which places know this machine.
func placeNames() (list []string) {
	for n := range subnets {
		list = append(list, fmt.Sprintf("10.77.%d.1", n))
	}
	return list
}

const subnets = 250
