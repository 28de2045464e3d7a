package config

import (
	"net/url"
	"strings"
	"time"

	"github.com/funnelsec/funnel/internal/secret"
)

// Database is the shared database of several nodes.
type Database struct {
	URL  string    // "" if Secret holds it, or if there is none: SQLite in Data
	From SecretRef // where the URL with its password is
}

// Shared reports whether there is one.
func (d Database) Shared() bool { return d.URL != "" || !d.From.IsZero() }

// Cluster is how this node works with the others on a shared database.
type Cluster struct {
	Node  string        // its name; default: the machine's name and the port
	Lease time.Duration // how long a node that is not heard of keeps its runs; default 15s
}

const leastLease, mostLease = time.Second, 5 * time.Minute

func (r *reader) database(n *node, d *Database) {
	if n == nil {
		return
	}
	if n.kind == text && !secret.IsRef(n.text) {
		if what, hint := checkDatabase(n.text); what != "" {
			r.errs = append(r.errs, r.doc.hidden(n.line, n.column, "database "+what, hint))
			return
		}
		d.URL = n.text
		return
	}
	d.From, _ = r.secret(n, "database")
}

func (r *reader) cluster(n *node, c *Cluster) {
	o := r.object(n, "cluster")
	o.text("node", "funnel-1", &c.Node)
	if at := o.get("lease"); at != nil {
		o.duration("lease", mostLease, &c.Lease)
		if c.Lease < leastLease {
			r.fail(at, "cluster.lease is shorter than a second, which a busy moment would use up", "write lease: 15s")
		}
	}
	o.done()
}

// checkDatabase says what is wrong with the URL of a database and what to do, ""
// if nothing. It never repeats the URL, which may hold a password.
func checkDatabase(s string) (what, hint string) {
	const example = "write postgres://funnel@db.example.com/funnel?sslmode=verify-full, or a reference to it such as ${env:FUNNEL_DATABASE}"
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" && u.Query().Get("host") == "" {
		return "must be the URL of a PostgreSQL", example
	}
	if _, has := u.User.Password(); has {
		return "must not hold a password", "put the whole URL into an environment variable or a file and write ${env:FUNNEL_DATABASE} or ${file:PATH}"
	}
	return checkDatabaseTLS(u)
}

// checkDatabaseTLS says what is wrong with how a database is reached: over a
// network, only by TLS that proves who answers. There may be several hosts.
func checkDatabaseTLS(u *url.URL) (what, hint string) {
	hosts := u.Query().Get("host")
	if hosts == "" {
		for at := range strings.SplitSeq(u.Host, ",") {
			hosts += "," + (&url.URL{Host: at}).Hostname()
		}
		hosts = hosts[1:]
	}
	near := true
	for host := range strings.SplitSeq(hosts, ",") {
		near = near && (loopbackHost(host) || strings.HasPrefix(host, "/"))
	}
	if near || u.Query().Get("sslmode") == "verify-full" {
		return "", ""
	}
	return "is reached over a network without proof of who answers", "add ?sslmode=verify-full, and &sslrootcert=PATH if the authority is your own"
}

// ResolveDatabase reads the URL of the shared database.
func (c *Config) ResolveDatabase() (secret.Secret, error) {
	if c.Database.From.IsZero() {
		return secret.New(c.Database.URL), nil
	}
	s, err := c.Resolve(c.Database.From)
	if err != nil {
		return s, err
	}
	u, err := url.Parse(s.Reveal())
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return s, c.at(c.Database.From, "database: what the reference holds is not the URL of a PostgreSQL", "")
	}
	if what, hint := checkDatabaseTLS(u); what != "" {
		return s, c.at(c.Database.From, "database "+what, hint)
	}
	return s, nil
}
