package engine

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Who wants to be alone waits until the others have gone, holds newcomers back, and
// is joined when it takes too long; nobody waits for it then.
func TestCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c company
		var mu sync.Mutex
		var log []string
		begin := time.Now()
		member := func(name string, alone bool, stays time.Duration) {
			leave, _ := c.enter(alone, 5*time.Second)
			mu.Lock()
			log = append(log, name+" "+time.Since(begin).String())
			mu.Unlock()
			time.Sleep(stays)
			leave()
		}
		at := func(after time.Duration, name string, alone bool, stays time.Duration) {
			go func() { time.Sleep(after); member(name, alone, stays) }()
		}
		at(0, "first", false, 3*time.Second)
		at(time.Second, "slow suspect", true, time.Minute)  // waits for the first
		at(2*time.Second, "newcomer", false, 2*time.Second) // waits for both suspects
		at(4*time.Second, "suspect", true, 2*time.Second)   // waits for the slow one, 5 s
		at(20*time.Second, "late suspect", true, time.Second)
		at(20*time.Second+1, "last", false, time.Second)
		at(30*time.Second, "slow", false, time.Minute)
		at(31*time.Second, "third suspect", true, time.Second) // does not wait for the slow one for ever
		at(32*time.Second, "guest", false, time.Second)
		time.Sleep(2 * time.Minute)
		want := []string{"first 0s", "slow suspect 3s", "suspect 8s", "newcomer 10s", "late suspect 20s", "last 21s", "slow 30s", "third suspect 36s", "guest 37s"}
		if !slices.Equal(log, want) {
			t.Errorf("they began so: %s\nwant: %s", strings.Join(log, ", "), strings.Join(want, ", "))
		}
		if c.alone || len(c.present)+c.wanting != 0 {
			t.Errorf("at the end: alone %v, %d present, %d waiting", c.alone, len(c.present), c.wanting)
		}
	})
}
