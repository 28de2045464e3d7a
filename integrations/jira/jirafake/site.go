// Package jirafake is a simulated Jira site, Cloud or Data Center: the part of REST API versions 3 and 2 that Funnel uses,
// an eventually consistent search, outgoing webhooks, small pages for people, and every misbehaviour that a client has to
// survive.
//
// The shapes follow Atlassian's published OpenAPI document (a test checks them against it) and captured webhooks; error
// texts follow what users report. Everything is in memory. What the site processed is in its journal, also when the
// client never saw an answer, so a test can compare what a client believes with what happened.
package jirafake

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxBody is the largest request body in bytes; Jira's own limit is not published.
const maxBody = 8 << 20

// Site is a simulated Jira site. It is safe for concurrent use.
type Site struct {
	opt      Options
	api      *http.ServeMux
	pages    *http.ServeMux
	seenBase atomic.Pointer[string]
	stop     context.CancelFunc
	stopped  <-chan struct{}
	ctx      context.Context // ends with Close; for work that outlives its request
	bg       background
	behave   behaviour
	hooks    webhooks
	tokens   tokens

	mu         sync.RWMutex // guards what follows
	projects   []*project
	byID       map[int64]*issue
	byKey      map[string]*issue
	order      []*issue // oldest first
	lastIssue  int64    // id of the newest issue
	lastID     int64    // of the newest comment, link or changelog
	lastChange int64    // of the newest entry of a history
	index      index
	journal    []Entry
	writeLimit int
	writeEvery time.Duration
}

// New returns a site. Close it when done.
func New(o Options) *Site {
	o = o.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	s := &Site{
		opt: o, ctx: ctx, stop: stop, stopped: ctx.Done(),
		byID: map[int64]*issue{}, byKey: map[string]*issue{}, lastIssue: 10000, lastID: 20000, lastChange: 30000,
		tokens:     tokens{valid: []string{o.Token}, uses: map[string]int{}},
		index:      newIndex(o.IndexLag, o.Seed),
		writeLimit: o.IssueWriteLimit, writeEvery: o.IssueWriteWindow,
	}
	for i, p := range o.Projects {
		s.projects = append(s.projects, newProject(10000+i, p))
	}
	s.behave.init(o)
	s.hooks.init(o)
	s.api = s.apiRoutes()
	s.pages = s.pageRoutes()
	return s
}

// Close ends hanging requests, forgets webhooks and late requests that are still waiting, and returns when all
// goroutines of the site have ended.
func (s *Site) Close() {
	s.stop()
	s.bg.close()
}

// Settle waits until no late request and no webhook is outstanding, or until the context ends.
func (s *Site) Settle(ctx context.Context) error { return s.bg.wait(ctx) }

// ServeHTTP answers the REST API below /rest/ and the pages elsewhere. To drop a connection it panics with
// http.ErrAbortHandler, as net/http asks for: call it through a server, not with a recorder, when answers may get lost.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.seenBase.Load() == nil && r.Host != "" {
		base := "http://" + r.Host
		s.seenBase.CompareAndSwap(nil, &base)
	}
	switch s.behave.outage() {
	case outageDown:
		unavailable().write(w)
		return
	case outageUnplugged:
		panic(http.ErrAbortHandler)
	}
	forClients := s.opt.Deployment == DataCenter && strings.HasPrefix(r.URL.Path, "/secure/") && r.Header.Get("Authorization") != ""
	if !strings.HasPrefix(r.URL.Path, "/rest/") && !forClients {
		s.pages.ServeHTTP(w, r)
		return
	}
	// The whole body is read first: only then does net/http notice that a client hangs up.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		failure(http.StatusRequestEntityTooLarge, "The request entity is too large.").write(w)
		return
	}
	c := &call{site: s, r: r, body: body, version: versionOf(r)}
	s.serve(w, c)
}

// serve lets the planned fate of the call come true.
func (s *Site) serve(w http.ResponseWriter, c *call) {
	fate := s.behave.fate(c)
	switch fate.Kind {
	case Reply:
		rawReply(fate).write(w)
		return
	case HTML200:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><title>Sign in</title><h1>Please sign in to continue</h1>")
		return
	case DropBefore:
		panic(http.ErrAbortHandler)
	case Hang:
		s.hang(c)
	case processLate:
		s.processLater(c)
		panic(http.ErrAbortHandler)
	case AnswerLost, HangAfter:
		c.lost = true
	}
	rep := s.process(c)
	switch fate.Kind {
	case AnswerLost:
		panic(http.ErrAbortHandler)
	case HangAfter:
		s.hang(c)
	case MalformedJSON:
		rep.malformed = true
	}
	rep.write(w)
}

// hang keeps the request open until its client or the site gives up.
func (s *Site) hang(c *call) {
	select {
	case <-c.r.Context().Done():
	case <-s.stopped:
	}
	panic(http.ErrAbortHandler)
}

// processLater processes the call after its connection was dropped.
func (s *Site) processLater(c *call) {
	late := &call{site: s, r: c.r.Clone(s.ctx), body: c.body, version: c.version, lost: true, late: true}
	delay := s.behave.lateDelay()
	s.bg.run(func() {
		if sleep(s.ctx, delay) {
			s.process(late)
		}
	})
}

// process routes the call and sends the webhooks of what it changed.
func (s *Site) process(c *call) reply {
	rec := &recorder{}
	if !s.authenticated(c.r) {
		return unauthenticated()
	}
	c.r.Body = newBody(c.body)
	s.api.ServeHTTP(rec, withCall(c))
	s.send(c.events)
	return rec.reply
}

// versionOf returns the version of the API that a request speaks; "latest" means 2 in both products.
func versionOf(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, "/rest/api/3/") {
		return "3"
	}
	return "2"
}

// base returns the address of the site without a final slash.
func (s *Site) base() string {
	if s.opt.BaseURL != "" {
		return strings.TrimRight(s.opt.BaseURL, "/")
	}
	if b := s.seenBase.Load(); b != nil {
		return *b
	}
	return "http://jira.invalid"
}

func (s *Site) project(keyOrID string) *project {
	i := slices.IndexFunc(s.projects, func(p *project) bool { return p.key == keyOrID || p.id == keyOrID })
	if i < 0 {
		return nil
	}
	return s.projects[i]
}

// background counts goroutines so that Close and Settle can wait for them.
type background struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when n falls to zero; nil while nobody waits
}

// run starts f, unless the site is closed.
func (b *background) run(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.n++
	go func() {
		defer b.done()
		f()
	}()
}

func (b *background) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n--; b.n == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

func (b *background) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.n == 0 {
		b.mu.Unlock()
		return nil
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wait(context.Background())
}

// sleep waits for d and reports whether the context is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
