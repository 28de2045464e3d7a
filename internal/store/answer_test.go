package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funnelsec/funnel/internal/record"
)

func kept(t *testing.T, s *Store, lookup string) bool {
	t.Helper()
	_, err := s.Answer(t.Context(), "c", lookup)
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// The kept answers keep to their bounds: what has expired goes, then what would
// expire next.
func TestAnswersAreTrimmed(t *testing.T) {
	t.Parallel()
	s := opened(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 100 {
		a := record.Answer{Connection: "c", Lookup: fmt.Sprint(i), AskedAt: now, ExpiresAt: now.Add(time.Duration(i) * time.Minute), Outcome: []byte(strings.Repeat("x", 100))}
		if _, err := s.Commit(record.Change{Answer: &a}); err != nil {
			t.Fatal(err)
		}
	}
	trim := func(minutes, most int, size int64) {
		t.Helper()
		if err := s.writer.do(func(t *tx) error { return trimAnswers(t, now.Add(time.Duration(minutes)*time.Minute), most, size) }); err != nil {
			t.Fatal(err)
		}
	}
	first := func() int {
		t.Helper()
		first := 0
		for first < 100 && !kept(t, s, fmt.Sprint(first)) {
			first++
		}
		for i := first; i < 100; i++ {
			if !kept(t, s, fmt.Sprint(i)) {
				t.Errorf("answer %d is gone and an older one is kept", i)
			}
		}
		return first
	}
	trim(19, 1000, 1<<20)
	if n := first(); n != 20 {
		t.Errorf("after 19 minutes the first that is kept is %d, want 20", n)
	}
	trim(19, 50, 1<<20)
	if n := first(); n != 50 {
		t.Errorf("with room for 50 the first that is kept is %d, want 50", n)
	}
	trim(19, 50, 2000)
	if n := first(); n < 80 || n > 90 {
		t.Errorf("with room for 2,000 bytes the first that is kept is %d, want 80 or little more", n)
	}
}

// Trimming happens by itself, and a flood of answers stays within the bounds.
func TestAnswersStayBounded(t *testing.T) {
	t.Parallel()
	s := opened(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	put := func(i int, asked time.Time) {
		a := record.Answer{Connection: "c", Lookup: fmt.Sprint(i), AskedAt: asked, ExpiresAt: asked.Add(time.Minute), Outcome: []byte("x")}
		if _, err := s.Commit(record.Change{Answer: &a}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range trimEvery - 1 {
		put(i, now)
	}
	if !kept(t, s, "0") {
		t.Fatal("an answer is gone before its time")
	}
	put(trimEvery, now.Add(time.Minute))
	if kept(t, s, "0") || !kept(t, s, fmt.Sprint(trimEvery)) {
		t.Error("what has expired was not dropped, or too much was")
	}
	large := record.Answer{Connection: "c", Lookup: "large", AskedAt: now, ExpiresAt: now.Add(time.Hour), Outcome: []byte(strings.Repeat("x", largestAnswer+1))}
	if _, err := s.Commit(record.Change{Answer: &large}); err != nil || kept(t, s, "large") {
		t.Errorf("a large answer is kept, error %v", err)
	}
}
