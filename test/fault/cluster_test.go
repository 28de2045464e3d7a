package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/internal/demo"
	"github.com/funnelsec/funnel/test/pgtest"
)

// lease is how long a node of these runs keeps its runs without being heard of.
const lease = 3 * time.Second

// cluster is several servers on one PostgreSQL behind a load balancer, which is
// what the world's address leads to.
type cluster struct {
	*world
	postgres *pgtest.Server
	nodes    []*node
	apart    bool // each node has a network namespace of its own
	deaf     bool // a node that is cut off is still heard
	idle     bool // the nodes are not started
}

// node is one of the servers, with its own way to the database.
type node struct {
	*world
	way interface{ cut(yes bool) }
}

// newCluster starts the nodes.
func newCluster(t *testing.T, o jirafake.Options, n int) *cluster {
	t.Helper()
	return newClusterOf(t, o, n, func(*cluster) {})
}

// newClusterOf is newCluster with a change before there are nodes.
func newClusterOf(t *testing.T, o jirafake.Options, n int, change func(*cluster)) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "funnel-postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	postgres, err := pgtest.New(pgtest.Options{Dir: dir, Fsync: true, Listen: "0.0.0.0", Names: placeNames()})
	if errors.Is(err, pgtest.ErrAbsent) && !*full {
		t.Skipf("NOT RUN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = postgres.Stop(syscall.SIGQUIT) })
	database, err := postgres.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{world: newWorld(t, o), postgres: postgres}
	change(c)
	for i := range n {
		c.nodes = append(c.nodes, c.add(t, i, database, postgres.CAFile()))
	}
	c.balance(t)
	c.jira.SetWebhook(c.server+"/hooks/jira", jiraSecret)
	var all sync.WaitGroup
	for _, n := range c.nodes {
		if c.idle {
			break
		}
		all.Go(func() { n.start(t, nil) })
	}
	all.Wait()
	return c
}

// add prepares a node of the world.
func (c *cluster) add(t *testing.T, i int, database, ca string) *node {
	t.Helper()
	address, err := demo.FreeAddress("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{world: &world{jira: c.jira, directory: c.directory, server: "http://" + address, dir: t.TempDir(), program: c.program}}
	var p *place
	if c.apart {
		p = newPlace(t)
		n.in, n.way, u.Host = p.in, &cable{t: t, p: p, deaf: c.deaf}, net.JoinHostPort(p.near, u.Port())
		u.RawQuery = "sslmode=verify-full&sslrootcert=" + ca
	} else {
		w := newWay(t, net.JoinHostPort("127.0.0.1", u.Port()))
		n.way, u.Host = w, w.address()
	}
	n.config = filepath.Join(n.dir, "funnel.yaml")
	text, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	listen := regexp.MustCompile(`server: \{listen: "[^"]*"\}`)
	mine := listen.ReplaceAllString(string(text), fmt.Sprintf(`server: {listen: "%s"}`, address)) +
		fmt.Sprintf("database: %q\ncluster: {node: node-%d, lease: %s}\n", u.String(), i, lease)
	if err := os.WriteFile(n.config, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	if p != nil {
		p.lead(t, address, string(text))
	}
	t.Cleanup(n.kill)
	c.homes = append(c.homes, n.dir)
	return n
}

// balance makes the world's address a load balancer: each request goes to the
// next node, and one that does not answer gives a 502.
func (c *cluster) balance(t *testing.T) {
	var next atomic.Int64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to := c.nodes[int(next.Add(1))%len(c.nodes)]
			for range c.nodes { // whose process is gone is not asked
				if !to.gone() {
					break
				}
				to = c.nodes[int(next.Add(1))%len(c.nodes)]
			}
			at, _ := url.Parse(to.server)
			r.SetURL(at)
			r.Out.Host = at.Host
		},
		Transport:    &http.Transport{ResponseHeaderTimeout: 2 * time.Second, MaxIdleConnsPerHost: clients},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	balancer := httptest.NewServer(proxy)
	t.Cleanup(balancer.Close)
	c.server = balancer.URL
}

// gone reports whether the node's process has ended.
func (n *node) gone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return true
	}
	select {
	case <-n.process.ended:
		return true
	default:
		return false
	}
}

// way is a node's connection to the database, which can be cut: then nothing
// passes any more, in neither direction, and nobody is told.
type way struct {
	listener net.Listener
	mu       sync.Mutex
	open     *sync.Cond
	isCut    bool
}

func newWay(t *testing.T, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{}
	w.carry(t, l, func() (net.Conn, error) { return net.Dial("tcp", to) })
	return w
}

// carry begins to pass on what arrives at the listener.
func (w *way) carry(t *testing.T, l net.Listener, dial func() (net.Conn, error)) {
	w.listener, w.open = l, sync.NewCond(&w.mu)
	t.Cleanup(func() { w.cut(false); _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := dial()
			if err != nil {
				_ = in.Close()
				continue
			}
			go w.pass(in, out)
			go w.pass(out, in)
		}
	}()
}

func (w *way) address() string { return w.listener.Addr().String() }

// cut stops the traffic, or lets it go on.
func (w *way) cut(yes bool) {
	w.mu.Lock()
	w.isCut = yes
	w.mu.Unlock()
	w.open.Broadcast()
}

func (w *way) pass(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.isCut {
			w.open.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// metric returns the sum of a figure over the nodes that answer.
func (c *cluster) metric(name string) (sum float64) {
	for _, n := range c.nodes {
		sum += figure(n, name)
	}
	return sum
}

// figure returns a figure of the node, 0 if it does not answer within a second.
func figure(n *node, name string) (v float64) {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get(n.server + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(rest, &v)
		}
	}
	return v
}

// finish lets the load end and judges.
func (c *cluster) finish(ctx context.Context, t *testing.T, name string, l *load) result {
	t.Helper()
	acked := l.stop(t)
	c.waitIdle(ctx, t)
	r := c.judge(acked).result()
	r.name = name
	for _, n := range c.nodes {
		n.seeSize(n.process)
		n.mu.Lock()
		r.rss = max(r.rss, n.peak)
		n.mu.Unlock()
	}
	return r
}
