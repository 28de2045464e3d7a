package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/funnelsec/funnel"
)

// desk is a small outside system in memory. It keeps a journal of what it
// processed, and misbehaves as it is told.
type desk struct {
	mu      sync.Mutex
	journal []processed
	faults  map[string][]fault // by action, one for each call
	always  map[string]fault
	inside  map[string]int // calls under way, by what they work on
	crowd   int            // the most that were under way on one thing

	lag   time.Duration // until what was made can be found
	fresh bool          // whether absence can be proven
	big   int           // bytes that look_up answers with
	finds int
	tries map[string]int // calls, by action
	wake  chan struct{}  // closed when the desk wakes
}

type processed struct {
	op, name string
	key      funnel.EffectKey
	attempt  int
	unproven bool
	at       time.Time
	id       int
}

// fault is how one call misbehaves.
type fault struct {
	err   error         // refuse without doing it
	lost  bool          // do it and lose the answer
	late  time.Duration // answer nothing, do it later
	panic bool
	hang  bool          // until the caller gives up
	deaf  bool          // until the desk wakes, whatever the caller does
	gate  chan struct{} // wait for it, then do it
	crash func()        // what happens to the caller: before it is done, or with lost after
}

func newDesk() *desk {
	return &desk{faults: map[string][]fault{}, always: map[string]fault{}, inside: map[string]int{}, fresh: true, tries: map[string]int{}, wake: make(chan struct{})}
}

func (d *desk) next(op string, faults ...fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[op] = append(d.faults[op], faults...)
}

// ever makes every call of the action misbehave; a zero fault ends that.
func (d *desk) ever(op string, f fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.always[op] = f
}

// did returns what was processed of the actions.
func (d *desk) did(ops ...string) []processed {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []processed
	for _, p := range d.journal {
		for _, op := range ops {
			if p.op == op {
				list = append(list, p)
			}
		}
	}
	return list
}

// tried returns how often the action was called.
func (d *desk) tried(op string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tries[op]
}

func (d *desk) names(ops ...string) []string {
	names := []string{}
	for _, p := range d.did(ops...) {
		names = append(names, p.name)
	}
	return names
}

var errLost = funnel.Errorf(funnel.Uncertain, "the desk did not answer")

// do processes a call and returns the number of what it made.
func (d *desk) do(ctx context.Context, op, name string) (int, error) {
	d.mu.Lock()
	f := d.always[op]
	if list := d.faults[op]; len(list) > 0 {
		f, d.faults[op] = list[0], list[1:]
	}
	d.inside[name]++
	d.tries[op]++
	d.crowd = max(d.crowd, d.inside[name])
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.inside[name]--
		d.mu.Unlock()
	}()
	id := 0
	process := func() {
		a := funnel.AttemptFrom(ctx)
		d.mu.Lock()
		defer d.mu.Unlock()
		id = len(d.journal) + 1
		d.journal = append(d.journal, processed{op: op, name: name, key: a.Key, attempt: a.Number, unproven: a.Unproven, at: time.Now(), id: id})
	}
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	switch {
	case f.panic:
		panic("the desk falls over")
	case f.deaf:
		<-d.wake
		return 0, ctx.Err()
	case f.hang:
		<-ctx.Done()
		return 0, ctx.Err()
	case f.late > 0:
		time.AfterFunc(f.late, process)
		return 0, errLost
	case f.err != nil:
		return 0, f.err
	case f.crash != nil && !f.lost:
		f.crash()
		return 0, cmp.Or(ctx.Err(), error(errLost))
	}
	process()
	if f.crash != nil {
		f.crash()
	}
	if f.lost {
		return 0, cmp.Or(ctx.Err(), error(errLost))
	}
	return id, nil
}

// find looks for what was made under the key, as an index that lags would.
func (d *desk) find(op string, key funnel.EffectKey) (int, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finds++
	switch f := d.always["find"]; {
	case f.panic:
		panic("the desk falls over")
	case f.err != nil:
		return 0, false, f.err
	}
	for _, p := range d.journal {
		if p.op == op && p.key == key && !time.Now().Before(p.at.Add(d.lag)) {
			return p.id, true, nil
		}
	}
	return 0, false, nil
}

type (
	alert struct {
		Name  string `json:"name"`
		Print string `json:"print"`
	}
	named  struct{ Name string }
	answer struct {
		Value  string
		Hidden string `json:"-"`
	}
	ticketIn struct{ Project, Title, Print string }
	ticket   struct {
		ID   int
		Seen int
	}
	opened struct {
		ID    int
		Title string
	}
	note struct{ Ticket, Text string }
	made struct{ ID int }
)

func (d *desk) LookUp(ctx context.Context, in named) (answer, error) {
	_, err := d.do(ctx, "look_up", in.Name)
	value := "about " + in.Name
	if d.big > 0 {
		value = fmt.Sprintf("%0*d", d.big, 7)
	}
	return answer{Value: value, Hidden: "not in the journal"}, err
}

func (d *desk) Know(ctx context.Context, in named) (answer, error) {
	id, err := d.do(ctx, "know", in.Name)
	if d.big > 0 {
		return answer{Value: fmt.Sprintf("%0*d", d.big, 7)}, err
	}
	return answer{Value: fmt.Sprintf("answer %d about %s", id, in.Name)}, err
}

func (d *desk) OpenTicket(ctx context.Context, in ticketIn) (ticket, error) {
	id, err := d.do(ctx, "open_ticket", in.Title)
	return ticket{ID: id, Seen: 1}, err
}

