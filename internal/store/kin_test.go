package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// kinOf is an event of a family, as a delivery brings it.
func kinOf(key, likeness, mark string) record.NewEvent {
	e := newEvent(key, "p")
	e.Kin = record.Kin{Family: "f", Key: key, Likeness: likeness, Mark: mark, At: at(0)}
	return e
}

// reads stores that a thing was read and not delivered.
func (f *fixture) reads(key, likeness, mark string) record.Reconciled {
	f.Helper()
	out, err := f.db.Reconcile(record.Reconciliation{Family: "f", Now: at(1), Decide: func([]record.Kin) []record.Missing {
		return []record.Missing{{Delivery: record.Delivery{Source: "s", ReceivedAt: at(1)}, Event: kinOf(key, likeness, mark)}}
	}})
	f.must(err)
	return out
}

// checkKin: what was read first and is delivered later, or the other way round, is
// one event.
func checkKin(f *fixture) {
	first, duplicate, runs, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, kinOf("a", "like", "1"))
	f.must(err)
	f.want("a delivery is new", duplicate, false)
	f.want("its runs", len(runs), 1)
	again, duplicate, _, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(0)}, kinOf("a", "like", "1"))
	f.must(err)
	f.want("the same again", duplicate && again == first, true)

	out := f.reads("b:read", "like", "2")
	f.want("what was read is new", out.Events, 1)
	f.want("its runs", len(out.Runs), 1)
	have, err := f.db.Family(f.Context(), "f")
	f.must(err)
	f.want("the family", len(have), 2)
	f.want("how often the first was delivered", have[0].Pushed, 2)
	f.want("how often the second was read", have[1].Found, 1)

	late, duplicate, runs, err := f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(2)}, kinOf("b", "like", "2"))
	f.must(err)
	f.want("delivered late", duplicate && late == have[1].EventID && len(runs) == 0, true)
	_, duplicate, _, err = f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(2)}, kinOf("c", "like", "2"))
	f.must(err)
	f.want("another of the same likeness, when the one that was read has come", duplicate, false)
	_, duplicate, _, err = f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(2)}, kinOf("d", "other", "2"))
	f.must(err)
	f.want("one of another likeness", duplicate, false)

	out = f.reads("whatever:read", record.LikeAny, "")
	f.want("of a single alert", out.Events, 1)
	_, duplicate, _, err = f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(2)}, kinOf("e", "unheard of", "7"))
	f.must(err)
	f.want("whatever is delivered for it is it", duplicate, true)
	out = f.reads("gone:read", record.LikeNone, "")
	f.want("of one without content", out.Events, 1)
	_, duplicate, _, err = f.db.Accept(record.Delivery{Source: "s", ReceivedAt: at(2)}, kinOf("g", "", ""))
	f.must(err)
	f.want("nothing that is delivered is it", duplicate, false)

	settled, err := f.db.Settled(f.Context(), "f")
	f.must(err)
	f.want("settled before", settled, false)
	_, err = f.db.Reconcile(record.Reconciliation{Family: "f", Now: at(3), Settle: true, Decide: func([]record.Kin) []record.Missing { return nil }})
	f.must(err)
	settled, err = f.db.Settled(f.Context(), "f")
	f.must(err)
	f.want("settled", settled, true)

	for gone := int64(1); gone > 0; {
		gone, err = f.db.ForgetKin(at(100), 2)
		f.must(err)
	}
	have, err = f.db.Family(f.Context(), "f")
	f.must(err)
	f.want("forgotten", len(have), 0)
}

// TestReadAndDeliveredAtOnce: a delivery of the moment in which its alert is read
// comes before or after, and there is one event.
func TestReadAndDeliveredAtOnce(t *testing.T) {
	t.Parallel()
	url := postgres.Database(t)
	one, other := openShared(t, url), openShared(t, url)
	for i := range 100 {
		key := words("k", i)
		var both sync.WaitGroup
		var read record.Reconciled
		var duplicate bool
		event := func(key string) record.NewEvent {
			e := kinOf(key, "like", "1")
			e.Kin.Family = words("f", i)
			return e
		}
		both.Go(func() {
			var err error
			read, err = one.Reconcile(record.Reconciliation{Family: words("f", i), Now: at(1), Decide: func(have []record.Kin) []record.Missing {
				if len(have) > 0 {
					return nil
				}
				return []record.Missing{{Delivery: record.Delivery{Source: "s", ReceivedAt: at(1)}, Event: event(key + ":read")}}
			}})
			if err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			var err error
			if _, duplicate, _, err = other.Accept(record.Delivery{Source: "s", ReceivedAt: at(1)}, event(key)); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if events := read.Events; duplicate == (events == 0) {
			t.Fatalf("round %d: the delivery is a duplicate: %v, and %d events were read: want one event in all", i, duplicate, events)
		}
	}
}

// TestDuty: one node does it at a time, and another when that one is not heard of.
func TestDuty(t *testing.T) {
	t.Parallel()
	s := openShared(t, postgres.Database(t))
	take := func(who string, lasts time.Duration) bool {
		t.Helper()
		ok, err := s.TakeDuty("d", who, lasts)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !take("a", time.Hour) || take("b", time.Hour) || !take("a", time.Microsecond) {
		t.Fatal("the duty is not that of the one who has it")
	}
	if !take("b", time.Hour) || take("a", time.Hour) {
		t.Error("a duty whose time is over does not pass on")
	}
	if err := s.LeaveDuty("d", "b"); err != nil || !take("a", time.Hour) {
		t.Errorf("a duty that was given back does not pass on (%v)", err)
	}
}
