package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/record"
	"github.com/funnelsec/funnel/internal/schema"
)

// Families is where what a source was told is kept by family, see record.Kin.
type Families interface {
	Family(ctx context.Context, family string) ([]record.Kin, error)
	Settled(ctx context.Context, family string) (bool, error)
	Reconcile(record.Reconciliation) (record.Reconciled, error)
}

// Readable is how a source is read afterwards.
type Readable struct {
	Client any
	// Enter waits for the connection to take a call; what it returns is told how
	// the call went.
	Enter func(context.Context) (func(error), error)
	Back  time.Duration // how far back is read
	Grace time.Duration // how long a delivery may be under way
	Since time.Time     // not before: since when what arrives is kept for comparison
}

// Reconciled says what a reconciliation found.
type Reconciled struct {
	At       time.Time // when it began
	Took     time.Duration
	Fired    int      // what fired in the time, but for what may be under way
	Before   int      // of it, compared by an earlier reconciliation
	Others   int      // of it, not told to this source
	Missing  int      // alerts that never arrived, and are events now
	Same     int      // rows that never arrived and that nothing tells from one that is an event
	Gone     int      // of Missing, those whose content the outside system no longer has
	Unread   int      // firings whose content is gone and of which as many arrived as are known of
	Unlike   int      // deliveries that resemble nothing that was read
	Failed   int      // firings that could not be compared, for the next reconciliation
	Problem  string   // what went wrong first
	Examples []string // of what was missing or gone, at most 10
}

// mostBodies bounds the rows of one firing that become events.
const mostBodies = 10_000

// Reconcile reads what fired for a source, and takes in what never arrived, in
// the same way as a delivery. What it could not do is left for the next time;
// then an error comes with the counts.
func (in *Intake) Reconcile(ctx context.Context, name string) (Reconciled, error) {
	now := in.o.Clock()
	out := Reconciled{At: now}
	s, ok := in.sources.Load().byName[name]
	if !ok || s.Readable == nil {
		return out, fmt.Errorf("reconciling %s: %w", name, record.ErrNotFound)
	}
	ask := funnel.Reading{Source: name, Since: now.Add(-s.Readable.Back), Until: now.Add(-s.Readable.Grace)}
	if s.Readable.Since.After(ask.Since) {
		ask.Since = s.Readable.Since
	}
	var errs []error
	for _, t := range s.Triggers {
		if t.Reader == nil {
			continue
		}
		var fired []funnel.Firing
		err := s.Readable.call(ctx, func() (err error) { fired, err = t.Reader.List(ctx, s.Readable.Client, ask); return err })
		if err != nil {
			errs = append(errs, fmt.Errorf("asking what fired: %w", err))
			continue
		}
		errs = append(errs, in.reconcileAll(ctx, s, t, ask, fired, &out)...)
	}
	out.Took = in.o.Clock().Sub(now)
	if len(errs) > 0 {
		out.Problem = errs[0].Error()
		return out, fmt.Errorf("reconciling %s: %w", name, errs[0])
	}
	return out, nil
}

// call makes one call within the connection's limits.
func (r *Readable) call(ctx context.Context, fn func() error) error {
	leave, err := r.Enter(ctx)
	if err != nil {
		return err
	}
	err = fn()
	leave(err)
	return err
}

// reconcileAll compares the firings, the oldest first. It goes on after one that
// cannot be compared, unless the outside system as a whole does not answer.
func (in *Intake) reconcileAll(ctx context.Context, s Source, t *funnel.TriggerSpec, ask funnel.Reading, fired []funnel.Firing, out *Reconciled) (errs []error) {
	slices.SortStableFunc(fired, func(a, b funnel.Firing) int { return a.At.Compare(b.At) })
	for i, f := range fired {
		if f.At.Before(ask.Since) || f.At.After(ask.Until) {
			continue
		}
		out.Fired++
		err := in.reconcileOne(ctx, s, t, ask, f, out)
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("comparing %s of %s: %w", describe(f.Name), f.At.UTC().Format(time.RFC3339), err))
		out.Failed++
		if code := funnel.CodeOf(err); ctx.Err() != nil || code != funnel.Invalid && code != funnel.NotFound && !narrow(err) {
			out.Failed += len(fired) - i - 1
			break
		}
	}
	return errs
}

// narrow reports an error that says nothing about other calls.
func narrow(err error) bool {
	e, ok := errors.AsType[*funnel.Error](err)
	return ok && e.Narrow
}

func describe(name string) string {
	if name == "" {
		return "an alert without a name"
	}
	return fmt.Sprintf("%q", name)
}

func (in *Intake) reconcileOne(ctx context.Context, s Source, t *funnel.TriggerSpec, ask funnel.Reading, f funnel.Firing, out *Reconciled) error {
	name := family(s.Name, f.Group)
	settled, err := in.o.Families.Settled(ctx, name)
	if err != nil {
		return err
	}
	if settled {
		out.Before++
		return nil
	}
	if f.Single {
		have, err := in.o.Families.Family(ctx, name)
		if err != nil {
			return err
		}
		if len(have) > 0 { // it came: there is nothing to read
			_, err := in.o.Families.Reconcile(record.Reconciliation{Family: name, Now: out.At, Settle: true, Decide: func([]record.Kin) []record.Missing { return nil }})
			return err
		}
	}
	var content funnel.Told
	err = s.Readable.call(ctx, func() (err error) { content, err = t.Reader.Read(ctx, s.Readable.Client, ask, f); return err })
	switch {
	case err != nil:
		return err
	case content.NotOurs:
		out.Others++ // asked again next time: the sender's settings may change
		return nil
	}
	return in.takeIn(s, t, f, content, name, out)
}

