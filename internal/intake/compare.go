package intake

import (
	"github.com/funnelsec/funnel/internal/record"
)

// told is one thing that was read: what is compared of it.
type told struct{ key, likeness, mark string }

// absent is a told that was not delivered: its place in the list, and the key of
// the kin that it cannot be told apart from, if there is one.
type absent struct {
	at   int
	same string
}

// compare returns which of the things that were read of a family never arrived.
// The two are compared as multisets by their likeness, for what is read has
// other bookkeeping than what is delivered; within a likeness by the mark, so
// that a repeated delivery of one does not stand for another that differs in its
// time only. unlike is how many deliveries resemble nothing that was read: they
// are held against what is left, one for one, for everything that is delivered is
// something that can be read; if that does not explain all that is left, all of it
// is taken in, for a lost alert is worse than a repeated one.
func compare(have []record.Kin, read []told) (missing []absent, unlike int) {
	type place struct{ likeness, mark string }
	type spot struct {
		accounted, events int
		first             string          // the key of the first event
		keys              map[string]bool // of the events
	}
	spots := map[place]*spot{}
	at := func(p place) *spot {
		s := spots[p]
		if s == nil {
			s = &spot{keys: map[string]bool{}}
			spots[p] = s
		}
		return s
	}
	seen := map[int64]bool{} // a delivery that came after it was read has kin, but no event of its own
	for _, k := range have {
		s := at(place{k.Likeness, k.Mark})
		s.accounted += k.Pushed + k.Found
		s.keys[k.Key] = true
		if !seen[k.EventID] {
			s.events++
		}
		seen[k.EventID] = true
		if s.first == "" {
			s.first = k.Key
		}
	}

	rows := map[place][]int{}
	var order []place
	for i, r := range read {
		p := place{r.likeness, r.mark}
		if rows[p] == nil {
			order = append(order, p)
		}
		rows[p] = append(rows[p], i)
	}
	for _, p := range order {
		missing = append(missing, lacking(rows[p], read, at(p).accounted, at(p).events, at(p).first, at(p).keys)...)
	}

	// Deliveries that stand beside everything that was read.
	loose, blank := map[string]int{}, map[string]int{} // by likeness; blank are those without a mark
	for p, s := range spots {
		if len(rows[p]) > 0 || s.events == 0 || p.likeness == record.LikeNone {
			continue
		}
		unlike += s.events
		if loose[p.likeness] += s.events; p.mark == "" {
			blank[p.likeness] += s.events
		}
	}
	var left []absent
	for _, m := range missing {
		r := read[m.at]
		if r.mark == "" && loose[r.likeness] > 0 || blank[r.likeness] > 0 { // one of the two has no mark
			loose[r.likeness]--
			blank[r.likeness] = max(blank[r.likeness]-1, 0)
			unlike--
			continue
		}
		left = append(left, m)
	}
	if unlike >= len(left) {
		return nil, unlike
	}
	return left, unlike
}

// lacking returns which of the rows, all of one likeness and mark, are missing.
// Of those that nothing tells apart there is one event.
func lacking(rows []int, read []told, accounted, events int, first string, keys map[string]bool) (missing []absent) {
	kinds := map[string]bool{}
	for _, i := range rows {
		kinds[read[i].key] = true
	}
	fresh := len(kinds) - events // how many new events there may be
	for n := len(rows) - accounted; n > 0; {
		took := false
		for _, i := range rows { // those that were not read before
			if key := read[i].key; n > 0 && fresh > 0 && !keys[key] {
				keys[key] = true
				fresh, n, took = fresh-1, n-1, true
				missing = append(missing, absent{at: i})
				if first == "" {
					first = key
				}
			}
		}
		if took {
			continue
		}
		for ; n > 0; n-- {
			missing = append(missing, absent{at: rows[len(rows)-1], same: first})
		}
	}
	return missing
}
