package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

// mostCalls is how many calls of a connection are kept at most to keep to its
// rate. A higher rate is kept to in parts: 500 in the time that 500 may take.
const mostCalls = 500

// call is one to a connection that counts still, for all nodes.
type call struct {
	ID    int64  `json:"i"`
	Node  string `json:"n"`
	Start int64  `json:"s"` // database time in microseconds
	End   int64  `json:"e"` // 0: under way
}

// gateRow is what all nodes together have used of a connection's bounds.
type gateRow struct {
	calls       []call
	day, used   int64
	paused      int64
	pausedWhy   string
	now         int64
	nextID      int64
	rate        int
	per, length int64
}

// TakeToken lets a call to a connection start within bounds that hold for all
// nodes together, by the database's time. In whatever time of the length Per one
// looks at, at most Rate calls are under way, as in package upstream: a call
// counts until Per after its end, and one that is not given back is taken for
// ended after Longest.
func (s *Store) TakeToken(q record.TokenRequest) (out record.Token, err error) {
	if s.pg == nil {
		return out, record.ErrEmbedded
	}
	err = s.do(func(t *tx) error {
		g, err := lockGate(t, q.Connection)
		if err != nil {
			return err
		}
		if q.Lease > 0 {
			alive, err := t.names("SELECT id FROM node WHERE seen_at > "+databaseNow+" - ?", q.Lease.Microseconds())
			if err != nil {
				return err
			}
			g.end(alive)
		}
		g.bound(q)
		if out = g.refuse(q); out.Why != "" {
			return nil
		}
		g.nextID++
		g.calls = append(g.calls, call{ID: g.nextID, Node: q.Node, Start: g.now})
		g.used++
		out = record.Token{Granted: true, ID: g.nextID}
		return g.put(t, q.Connection)
	})
	return out, err
}

// GiveToken ends a call.
func (s *Store) GiveToken(e record.Ended) error {
	return s.do(func(t *tx) error {
		g, err := lockGate(t, e.Connection)
		if err != nil {
			return err
		}
		for i, c := range g.calls {
			if c.ID != e.ID {
				continue
			}
			if e.Unused {
				g.calls = append(g.calls[:i], g.calls[i+1:]...)
				g.used = max(g.used-1, 0)
			} else {
				g.calls[i].End = g.now
			}
			break
		}
		if until := micros(e.PausedUntil); until > g.paused {
			g.paused, g.pausedWhy = until, e.PausedWhy
		}
		return g.put(t, e.Connection)
	})
}

func lockGate(t *tx, connection string) (*gateRow, error) {
	if err := t.exec("INSERT INTO gate (connection, calls, day, used, paused_until, paused_why) VALUES (?, '[]', 0, 0, 0, '') ON CONFLICT DO NOTHING", connection); err != nil {
		return nil, err
	}
	var g gateRow
	var calls string
	if _, err := t.get("SELECT calls, day, used, paused_until, paused_why, "+databaseNow+" FROM gate WHERE connection = ? FOR UPDATE", []any{connection},
		&calls, &g.day, &g.used, &g.paused, &g.pausedWhy, &g.now); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(calls), &g.calls); err != nil {
		return nil, fmt.Errorf("reading the calls to %s: %w", connection, err)
	}
	for _, c := range g.calls {
		g.nextID = max(g.nextID, c.ID)
	}
	g.nextID = max(g.nextID, g.now) // an id is not used twice
	return &g, nil
}

// end takes the calls of nodes that are not heard of for ended: their leases are
// over, and their requests with them.
func (g *gateRow) end(alive []string) {
	for i, c := range g.calls {
		if c.End == 0 && !slices.Contains(alive, c.Node) {
			g.calls[i].End = g.now
		}
	}
}

// bound forgets what no longer counts.
func (g *gateRow) bound(q record.TokenRequest) {
	g.rate, g.per, g.length = q.Rate, q.Per.Microseconds(), q.Longest.Microseconds()
	if g.rate > mostCalls {
		g.per = max(g.per*mostCalls/int64(g.rate), 1)
		g.rate = mostCalls
	}
	kept := g.calls[:0]
	for _, c := range g.calls {
		if c.End == 0 && c.Start+g.length <= g.now {
			c.End = c.Start + g.length
		}
		if c.End == 0 || g.rate > 0 && c.End+g.per > g.now {
			kept = append(kept, c)
		}
	}
	g.calls = kept
	if day := g.now / (24 * time.Hour).Microseconds(); day > g.day {
		g.day, g.used = day, 0
	}
}

// refuse says why no call may start, and until when.
func (g *gateRow) refuse(q record.TokenRequest) record.Token {
	inside, soonest := 0, int64(0)
	for _, c := range g.calls {
		switch {
		case c.End == 0:
			inside++
		case soonest == 0 || c.End < soonest:
			soonest = c.End
		}
	}
	poll := g.now + (500 * time.Millisecond).Microseconds()
	no := func(until int64, why string) record.Token {
		return record.Token{Wait: time.Duration(max(until-g.now, 0)) * time.Microsecond, Until: fromMicros(until), Why: why}
	}
	switch {
	case g.paused > g.now:
		return no(g.paused, g.pausedWhy)
	case q.Daily > 0 && g.used >= int64(q.Daily):
		return no((g.day+1)*(24*time.Hour).Microseconds(), fmt.Sprintf("the quota of %d calls a day is used up", q.Daily))
	case q.Concurrency > 0 && inside >= q.Concurrency:
		return no(poll, fmt.Sprintf("all %d places are taken by the nodes together", q.Concurrency))
	case g.rate > 0 && len(g.calls) >= g.rate && soonest == 0:
		return no(poll, "the rate is used up by calls under way")
	case g.rate > 0 && len(g.calls) >= g.rate:
		return no(soonest+g.per, fmt.Sprintf("the rate of %d calls per %s is used up by the nodes together", q.Rate, q.Per))
	}
	return record.Token{}
}

func (g *gateRow) put(t *tx, connection string) error {
	raw, err := json.Marshal(g.calls)
	if err != nil {
		return err
	}
	return t.exec("UPDATE gate SET calls = ?, day = ?, used = ?, paused_until = ?, paused_why = ? WHERE connection = ?", string(raw), g.day, g.used, g.paused, g.pausedWhy, connection)
}
