package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

const (
	mostWait = 30 * 24 * time.Hour
	mostRate = 100_000
)

func (r *reader) connection(c *Config, name string, at entry, o *object) Connection {
	out := Connection{Name: name}
	if n := o.text("integration", "jira", &out.Integration); n != nil {
		if !r.name.MatchString(out.Integration) {
			r.fail(n, fmt.Sprintf("%q cannot be the name of an integration", clip(out.Integration)), "write a name such as jira")
		}
	} else if o.n.child("integration") == nil {
		r.lacks(at, o, "integration", "integration: "+name)
	}
	out.Options = o.options("options")
	l := r.object(o.get("limits"), o.path("limits"))
	l.count("concurrency", 1, 1000, &out.Limits.Concurrency)
	l.rate("rate", &out.Limits)
	l.count("daily", 1, 1_000_000_000, &out.Limits.Daily)
	l.duration("timeout", time.Hour, &out.Limits.Timeout)
	l.age("cache", &out.Limits.Cache)
	l.age("cache_unknown", &out.Limits.CacheUnknown)
	l.done()
	t := r.object(o.get("tls"), o.path("tls"))
	if t.text("ca_file", "/etc/funnel/ca.pem", &out.CAFile) != nil && !filepath.IsAbs(out.CAFile) {
		out.CAFile = filepath.Join(filepath.Dir(r.doc.name), out.CAFile)
	}
	t.done()
	o.done()
	return out
}

// lacks reports a key that must be there, at the name above it.
func (r *reader) lacks(at entry, o *object, key, example string) {
	r.errs = append(r.errs, r.doc.err(at.line, at.column, o.label+" needs the key "+key, "add "+example))
}

// age reads how old a shared answer may be; 0s is -1, for zero means that nothing
// is configured.
func (o *object) age(key string, into *time.Duration) {
	if n := o.get(key); n != nil && n.kind == text && n.text == "0s" {
		*into = -1
		return
	}
	o.duration(key, 31*24*time.Hour, into)
}

// rate reads 10/s, 500/m, 4/h.
func (o *object) rate(key string, into *funnel.Limits) {
	n, ok := o.scalar(key, text, "10/s")
	if !ok {
		return
	}
	count, unit, _ := strings.Cut(n.text, "/")
	v, err := strconv.Atoi(count)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || per == 0 || v < 1 || v > mostRate {
		o.r.fail(n, fmt.Sprintf("%s must be a number from 1 to %d per second, minute or hour", o.path(key), mostRate), "write 10/s, 10/m or 10/h")
		return
	}
	into.Rate, into.Per = v, per
}

// durations reads a list of growing durations.
func (o *object) durations(key string, into *[]time.Duration) {
	n := o.get(key)
	if n == nil {
		return
	}
	label := o.path(key)
	if n.kind != list || len(n.items) == 0 || len(n.items) > 20 {
		o.r.fail(n, label+" must be a list of 1 to 20 durations", "write "+key+": [5s, 30s, 2m, 10m]")
		return
	}
	var out []time.Duration
	for _, item := range n.items {
		var d time.Duration
		if o.r.duration(item, label, "30s", mostWait, &d); d == 0 {
			continue
		}
		if len(out) > 0 && d < out[len(out)-1] {
			o.r.fail(item, label+" must grow", "put the shorter ones first")
		}
		out = append(out, d)
	}
	*into = out
}

func (r *reader) source(c *Config, name string, at entry, o *object) Source {
	out := Source{Name: name, MaxBody: defaultMaxBody}
	if n := o.texts("trigger", "trigger: splunk.alert", &out.Triggers); n != nil {
		r.triggers(n, out.Triggers)
	} else if o.n.child("trigger") == nil {
		r.lacks(at, o, "trigger", "trigger: splunk.alert")
	}
	if n := o.get("auth"); n != nil {
		out.Auth = r.auth(c, n, o.path("auth"))
	} else {
		r.lacks(at, o, "auth", `auth: {path_secret: ["${env:`+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+`_SECRET}"]}`)
	}
	if n := o.text("connection", "jira", &out.Connection); n != nil {
		if _, ok := c.Connections[out.Connection]; !ok {
			hint := "add it under connections"
			if s := Suggest(out.Connection, slices.Sorted(maps.Keys(c.Connections))); s != "" {
				hint = fmt.Sprintf("did you mean %q?", s)
			}
			r.fail(n, fmt.Sprintf("there is no connection %q", clip(out.Connection)), hint)
		}
	}
	out.Options = o.options("options")
	o.texts("fingerprint", "fingerprint: [user, src]", &out.Fingerprint)
	if n := o.get("fields"); n != nil {
		f := r.object(n, o.path("fields"))
		for _, kind := range funnel.Kinds() {
			var fields []string
			if f.textsOrNone(string(kind), string(kind)+": [field_name], or "+string(kind)+": [] for none", &fields); fields != nil {
				if out.Fields == nil {
					out.Fields = map[funnel.Kind][]string{}
				}
				out.Fields[kind] = fields
			}
		}
		f.done()
	}
	o.textsOrNone("text", "text: [message, description], or text: [] for none", &out.Text)
	o.size("max_body", 1<<10, mostMaxBody, &out.MaxBody)
	if o.n.child("repeated") != nil {
		out.Repeated = new(bool)
		o.flag("repeated", out.Repeated)
	}
	if n := o.get("reconcile"); n != nil {
		out.Reconcile = r.reconcile(n, o.path("reconcile"))
		if out.Connection == "" {
			r.fail(n, o.path("reconcile")+" needs a connection at which to read what fired", "add connection: and the name of one that stands under connections")
		}
	}
	o.done()
	return out
}

