package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel/internal/intake"
)

func newAdmission() *admission {
	return &admission{log: slog.New(slog.DiscardHandler), clock: time.Now, lag: func() time.Duration { return 0 }, room: firstRoom}
}

// inVirtualTime runs a test of an admission that nobody has come to yet.
func inVirtualTime(t *testing.T, test func(t *testing.T, ctx context.Context, a *admission)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel() // who is in line goes
		test(t, ctx, newAdmission())
	})
}

// set changes the state while nobody looks.
func set(a *admission, change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// state is a copy of how an admission is at the moment.
type state struct {
	room, all int
	in, line  [pages + 1]int
}

func now(a *admission) (s state) {
	set(a, func() {
		s.room, s.all, s.in = a.room, a.all, a.in
		for c, line := range a.line {
			s.line[c] = len(line)
		}
	})
	return s
}

// untilLook lets the time pass in which somebody looks once, virtually.
func untilLook() {
	time.Sleep(lookRest)
	synctest.Wait()
}

// setLag lets processors be waited for so long from now on.
func setLag(a *admission, lag time.Duration) {
	set(a, func() { a.lag = func() time.Duration { return lag } })
}

// visit is a request that asks to be let in.
type visit struct {
	answer atomic.Pointer[func()] // nil: none yet; noPlace: turned away; else it leaves
	left   bool
}

var noPlace = func() {}

func (v *visit) in() bool {
	leave := v.answer.Load()
	return leave != nil && leave != &noPlace
}

// leave ends a visit that is in, once.
func (v *visit) leave() {
	if v.in() && !v.left {
		v.left = true
		(*v.answer.Load())()
	}
}

// come lets so many requests of the class ask, and returns when each is in, in line or
// turned away.
func come(ctx context.Context, a *admission, c class, n int) (list []*visit) {
	for range n {
		v := &visit{}
		list = append(list, v)
		go func() {
			leave, ok := a.enter(ctx, c)
			if !ok {
				v.answer.Store(&noPlace)
				return
			}
			v.answer.Store(&leave)
		}()
		synctest.Wait() // one after the other
	}
	return list
}

// sum says how many of them are in, in line, and turned away.
func sum(list []*visit) [3]int {
	var n [3]int
	for _, v := range list {
		switch {
		case v.in():
			n[0]++
		case v.answer.Load() == nil:
			n[1]++
		default:
			n[2]++
		}
	}
	return n
}

// TestWhoIsShed: pages are turned away first, then deliveries that are repeated;
// those that nobody repeats have places still, and are the first in line for more.
func TestWhoIsShed(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, ctx context.Context, a *admission) {
		read := come(ctx, a, pages, 100)
		if n := sum(read); n != [3]int{firstRoom / 2, 16, 84 - firstRoom/2} {
			t.Fatalf("pages: %d in, in line, turned away", n)
		}
		again := come(ctx, a, repeated, 200)
		if n := sum(again); n != [3]int{firstRoom / 2, 128, 72 - firstRoom/2} {
			t.Fatalf("repeated deliveries: %d in, in line, turned away", n)
		}
		never := come(ctx, a, once, mostOnce-firstRoom+20)
		if n := sum(never); n != [3]int{mostOnce - firstRoom, 20, 0} {
			t.Fatalf("deliveries that nobody repeats: %d in, in line, turned away", n)
		}
		if v := come(ctx, a, always, 1); !v[0].in() {
			t.Error("what shows how the server does is turned away")
		}
		for _, v := range slices.Concat(read, again) { // all that are in leave
			v.leave()
		}
		synctest.Wait()
		if n, m, o := sum(never), sum(again), sum(read); n != [3]int{mostOnce, 20 - firstRoom, 0} || m[1] != 128 || o[1] != 16 {
			t.Fatalf("with places free: %d, repeated %d, pages %d in, in line, turned away", n, m, o)
		}
		for _, v := range never[:mostOnce-5] { // 5 stay, and so do the 4 in line, who get in
			v.leave()
		}
		synctest.Wait()
		if n, m, o := sum(never), sum(again), sum(read); n[1] != 0 || m[1] != 128-(firstRoom-5-(20-firstRoom)) || o[1] != 16 {
			t.Errorf("at the end: %d, repeated %d, pages %d in, in line, turned away", n, m, o)
		}
	})
}

// TestLineIsBounded: nobody waits for longer than senders do, and not more than
// there is memory for.
func TestLineIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		in := come(t.Context(), a, once, mostOnce)
		most := mostInLine[once]
		line := come(t.Context(), a, once, most+1)
		if n := sum(line); n != [3]int{0, most, 1} {
			t.Fatalf("%d in, in line, turned away", n)
		}
		in[0].leave() // one from the line takes its place
		synctest.Wait()
		if n := sum(line); n != [3]int{1, most - 1, 1} || !line[0].in() {
			t.Fatalf("after one has left: %d in, in line, turned away", n)
		}
		gone, cancel := context.WithCancel(t.Context())
		left := come(gone, a, once, 1)
		cancel()
		synctest.Wait()
		if n := sum(left); n != [3]int{0, 0, 1} || now(a).line[once] != most-1 {
			t.Errorf("who has gone is in line: %d", n)
		}
		time.Sleep(lineFor)
		synctest.Wait()
		if n := sum(line); n != [3]int{1, 0, most} || now(a).line[once] != 0 || now(a).all != mostOnce {
			t.Errorf("after all the time: %d in, in line, turned away; %d are in", n, now(a).all)
		}
	})
}

