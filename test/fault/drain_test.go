package fault

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// atOnce is the exit code after a second signal.
const atOnce = 3

// TestF17Drain is F17: told to stop under load, the server says first that it is
// not ready, answers what it was asked, ends its steps and itself, and nothing is
// lost. Every fifth time, a second signal ends it at once.
func TestF17Drain(t *testing.T) {
	smallTogether(t)
	drains := 5
	switch {
	case *long:
		drains = 500
	case *full:
		drains = 50
	}
	o := sites()["cloud"]
	o.IndexLag = jirafake.LognormalLag(30*time.Millisecond, 1.2, 5*time.Second)
	o.LoseAnswers, o.Webhooks = 0.02, hooks("cloud")
	w := newWorld(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(drains)*10*time.Second)
	defer cancel()
	l := w.startLoad(ctx, t, 30, 50_000, true)
	chance := rand.New(rand.NewPCG(*seed, 17))
	var took []time.Duration
	for i := range drains {
		w.start(t, nil)
		time.Sleep(time.Duration(chance.Int64N(int64(time.Second)))) // the moment of the signal
		p := w.process
		p.signal(t, syscall.SIGTERM)
		told := time.Now()
		if i%5 == 4 {
			p.signal(t, syscall.SIGINT)
		}
		code := w.exit(t, p, 30*time.Second)
		took = append(took, time.Since(told))
		switch {
		case i%5 != 4 && code != 0:
			t.Errorf("drain %d ended with exit code %d:\n%s", i, code, w.log())
		case i%5 == 4 && code != atOnce && code != 0: // it may have been done already
			t.Errorf("the second signal of drain %d ended with exit code %d:\n%s", i, code, w.log())
		}
	}
	w.start(t, nil)
	acked := l.stop(t)
	w.waitIdle(ctx, t)
	r := w.judge(acked).result()
	w.measure(&r)
	r.name, r.p99 = "F17 drain", percentile(took, 0.99)
	r.note("%d drains; p99 is from the signal to the end", drains)
	r.aim(r.p99 < 30*time.Second, "ended within 30 s")
	w.checkIntegrity(t, &r)
	r.mustBeClean(t)
}

// TestF17Readiness: after the signal /readyz says so at once, for the configured
// delay alerts are still taken, and then nobody can connect any more. A request
// that has begun is answered.
func TestF17Readiness(t *testing.T) {
	smallTogether(t)
	w := newWorld(t, jirafake.Options{Seed: *seed})
	w.configure(t, func(text string) string {
		return strings.Replace(text, "server: {", "server: {drain_delay: 600ms, ", 1)
	})
	w.start(t, nil)
	slow := w.beginAlert(t, 1)
	p := w.process
	p.signal(t, syscall.SIGTERM)
	told := time.Now()
	for {
		ready, answered := w.ready()
		if !answered {
			t.Fatal("the server took no connection before it had said that it is not ready")
		}
		if !ready {
			break
		}
	}
	unready := time.Since(told)
	client := &http.Client{Timeout: 10 * time.Second}
	acked := map[string]bool{marker(1): true, marker(2): true}
	if !w.post(client, alert(2)) {
		t.Error("an alert was refused within the delay")
	}
	for {
		if _, answered := w.ready(); !answered {
			break
		}
	}
	closed := time.Since(told)
	if status := slow.end(t); status != http.StatusAccepted {
		t.Errorf("the request under way was answered %d", status)
	}
	if code := w.exit(t, p, 30*time.Second); code != 0 {
		t.Errorf("exit code %d:\n%s", code, w.log())
	}
	w.start(t, nil)
	w.waitIdle(within(t), t)
	r := w.judge(acked).result()
	r.name = "F17 readiness"
	r.note("not ready after %v, closed after %v", unready.Round(time.Millisecond), closed.Round(time.Millisecond))
	r.aim(unready < 100*time.Millisecond, "not ready within 100 ms")
	if closed < 600*time.Millisecond {
		r.fault("closed before the delay was over")
	}
	r.mustBeClean(t)
}

// slowAlert is an alert of which the body is sent in two parts.
type slowAlert struct {
	conn net.Conn
	rest string
}

func (w *world) beginAlert(t *testing.T, i int) *slowAlert {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.server, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	body := string(alert(i))
	half := len(body) / 2
	if _, err := fmt.Fprintf(conn, "POST /hooks/splunk/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", splunkSecret, len(body), body[:half]); err != nil {
		t.Fatal(err)
	}
	return &slowAlert{conn, body[half:]}
}