func (d *desk) FindTicket(_ context.Context, key funnel.EffectKey, _ ticketIn) (ticket, bool, error) {
	id, ok, err := d.find("open_ticket", key)
	return ticket{ID: id, Seen: 1}, ok, err
}

func (d *desk) isFresh() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fresh
}

func (d *desk) AddNote(ctx context.Context, in note) (made, error) {
	id, err := d.do(ctx, "add_note", in.Ticket)
	return made{ID: id}, err
}

func (d *desk) Put(ctx context.Context, in named) (made, error) {
	id, err := d.do(ctx, "put", in.Name)
	return made{ID: id}, err
}

func (d *desk) Ring(ctx context.Context, in named) (made, error) {
	id, err := d.do(ctx, "ring", in.Name)
	return made{ID: id}, err
}

func (d *desk) Lock(ctx context.Context, in named) (made, error) {
	id, err := d.do(ctx, "lock", in.Name)
	return made{ID: id}, err
}

// kit is the desk as an integration.
type kit struct {
	lookUp     funnel.Action[named, answer]
	know       funnel.Action[named, answer]
	openTicket funnel.Action[ticketIn, ticket]
	addNote    funnel.Action[note, made]
	put        funnel.Action[named, made]
	ring       funnel.Action[named, made]
	lock       funnel.Action[named, made]
	alert      funnel.Trigger[alert]
	opened     funnel.Trigger[opened]
}

func newKit() kit {
	k := kit{
		alert:  funnel.NewTrigger("desk.alert", "An alert.", func(funnel.Request) ([]funnel.Arrival[alert], error) { return nil, nil }),
		opened: funnel.NewTrigger("desk.ticket_opened", "A ticket was opened.", decodeOpened),
	}
	k.lookUp = funnel.NewAction("desk.look_up", "Look up.", funnel.Reads, (*desk).LookUp)
	k.know = funnel.NewAction("desk.know", "Look up what everybody asks.", funnel.Reads, (*desk).Know,
		funnel.Cached(func(in named) string { return strings.ToLower(in.Name) }, func(out answer) bool { return !strings.HasSuffix(out.Value, "nobody") }))
	k.openTicket = funnel.NewAction("desk.open_ticket", "Open a ticket.", funnel.Writes, (*desk).OpenTicket,
		funnel.Find((*desk).FindTicket),
		funnel.Fresh(func(d *desk, _ context.Context, _ funnel.EffectKey, _ ticketIn, _ time.Time) (bool, error) {
			return d.isFresh(), nil
		}),
		funnel.OnePer(func(in ticketIn) funnel.Claim {
			return funnel.Claim{Scope: in.Project, Fingerprint: in.Print, Window: 24 * time.Hour}
		}, func(out ticket, seen funnel.Seen) ticket { out.Seen = seen.Count; return out }),
		funnel.Emits(k.opened, func(connection string, out ticket) string { return fmt.Sprintf("%s:%d", connection, out.ID) },
			func(_ funnel.Origin, in ticketIn, out ticket) opened { return opened{ID: out.ID, Title: in.Title} }))
	k.addNote = funnel.NewAction("desk.add_note", "Add a note.", funnel.Writes, (*desk).AddNote,
		funnel.Find(func(d *desk, _ context.Context, key funnel.EffectKey, _ note) (made, bool, error) {
			id, ok, err := d.find("add_note", key)
			return made{ID: id}, ok, err
		}),
		funnel.Serial(func(in note) string { return in.Ticket }))
	k.put = funnel.NewAction("desk.put", "Put.", funnel.Writes, (*desk).Put, funnel.Upsert)
	k.ring = funnel.NewAction("desk.ring", "Ring somebody up.", funnel.Writes, (*desk).Ring, funnel.NoEvidence)
	k.lock = funnel.NewAction("desk.lock", "Lock an account.", funnel.Contains, (*desk).Lock,
		funnel.Find(func(d *desk, _ context.Context, key funnel.EffectKey, _ named) (made, bool, error) {
			id, ok, err := d.find("lock", key)
			return made{ID: id}, ok, err
		}),
		funnel.Fresh(func(d *desk, _ context.Context, _ funnel.EffectKey, _ named, _ time.Time) (bool, error) {
			return d.isFresh(), nil
		}))
	return k
}

func (k kit) integration() funnel.Integration {
	return funnel.Integration{
		Name: "desk", Summary: "A desk.", Connect: funnel.Connect(func(context.Context, funnel.Env, struct{}) (*desk, error) { return newDesk(), nil }),
		Actions:  []funnel.AnyAction{k.lookUp, k.know, k.openTicket, k.addNote, k.put, k.ring, k.lock},
		Triggers: []funnel.AnyTrigger{k.alert, k.opened},
	}
}

// hook is the body of the desk's webhook about a ticket.
type hook struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Actor   string `json:"actor"`
	Project string `json:"project"`
	Effect  string `json:"effect,omitempty"`
}

func decodeOpened(r funnel.Request) ([]funnel.Arrival[opened], error) {
	var h hook
	if err := json.Unmarshal(r.Body, &h); err != nil {
		return nil, funnel.Errorf(funnel.Invalid, "reading the webhook: it does not fit")
	}
	a := funnel.Arrival[opened]{Key: fmt.Sprint(h.ID), Scope: r.Connection, Actor: h.Actor, Event: opened{ID: h.ID, Title: h.Title}}
	if h.Effect != "" {
		a.Evidence = &funnel.Evidence{Key: funnel.EffectKey(h.Effect), Actor: h.Actor, Scope: h.Project, Outcome: ticket{ID: h.ID, Seen: 1}}
	}
	return []funnel.Arrival[opened]{a}, nil
}