// TestRoomFollowsTheLag: when processors have to be waited for there is less room for
// those that can come again, but not none, and when it is too small and they need not
// there is more.
func TestRoomFollowsTheLag(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, ctx context.Context, a *admission) {
		look := func(c class) { // a request comes and, if it is let in, goes
			time.Sleep(lookRest)
			come(ctx, a, c, 1)[0].leave()
		}
		for range 3 {
			look(repeated)
		}
		if now(a).room != firstRoom {
			t.Errorf("there is room for %d although nobody wanted more", now(a).room)
		}
		all := come(ctx, a, repeated, 3*firstRoom)
		look(once)
		if now(a).room != firstRoom+2 {
			t.Errorf("after one look there is room for %d", now(a).room)
		}
		for range 30 {
			look(once)
		}
		if n := sum(all); n[0] != len(all) || now(a).room > len(all)+4 {
			t.Errorf("there is room for %d; %d are in, in line, turned away", now(a).room, n)
		}
		all = append(all, come(ctx, a, repeated, mostRoom)...)
		for range 30 {
			look(once)
		}
		if n := sum(all); n[0] != mostRoom || now(a).room != mostRoom {
			t.Errorf("there is room for %d; %d are in, in line, turned away", now(a).room, n)
		}
		setLag(a, longLag+1)
		look(once)
		if now(a).room != mostRoom/2 {
			t.Errorf("with a lag there is room for %d", now(a).room)
		}
		for range 10 {
			look(once)
		}
		if now(a).room != leastRoom {
			t.Errorf("with a long lag there is room for %d, want %d", now(a).room, leastRoom)
		}
		if n := sum(come(ctx, a, once, 100)); n[0] != 100 {
			t.Errorf("with a lag deliveries that nobody repeats: %d in, in line, turned away", n)
		}
		setLag(a, (longLag+shortLag)/2)
		for range 10 {
			look(repeated)
		}
		if now(a).room != leastRoom {
			t.Errorf("with a middling lag there is room for %d", now(a).room)
		}
	})
}

// TestOneALook: while requests are turned away for want of processors there may be no
// room, and one is let in at each look, whether or not anybody comes or leaves; with
// nobody turned away there is a little.
func TestOneALook(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, ctx context.Context, a *admission) {
		setLag(a, longLag+1)
		flood := come(ctx, a, repeated, 2*mostInLine[repeated])
		for range 6 {
			flood = append(flood, come(ctx, a, repeated, 10)...)
			untilLook()
		}
		if now(a).room != 0 {
			t.Fatalf("while requests are turned away there is room for %d", now(a).room)
		}
		if n := sum(flood); n[0] != firstRoom/2 {
			t.Errorf("with no room, while those from before are in: %d in, in line, turned away", n)
		}
		gone := 0
		leave := func() {
			for ; gone < len(flood) && flood[gone].in(); gone++ {
				flood[gone].leave()
			}
		}
		for i := range 5 {
			leave()
			come(ctx, a, repeated, 10) // of whom some are turned away
			untilLook()
			if n := sum(flood)[0]; n != gone+1 {
				t.Fatalf("look %d lets in %d, want 1", i, n-gone)
			}
		}
		if n := sum(come(ctx, a, once, 50)); n[0] != 50 {
			t.Errorf("deliveries that nobody repeats: %d in, in line, turned away", n)
		}
		untilLook() // since the one before nobody was turned away
		untilLook()
		if now(a).room != leastRoom {
			t.Errorf("with nobody turned away there is room for %d, want %d", now(a).room, leastRoom)
		}
	})
}

// TestLongPages: pages that are in and wait for something do not keep deliveries out
// when there is no room.
func TestLongPages(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, ctx context.Context, a *admission) {
		long := come(ctx, a, pages, firstRoom/2)
		time.Sleep(lookRest)
		setLag(a, longLag+1)
		var flood []*visit
		for range 10 {
			flood = append(flood, come(ctx, a, repeated, 2*mostInLine[repeated])...)
			for _, v := range flood {
				v.leave()
			}
			untilLook()
		}
		if n := sum(long); n[0] != len(long) || now(a).room != 0 {
			t.Fatalf("pages: %d in, in line, turned away; there is room for %d", n, now(a).room)
		}
		if n := sum(flood)[0]; n < 5 { // until there is no room some looks let in nobody
			t.Errorf("beside pages that take long %d deliveries were let in, at ten looks", n)
		}
	})
}

