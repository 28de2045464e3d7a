package jirafake

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// doc is what search knows of one version of an issue.
type doc struct {
	id      int64
	seq     uint64 // grows with each change of any issue
	visible time.Time
	project *project
	labels  []string // sorted
	status  *status
	created time.Time
}

// index is the search index: changes reach it when their lag is over, not always in order.
type index struct {
	lag     Lag
	rand    *rand.Rand
	seq     uint64
	pending docHeap
	docs    map[int64]*doc
	byLabel map[string]map[int64]struct{}
	ids     []int64              // all indexed issues, ascending, which is also their order of creation
	inside  map[*project][]int64 // the same per project
}

func newIndex(lag Lag, seed uint64) index {
	return index{
		lag: lag, rand: newRand(seed, 3), docs: map[int64]*doc{},
		byLabel: map[string]map[int64]struct{}{}, inside: map[*project][]int64{},
	}
}

func (is *issue) doc() *doc {
	return &doc{id: is.id, project: is.project, labels: is.labels, status: is.status, created: is.created}
}

// put schedules the present state of an issue.
func (x *index) put(now time.Time, is *issue) {
	d := is.doc()
	x.seq++
	d.seq, d.visible = x.seq, now
	if x.lag != nil {
		d.visible = now.Add(max(0, x.lag(x.rand)))
	}
	heap.Push(&x.pending, d)
}

// catchUp applies the changes whose lag is over.
func (x *index) catchUp(now time.Time) {
	for len(x.pending) > 0 && !x.pending[0].visible.After(now) {
		x.apply(heap.Pop(&x.pending).(*doc))
	}
}

func (x *index) apply(d *doc) {
	old := x.docs[d.id]
	switch {
	case old == nil:
		x.ids = insertID(x.ids, d.id)
		x.inside[d.project] = insertID(x.inside[d.project], d.id)
	case old.seq > d.seq:
		return // a later change was faster
	default:
		for _, l := range old.labels {
			delete(x.byLabel[l], d.id)
		}
	}
	x.docs[d.id] = d
	for _, l := range d.labels {
		if x.byLabel[l] == nil {
			x.byLabel[l] = map[int64]struct{}{}
		}
		x.byLabel[l][d.id] = struct{}{}
	}
}

func insertID(ids []int64, id int64) []int64 {
	i, _ := slices.BinarySearch(ids, id)
	return slices.Insert(ids, i, id)
}

// find returns up to limit ids after the given one (0: from the start) in the order of the query, and whether there are
// more. The docs in fresh replace what the index knows.
func (x *index) find(q *query, after int64, limit int, fresh map[int64]*doc) (ids []int64, more bool) {
	for _, id := range x.candidates(q, fresh) {
		if after != 0 && (q.oldest && id <= after || !q.oldest && id >= after) {
			continue
		}
		d := cmp.Or(fresh[id], x.docs[id])
		if d == nil || !q.matches(d) {
			continue
		}
		if len(ids) == limit {
			return ids, true
		}
		ids = append(ids, id)
	}
	return ids, false
}

// candidates returns the ids that may match in the order of the query: those with the rarest label, or all.
func (x *index) candidates(q *query, fresh map[int64]*doc) []int64 {
	var ids []int64
	switch {
	case len(q.labels) > 0:
		rarest := slices.MinFunc(q.labels, func(a, b string) int { return cmp.Compare(len(x.byLabel[a]), len(x.byLabel[b])) })
		for id := range x.byLabel[rarest] {
			ids = append(ids, id)
		}
	case q.project != nil:
		ids = slices.Clone(x.inside[q.project])
	default:
		ids = slices.Clone(x.ids)
	}
	for id := range fresh {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if !q.oldest {
		slices.Reverse(ids)
	}
	return ids
}

// docHeap is ordered by visibility.
type docHeap []*doc

func (h docHeap) Len() int { return len(h) }
func (h docHeap) Less(i, j int) bool {
	if c := h[i].visible.Compare(h[j].visible); c != 0 {
		return c < 0
	}
	return h[i].seq < h[j].seq
}
func (h docHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *docHeap) Push(v any) { *h = append(*h, v.(*doc)) }

// Pop implements heap.Interface.
func (h *docHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return d
}
