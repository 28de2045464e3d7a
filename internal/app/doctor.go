package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/secret"
	"github.com/funnelsec/funnel/internal/store"
)

// Finding is something that Examine found out.
type Finding struct {
	Level string `json:"level"` // ok, note, warning or wrong
	About string `json:"about"`
	Says  string `json:"says"`
	Do    string `json:"do,omitempty"` // what to do about it
}

// The levels.
const (
	fine    = "ok"
	note    = "note"    // cannot be told, or is worth knowing
	warning = "warning" // it works, and should not stay so
	wrong   = "wrong"   // it does not work
)

// examination is one look at a server and its surroundings.
type examination struct {
	o     Options
	found []Finding
	mask  *secret.Redactor
}

func (e *examination) add(level, about, says, do string) {
	if e.mask != nil {
		says = e.mask.Redact(says)
	}
	e.found = append(e.found, Finding{level, about, says, do})
}

// Examine looks at all that a server of the configuration needs: files, disk,
// database, clock, connections, and whether senders reach it. It changes nothing,
// and works with or without a server that runs.
func Examine(ctx context.Context, o Options) []Finding {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	e := &examination{o: o}
	if err := Check(o.Config, o.Registry); err != nil {
		e.add(wrong, "configuration", err.Error(), "run funnel check, which shows the places in the file")
	} else {
		e.add(fine, "configuration", fmt.Sprintf("%d connections, %d sources", len(o.Config.Connections), len(o.Config.Sources)), "")
	}
	if o.Config.Database.Shared() {
		e.postgres(ctx)
	} else {
		e.directory()
		e.database(ctx)
	}
	e.connections(ctx)
	e.server(ctx)
	return e.found
}

// directory looks at the files of the data directory and the disk below it.
func (e *examination) directory() {
	const about = "data directory"
	dir := e.o.Config.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.add(note, about, dir+" is not there yet", "the first start of the server makes it")
		return
	case err != nil:
		e.add(wrong, about, err.Error(), "run this as the user that the server runs as")
		return
	case info.Mode().Perm()&0o077 != 0:
		e.add(wrong, about, fmt.Sprintf("%s has mode %04o, so others can reach it", dir, info.Mode().Perm()), "chmod 700 "+dir)
	default:
		e.add(fine, about, dir, "")
	}
	for _, name := range []string{store.FileName, "tokens.json"} {
		if f, err := os.Stat(filepath.Join(dir, name)); err == nil && f.Mode().Perm()&0o077 != 0 {
			e.add(wrong, about, fmt.Sprintf("%s has mode %04o, so others can read it", name, f.Mode().Perm()), "chmod 600 "+filepath.Join(dir, name))
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		e.add(note, "disk", err.Error(), "")
		return
	}
	free := int64(disk.Bavail) * disk.Bsize
	if text := fmt.Sprintf("%d MiB are free", free>>20); free < lowDisk {
		e.add(warning, "disk", text, "make space: when there is none, alerts are refused")
	} else {
		e.add(fine, "disk", text, "")
	}
}

func (e *examination) database(ctx context.Context) {
	const about = "database"
	in, err := store.Inspect(ctx, e.o.Config.Data)
	switch {
	case err != nil:
		e.add(wrong, about, err.Error(), "restore a backup, see docs/guide/backup.md; keep what is there")
	case in.Half:
		e.add(wrong, about, "a restore was interrupted", "run funnel restore again with the same file")
	case in.Damage != "":
		e.add(wrong, about, "it is damaged: "+in.Damage, "stop the server and restore a backup, see docs/guide/backup.md; keep what is there")
	default:
		e.schema(in, "")
	}
	if in.Running {
		e.add(fine, "process", "a server works on the data directory", "")
	} else {
		e.add(note, "process", "no server works on the data directory", "")
	}
}

func (e *examination) schema(in store.Inspection, more string) {
	const about = "database"
	switch {
	case in.Newer:
		e.add(wrong, about, fmt.Sprintf("a newer Funnel has written it (schema %d)", in.Schema), "start the newer version, or restore a backup")
	case in.Schema == 0:
		e.add(note, about, "it has no tables yet"+more, "the first start of the server makes them")
	default:
		e.add(fine, about, fmt.Sprintf("schema %d%s, nothing damaged", in.Schema, more), "")
	}
}

