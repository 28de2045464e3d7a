package funneltest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// misbehaviour is one way in which a system can answer a request badly.
type misbehaviour struct {
	name  string
	slow  bool // it keeps us waiting: the deadline of an exchange is short
	heavy bool // the memory that it costs is measured
	play  func(*wire, attack)
	want  func(attack) []funnel.Code
	// back judges when the action wants to come back; nil: it does not matter.
	back func(e *funnel.Error, now time.Time, complain func(string, ...any))
	skip func(attack) bool
}

// fine stands for no error.
const fine = funnel.Code("no error")

// bodyMark is in every body that no vendor would send.
const bodyMark = "c4n4ry-b0dy"

// The codes that are right for what happened.

// broken is an exchange that failed after the request had left.
func broken(a attack) []funnel.Code {
	if a.writes || a.changed {
		return unsure(a)
	}
	return []funnel.Code{funnel.Unavailable}
}

// unsure is a change that may have been made. If doing it again is harmless, it
// may as well be called unavailable.
func unsure(a attack) []funnel.Code {
	if a.spec.Settle == funnel.SettleByUpsert && !a.writes {
		return []funnel.Code{funnel.Uncertain, funnel.Unavailable}
	}
	return []funnel.Code{funnel.Uncertain}
}

// odd is a body that cannot be believed, unless nobody reads it.
func odd(a attack) []funnel.Code {
	if a.healthy.empty() {
		return append(broken(a), fine)
	}
	return broken(a)
}

// strange is a body that can be believed or not. Believed, it may lead to a change
// whose own answer is as strange.
func strange(a attack) []funnel.Code {
	list := append(broken(a), fine, funnel.Invalid, funnel.NotFound, funnel.Conflict)
	if a.spec.Effect != funnel.Reads {
		list = append(list, funnel.Uncertain)
	}
	return list
}

// answers are codes of a refusal, after which nothing was changed by this
// request. If an earlier one changed something, only "uncertain" says so, unless
// the whole is harmless to repeat.
func answers(codes ...funnel.Code) func(attack) []funnel.Code {
	return func(a attack) []funnel.Code {
		if !a.changed {
			return codes
		}
		if a.spec.Settle == funnel.SettleByUpsert {
			return append([]funnel.Code{funnel.Uncertain}, codes...)
		}
		return []funnel.Code{funnel.Uncertain}
	}
}

// either chooses by whether the request changes something.
func either(read, write []funnel.Code) func(attack) []funnel.Code {
	return func(a attack) []funnel.Code {
		if a.writes {
			return answers(write...)(a)
		}
		return answers(read...)(a)
	}
}

func codes(list ...funnel.Code) []funnel.Code { return list }

// misbehaviours is the table. trap is an address to which nobody must go.
func misbehaviours(trap string) []misbehaviour {
	return slicesConcat(transport(), bodies(), statuses(trap), pauses())
}