// reconcile reads how a source looks for what never arrived.
func (r *reader) reconcile(n *node, label string) Reconcile {
	out := Reconcile{Back: 24 * time.Hour, Grace: time.Minute}
	o := r.object(n, label)
	if o.duration("every", 24*time.Hour, &out.Every); o.n != nil && o.n.child("every") == nil {
		r.fail(n, label+" needs the key every", "write reconcile: {every: 5m}")
	}
	o.duration("back", 7*24*time.Hour, &out.Back)
	o.duration("grace", time.Hour, &out.Grace)
	o.done()
	if out.Grace >= out.Back {
		r.fail(n, label+".grace must be shorter than back, or nothing is left to read", "write a grace such as 1m")
	}
	return out
}

var triggerName = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+$`)

// triggers checks the names of a source's triggers, which read the same
// deliveries and so belong to one integration.
func (r *reader) triggers(n *node, names []string) {
	for _, name := range names {
		first, _, _ := strings.Cut(names[0], ".")
		switch integration, _, _ := strings.Cut(name, "."); {
		case !triggerName.MatchString(name):
			r.fail(n, fmt.Sprintf("%q cannot be the name of a trigger", clip(name)), "a trigger is named integration.event, such as splunk.alert")
			return
		case integration != first:
			r.fail(n, fmt.Sprintf("the triggers of one source read the same deliveries, and %s and %s do not", clip(names[0]), clip(name)), "make a source for each integration")
			return
		}
	}
}

// auth reads exactly one kind of authentication.
func (r *reader) auth(c *Config, n *node, label string) Auth {
	const hint = `write one of path_secret: ["${env:NAME}"], signature: {secret: "${env:NAME}"}, bearer: ["${env:NAME}"], none: true`
	var out Auth
	if n.kind != mapping {
		r.fail(n, label+" must be a mapping with one kind of authentication", hint)
		return out
	}
	o := r.object(n, label)
	var found []AuthKind
	for _, kind := range []AuthKind{PathSecret, Signature, Bearer, None} {
		v := o.get(string(kind))
		if v == nil {
			continue
		}
		found = append(found, kind)
		out = Auth{Kind: kind}
		switch kind {
		case Signature:
			s := r.object(v, o.path(string(kind)))
			if sn := s.get("secret"); sn != nil {
				ref, ok := r.secret(sn, s.path("secret"))
				out.add(ref, ok)
			} else {
				r.fail(v, s.label+" needs the key secret", `write signature: {secret: "${env:NAME}"}`)
			}
			s.done()
		case None:
			r.noAuth(c, v, o)
		default:
			out.Secrets = r.secrets(v, o.path(string(kind)))
		}
	}
	o.done()
	switch {
	case len(found) > 1:
		r.fail(n, fmt.Sprintf("%s has %d kinds of authentication; exactly one is expected", label, len(found)), "keep one of them, or make a second source")
	case len(found) == 0 && len(n.entries) == 0:
		r.fail(n, label+" is empty", hint)
	}
	return out
}

func (a *Auth) add(ref SecretRef, ok bool) {
	if ok {
		a.Secrets = append(a.Secrets, ref)
	}
}

// secrets reads one or two references.
func (r *reader) secrets(n *node, label string) []SecretRef {
	items := n.items
	if n.kind != list {
		items = []*node{n}
	}
	if len(items) < 1 || len(items) > 2 {
		r.fail(n, fmt.Sprintf("%s must hold one reference, or two while the secret is being changed, not %d", label, len(items)), "")
		return nil
	}
	var out Auth
	for _, item := range items {
		ref, ok := r.secret(item, label)
		if ok && len(out.Secrets) > 0 && out.Secrets[0].Ref == ref.Ref {
			r.fail(item, label+" names the same secret twice", "keep it once; the second place is for the new secret while the old one is still in use")
			continue
		}
		out.add(ref, ok)
	}
	return out.Secrets
}

// noAuth allows a source without authentication only where nobody else can reach it.
func (r *reader) noAuth(c *Config, v *node, o *object) {
	yes := false
	n := o.flag(string(None), &yes)
	switch {
	case n == nil:
	case !yes:
		r.fail(v, o.path(string(None))+" must be true", "write none: true, or another kind of authentication")
	case c.Server.BehindProxy:
		r.fail(v, "a source without authentication is not allowed behind a proxy: everybody who reaches the proxy could start runs",
			`write path_secret: ["${env:NAME}"], or set server.behind_proxy to false`)
	case !loopback(c.Server.Listen):
		r.fail(v, "a source without authentication is only allowed while server.listen is a loopback address", `write path_secret: ["${env:NAME}"]`)
	}
}
