package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/funnelsec/funnel/internal/secret"
)

// Load reads a configuration file. env looks up environment variables for references (nil: the process's). The error is an Errors,
// or says why the file cannot be read. Secrets are not read yet, see Config.Resolve.
func Load(path string, env func(string) string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading config: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading config: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("reading config: %s is not a regular file", path)
	case info.Mode().Perm()&0o002 != 0: // who may write it may send credentials elsewhere
		return nil, fmt.Errorf("reading config: everybody may write %s (mode %04o); run: chmod o-w %s", path, info.Mode().Perm(), path)
	}
	src := make([]byte, maxBytes+1)
	n, err := readUpTo(f, src)
	if err != nil {
		return nil, fmt.Errorf("reading config %s: %w", path, err)
	}
	c, err := Parse(path, src[:n])
	if err != nil {
		return nil, err
	}
	c.secrets.Getenv = env
	return c, nil
}

// Parse reads a configuration. name is how errors call the file; its directory is where relative paths start. The error is an
// Errors with everything that is wrong, in the order of the file.
func Parse(name string, src []byte) (*Config, error) {
	doc, errs := parseTree(name, src)
	if doc == nil || doc.root == nil {
		return nil, errs
	}
	r := &reader{doc: doc, errs: errs, name: regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)}
	c := defaults()
	c.doc, c.secrets.BaseDir = doc, filepath.Dir(name)
	r.config(c)
	if len(r.errs) == 0 {
		return c, nil
	}
	// A value that is wrong as such needs no second error for not being what its key wants.
	out := slices.Clone(errs)
	for _, e := range r.errs[len(errs):] {
		if !slices.ContainsFunc(errs, func(f *Error) bool { return f.Line == e.Line && f.Column == e.Column }) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b *Error) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return nil, out
}

const topLevel = "the file"

func (r *reader) config(c *Config) {
	top := r.object(r.doc.root, topLevel)
	r.server(top.get("server"), &c.Server)
	top.text("data", "./data", &c.Data)
	if !filepath.IsAbs(c.Data) {
		c.Data = filepath.Join(filepath.Dir(r.doc.name), c.Data)
	}
	r.database(top.get("database"), &c.Database)
	r.cluster(top.get("cluster"), &c.Cluster)
	r.each(top.get("connections"), "connections", "connection", func(name string, at entry, o *object) {
		c.Connections[name] = r.connection(c, name, at, o)
	})
	r.each(top.get("sources"), "sources", "source", func(name string, at entry, o *object) {
		c.Sources[name] = r.source(c, name, at, o)
	})
	r.each(top.get("playbooks"), "playbooks", "playbook", func(name string, _ entry, o *object) {
		p := Playbook{Name: name, Enabled: true}
		o.flag("enabled", &p.Enabled)
		p.Options = o.options("options")
		o.done()
		c.Playbooks[name] = p
	})
	r.observables(top.get("observables"), &c.Observables)
	r.engine(top.get("engine"), &c.Engine)
	r.retention(top.get("retention"), c.Database.Shared(), &c.Retention)
	c.Notify = r.notify(top.get("notify"))
	top.done()
}

func (r *reader) engine(n *node, e *Engine) {
	o := r.object(n, "engine")
	o.count("workers", 1, 4096, &e.Workers)
	o.durations("lookups", &e.Lookups)
	o.duration("quiet", mostWait, &e.Quiet)
	o.duration("tell_after", mostWait, &e.TellAfter)
	o.count("attempts", 1, 100, &e.Attempts)
	o.done()
}

// LeastKept is how long everything is kept: what is forgotten earlier would be taken
// for new when its source repeats it.
const LeastKept = 7 * 24 * time.Hour

// mostKept is the upper bound of what retention may say.
const mostKept = 10 * 365 * 24 * time.Hour

func (r *reader) retention(n *node, shared bool, k *Retention) {
	*k = Retention{Deliveries: 30 * 24 * time.Hour, Events: 90 * 24 * time.Hour}
	o := r.object(n, "retention")
	kept := func(key string, into *time.Duration) {
		o.duration(key, mostKept, into)
		if *into < LeastKept {
			r.fail(o.n.child(key), o.path(key)+" must be at least 168h, a week: what is forgotten earlier would be new when its source repeats it", "write "+key+": 168h or more")
		}
	}
	kept("deliveries", &k.Deliveries) // in this order, for it is told
	kept("events", &k.Events)
	o.size("size", 64<<20, 1<<40, &k.Size)
	if at := o.n.child("size"); at != nil && shared {
		r.fail(at, o.path("size")+" is of the data directory's database", "take it out: PostgreSQL's disk is looked after where it runs")
	}
	o.done()
}

func (r *reader) notify(n *node) *Notify {
	if n == nil || n.kind == null {
		return nil
	}
	o := r.object(n, "notify")
	out := &Notify{}
	if at := o.text("url", `"https://chat.example.com/hook"`, &out.URL); at != nil {
		if what, hint := checkURL(out.URL, false); what != "" {
			r.fail(at, o.path("url")+" "+what, hint)
		}
	} else if o.n.child("url") == nil && n.kind == mapping {
		r.fail(n, "notify needs a url", `write url: "https://chat.example.com/hook"`)
	}
	if s := o.get("secret"); s != nil {
		out.Secret, _ = r.secret(s, o.path("secret"))
	}
	o.done()
	return out
}

// secret reads a reference to a secret.
func (r *reader) secret(n *node, label string) (SecretRef, bool) {
	out := SecretRef{line: n.line, column: n.column, label: label}
	if n.kind == null {
		r.fail(n, label+" has no value", "write a reference: ${env:NAME}, ${file:PATH} or ${credential:NAME}")
		return out, false
	}
	if n.kind == list || n.kind == mapping {
		r.fail(n, label+" must be one reference, not "+string(n.kind), "write a reference: ${env:NAME}, ${file:PATH} or ${credential:NAME}")
		return out, false
	}
	ref, err := secret.Parse(n.text)
	if err != nil {
		r.errs = append(r.errs, r.doc.hidden(n.line, n.column, label+": "+err.Error(), ""))
		return out, false
	}
	out.Ref = ref
	return out, true
}