// TestPageWithoutRoom: a person's page is let in at a look although there is no room,
// if no delivery waits.
func TestPageWithoutRoom(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, ctx context.Context, a *admission) {
		setLag(a, longLag+1)
		for i := range 10 {
			for _, v := range come(ctx, a, pages, 2*firstRoom) { // more than the line holds
				v.leave()
			}
			before := now(a).line[pages]
			untilLook()
			s := now(a)
			if n := before - s.line[pages]; i > 5 && (s.room != 0 || n != 1 || s.in[pages] != 1) {
				t.Fatalf("look %d: room for %d, %d pages let in, %d in", i, s.room, n, s.in[pages])
			}
			for range s.in[pages] {
				a.leave(pages)
			}
		}
		setLag(a, longLag)
		set(a, func() { a.room = 1 })
		come(ctx, a, pages, 2*firstRoom)
		untilLook()
		if s := now(a); s.room != 1 || s.in[pages] != 1 {
			t.Errorf("with room for %d, %d pages are in, want 1", s.room, s.in[pages])
		}
		setLag(a, longLag+1)
		set(a, func() { a.room, a.all, a.in[pages] = 0, mostRoom/2, mostRoom/2 })
		come(ctx, a, pages, 2*firstRoom)
		untilLook()
		if s := now(a); s.room != 0 || s.in[pages] != mostRoom/2 {
			t.Errorf("beside %d pages another is let in; there is room for %d", mostRoom/2, s.room)
		}
	})
}

// TestLag: what waits for a processor is seen, once.
func TestLag(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	l := newLag()
	var all sync.WaitGroup
	for range 256 { // each waits for all before it, some of them for 256 ms
		all.Go(func() {
			for began := time.Now(); time.Since(began) < time.Millisecond; {
			}
		})
	}
	all.Wait()
	worst := l.worst()
	if worst < 100*time.Millisecond {
		t.Errorf("256 who wait for one processor waited %v", worst)
	}
	if again := l.worst(); again >= worst {
		t.Errorf("what was seen is seen again: %v", again)
	}
}

// slow is an intake whose deliveries end when it is told.
type slow struct {
	*house
	begun, end chan struct{}
}

func (s slow) Receive(context.Context, intake.Request) (intake.Result, error) {
	s.begun <- struct{}{}
	<-s.end
	return intake.Result{}, nil
}

func (s slow) Repeated(source string) bool { return source == "again" }

// TestShedAnswer: who is turned away hears when to come again, before the body is
// read; health is told all the time.
func TestShedAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := slow{nil, make(chan struct{}, 1000), make(chan struct{})}
		house := newHouse(t, func(o *Options) { o.Intake = s })
		setLag(house.server.admission, 0) // not that of the machine
		handler := house.handler
		deliver := func(source string) {
			go handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://funnel.example.com/hooks/"+source, strings.NewReader("{}")))
			synctest.Wait()
		}
		for range firstRoom + mostInLine[repeated] {
			deliver("again")
		}
		for range mostInLine[pages] {
			go handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "https://funnel.example.com/", nil))
			synctest.Wait()
		}
		for target, want := range map[string]int{"POST /hooks/again": 503, "GET /api/v1/runs": 503, "GET /healthz": 200} {
			method, path, _ := strings.Cut(target, " ")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(method, "https://funnel.example.com"+path, notRead{t}))
			if w.Code != want || (want == 503) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("%s: %d, Retry-After %q", target, w.Code, w.Header().Get("Retry-After"))
			}
		}
		deliver("once")
		if n := len(s.begun); n != firstRoom+1 {
			t.Errorf("%d deliveries are worked on, want %d that are repeated and the one that is not", n, firstRoom)
		}
		close(s.end)
	})
}

// TestReservedDisk: when hardly any space is left, deliveries that are repeated are
// turned away before their bodies are read, and nobody else is.
func TestReservedDisk(t *testing.T) {
	t.Parallel()
	s := slow{nil, make(chan struct{}, 10), make(chan struct{})}
	close(s.end)
	reserved := true
	handler := newHouse(t, func(o *Options) { o.Intake, o.Reserved = s, func() bool { return reserved } }).handler
	ask := func(method, path string, body io.Reader) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, "https://funnel.example.com"+path, body))
		return w
	}
	if w := ask(http.MethodPost, "/hooks/again", notRead{t}); w.Code != 503 || w.Header().Get("Retry-After") != "60" || !strings.Contains(w.Body.String(), "nearly full") {
		t.Errorf("one that is repeated: %d, Retry-After %q, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	ask(http.MethodPost, "/hooks/once", strings.NewReader("{}"))
	if len(s.begun) != 1 {
		t.Error("one that nobody repeats is turned away")
	}
	if w := ask(http.MethodGet, "/healthz", nil); w.Code != 200 {
		t.Errorf("health is answered %d", w.Code)
	}
	reserved = false
	if ask(http.MethodPost, "/hooks/again", strings.NewReader("{}")); len(s.begun) != 2 {
		t.Error("with space again, one that is repeated is turned away")
	}
}

// notRead is a body that must not be read.
type notRead struct{ t *testing.T }

func (u notRead) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, http.ErrBodyReadAfterClose
}