// end sends the rest and returns the status of the answer.
func (s *slowAlert) end(t *testing.T) int {
	t.Helper()
	if _, err := s.conn.Write([]byte(s.rest)); err != nil {
		t.Errorf("sending the rest of a request: %v", err)
		return 0
	}
	res, err := http.ReadResponse(bufio.NewReader(s.conn), nil)
	if err != nil {
		t.Errorf("reading the answer of a request under way: %v", err)
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestF17CutOff stops a server of which all steps hang, those that open tickets
// and then those that search: they are cut off at the limit, it ends with exit
// code 0, and no step has used an attempt. What had been sent is looked up, so
// there is one ticket each.
func TestF17CutOff(t *testing.T) {
	smallTogether(t)
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	w.configure(t, func(text string) string {
		return strings.Replace(text, "server: {", "server: {drain_limit: 500ms, ", 1)
	})
	r := result{name: "F17 cut off"}
	ctx := within(t)
	acked := map[string]bool{}
	w.hang(ctx, t, jirafake.IsCreate, jirafake.HangAfter, 0, acked)
	w.stopHanging(t, &r)
	w.start(t, nil)
	w.waitIdle(ctx, t) // so that only playbooks search below, nobody who looks an effect up
	w.kill()
	w.hang(ctx, t, jirafake.IsSearch, jirafake.Hang, hanging, acked)
	w.stopHanging(t, &r)
	w.start(t, nil)
	w.waitIdle(ctx, t)
	v := w.judge(acked).result()
	r.count, r.lost, r.double, r.wrong = v.count, v.lost, v.double, append(r.wrong, v.wrong...)
	steps := 0
	for _, run := range w.runs(t) {
		for _, s := range w.steps(t, run.ID) {
			steps++
			if s.Attempts > 0 {
				r.fault("step %s of run %s has used %d attempts", s.Path, run.ID, s.Attempts)
			}
		}
	}
	if steps < 2*5*hanging { // a ticket and four comments each
		r.fault("the server tells of %d steps only", steps)
	}
	r.mustBeClean(t)
}

// TestF17SecondSignal: a second signal does not wait for steps that hang.
func TestF17SecondSignal(t *testing.T) {
	smallTogether(t)
	w := newWorld(t, jirafake.Options{Seed: *seed, Webhooks: jirafake.WebhookMode{Off: true}})
	ctx := within(t)
	acked := map[string]bool{}
	w.hang(ctx, t, jirafake.IsCreate, jirafake.HangAfter, 0, acked)
	p := w.process
	p.signal(t, syscall.SIGTERM)
	for answered := true; answered; {
		_, answered = w.ready()
	}
	told := time.Now()
	p.signal(t, syscall.SIGTERM)
	code := w.exit(t, p, 20*time.Second) // the limit of the steps is 25 s
	took := time.Since(told)
	w.unhang()
	w.start(t, nil)
	w.waitIdle(ctx, t)
	r := w.judge(acked).result()
	r.name = "F17 second signal"
	r.note("ended after %v", took.Round(time.Millisecond))
	r.aim(took < time.Second, "ended at once")
	if code != atOnce {
		r.fault("exit code %d, want %d", code, atOnce)
	}
	r.mustBeClean(t)
}

// hanging is how many alerts come while the tracker hangs.
const hanging = 8

// hang starts the server with a tracker that leaves matching requests without an
// answer, and returns when each of the alerts, from the first on, has led to one.
func (w *world) hang(ctx context.Context, t *testing.T, match func(*http.Request) bool, kind jirafake.FaultKind, first int, acked map[string]bool) {
	t.Helper()
	came := make(chan struct{}, 1000)
	w.unhang = w.jira.Always(func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		came <- struct{}{}
		return true
	}, jirafake.Fault{Kind: kind})
	w.start(t, nil)
	for i := first; i < first+hanging; i++ {
		w.mustPost(t, alert(i))
		acked[marker(i)] = true
	}
	for range hanging {
		select {
		case <-came:
		case <-ctx.Done():
			t.Fatalf("the tracker was not asked; the server's log:\n%s", w.log())
		}
	}
}

// stopHanging stops the server, which has a limit of half a second for that, and
// has the tracker answer again.
func (w *world) stopHanging(t *testing.T, r *result) {
	t.Helper()
	p := w.process
	p.signal(t, syscall.SIGTERM)
	told := time.Now()
	code := w.exit(t, p, 30*time.Second)
	took := time.Since(told)
	r.note("ended after %v with a limit of 500ms", took.Round(time.Millisecond))
	r.aim(took < 2*time.Second, "ended within 2 s")
	if code != 0 {
		r.fault("exit code %d", code)
	}
	if took < 450*time.Millisecond {
		r.fault("nothing hung")
	}
	w.unhang()
}

type stepView struct {
	Path     string
	Attempts int
}

func (w *world) steps(t *testing.T, run string) []stepView {
	t.Helper()
	var view struct{ Steps []stepView }
	if !w.get(t, "/api/v1/runs/"+run, &view) {
		t.Errorf("the server does not tell the steps of run %s", run)
	}
	return view.Steps
}
