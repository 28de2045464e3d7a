package observables

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sample is a case of the corpus.
type sample struct {
	line  int
	text  string
	want  []string // "kind value"
	known bool     // known to be found wrong
}

func corpus(t testing.TB) []sample {
	t.Helper()
	f, err := os.Open("testdata/corpus.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []sample
	open, lines := false, bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		mark, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			open = false
		case !open && mark == "#":
		case !open && (mark == ">" || mark == "?"):
			list, open = append(list, sample{line: n, text: rest, known: mark == "?"}), true
		case !open && mark == ">>":
			text, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("corpus.txt:%d: %v", n, err)
			}
			list, open = append(list, sample{line: n, text: text}), true
		case open:
			last := &list[len(list)-1]
			last.want = append(last.want, line)
		default:
			t.Fatalf("corpus.txt:%d: a case begins with >", n)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// The corpus is found as an analyst would, but for the cases that are known.
// Precision is the share of what is found that is wanted, recall the share of
// what is wanted that is found.
func TestCorpus(t *testing.T) {
	t.Parallel()
	const leastCases, precisionFloor, recallFloor = 150, 0.97, 0.99
	cases := corpus(t)
	if len(cases) < leastCases {
		t.Errorf("the corpus has %d cases, want at least %d", len(cases), leastCases)
	}
	right, found, wanted := 0, 0, 0
	for _, c := range cases {
		var got []string
		for _, h := range Extract(c.text) {
			got = append(got, string(h.Kind)+" "+h.Value)
		}
		left := slices.Clone(c.want)
		for _, g := range got {
			if k := slices.Index(left, g); k >= 0 {
				left = slices.Delete(left, k, k+1)
				right++
			}
		}
		found, wanted = found+len(got), wanted+len(c.want)
		switch same := slices.Equal(got, c.want); {
		case !same && !c.known:
			t.Errorf("corpus.txt:%d: in %q\nthere is\n  %s\nwant\n  %s", c.line, c.text, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		case same && c.known:
			t.Errorf("corpus.txt:%d is found as it should be: write > instead of ?", c.line)
		}
	}
	precision, recall := float64(right)/float64(found), float64(right)/float64(wanted)
	fmt.Printf("observables in free text: %d cases, %d observables, precision %.3f, recall %.3f\n", len(cases), wanted, precision, recall)
	if precision < precisionFloor || recall < recallFloor {
		t.Errorf("precision %.3f and recall %.3f, want at least %.3f and %.3f", precision, recall, precisionFloor, recallFloor)
	}
}
