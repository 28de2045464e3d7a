package engine

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/funnelsec/funnel"
)

// Whatever steps do, a question has one asker, and nobody waits for a question that
// nobody asks: who is told to wait is woken by the end of what it waits for, or is
// made the asker when the asker leaves.
func TestFlights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := newFlights()
		asking, waiting := map[string]turn{}, map[turn]string{} // the model: who asks, and what each step waits for
		failed := map[turn]string{}                             // the failure that a woken step has to find
		steps := rapid.Custom(func(t *rapid.T) turn {
			return turn{int64(rapid.IntRange(1, 4).Draw(t, "run")), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "path")}
		})
		names := rapid.SampledFrom([]string{"x", "y"})
		leave := func(name string) (heir turn) { // the asker goes
			delete(asking, name)
			for w, on := range waiting {
				if on == name && (heir.run == 0 || w.run < heir.run || w.run == heir.run && w.path < heir.path) {
					heir = w
				}
			}
			if heir.run != 0 {
				asking[name] = heir
				delete(waiting, heir)
			}
			return heir
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				s, name := steps.Draw(t, "step"), names.Draw(t, "name")
				heir := turn{}
				if on, waits := waiting[s]; waits && on != name { // its playbook changed its mind
					delete(waiting, s)
				}
				for on, asker := range asking {
					if asker == s && on != name {
						heir = leave(on)
					}
				}
				mine, err, woken := f.take(name, s)
				if woken != heir.run {
					t.Fatalf("%v leaves its question to %d, want %d", s, woken, heir.run)
				}
				if err != nil {
					if failed[s] != name {
						t.Fatalf("%v gets %v for %s, which is the failure of %q", s, err, name, failed[s])
					}
					delete(failed, s)
					return
				}
				if failed[s] == name {
					t.Fatalf("%v does not get the failure of %s", s, name)
				}
				delete(failed, s)
				asker, open := asking[name]
				switch {
				case !open:
					asking[name], asker = s, s
				case asker != s:
					waiting[s] = name
				}
				if mine != (asker == s) {
					t.Fatalf("%v may ask %s: %t, but %v asks", s, name, mine, asker)
				}
			},
			"end": func(t *rapid.T) {
				s, name, fails := steps.Draw(t, "step"), names.Draw(t, "name"), rapid.Bool().Draw(t, "fails")
				var err *funnel.Error
				if fails {
					err = funnel.Errorf(funnel.Invalid, "no")
				}
				woken := f.end(name, s, err)
				want := []int64{}
				if asking[name] == s {
					delete(asking, name)
					for w, on := range waiting {
						if on == name {
							want = append(want, w.run)
							delete(waiting, w)
							if fails {
								failed[w] = name
							}
						}
					}
				}
				slices.Sort(want)
				if want = slices.Compact(want); !slices.Equal(woken, want) {
					t.Fatalf("the end of %s by %v wakes %v, want %v", name, s, woken, want)
				}
			},
			"leave": func(t *rapid.T) {
				run := int64(rapid.IntRange(1, 4).Draw(t, "run"))
				heirs := f.leave(run)
				for w := range waiting {
					if w.run == run {
						delete(waiting, w)
					}
				}
				for s := range failed {
					if s.run == run {
						delete(failed, s)
					}
				}
				want := []int64{}
				for name, asker := range asking {
					if asker.run != run {
						continue
					}
					if heir := leave(name); heir.run != 0 {
						want = append(want, heir.run)
					}
				}
				slices.Sort(heirs)
				slices.Sort(want)
				if !slices.Equal(heirs, want) {
					t.Fatalf("run %d leaves to %v, want %v", run, heirs, want)
				}
			},
			"": func(t *rapid.T) {
				open := map[string]turn{}
				for name, q := range f.open {
					open[name] = q.asker
				}
				if fmt.Sprint(open) != fmt.Sprint(asking) {
					t.Fatalf("asking are %v, want %v", open, asking)
				}
				n := 0
				for _, places := range f.steps {
					n += len(places)
				}
				if want := len(asking) + len(waiting) + len(failed); n != want {
					t.Fatalf("%d steps are remembered, want %d", n, want)
				}
			},
		})
	})
}
