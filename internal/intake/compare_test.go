package intake

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/funnelsec/funnel/internal/record"
)

// row is one that a search found; its webhook has another key than what is read
// of it.
type row struct{ likeness, mark, pushed, read string }

// family is a model of what a job found and what became of it.
type model struct {
	rows []row
	have []record.Kin
}

func (m *model) event() int64 { return int64(len(m.have) + 1) }

// deliver has the webhook of the row arrive.
func (m *model) deliver(r row) {
	for i, k := range m.have {
		if k.Key == r.pushed {
			m.have[i].Pushed++
			return
		}
	}
	m.have = append(m.have, record.Kin{Key: r.pushed, Likeness: r.likeness, Mark: r.mark, EventID: m.event(), Pushed: 1})
}

// read compares and takes in what is missing, and returns how much that was.
func (m *model) read() int {
	var list []told
	for _, r := range m.rows {
		list = append(list, told{r.read, r.likeness, r.mark})
	}
	missing, _ := compare(m.have, list)
	for _, a := range missing {
		t := list[a.at]
		if a.same != "" {
			for i, k := range m.have {
				if k.Key == a.same {
					m.have[i].Found++
				}
			}
			continue
		}
		m.have = append(m.have, record.Kin{Key: t.key, Likeness: t.likeness, Mark: t.mark, EventID: m.event(), Found: 1})
	}
	return len(missing)
}

// TestCompareCounts: of rows that can be told apart, those whose webhook never
// arrived are missing, each once, however often others were delivered; a second
// comparison finds nothing.
func TestCompareCounts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 1))
		var m model
		undelivered := 0
		for i := range 1 + random.IntN(12) {
			r := row{likeness: fmt.Sprint("l", random.IntN(4)), mark: fmt.Sprint("t", i), pushed: fmt.Sprint("p", i), read: fmt.Sprint("r", i)}
			m.rows = append(m.rows, r)
			if random.IntN(2) == 0 {
				undelivered++
				continue
			}
			for range 1 + random.IntN(3) { // a source may repeat
				m.deliver(r)
			}
		}
		if n := m.read(); n != undelivered {
			t.Fatalf("seed %d: %d are missing, want %d of %+v with %+v", seed, n, undelivered, m.rows, m.have)
		}
		if n := m.read(); n != 0 {
			t.Fatalf("seed %d: read again, %d are missing", seed, n)
		}
	}
}

// TestCompareTwins: rows that nothing tells apart are counted as a multiset.
func TestCompareTwins(t *testing.T) {
	t.Parallel()
	for delivered := range 4 {
		m := model{}
		for i := range 3 {
			m.rows = append(m.rows, row{likeness: "l", mark: "t", pushed: fmt.Sprint("p", i), read: fmt.Sprint("r", i)})
		}
		for _, r := range m.rows[:delivered] {
			m.deliver(r)
		}
		if n := m.read(); n != 3-delivered {
			t.Errorf("%d of 3 were delivered, and %d are missing", delivered, n)
		}
		if n := m.read(); n != 0 {
			t.Errorf("%d of 3 were delivered; read again, %d are missing", delivered, n)
		}
	}
}

// TestCompareUnlike: a delivery that resembles nothing that was read stands for one
// row, for what is delivered can be read; when there are more rows left than such
// deliveries, all of them are taken in.
func TestCompareUnlike(t *testing.T) {
	t.Parallel()
	rows := []row{{"a", "1", "pa", "ra"}, {"b", "2", "pb", "rb"}}
	strange := row{likeness: "other", mark: "9", pushed: "px"}
	m := model{rows: rows[:1]}
	m.deliver(strange)
	if n := m.read(); n != 0 {
		t.Errorf("one row and one strange delivery: %d are missing", n)
	}
	m = model{rows: rows}
	m.deliver(strange)
	if n := m.read(); n != 2 {
		t.Errorf("two rows and one strange delivery: %d are missing, want both", n)
	}
	m = model{rows: []row{{"a", "", "pa", "ra"}}} // its time cannot be read
	m.deliver(row{likeness: "a", mark: "1", pushed: "pa"})
	if n := m.read(); n != 0 {
		t.Errorf("the same without its mark: %d are missing", n)
	}
}