func (e *examination) postgres(ctx context.Context) {
	const about = "database"
	at, err := e.o.Config.ResolveDatabase()
	if err != nil {
		e.add(wrong, about, err.Error(), "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	in, err := store.InspectPostgres(ctx, at.Reveal())
	switch {
	case err != nil:
		e.add(wrong, about, secret.NewRedactor(at).Redact(err.Error()), "see whether PostgreSQL runs and lets this user in")
	case in.Unsafe != "":
		e.add(wrong, about, in.Unsafe+" is off, so a power cut takes what was acknowledged", "set "+in.Unsafe+" = on")
	default:
		e.schema(in, ", PostgreSQL "+in.Server)
	}
}

// connections asks each connected system, with the credentials, and compares the
// clocks.
func (e *examination) connections(ctx context.Context) {
	a := &App{o: e.o, metrics: metrics.New(), log: slog.New(slog.DiscardHandler)}
	links, err := a.connect(ctx, e.o.Config, nil)
	if err != nil {
		e.add(wrong, "connections", err.Error(), "mend that first; nobody was asked")
		return
	}
	defer (&setup{links: links}).close(nil)
	settings, err := a.settings(e.o.Config)
	if err != nil {
		e.add(wrong, "playbooks", err.Error(), "")
		return
	}
	e.mask = secret.NewRedactor(a.secrets...)
	for _, name := range sortedLinks(links) {
		l := links[name]
		about := "connection " + strings.TrimPrefix(name, "~")
		uses, err := usesOf(e.o.Config, e.o.Registry, settings, l.Integration)
		if err != nil {
			e.add(wrong, about, err.Error(), "")
			continue
		}
		text, problems := l.answers(ctx, uses)
		switch {
		case len(problems) > 0:
			for _, p := range problems {
				e.add(wrong, about, p, "see the guide of "+l.Integration+" in docs/guide")
			}
		case strings.HasPrefix(text, "not asked"):
			e.add(note, about, text, "")
		default:
			e.add(fine, about, text, "")
		}
	}
	e.clock(ctx)
}

// mostSkew is how much clocks may differ without a word.
const mostSkew = time.Minute

// clock compares this machine's with those of the connected systems, by the Date
// of their answers. No credential is sent.
func (e *examination) clock(ctx context.Context) {
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	compared := 0
	for name, c := range e.o.Config.Connections {
		raw, _ := c.Options.JSON(func(string) (string, error) { return "", nil })
		at := addressIn(raw)
		roots, err := rootCAs(c.CAFile)
		if at == "" || err != nil {
			continue
		}
		client.Transport = plainTransport(roots)
		before := e.o.Clock()
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, at, nil)
		if err != nil {
			continue
		}
		res, err := client.Do(req)
		if err != nil {
			continue // whether it answers was asked above
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10))
		_ = res.Body.Close()
		theirs, err := http.ParseTime(res.Header.Get("Date"))
		if err != nil {
			continue
		}
		compared++
		if skew := theirs.Sub(before).Round(time.Second); skew.Abs() > mostSkew {
			e.add(warning, "clock", fmt.Sprintf("the clock of %s differs by %v", name, skew), "have this machine's clock set by NTP; signatures and times on tickets go by it")
		}
	}
	if compared == 0 {
		e.add(note, "clock", "there is nobody to compare it with", "")
	} else if !slices.ContainsFunc(e.found, func(f Finding) bool { return f.About == "clock" }) {
		e.add(fine, "clock", fmt.Sprintf("it agrees with %d connected systems within %v", compared, mostSkew), "")
	}
}

// server looks whether senders and people reach the server.
func (e *examination) server(ctx context.Context) {
	s := e.o.Config.Server
	client := &http.Client{Timeout: 5 * time.Second}
	reach := func(base string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			var where *url.Error
			if errors.As(err, &where) {
				err = where.Err
			}
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", res.Status)
		}
		return nil
	}
	if err := reach("http://" + s.Listen); err != nil {
		e.add(note, "server", fmt.Sprintf("nobody answers at http://%s: %v", s.Listen, err), "start it with funnel serve")
		return
	}
	e.add(fine, "server", "it answers at http://"+s.Listen, "")
	public, err := url.Parse(s.PublicURL)
	switch {
	case err != nil:
		return
	case !s.BehindProxy:
		e.add(note, "webhooks", "only this machine reaches the server, for it listens on a loopback address", "for others put a proxy with TLS in front, set server.behind_proxy and server.public_url; docs/guide/nginx.md has one")
	case public.Scheme != "https":
		e.add(warning, "webhooks", s.PublicURL+" is not https, so secrets travel unencrypted", "have the proxy terminate TLS and write https in server.public_url")
	default:
		if err := reach(s.PublicURL); err != nil {
			e.add(warning, "webhooks", fmt.Sprintf("%s is not reached from this machine: %v", s.PublicURL, err), "see whether the name, the proxy and its certificate are right; senders need to reach it, this machine need not")
		} else {
			e.add(fine, "webhooks", s.PublicURL+" is reached from this machine", "")
		}
	}
	for _, name := range sortedSources(e.o.Config) {
		path := s.PublicURL + "/hooks/" + name
		if e.o.Config.Sources[name].Auth.Kind == config.PathSecret {
			path += "/SECRET"
		}
		e.add(note, "source "+name, "its sender posts to "+path, "")
	}
}

func sortedSources(c *config.Config) (names []string) {
	for name := range c.Sources {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// addressIn returns the web address in a connection's options, "" if there is none.
func addressIn(options []byte) string {
	var o struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(options, &o) != nil {
		return ""
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/"
}

func plainTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, Proxy: nil}
}
