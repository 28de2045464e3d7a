package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funnelsec/funnel/internal/intake"
)

func newAdmission() *admission {
	return &admission{log: slog.New(slog.DiscardHandler), clock: time.Now, room: mostRepeated}
}

// fill lets in as many of the class as there is room for.
func fill(t *testing.T, a *admission, c class, most int) (leave []func()) {
	t.Helper()
	for range most {
		l, ok := a.enter(t.Context(), c)
		if !ok {
			break
		}
		leave = append(leave, l)
	}
	return leave
}

// TestWhoIsShed: pages are turned away first, then deliveries that are repeated;
// those that nobody repeats have room still, and then wait.
func TestWhoIsShed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		if n := len(fill(t, a, pages, 10_000)); n != mostPages {
			t.Errorf("%d pages are let in", n)
		}
		fill(t, a, repeated, 10_000)
		if a.in != mostRepeated {
			t.Errorf("with repeated ones there are %d", a.in)
		}
		leave := fill(t, a, once, mostOnce-mostRepeated)
		if a.in != mostOnce || len(a.line) != 0 {
			t.Fatalf("%d are in, %d in line", a.in, len(a.line))
		}
		in := make(chan bool, 1)
		go func() {
			l, ok := a.enter(t.Context(), once)
			in <- ok
			l()
		}()
		synctest.Wait()
		if a.in != mostOnce || len(a.line) != 1 {
			t.Fatalf("%d are in, %d in line, want one in line", a.in, len(a.line))
		}
		for _, c := range []class{repeated, pages} {
			if _, ok := a.enter(t.Context(), c); ok {
				t.Errorf("%v overtakes who is in line", c)
			}
		}
		if _, ok := a.enter(t.Context(), always); !ok {
			t.Error("what shows how the server does is turned away")
		}
		leave[0]()
		if !<-in {
			t.Error("who was in line is turned away although there is room")
		}
		for _, l := range leave[1:] {
			l()
		}
		if _, ok := a.enter(t.Context(), pages); ok {
			t.Error("a page is let in although there are as many as may be")
		}
	})
}

// TestLineIsBounded: nobody waits for longer than senders do, and not more than
// there is memory for.
func TestLineIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		leave := fill(t, a, once, mostOnce)
		ended := make(chan bool, mostInLine)
		for range mostInLine {
			go func() { _, ok := a.enter(t.Context(), once); ended <- ok }()
		}
		synctest.Wait()
		if _, ok := a.enter(t.Context(), once); ok || len(a.line) != mostInLine {
			t.Errorf("%d are in line, and one more is let in: %v", len(a.line), ok)
		}
		gone, cancel := context.WithCancel(t.Context())
		leave[0]() // one from the line takes its place
		go func() { _, ok := a.enter(gone, once); ended <- ok }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(a.line) != mostInLine-1 {
			t.Errorf("who has gone is in line: %d", len(a.line))
		}
		time.Sleep(lineFor)
		synctest.Wait()
		admitted := 0
		for range mostInLine + 1 {
			if <-ended {
				admitted++
			}
		}
		if admitted != 1 || len(a.line) != 0 || a.in != mostOnce {
			t.Errorf("%d of the line were let in, %d wait still, %d are in", admitted, len(a.line), a.in)
		}
	})
}

// TestRoomFollowsTheTime: when requests take long there is less room for those that
// can come again, but not none, and when they do not there is room again.
func TestRoomFollowsTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		for range 30 {
			leave := fill(t, a, repeated, 10_000)
			time.Sleep(2 * longTaken)
			for _, l := range leave {
				l()
			}
		}
		if n := len(fill(t, a, repeated, 10_000)); n != fewest {
			t.Errorf("there is room for %d, want %d", n, fewest)
		}
		if leave := fill(t, a, once, mostOnce-fewest); len(leave) != mostOnce-fewest {
			t.Errorf("deliveries that nobody repeats have room for %d", len(leave))
		}
		a = newAdmission()
		a.room = fewest
		for range 30 {
			for _, l := range fill(t, a, repeated, 10_000) {
				time.Sleep(time.Millisecond)
				l()
			}
		}
		if a.room <= fewest {
			t.Errorf("there is room for %d although requests do not take long", a.room)
		}
	})
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
	s := slow{nil, make(chan struct{}, mostRepeated), make(chan struct{})}
	h := newHouse(t, func(o *Options) { o.Intake = s })
	handler := h.handler
	for range mostRepeated {
		go func() {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://funnel.example.com/hooks/again", strings.NewReader("{}")))
		}()
	}
	for range mostRepeated {
		<-s.begun
	}
	defer close(s.end)
	for target, want := range map[string]int{"POST /hooks/again": 503, "GET /api/v1/runs": 503, "GET /healthz": 200} {
		method, path, _ := strings.Cut(target, " ")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, "https://funnel.example.com"+path, notRead{t}))
		if w.Code != want || (want == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: %d, Retry-After %q", target, w.Code, w.Header().Get("Retry-After"))
		}
	}
	w := make(chan int, 1)
	go func() {
		r := httptest.NewRecorder()
		handler.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "https://funnel.example.com/hooks/once", strings.NewReader("{}")))
		w <- r.Code
	}()
	<-s.begun // it is let in
}

// notRead is a body that must not be read.
type notRead struct{ t *testing.T }

func (u notRead) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, http.ErrBodyReadAfterClose
}