// takeIn decodes what was read as the trigger decodes deliveries, and stores what
// is missing of it.
func (in *Intake) takeIn(s Source, t *funnel.TriggerSpec, f funnel.Firing, content funnel.Told, name string, out *Reconciled) error {
	if len(content.Bodies) > mostBodies {
		return funnel.Errorf(funnel.Invalid, "it has more than %d rows", mostBodies)
	}
	var all []record.Missing
	var read []told
	for _, body := range content.Bodies {
		more, err := in.decodeRead(s, t, body, out.At, name)
		if err != nil {
			return err
		}
		for _, m := range more {
			k := &m.Event.Kin
			m.Delivery.Reason = "found by reconciliation: no delivery brought it; it fired at " + f.At.UTC().Format(time.RFC3339)
			switch {
			case content.Gone != "":
				k.Likeness, k.Mark = record.LikeNone, ""
				m.Delivery.Reason += "; " + content.Gone
			case f.Single:
				k.Likeness = record.LikeAny
			}
			all, read = append(all, m), append(read, told{k.Key, k.Likeness, k.Mark})
		}
	}
	var unlike int
	var unread bool
	var missing []record.Missing
	decide := func(have []record.Kin) []record.Missing {
		missing, unlike, unread = missing[:0], 0, false
		switch {
		case f.Single && len(have) > 0:
			return nil
		case content.Gone != "":
			arrived := 0
			for _, k := range have {
				if !k.At.Before(f.From) {
					arrived += k.Pushed + k.Found
				}
			}
			lacks := max(f.Count, 1) - arrived
			if unread = lacks <= 0; unread {
				return nil
			}
			for _, m := range all {
				m.Event.Kin.Found = lacks
				missing = append(missing, m)
			}
			return missing
		}
		var lacks []absent
		lacks, unlike = compare(have, read)
		for _, l := range lacks {
			m := all[l.at]
			if m.Same = l.same; l.same != "" {
				m.Delivery.Reason += "; nothing tells it from another row of its alert"
			}
			missing = append(missing, m)
		}
		return missing
	}
	stored, err := in.o.Families.Reconcile(record.Reconciliation{Family: name, Now: out.At, Decide: decide, Settle: !f.Open})
	if err != nil {
		return err
	}
	in.count(s, f, content, missing, stored, out)
	out.Unlike += unlike
	if unread && !f.Open {
		out.Unread++
	}
	in.o.Wake(stored.Runs...)
	return nil
}

func (in *Intake) count(s Source, f funnel.Firing, content funnel.Told, missing []record.Missing, stored record.Reconciled, out *Reconciled) {
	out.Missing += stored.Events
	out.Same += stored.Same
	if content.Gone != "" {
		out.Gone += stored.Events
	}
	if stored.Events+stored.Same == 0 {
		return
	}
	in.o.Log.Warn("alerts never arrived and were read", "source", s.Name, "name", f.Name, "fired", f.At.UTC(), "events", stored.Events, "same", stored.Same, "gone", content.Gone)
	if len(out.Examples) < 10 {
		text := fmt.Sprintf("%s of %s", describe(f.Name), f.At.UTC().Format(time.RFC3339))
		if content.Gone != "" {
			text += ": " + content.Gone
		}
		out.Examples = append(out.Examples, text)
	}
	for _, m := range missing {
		if m.Same == "" {
			in.o.Metrics.Delivery(s.Name, string(record.Accepted))
		} else {
			in.o.Metrics.Delivery(s.Name, string(record.Duplicate))
		}
		if m.Same == "" && m.Event.Event.Disposition == record.Unmatched {
			in.o.Metrics.Unmatched()
		}
	}
}

// decodeRead turns one body that was read into events, as accept does with one
// that was delivered.
func (in *Intake) decodeRead(s Source, t *funnel.TriggerSpec, body []byte, now time.Time, family string) ([]record.Missing, error) {
	limits := schema.Limits{Bytes: max(s.MaxBody, mostRead), FreeKeys: s.freeKeys()}
	if err := schema.Check(body, limits); err != nil {
		return nil, funnel.Errorf(funnel.Invalid, "reading what was told: %w", err)
	}
	found, err := t.Decode(in.request(s, http.Header{}, body, now, true))
	var ignored funnel.Ignored
	if errors.As(err, &ignored) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []record.Missing
	for i, a := range found {
		e := in.event(s, http.Header{}, body, now, arrival{a, t}, i)
		// What is read is not what was delivered: it has a key of its own.
		e.Event.Key = clip(e.Event.Key + ":read")
		e.Kin = record.Kin{Family: family, Key: e.Event.Key, Likeness: a.Kin, Mark: a.Mark, At: now}
		out = append(out, record.Missing{Delivery: record.Delivery{Source: s.Name, ReceivedAt: now, Bytes: len(body)}, Event: e})
	}
	return out, nil
}

// mostRead bounds a body that was read, in bytes: there is no sender to refuse.
const mostRead = 4 << 20

// family names what belongs together within a source.
func family(source, group string) string { return clip(source + ":" + group) }