func slicesConcat(lists ...[]misbehaviour) (all []misbehaviour) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// transport is what goes wrong below HTTP's bodies.
func transport() []misbehaviour {
	raw := func(name, text string) misbehaviour {
		return misbehaviour{name: name, want: broken, play: func(w *wire, _ attack) { w.say(text) }}
	}
	cut := func(name string, keep func(n int) int, end func(*wire)) misbehaviour {
		return misbehaviour{name: name, want: broken, play: func(w *wire, _ attack) {
			body := append([]byte(bodyMark), bytes.Repeat([]byte("x"), 1000)...)
			head := fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", max(w.healthy.status, 200), len(body))
			w.say(head + string(body[:keep(len(body))]))
			end(w)
		}, skip: func(a attack) bool { return a.healthy.status == http.StatusNoContent }}
	}
	hang := func(w *wire) { w.hang() }
	reset := func(w *wire) { w.reset() }
	return []misbehaviour{
		{name: "it hangs", slow: true, want: broken, play: func(w *wire, _ attack) { w.hang() }},
		{name: "it closes without an answer", want: broken, play: func(*wire, attack) {}},
		{name: "it resets without an answer", want: broken, play: func(w *wire, _ attack) { w.reset() }},
		{name: "it drips the head", slow: true, want: broken, play: func(w *wire, _ attack) { w.drip("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 10_000)) }},
		{name: "it drips the body", slow: true, want: oddIfRead, play: func(w *wire, a attack) {
			w.say(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 100000\r\n\r\n", bodied(a)))
			w.drip(strings.Repeat(" ", 100_000))
		}},
		{name: "it hangs in the head", slow: true, want: broken, play: func(w *wire, _ attack) { w.say("HTTP/1.1 200 OK\r\nContent-Le"); w.hang() }},
		withWant(cut("it resets in the body", func(n int) int { return n / 2 }, reset), oddIfRead),
		withWant(cut("it ends in the body", func(n int) int { return n / 2 }, func(*wire) {}), oddIfRead),
		slowly(withWant(cut("it hangs in the body", func(int) int { return 1 }, hang), oddIfRead)),
		raw("garbage instead of HTTP", bodyMark+"\x00\xff\r\n\r\n"),
		raw("another protocol", "SSH-2.0-OpenSSH_9.2 "+bodyMark+"\r\n"),
		raw("a status that is no number", "HTTP/1.1 OK "+bodyMark+"\r\n\r\n"),
		withWant(raw("HTTP/9", "HTTP/9.9 200 OK\r\n\r\n"), odd),
		raw("a header without a name", "HTTP/1.1 200 OK\r\n: "+bodyMark+"\r\n\r\n"),
		raw("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"+bodyMark),
		raw("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"+bodyMark),
		{name: "a broken chunk", want: oddIfRead, play: func(w *wire, a attack) {
			w.say(fmt.Sprintf("HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n%s", bodied(a), bodyMark))
		}},
		{name: "a header of 1 MiB", want: broken, play: func(w *wire, _ attack) {
			w.say("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 1<<20) + "\r\nContent-Length: 2\r\n\r\n{}")
		}},
		{name: "100,000 headers", want: broken, play: func(w *wire, _ attack) {
			w.say("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+bodyMark+"\r\n", 100_000) + "\r\n{}")
		}},
		{name: "headers without end", slow: true, want: broken, play: func(w *wire, _ attack) { w.flood("HTTP/1.1 200 OK\r\n", "X-A: b\r\n") }},
		{name: "interim answers without end", slow: true, want: broken, play: func(w *wire, _ attack) { w.flood("", "HTTP/1.1 102 Processing\r\n\r\n") }},
		{name: "interim answers before a good one", want: func(attack) []funnel.Code { return codes(fine) }, play: func(w *wire, _ attack) {
			w.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
			w.answer(w.healthy.status, w.healthy.header, w.healthy.body)
		}},
		{name: "it switches protocols", want: either(codes(funnel.Unavailable, funnel.Invalid), codes(funnel.Uncertain, funnel.Invalid)), play: func(w *wire, _ attack) {
			w.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + bodyMark + "\r\n\r\n")
		}},
		{name: "a good answer and another one behind it", want: func(attack) []funnel.Code { return codes(fine) }, play: func(w *wire, _ attack) {
			w.answer(w.healthy.status, w.healthy.header, w.healthy.body)
			w.say("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
		}},
	}
}

func withWant(m misbehaviour, want func(attack) []funnel.Code) misbehaviour {
	m.want = want
	return m
}

func slowly(m misbehaviour) misbehaviour {
	m.slow = true
	return m
}

// oddIfRead is a body that does not end well, which matters to those who read it.
func oddIfRead(a attack) []funnel.Code { return odd(a) }

// bodied is the healthy status, or the one next to it that may have a body.
func bodied(a attack) int {
	if a.healthy.status == http.StatusNoContent {
		return http.StatusOK
	}
	return a.healthy.status
}

// say writes raw bytes; that the other side has gone is no fault here.
func (w *wire) say(text string) { _, _ = io.WriteString(w, text) }

// hang waits until the other side goes away.
func (w *wire) hang() { _, _ = io.Copy(io.Discard, w) }

func (w *wire) drip(text string) {
	for _, c := range []byte(text) {
		if _, err := w.Write([]byte{c}); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond) // the slowness is the point
	}
}

// flood writes the same without end.
func (w *wire) flood(first, again string) {
	w.say(first)
	block := []byte(strings.Repeat(again, 1000))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func (w *wire) reset() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closing sends RST
	}
}

// answer writes an answer with a right length.
func (w *wire) answer(status int, header http.Header, body []byte) {
	res := http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header.Clone(), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: w.request, Close: true}
	if res.Header == nil {
		res.Header = http.Header{}
	}
	res.Header.Del("Content-Length")
	_ = res.Write(w)
}

func (w *wire) text(status int, mediaType, body string, header ...string) {
	h := http.Header{"Content-Type": {mediaType}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	w.answer(status, h, []byte(body))
}

// echo is a body that sends the credentials back, in the forms of errors that
// vendors have.
func (w *wire) echo() string {
	var all []string
	for name, values := range w.request.Header {
		all = append(all, name+": "+strings.Join(values, ", "))
	}
	text := strconv.Quote("\u202e<b>no</b> " + strings.Join(all, " | "))
	return `{"errorMessages":[` + text + `],"errors":{"summary":` + text + `},"error":{"code":` + text + `,"message":` + text + `},"messages":[{"type":"ERROR","text":` + text + `}],"message":` + text + `}`
}

func bomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.CopyN(z, zeros{}, 128<<20)
	_ = z.Close()
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
